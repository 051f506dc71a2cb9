//! What is allowed in a rule file and probably not meant.

use std::collections::BTreeMap;
use std::fmt::Write;

use rules::{Group, Rule, RuleKind};

/// Rules that write the same series or make the same alerts, each time with the places of all of them: where both have a
/// result, one is lost.
pub fn duplicates(groups: &[Group]) -> Vec<String> {
    let mut by_identity: BTreeMap<(bool, &str, String), Vec<String>> = BTreeMap::new();
    for group in groups {
        for rule in &group.rules {
            let recording = rule.kind == RuleKind::Recording;
            let place = format!("line {} in group {:?}", rule.line, group.name);
            by_identity.entry((recording, &rule.name, labels(rule))).or_default().push(place);
        }
    }
    let repeated = by_identity.into_iter().filter(|(_, places)| places.len() > 1);
    let told = repeated.map(|((recording, name, labels), places)| {
        let what = if recording { "is recorded" } else { "is an alert" };
        format!("{name}{labels} {what} {} times: {}", places.len(), places.join(", "))
    });
    told.collect()
}

fn labels(rule: &Rule) -> String {
    let mut out = String::new();
    for (name, template) in &rule.labels {
        // Writing to a string does not fail.
        let _ = write!(out, "{}{name}={:?}", if out.is_empty() { '{' } else { ',' }, template.text());
    }
    if !out.is_empty() {
        out.push('}');
    }
    out
}
