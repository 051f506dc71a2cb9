//! What a server answers, and how far two answers are the same.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// One series of an answer, or its scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch, and the value.
    pub samples: Vec<(i64, f64)>,
}

/// An answer of the HTTP API to a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Data { kind: String, series: Vec<Series> },
    Text { time: i64, text: String },
    Failed { status: u16, kind: String, message: String },
}

impl Answer {
    /// Reads what the HTTP API said.
    pub fn read(status: u16, body: &[u8]) -> Result<Self, String> {
        let answer: Value = serde_json::from_slice(body).map_err(|e| format!("{status}: {e}: not JSON"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match answer["status"].as_str() {
            Some("success") if status == 200 => {
                Self::data(&answer["data"]).ok_or_else(|| format!("malformed: {answer}"))
            }
            Some("error") => {
                let kind = text(&answer["errorType"]).ok_or("no errorType")?;
                Ok(Self::Failed { status, kind, message: text(&answer["error"]).ok_or("no error")? })
            }
            _ => Err(format!("{status}: {answer}")),
        }
    }

    fn data(data: &Value) -> Option<Self> {
        let kind = data["resultType"].as_str()?.to_owned();
        let result = &data["result"];
        if kind == "string" {
            return Some(Self::Text { time: time(&result[0])?, text: result[1].as_str()?.to_owned() });
        }
        let mut series = Vec::new();
        if kind == "scalar" {
            series.push(Series { labels: BTreeMap::new(), samples: vec![sample(result)?] });
        }
        for item in result.as_array().filter(|_| kind != "scalar").into_iter().flatten() {
            let labels = item["metric"].as_object()?.iter().map(|(n, v)| Some((n.clone(), v.as_str()?.to_owned())));
            let samples = match item.get("values") {
                Some(values) => values.as_array()?.iter().map(sample).collect::<Option<_>>()?,
                None => vec![sample(&item["value"])?],
            };
            series.push(Series { labels: labels.collect::<Option<_>>()?, samples });
        }
        Some(Self::Data { kind, series })
    }

    /// How many series it has, and 0 where it failed.
    pub fn len(&self) -> usize {
        if let Self::Data { series, .. } = self { series.len() } else { 0 }
    }
}

fn time(value: &Value) -> Option<i64> {
    Some((value.as_f64()? * 1000.0).round() as i64)
}

fn sample(pair: &Value) -> Option<(i64, f64)> {
    Some((time(&pair[0])?, pair[1].as_str()?.parse().ok()?))
}

/// As in cases: `{a="b"} 1 2; {a="c"} NaN`, with the times left out.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { status, kind, message } => write!(f, "{status} {kind}: {message}"),
            Self::Text { text, .. } => write!(f, "{text:?}"),
            Self::Data { series, .. } => {
                for (i, one) in series.iter().enumerate() {
                    let labels: Vec<String> = one.labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
                    let values: Vec<String> = one.samples.iter().map(|(_, value)| value.to_string()).collect();
                    let between = if i > 0 { "; " } else { "" };
                    write!(f, "{between}{{{}}} {}", labels.join(", "), values.join(" "))?;
                }
                Ok(())
            }
        }
    }
}

/// Equal to 1e-9 of the larger one.
pub fn near(a: f64, b: f64) -> bool {
    a == b
        || (a.is_nan() && b.is_nan())
        || ((a - b).abs() <= 1e-9 * a.abs().max(b.abs()) && a.is_finite() && b.is_finite())
}

/// The first difference between what Prometheus and we answer. `ordered` compares the order of values, too; labels of
/// equal values may change places, as sort algorithms like it.
pub fn difference(theirs: &Answer, ours: &Answer, ordered: bool) -> Option<String> {
    let (Answer::Data { kind: a, series: theirs }, Answer::Data { kind: b, series: ours }) = (theirs, ours) else {
        return (theirs != ours).then(|| "one of them failed, or both and otherwise".to_owned());
    };
    if a != b {
        return Some(format!("{a} became {b}"));
    }
    let out_of_order = ordered && theirs.iter().zip(ours).any(|(a, b)| !same_values(a, b));
    let (theirs, ours) = (by_labels(theirs), by_labels(ours));
    let missing = theirs
        .iter()
        .find(|(labels, _)| !ours.contains_key(*labels))
        .map(|(labels, _)| format!("{labels:?} is missing"));
    let surplus = ours
        .iter()
        .find(|(labels, _)| !theirs.contains_key(*labels))
        .map(|(labels, _)| format!("{labels:?} is too much"));
    let differing = || {
        theirs.iter().find_map(|(labels, a)| {
            let b = ours.get(labels)?;
            let at = a.samples.iter().zip(&b.samples).position(|(a, b)| a.0 != b.0 || !near(a.1, b.1));
            let at =
                at.or_else(|| (a.samples.len() != b.samples.len()).then(|| a.samples.len().min(b.samples.len())))?;
            Some(format!("{labels:?}: sample {at} was {:?} and is {:?}", a.samples.get(at), b.samples.get(at)))
        })
    };
    missing.or(surplus).or_else(differing).or_else(|| out_of_order.then(|| "in another order".to_owned()))
}

fn same_values(a: &Series, b: &Series) -> bool {
    a.samples.len() == b.samples.len() && a.samples.iter().zip(&b.samples).all(|(a, b)| near(a.1, b.1))
}

fn by_labels(series: &[Series]) -> BTreeMap<&BTreeMap<String, String>, &Series> {
    series.iter().map(|s| (&s.labels, s)).collect()
}

#[test]
fn differences_are_noticed() {
    let read = |body: &str| Answer::read(200, body.as_bytes()).expect("is an answer");
    let vector =
        |result: &str| read(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#));
    let one = r#"{"metric":{"a":"b"},"value":[1,"2"]}"#;
    let other = r#"{"metric":{"a":"c"},"value":[1,"NaN"]}"#;
    let same = |a: &str, b: &str| difference(&vector(a), &vector(b), true).is_none();
    assert!(same(one, one) && same(other, other) && same(one, r#"{"metric":{"a":"b"},"value":[1,"2.000000001"]}"#));
    for wrong in [
        other,
        "",
        r#"{"metric":{"a":"b"},"value":[1,"2.00000001"]}"#,
        r#"{"metric":{"a":"b"},"value":[1.001,"2"]}"#,
        r#"{"metric":{"a":"b"},"value":[1,"+Inf"]}"#,
    ] {
        assert!(!same(one, wrong) && !same(wrong, one), "{wrong}");
    }
    assert!(!same(&format!("{one},{other}"), &format!("{other},{one}")));
    let failed = |status, message: &str| {
        let body = format!(r#"{{"status":"error","errorType":"bad_data","error":"{message}"}}"#);
        Answer::read(status, body.as_bytes()).expect("is an answer")
    };
    assert!(difference(&failed(400, "a"), &failed(400, "a"), false).is_none());
    assert!(difference(&failed(400, "a"), &failed(422, "a"), false).is_some());
    assert!(difference(&failed(400, "a"), &failed(400, "b"), false).is_some());
    assert!(difference(&failed(400, "a"), &vector(one), false).is_some());
}
