//! Answers of the Prometheus HTTP API as this command needs them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value as Json;

/// The labels of a series. In order of names, as servers send them.
pub type Metric = BTreeMap<String, String>;

/// Seconds since 1970 and the value as the server wrote it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Point(pub f64, pub String);

/// A native histogram at one time: count, sum and buckets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct HistogramPoint(f64, Json);

/// One series with its samples; one sample where a moment was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub metric: Metric,
    pub points: Vec<Point>,
}

/// The result of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryData {
    Scalar(Point),
    String(Point),
    Vector(Vec<Series>),
    Matrix(Vec<Series>),
}

/// What a server answers.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    status: String,
    #[serde(default)]
    data: Json,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub infos: Vec<String>,
}

impl Envelope {
    /// The data of a success.
    ///
    /// # Errors
    /// What the server says is wrong.
    pub fn data(self) -> Result<Json> {
        if self.status != "success" {
            bail!("{}: {}", self.error_type, self.error);
        }
        Ok(self.data)
    }
}

#[derive(Deserialize)]
struct WireSeries {
    metric: Metric,
    value: Option<Point>,
    #[serde(default)]
    values: Vec<Point>,
    histogram: Option<HistogramPoint>,
    #[serde(default)]
    histograms: Vec<HistogramPoint>,
}

impl From<WireSeries> for Series {
    /// A histogram's value is its JSON.
    fn from(wire: WireSeries) -> Self {
        let histograms = wire.histogram.into_iter().chain(wire.histograms);
        let histograms = histograms.map(|HistogramPoint(at, value)| Point(at, value.to_string()));
        let mut points: Vec<Point> = wire.value.into_iter().chain(wire.values).chain(histograms).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { metric: wire.metric, points }
    }
}

impl QueryData {
    /// # Errors
    /// When the server answered something else.
    pub fn of(data: &Json) -> Result<Self> {
        let result = data.get("result").cloned().unwrap_or_default();
        let kind = data.get("resultType").and_then(Json::as_str).unwrap_or_default();
        let strange = || format!("the server answered no {kind} as Prometheus has them; is this its URL?");
        let series = |result| -> serde_json::Result<Vec<Series>> {
            Ok(serde_json::from_value::<Vec<WireSeries>>(result)?.into_iter().map(Series::from).collect())
        };
        Ok(match kind {
            "scalar" => Self::Scalar(serde_json::from_value(result).with_context(strange)?),
            "string" => Self::String(serde_json::from_value(result).with_context(strange)?),
            "vector" => Self::Vector(series(result).with_context(strange)?),
            "matrix" => Self::Matrix(series(result).with_context(strange)?),
            _ => bail!("the server answered a result of the unknown type {kind:?}"),
        })
    }

    /// Its series: one without labels for a number or a string.
    pub fn series(&self) -> Vec<Series> {
        match self {
            Self::Scalar(point) | Self::String(point) => {
                vec![Series { metric: Metric::new(), points: vec![point.clone()] }]
            }
            Self::Vector(series) | Self::Matrix(series) => series.clone(),
        }
    }
}

/// The series as PromQL writes it: `up{job="node"}`.
pub fn notation(metric: &Metric) -> String {
    let name = metric.get("__name__").map_or("", String::as_str);
    let quoted_name = !name.is_empty() && !model::is_legacy_metric_name(name);
    let mut pairs: Vec<String> = if quoted_name { vec![format!("{name:?}")] } else { Vec::new() };
    for (label, value) in metric.iter().filter(|(label, _)| *label != "__name__") {
        let quoted = if model::is_legacy_label_name(label) { label.clone() } else { format!("{label:?}") };
        pairs.push(format!("{quoted}={value:?}"));
    }
    let name = if quoted_name { "" } else { name };
    if pairs.is_empty() && !name.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_type() {
        let point = |at: f64, value: &str| Point(at, value.to_owned());
        let scalar = json!({"resultType": "scalar", "result": [1.5, "2"]});
        assert_eq!(QueryData::of(&scalar).expect("reads"), QueryData::Scalar(point(1.5, "2")));
        let vector = json!({"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "NaN"]}]});
        let metric: Metric = [("a".to_owned(), "b".to_owned())].into();
        let series = vec![Series { metric, points: vec![point(1.0, "NaN")] }];
        assert_eq!(QueryData::of(&vector).expect("reads"), QueryData::Vector(series));
        let native = json!({"resultType": "matrix", "result": [
            {"metric": {}, "values": [[2, "1"]], "histograms": [[1, {"count": "3"}]]}
        ]});
        let points = QueryData::of(&native).expect("reads").series().remove(0).points;
        assert_eq!(points, [point(1.0, r#"{"count":"3"}"#), point(2.0, "1")]);
        for strange in [json!({}), json!([]), json!({"resultType": "vector", "result": [1]})] {
            assert!(QueryData::of(&strange).is_err(), "{strange}");
        }
    }

    #[test]
    fn writes_series_as_promql_does() {
        for (pairs, want) in [
            (vec![], "{}"),
            (vec![("__name__", "up")], "up"),
            (vec![("__name__", "up"), ("job", "a\"b")], r#"up{job="a\"b"}"#),
            (vec![("job", "x"), ("a", "y")], r#"{a="y", job="x"}"#),
            (vec![("__name__", "a.b"), ("c d", "e")], r#"{"a.b", "c d"="e"}"#),
        ] {
            let metric = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(notation(&metric), want);
        }
    }
}
