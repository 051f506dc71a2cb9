//! What a series is called on its way out, or that it stays here.

use std::collections::{HashMap, HashSet};

use model::{Labels, LabelsBuilder, Matcher, MetricMetadata, Row};
use relabel::RelabelRule;

/// Beyond this many remembered series the memory is emptied and filled again by those that still live.
const MAX_REMEMBERED: usize = 4_000_000;

/// Selects and renames series for one destination; every series is decided once.
pub(crate) struct Outgoing {
    external_labels: Labels,
    matches: Vec<Vec<Matcher>>,
    relabel: Vec<RelabelRule>,
    decided: HashMap<Labels, Option<Labels>>,
    selected_names: HashSet<String>,
}

impl Outgoing {
    pub(crate) fn new(external_labels: Labels, matches: Vec<Vec<Matcher>>, relabel: Vec<RelabelRule>) -> Self {
        Self { external_labels, matches, relabel, decided: HashMap::new(), selected_names: HashSet::new() }
    }

    /// The row as the destination shall see it; `None` where it is not selected.
    pub(crate) fn row(&mut self, row: &Row) -> Option<Row> {
        if !self.decided.contains_key(&row.labels) {
            if self.decided.len() >= MAX_REMEMBERED {
                self.decided.clear();
            }
            let out = self.decide(&row.labels);
            if let Some(out) = &out {
                self.selected_names.insert(out.metric_name().to_owned());
            }
            self.decided.insert(row.labels.clone(), out);
        }
        let labels = self.decided.get(&row.labels)?.clone()?;
        Some(Row { labels, sample: row.sample })
    }

    fn decide(&self, labels: &Labels) -> Option<Labels> {
        let full = labels.with_defaults(&self.external_labels);
        let selected = self.matches.is_empty() || self.matches.iter().any(|m| model::matches_all(m, &full));
        if !selected {
            return None;
        }
        if self.relabel.is_empty() {
            return Some(full);
        }
        let mut builder = LabelsBuilder::from_labels(&full);
        let kept = relabel::apply(&self.relabel, &mut builder) && !builder.is_empty();
        kept.then(|| builder.build())
    }

    /// Whether any selected series belongs to this family.
    pub(crate) fn wants(&self, entry: &MetricMetadata) -> bool {
        let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_info"];
        suffixes.iter().any(|suffix| self.selected_names.contains(&format!("{}{suffix}", entry.family)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Sample, TimestampMs};

    fn sent(outgoing: &mut Outgoing, labels: &[(&str, &str)]) -> Option<String> {
        let labels = Labels::from_pairs(labels.iter().copied());
        let sample = Sample { timestamp: TimestampMs(0), value: 0.0 };
        outgoing.row(&Row { labels, sample }).map(|r| r.labels.to_string())
    }

    #[test]
    fn selectors_see_external_labels_and_series_keep_their_own() {
        let external = Labels::from_pairs([("metacluster", "cell-1"), ("zone", "a")]);
        let selector = promql::parse_selector(r#"{metacluster="cell-1",__name__=~"up|x"}"#).expect("parses");
        let mut outgoing = Outgoing::new(external, vec![selector], Vec::new());
        let up = sent(&mut outgoing, &[("__name__", "up"), ("zone", "b")]);
        assert_eq!(up.as_deref(), Some(r#"up{metacluster="cell-1", zone="b"}"#));
        assert_eq!(sent(&mut outgoing, &[("__name__", "down")]), None);
        assert_eq!(sent(&mut outgoing, &[("__name__", "up"), ("metacluster", "forged")]), None);
        let family = |family: &str| MetricMetadata { family: family.into(), ..MetricMetadata::default() };
        assert!(outgoing.wants(&family("up")) && !outgoing.wants(&family("down")));
    }
}
