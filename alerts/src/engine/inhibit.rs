//! Inhibition: an alert keeps quiet while another, more telling one fires.

use std::collections::{BTreeSet, HashMap};

use model::{Labels, Matcher, TimestampMs, matches_all};

use super::alert::{AlertRecord, AlertStore};

/// One rule: while an alert fires that matches `source`, alerts that match `target` and agree with it on the labels
/// `equal` are not notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InhibitRule {
    /// The alert that speaks.
    pub source: Vec<Matcher>,
    /// The alerts that keep quiet.
    pub target: Vec<Matcher>,
    /// Labels on which both agree; a missing label equals an empty one.
    pub equal: Vec<String>,
}

type EqualValues = Vec<String>;

/// The rules with an index of the alerts that match a source: all of them, so that one of several ending does not end
/// the inhibition.
pub struct Inhibitor {
    rules: Vec<(InhibitRule, HashMap<EqualValues, BTreeSet<u64>>)>,
}

impl Inhibitor {
    /// Rules without any alert yet.
    pub fn new(rules: Vec<InhibitRule>) -> Self {
        Self { rules: rules.into_iter().map(|rule| (rule, HashMap::new())).collect() }
    }

    /// Takes note of an alert; once per fingerprint is enough, since labels never change.
    pub fn add(&mut self, fingerprint: u64, labels: &Labels) {
        for (rule, sources) in &mut self.rules {
            if matches_all(&rule.source, labels) {
                sources.entry(equal_values(rule, labels)).or_default().insert(fingerprint);
            }
        }
    }

    /// Forgets an alert.
    pub fn remove(&mut self, fingerprint: u64, labels: &Labels) {
        for (rule, sources) in &mut self.rules {
            let key = equal_values(rule, labels);
            if let Some(set) = sources.get_mut(&key) {
                set.remove(&fingerprint);
                if set.is_empty() {
                    sources.remove(&key);
                }
            }
        }
    }

    /// The first firing alert, per rule, that inhibits an alert with these labels. Of two alerts that both match source
    /// and target neither inhibits the other, so no alert inhibits itself.
    pub fn inhibited_by(&self, labels: &Labels, alerts: &AlertStore, now: TimestampMs) -> Vec<u64> {
        let mut found = Vec::new();
        for (rule, sources) in &self.rules {
            if !matches_all(&rule.target, labels) {
                continue;
            }
            let Some(candidates) = sources.get(&equal_values(rule, labels)) else { continue };
            let two_sided = matches_all(&rule.source, labels);
            let speaks = |fingerprint: &&u64| {
                let both_sided = |source: &AlertRecord| two_sided && matches_all(&rule.target, &source.labels);
                alerts.get(**fingerprint).is_some_and(|source| !(source.resolved_at(now) || both_sided(source)))
            };
            if let Some(source) = candidates.iter().find(speaks) {
                found.push(*source);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn equal_values(rule: &InhibitRule, labels: &Labels) -> EqualValues {
    rule.equal.iter().map(|name| labels.get(name).unwrap_or("").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::matchers::parse_matchers;

    fn alert(pairs: &[(&str, &str)], ends_at: i64) -> AlertRecord {
        AlertRecord {
            labels: Labels::from_pairs(pairs.iter().copied()),
            annotations: Default::default(),
            starts_at: TimestampMs(0),
            ends_at: TimestampMs(ends_at),
            updated_at: TimestampMs(0),
            generator_url: String::new(),
            timeout: false,
        }
    }

    fn check(source: &str, target: &str, equal: &[&str], alerts: &[AlertRecord], of: &[(&str, &str)]) -> usize {
        let rule = InhibitRule {
            source: parse_matchers(source).expect("parses"),
            target: parse_matchers(target).expect("parses"),
            equal: equal.iter().map(|e| (*e).to_owned()).collect(),
        };
        let mut inhibitor = Inhibitor::new(vec![rule]);
        let mut store = AlertStore::new(10, 1 << 20);
        for alert in alerts {
            inhibitor.add(alert.fingerprint(), &alert.labels);
            store.put(alert.clone()).expect("has room");
        }
        inhibitor.inhibited_by(&Labels::from_pairs(of.iter().copied()), &store, TimestampMs(50)).len()
    }

    #[test]
    fn a_firing_source_silences_its_targets() {
        let down = alert(&[("name", "down"), ("cell", "1")], 100);
        let target = [("name", "slow"), ("cell", "1")];
        assert_eq!(check("name=down", "name=slow", &["cell"], std::slice::from_ref(&down), &target), 1);
        assert_eq!(check("name=down", "name=slow", &["cell"], &[down], &[("name", "slow"), ("cell", "2")]), 0);
        let over = alert(&[("name", "down"), ("cell", "1")], 50);
        assert_eq!(check("name=down", "name=slow", &["cell"], &[over], &target), 0);
    }

    #[test]
    fn a_missing_label_equals_an_empty_one() {
        let source = alert(&[("name", "down")], 100);
        assert_eq!(check("name=down", "name=slow", &["cell"], &[source], &[("name", "slow")]), 1);
    }

    #[test]
    fn one_of_several_sources_is_enough() {
        let over = alert(&[("name", "down"), ("node", "1")], 10);
        let firing = alert(&[("name", "down"), ("node", "2")], 100);
        assert_eq!(check("name=down", "name=slow", &[], &[over, firing], &[("name", "slow")]), 1);
    }

    #[test]
    fn an_alert_on_both_sides_does_not_inhibit_its_like() {
        let one = alert(&[("name", "x"), ("id", "1")], 100);
        assert_eq!(check("name=x", "name=x", &[], std::slice::from_ref(&one), &[("name", "x"), ("id", "1")]), 0);
        assert_eq!(check("name=x", "name=x", &[], &[one], &[("name", "x"), ("id", "2")]), 0);
    }

    #[test]
    fn a_forgotten_alert_inhibits_nothing() {
        let rule =
            InhibitRule { source: parse_matchers("a=1").expect("parses"), target: Vec::new(), equal: Vec::new() };
        let mut inhibitor = Inhibitor::new(vec![rule]);
        let labels = Labels::from_pairs([("a", "1")]);
        inhibitor.add(7, &labels);
        inhibitor.remove(7, &labels);
        assert!(inhibitor.rules[0].1.is_empty());
    }
}
