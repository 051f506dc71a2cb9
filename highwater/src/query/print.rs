//! Answers as text: tables, CSV, and promtool's form.

use std::collections::BTreeSet;

use super::answer::{Metric, Point, QueryData, Series, notation};
use crate::moment::show_moment;
use crate::table::Table;

/// Samples in aligned columns; each series is named once.
pub fn samples_as_table(series: &[Series]) -> String {
    let mut table = Table::new(&["SERIES", "TIME", ">VALUE"]);
    for one in series {
        let mut name = notation(&one.metric);
        for Point(at, value) in &one.points {
            let time = show_moment(milliseconds(*at));
            table.row([std::mem::take(&mut name), time, value.clone()]);
        }
    }
    table.render()
}

/// Samples with a column for each label.
pub fn samples_as_csv(series: &[Series]) -> String {
    let names = label_names(series.iter().map(|one| &one.metric));
    let mut out = String::new();
    line(&mut out, ["timestamp", "value"].into_iter().chain(names.iter().copied()));
    for one in series {
        for Point(at, value) in &one.points {
            let at = seconds(*at);
            let labels = names.iter().map(|name| one.metric.get(*name).map_or("", String::as_str));
            line(&mut out, [at.as_str(), value].into_iter().chain(labels));
        }
    }
    out
}

/// As promtool prints results.
pub fn plain(data: &QueryData) -> String {
    let at = |Point(at, value): &Point| format!("{value} @[{}]", seconds(*at));
    let lines: Vec<String> = match data {
        QueryData::Scalar(point) => vec![format!("scalar: {}", at(point))],
        QueryData::String(Point(_, text)) => vec![text.clone()],
        QueryData::Vector(series) => {
            let samples = series.iter().flat_map(|one| one.points.iter().map(move |point| (one, point)));
            samples.map(|(one, point)| format!("{} => {}", notation(&one.metric), at(point))).collect()
        }
        QueryData::Matrix(series) => {
            let block = |one: &Series| {
                let points: Vec<String> = one.points.iter().map(at).collect();
                format!("{} =>\n{}", notation(&one.metric), points.join("\n"))
            };
            series.iter().map(block).collect()
        }
    };
    lines.join("\n") + "\n"
}

/// Series with a column for each label.
pub fn metrics_as_table(metrics: &[Metric]) -> String {
    let names = label_names(metrics.iter());
    let mut table = Table::new(&names);
    for metric in metrics {
        table.row(names.iter().map(|name| metric.get(*name).cloned().unwrap_or_default()));
    }
    table.render()
}

/// The same as CSV.
pub fn metrics_as_csv(metrics: &[Metric]) -> String {
    let names = label_names(metrics.iter());
    let mut out = String::new();
    line(&mut out, names.iter().copied());
    for metric in metrics {
        line(&mut out, names.iter().map(|name| metric.get(*name).map_or("", String::as_str)));
    }
    out
}

/// One series or value to a line.
pub fn lines(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().map(|text| text + "\n").collect()
}

/// A column of texts as CSV.
pub fn column_as_csv(header: &str, texts: &[String]) -> String {
    let mut out = String::new();
    line(&mut out, [header]);
    texts.iter().for_each(|text| line(&mut out, [text.as_str()]));
    out
}

/// The metric's name first, then the other labels in order.
fn label_names<'a>(metrics: impl Iterator<Item = &'a Metric>) -> Vec<&'a str> {
    let names: BTreeSet<&str> = metrics.flat_map(|metric| metric.keys().map(String::as_str)).collect();
    let first = names.contains("__name__").then_some("__name__");
    first.into_iter().chain(names.into_iter().filter(|name| *name != "__name__")).collect()
}

/// One record of RFC 4180, but for the line's end.
fn line<'a>(out: &mut String, fields: impl IntoIterator<Item = &'a str>) {
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.contains(['"', ',', '\n', '\r']) {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push('\n');
}

pub fn milliseconds(seconds: f64) -> i64 {
    // Out of range it becomes the nearest number there is.
    (seconds * 1000.0).round() as i64
}

/// Without digits behind the point where there is nothing to say.
fn seconds(at: f64) -> String {
    let ms = milliseconds(at);
    let text = format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], points: &[(f64, &str)]) -> Series {
        Series {
            metric: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            points: points.iter().map(|(at, value)| Point(*at, (*value).to_owned())).collect(),
        }
    }

    fn two() -> Vec<Series> {
        vec![
            series(&[("__name__", "up"), ("job", "a,\"b\"")], &[(1_700_000_000.0, "1"), (1_700_000_015.25, "0.5")]),
            series(&[("__name__", "up"), ("zone", "é")], &[(1_700_000_000.0, "+Inf")]),
        ]
    }

    #[test]
    fn tables() {
        let want = "\
SERIES             TIME                 VALUE
up{job=\"a,\\\"b\\\"\"}  2023-11-14 22:13:20      1
                   2023-11-14 22:13:35    0.5
up{zone=\"é\"}       2023-11-14 22:13:20   +Inf
";
        assert_eq!(samples_as_table(&two()), want);
        let metrics: Vec<Metric> = two().into_iter().map(|one| one.metric).collect();
        let want = "__name__  job    zone\nup        a,\"b\"\nup               é\n";
        assert_eq!(metrics_as_table(&metrics), want);
    }

    #[test]
    fn comma_separated() {
        let want = "\
timestamp,value,__name__,job,zone
1700000000,1,up,\"a,\"\"b\"\"\",
1700000015.25,0.5,up,\"a,\"\"b\"\"\",
1700000000,+Inf,up,,é
";
        assert_eq!(samples_as_csv(&two()), want);
        assert_eq!(column_as_csv("job", &["a".to_owned(), "b\nc".to_owned()]), "job\na\n\"b\nc\"\n");
        assert_eq!(samples_as_csv(&[]), "timestamp,value\n");
    }

    #[test]
    fn as_promtool() {
        let point = Point(1_435_781_451.781, "1".to_owned());
        assert_eq!(plain(&QueryData::Scalar(point.clone())), "scalar: 1 @[1435781451.781]\n");
        assert_eq!(plain(&QueryData::String(Point(0.0, "a".to_owned()))), "a\n");
        assert_eq!(plain(&QueryData::Vector(Vec::new())), "\n");
        let one = Series { metric: Metric::new(), points: vec![point] };
        assert_eq!(plain(&QueryData::Vector(vec![one])), "{} => 1 @[1435781451.781]\n");
        let want = "up{job=\"a,\\\"b\\\"\"} =>\n1 @[1700000000]\n0.5 @[1700000015.25]\nup{zone=\"é\"} =>\n+Inf @[1700000000]\n";
        assert_eq!(plain(&QueryData::Matrix(two())), want);
    }
}
