//! Metric families a destination should hear of: at once when they change, and again now and then, since a destination
//! that has restarted knows none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use model::MetricMetadata;

use crate::config_section::MetadataConfig;

/// Families that are remembered; more are not worth their memory.
const MAX_FAMILIES: usize = 100_000;

pub(crate) struct Families {
    known: BTreeMap<String, MetricMetadata>,
    waiting: BTreeSet<String>,
    all_said: Instant,
}

impl Families {
    pub(crate) fn new(now: Instant) -> Self {
        Self { known: BTreeMap::new(), waiting: BTreeSet::new(), all_said: now }
    }

    /// The same knowledge for a destination that has heard nothing yet.
    pub(crate) fn for_another(&self) -> Self {
        Self { known: self.known.clone(), waiting: self.known.keys().cloned().collect(), all_said: self.all_said }
    }

    /// Remembers what is new or has changed.
    pub(crate) fn learn(&mut self, entries: &[MetricMetadata]) {
        for entry in entries {
            let known = self.known.get(&entry.family);
            if known == Some(entry) || (known.is_none() && self.known.len() >= MAX_FAMILIES) {
                continue;
            }
            self.known.insert(entry.family.clone(), entry.clone());
            self.waiting.insert(entry.family.clone());
        }
    }

    /// What was taken did not arrive.
    pub(crate) fn say_again(&mut self, entries: &[MetricMetadata]) {
        self.waiting.extend(entries.iter().map(|entry| entry.family.clone()));
    }

    /// What the next request should carry.
    pub(crate) fn take(&mut self, config: &MetadataConfig, now: Instant) -> Vec<MetricMetadata> {
        if self.waiting.is_empty() && now.duration_since(self.all_said) >= config.send_interval {
            self.waiting.extend(self.known.keys().cloned());
            self.all_said = now;
        }
        let next = std::iter::from_fn(|| self.waiting.pop_first()).take(config.max_families_per_send);
        next.filter_map(|family| self.known.get(&family).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn says_what_changed_at_once_and_everything_now_and_then() {
        let start = Instant::now();
        let config = MetadataConfig { send_interval: Duration::from_secs(60), max_families_per_send: 2 };
        let family = |family: &str, help: &str| MetricMetadata {
            family: family.into(),
            help: help.into(),
            ..MetricMetadata::default()
        };
        let mut families = Families::new(start);
        families.learn(&[family("a", ""), family("b", ""), family("c", "")]);
        assert_eq!(families.take(&config, start).len(), 2);
        assert_eq!(families.take(&config, start), [family("c", "")]);
        families.learn(&[family("a", ""), family("b", "new")]);
        let taken = families.take(&config, start);
        families.say_again(&taken);
        assert_eq!(families.take(&config, start), [family("b", "new")]);
        assert_eq!(families.take(&config, start), []);
        let mut another = families.for_another();
        assert_eq!(another.take(&config, start), [family("a", ""), family("b", "new")]);
        assert_eq!(another.take(&config, start), [family("c", "")]);
        let later = start + Duration::from_secs(60);
        assert_eq!(families.take(&config, later), [family("a", ""), family("b", "new")]);
        assert_eq!(families.take(&config, later), [family("c", "")]);
        assert_eq!(families.take(&config, later), []);
    }
}
