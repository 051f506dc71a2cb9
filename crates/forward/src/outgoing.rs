//! What a series is called on its way out, or that it stays here.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use model::{ExemplarRow, Labels, LabelsBuilder, Matcher, MetricMetadata, Row};
use relabel::RelabelRule;

use crate::forwarder::Stored;
use crate::series_key::{SeriesKey, SeriesMap};

/// A series without samples for this long, or up to twice as long, is forgotten.
const REMEMBER: Duration = Duration::from_secs(15 * 60);
/// Series of one generation, however young.
const MAX_REMEMBERED: usize = 4_000_000;

/// What was decided about series.
#[derive(Default)]
struct Generation {
    decided: SeriesMap<Option<Labels>>,
    selected_names: HashSet<String>,
}

impl Generation {
    fn remember(&mut self, series: SeriesKey, out: Option<Labels>) {
        if let Some(name) = out.as_ref().map(Labels::metric_name)
            && !self.selected_names.contains(name)
        {
            self.selected_names.insert(name.to_owned());
        }
        self.decided.insert(series, out);
    }
}

/// Selects and renames series for one destination; every series is decided once.
pub(crate) struct Outgoing {
    external_labels: Labels,
    matches: Vec<Vec<Matcher>>,
    relabel: Vec<RelabelRule>,
    /// Series that had samples since `turned`, and those that only had some before.
    current: Generation,
    previous: Generation,
    turned: Instant,
}

impl Outgoing {
    pub(crate) fn new(external_labels: Labels, matches: Vec<Vec<Matcher>>, relabel: Vec<RelabelRule>) -> Self {
        let (current, previous) = (Generation::default(), Generation::default());
        Self { external_labels, matches, relabel, current, previous, turned: Instant::now() }
    }

    /// Forgets series that are gone. Call it with every batch.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        if now.duration_since(self.turned) >= REMEMBER || self.current.decided.len() >= MAX_REMEMBERED {
            self.previous = std::mem::take(&mut self.current);
            self.turned = now;
        }
    }

    /// The row as the destination shall see it; `None` where it is not selected. `labels` reads those of a row, for
    /// series that are not remembered.
    pub(crate) fn row(&mut self, stored: &Stored, labels: &dyn Fn(usize) -> Option<Labels>) -> Option<Row> {
        let labels = self.series(stored.key, || labels(stored.row))?;
        Some(Row { labels, sample: stored.sample })
    }

    /// The exemplar as the destination shall see it.
    pub(crate) fn exemplar(&mut self, key: SeriesKey, row: &ExemplarRow) -> Option<ExemplarRow> {
        let series = self.series(key, || Some(row.series.clone()))?;
        Some(ExemplarRow { series, exemplar: row.exemplar.clone() })
    }

    /// What a series is called; `labels` reads those it has here.
    fn series(&mut self, key: SeriesKey, labels: impl FnOnce() -> Option<Labels>) -> Option<Labels> {
        if let Some(out) = self.current.decided.get(&key) {
            return out.clone();
        }
        let out = match self.previous.decided.remove(&key) {
            Some(known) => known,
            None => self.decide(&labels()?),
        };
        self.current.remember(key, out.clone());
        out
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
        suffixes.iter().any(|suffix| {
            let name = format!("{}{suffix}", entry.family);
            [&self.current, &self.previous].iter().any(|g| g.selected_names.contains(&name))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::series_key::SeriesKeys;
    use model::{Sample, TimestampMs};

    fn sent(outgoing: &mut Outgoing, labels: &[(&str, &str)]) -> Option<String> {
        static KEYS: LazyLock<SeriesKeys> = LazyLock::new(SeriesKeys::default);
        let labels = Labels::from_pairs(labels.iter().copied());
        let sample = Sample { timestamp: TimestampMs(0), value: 0.0 };
        let stored = Stored { key: KEYS.of_labels(&labels), row: 0, sample };
        outgoing.row(&stored, &|_| Some(labels.clone())).map(|r| r.labels.to_string())
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

    #[test]
    fn series_that_are_gone_are_forgotten() {
        let mut outgoing = Outgoing::new(Labels::empty(), Vec::new(), Vec::new());
        let remembered = |o: &Outgoing| o.current.decided.len() + o.previous.decided.len();
        for name in ["lives", "dies"] {
            assert!(sent(&mut outgoing, &[("__name__", name)]).is_some());
        }
        for round in 1..=2 {
            outgoing.forget_old(outgoing.turned + REMEMBER);
            assert_eq!(sent(&mut outgoing, &[("__name__", "lives")]).as_deref(), Some("lives"));
            assert_eq!(remembered(&outgoing), 3 - round);
        }
        let family = |family: &str| MetricMetadata { family: family.into(), ..MetricMetadata::default() };
        assert!(outgoing.wants(&family("lives")) && !outgoing.wants(&family("dies")));
    }
}
