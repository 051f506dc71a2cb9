//! `time_intervals` and its older name `mute_time_intervals`.

use std::collections::BTreeMap;

use config::{Mapping, Node};
use jiff::tz::TimeZone;

use crate::engine::time_interval::{
    Span, TimeInterval, parse_days_of_month, parse_months, parse_time, parse_weekdays, parse_years,
};

/// Decodes named intervals; a name that stands twice is a problem.
pub fn decode(nodes: &[Node<'_>]) -> BTreeMap<String, Vec<TimeInterval>> {
    let mut out = BTreeMap::new();
    for node in nodes {
        let Some(fields) = node.mapping() else { continue };
        let name = fields.required("name").and_then(|n| n.string());
        let intervals = fields.items("time_intervals").iter().filter_map(decode_one).collect();
        fields.finish();
        let Some(name) = name else { continue };
        if out.contains_key(&name) {
            node.problem(format!("the time interval {name:?} is defined twice; rename or remove one"));
        }
        out.insert(name, intervals);
    }
    out
}

fn decode_one(node: &Node<'_>) -> Option<TimeInterval> {
    let fields = node.mapping()?;
    let location = fields.get("location").and_then(|n| n.parse(location));
    let interval = TimeInterval {
        times: fields.items("times").iter().filter_map(times).collect(),
        weekdays: spans(&fields, "weekdays", parse_weekdays),
        days_of_month: spans(&fields, "days_of_month", parse_days_of_month),
        months: spans(&fields, "months", parse_months),
        years: spans(&fields, "years", parse_years),
        location: location.unwrap_or(TimeZone::UTC),
    };
    fields.finish();
    Some(interval)
}

fn spans(fields: &Mapping<'_>, key: &'static str, parse: fn(&str) -> Result<Span, String>) -> Vec<Span> {
    fields.items(key).iter().filter_map(|n| n.parse(parse)).collect()
}

fn times(node: &Node<'_>) -> Option<Span> {
    let fields = node.mapping()?;
    let start = fields.required("start_time").and_then(|n| n.parse(parse_time));
    let end = fields.required("end_time").and_then(|n| n.parse(parse_time));
    fields.finish();
    let span = (start?, end?);
    if span.0 >= span.1 {
        node.problem("start_time must be before end_time; write two spans for a night (22:00-24:00 and 00:00-06:00)");
    }
    Some(span)
}

fn location(name: &str) -> Result<TimeZone, String> {
    if name == "Local" {
        return Ok(TimeZone::system());
    }
    TimeZone::get(name)
        .map_err(|_| format!("unknown time zone {name:?}; write a name like Asia/Shanghai and install tzdata"))
}
