//! Which series are compared: what came from below, not what a central makes itself.

use std::collections::BTreeSet;

use model::{Labels, Matcher, matches_all};
use xxhash_rust::xxh3::xxh3_64;

/// What every central computes for itself, whatever its rules are called.
const ALERTS: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];
/// The label that scraping sets.
const JOB: &str = "job";

/// What a process makes itself. Two centrals make it at other moments, from what each holds then, so it may differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Names of the series that its rules record.
    pub recorded: BTreeSet<String>,
    /// The jobs that it scrapes. Only series without a source are taken for theirs.
    pub jobs: BTreeSet<String>,
}

/// Which series are compared, and how their source is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scope {
    source_label: String,
    /// Never empty; an empty list selects everything.
    any_of: Vec<Vec<Matcher>>,
    own: Own,
}

impl Scope {
    /// Series that any of `matches` select; all where there is none.
    pub(crate) fn new(source_label: &str, matches: &[Vec<Matcher>], own: Own) -> Self {
        let any_of = if matches.is_empty() { vec![Vec::new()] } else { matches.to_vec() };
        Self { source_label: source_label.to_owned(), any_of, own }
    }

    pub(crate) fn source_label(&self) -> &str {
        &self.source_label
    }

    pub(crate) fn any_of(&self) -> &[Vec<Matcher>] {
        &self.any_of
    }

    /// The source of a series; empty where nothing says it.
    pub(crate) fn source_of<'a>(&self, labels: &'a Labels) -> &'a str {
        labels.get(&self.source_label).unwrap_or("")
    }

    /// Whether a series that list number `list` selects is to be taken there: each is taken once, and none of our own.
    pub(crate) fn takes(&self, list: usize, labels: &Labels) -> bool {
        let name = labels.metric_name();
        let is_recorded = ALERTS.contains(&name) || self.own.recorded.contains(name);
        let is_scraped =
            || self.source_of(labels).is_empty() && labels.get(JOB).is_some_and(|job| self.own.jobs.contains(job));
        let earlier = self.any_of.get(..list).unwrap_or_default();
        !is_recorded && !is_scraped() && !earlier.iter().any(|matchers| matches_all(matchers, labels))
    }

    /// Whether a series is compared at all.
    pub(crate) fn holds(&self, labels: &Labels) -> bool {
        self.takes(0, labels) && self.any_of.iter().any(|matchers| matches_all(matchers, labels))
    }

    /// A number that centrals which compare the same series share.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = format!("{:?}", self.source_label);
        for matchers in &self.any_of {
            text.push(';');
            for m in matchers {
                text.push_str(&format!("{:?}{}{:?},", m.name(), m.op().as_str(), m.value()));
            }
        }
        text.push_str(&format!(";{:?};{:?}", self.own.recorded, self.own.jobs));
        format!("{:016x}", xxh3_64(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(matches: &[&str]) -> Scope {
        let matches: Vec<_> = matches.iter().map(|m| promql::parse_selector(m).expect("is a selector")).collect();
        let own = Own { recorded: ["fleet:up:sum".to_owned()].into(), jobs: ["central".to_owned()].into() };
        Scope::new("region", &matches, own)
    }

    #[test]
    fn what_a_central_makes_itself_is_left_out() {
        let scope = scope(&[]);
        for (pairs, held) in [
            (vec![("__name__", "region:up:sum"), ("region", "eu")], true),
            (vec![("__name__", "fleet:up:sum")], false),
            (vec![("__name__", "fleet:up:sum"), ("region", "eu")], false),
            (vec![("__name__", "ALERTS"), ("region", "eu")], false),
            (vec![("__name__", "up"), ("job", "central")], false),
            (vec![("__name__", "up"), ("job", "central"), ("region", "eu")], true),
            (vec![("__name__", "up"), ("job", "node")], true),
        ] {
            assert_eq!(scope.holds(&Labels::from_pairs(pairs.clone())), held, "{pairs:?}");
        }
    }

    #[test]
    fn each_series_is_taken_by_one_list() {
        let scope = scope(&[r#"{region="eu"}"#, "up"]);
        let labels = |name, region| Labels::from_pairs([("__name__", name), ("region", region)]);
        assert!(scope.takes(0, &labels("up", "eu")) && !scope.takes(1, &labels("up", "eu")));
        assert!(scope.takes(1, &labels("up", "us")));
        assert!(!scope.holds(&labels("down", "us")));
    }

    #[test]
    fn fingerprints_differ_with_what_is_compared() {
        let all = [scope(&[]), scope(&["up"]), scope(&["up", "down"]), scope(&[r#"{__name__=~"up"}"#])];
        let different: BTreeSet<String> = all.iter().map(Scope::fingerprint).collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(scope(&["up"]).fingerprint(), all[1].fingerprint());
    }
}
