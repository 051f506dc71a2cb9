//! `route`: the tree of routes with what each inherits.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Mapping, Node};
use model::{MatchOp, Matcher};

use crate::engine::matchers::{parse_matchers, sort_matchers};
use crate::engine::route::{GroupBy, RouteOptions, RouteTree};
use crate::engine::time_interval::TimeInterval;

/// What routes may refer to.
pub struct Known<'a> {
    pub receivers: &'a [String],
    pub time_intervals: &'a BTreeMap<String, Vec<TimeInterval>>,
}

/// Decodes the root route and everything below it.
pub fn decode(node: &Node<'_>, known: &Known<'_>) -> Option<RouteTree> {
    let fields = node.mapping()?;
    let defaults = RouteOptions {
        receiver: String::new(),
        group_by: GroupBy::Labels(Vec::new()),
        group_wait: Duration::from_secs(30),
        group_interval: Duration::from_secs(5 * 60),
        repeat_interval: Duration::from_secs(4 * 3600),
        mute_time_intervals: Vec::new(),
        active_time_intervals: Vec::new(),
    };
    if fields.get("receiver").is_none() {
        node.problem("the root route has no receiver; give the one that hears of what no other route takes");
    }
    for key in ["matchers", "match", "match_re", "continue", "mute_time_intervals", "active_time_intervals"] {
        if let Some(child) = fields.get(key).filter(|n| key != "continue" || n.bool() == Some(true)) {
            child
                .problem(format!("the root route takes every alert and must not have {key}; move it to a child route"));
        }
    }
    let options = route_options(&fields, &defaults, known);
    let children = fields.items("routes");
    fields.finish();
    let mut tree = RouteTree::new(options.clone());
    for child in children {
        decode_child(&child, 0, &options, known, &mut tree);
    }
    Some(tree)
}

fn decode_child(node: &Node<'_>, parent: usize, above: &RouteOptions, known: &Known<'_>, tree: &mut RouteTree) {
    let Some(fields) = node.mapping() else { return };
    let mut matchers = decode_matchers(&fields, ["matchers", "match", "match_re"]);
    sort_matchers(&mut matchers);
    let continues = fields.bool("continue").unwrap_or(false);
    let mut options = route_options(&fields, above, known);
    options.mute_time_intervals = interval_names(&fields, "mute_time_intervals", known);
    options.active_time_intervals = interval_names(&fields, "active_time_intervals", known);
    let children = fields.items("routes");
    fields.finish();
    let index = tree.add(parent, matchers, continues, options.clone());
    for child in children {
        decode_child(&child, index, &options, known, tree);
    }
}

fn route_options(fields: &Mapping<'_>, above: &RouteOptions, known: &Known<'_>) -> RouteOptions {
    let receiver = fields.get("receiver").and_then(|node| {
        let name = node.text()?;
        if !known.receivers.iter().any(|r| r == name) {
            node.problem(format!("there is no receiver {name:?}; {}", listing(known.receivers.iter())));
        }
        Some(name.to_owned())
    });
    RouteOptions {
        receiver: receiver.unwrap_or_else(|| above.receiver.clone()),
        group_by: fields.get("group_by").map_or_else(|| above.group_by.clone(), |n| group_by(&n)),
        group_wait: fields.duration("group_wait").unwrap_or(above.group_wait),
        group_interval: fields.positive_duration("group_interval").unwrap_or(above.group_interval),
        repeat_interval: fields.positive_duration("repeat_interval").unwrap_or(above.repeat_interval),
        mute_time_intervals: Vec::new(),
        active_time_intervals: Vec::new(),
    }
}

fn listing<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|n| format!("{n:?}")).collect();
    if names.is_empty() { "none is defined".to_owned() } else { format!("defined are {}", names.join(", ")) }
}

fn group_by(node: &Node<'_>) -> GroupBy {
    let items = node.items();
    let mut names: Vec<String> = Vec::new();
    let mut all = false;
    for item in &items {
        let Some(name) = item.text() else { continue };
        if name == "..." {
            all = true;
            if items.len() > 1 {
                item.problem("'...' groups by every label and stands alone; remove it or the others");
            }
        } else if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            item.problem(format!("{name:?} is not a label name; use letters, digits and underscores"));
        } else if names.iter().any(|n| n == name) {
            item.problem(format!("the label {name:?} stands twice; remove one"));
        } else {
            names.push(name.to_owned());
        }
    }
    if all { GroupBy::All } else { GroupBy::Labels(names) }
}

fn interval_names(fields: &Mapping<'_>, key: &'static str, known: &Known<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for item in fields.items(key) {
        let Some(name) = item.string() else { continue };
        if !known.time_intervals.contains_key(&name) {
            item.problem(format!("there is no time interval {name:?}; {}", listing(known.time_intervals.keys())));
        }
        names.push(name);
    }
    names
}

/// The matchers of a section: the list, and the two older forms that are sections of their own.
pub fn decode_matchers(fields: &Mapping<'_>, [list, equal, regex]: [&'static str; 3]) -> Vec<Matcher> {
    let mut out = Vec::new();
    if let Some(node) = fields.get(list) {
        // One text is taken as a list of one.
        let items = if node.is_sequence() { node.items() } else { vec![node] };
        out.extend(items.iter().filter_map(|item| item.parse(parse_matchers)).flatten());
    }
    for (key, op) in [(equal, MatchOp::Equal), (regex, MatchOp::Regex)] {
        let Some(section) = fields.get(key).and_then(|n| n.mapping()) else { continue };
        out.extend(section.entries().filter_map(|(name, _, value)| value.parse(|v| Matcher::new(op, name, v))));
    }
    out
}
