//! What a series is called on its way out, or that it stays here. Decided once per series and destination, and looked up
//! by the number that the queue gave the series.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use model::{Labels, LabelsBuilder, Matcher, MetricMetadata};
use relabel::RelabelRule;

use crate::config_section::RemoteWriteConfig;

/// Decisions that nobody asked for in so much time, or up to twice as much, are forgotten.
const REMEMBER: Duration = Duration::from_secs(15 * 60);
/// Decisions that are remembered and forgotten together.
const PAGE: usize = 1_024;

/// Selects and renames series for one destination.
#[derive(Clone)]
pub(crate) struct Selector {
    external_labels: Labels,
    matches: Vec<Vec<Matcher>>,
    relabel: Vec<RelabelRule>,
}

impl Selector {
    pub(crate) fn new(config: &RemoteWriteConfig, external_labels: &Labels) -> Self {
        let (matches, relabel) = (config.matches.clone(), config.relabel.clone());
        Self { external_labels: external_labels.clone(), matches, relabel }
    }

    /// What a series is called; `None` where it is not selected.
    pub(crate) fn decide(&self, labels: &Labels) -> Option<Labels> {
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
}

/// What was decided about a series.
#[derive(Clone, Default)]
enum Decision {
    #[default]
    Open,
    Stays,
    Leaves(Labels),
}

struct Page {
    decisions: Vec<Decision>,
    /// Whether anybody asked since the last turn.
    is_used: bool,
}

/// The decisions of one destination.
pub(crate) struct Outgoing {
    selector: Selector,
    pages: HashMap<u32, Page>,
    /// The page that was asked last: numbers of one batch are mostly close together.
    names: HashSet<String>,
    turned: Instant,
}

impl Outgoing {
    pub(crate) fn new(selector: Selector) -> Self {
        Self { selector, pages: HashMap::new(), names: HashSet::new(), turned: Instant::now() }
    }

    /// Forgets series that are gone. Call it now and then.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        if now.duration_since(self.turned) < REMEMBER {
            return;
        }
        self.turned = now;
        self.pages.retain(|_, page| std::mem::take(&mut page.is_used));
        let decided = self.pages.values().flat_map(|page| &page.decisions);
        self.names = decided.filter_map(name).map(str::to_owned).collect();
    }

    /// What the series of this number is called; `labels` reads those it has here, and is asked once.
    pub(crate) fn series(&mut self, number: u32, labels: impl FnOnce() -> Option<Labels>) -> Option<Labels> {
        let (page, at) = (number / PAGE as u32, number as usize % PAGE);
        let page =
            self.pages.entry(page).or_insert_with(|| Page { decisions: vec![Decision::Open; PAGE], is_used: true });
        page.is_used = true;
        let decision = &mut page.decisions[at];
        if let Decision::Open = decision {
            *decision = match self.selector.decide(&labels()?) {
                Some(out) => Decision::Leaves(out),
                None => Decision::Stays,
            };
            if let Some(name) = name(decision)
                && !self.names.contains(name)
            {
                self.names.insert(name.to_owned());
            }
        }
        match decision {
            Decision::Leaves(out) => Some(out.clone()),
            Decision::Open | Decision::Stays => None,
        }
    }

    /// Whether any selected series belongs to this family.
    pub(crate) fn wants(&self, entry: &MetricMetadata) -> bool {
        let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_info"];
        suffixes.iter().any(|suffix| self.names.contains(&format!("{}{suffix}", entry.family)))
    }
}

fn name(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Leaves(labels) => Some(labels.metric_name()),
        Decision::Open | Decision::Stays => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(text: &str, external: &[(&str, &str)]) -> Outgoing {
        let config = crate::tests::configs(text).expect("is valid").remove(0);
        Outgoing::new(Selector::new(&config, &Labels::from_pairs(external.iter().copied())))
    }

    fn sent(outgoing: &mut Outgoing, number: u32, labels: &[(&str, &str)]) -> Option<String> {
        let labels = Labels::from_pairs(labels.iter().copied());
        outgoing.series(number, || Some(labels)).map(|labels| labels.to_string())
    }

    fn family(family: &str) -> MetricMetadata {
        MetricMetadata { family: family.into(), ..MetricMetadata::default() }
    }

    #[test]
    fn selectors_see_external_labels_and_series_keep_their_own() {
        let section = r#"[{url: 'http://a/', match: ['{metacluster="cell-1",__name__=~"up|x"}']}]"#;
        let mut out = outgoing(section, &[("metacluster", "cell-1"), ("zone", "a")]);
        let up = sent(&mut out, 0, &[("__name__", "up"), ("zone", "b")]);
        assert_eq!(up.as_deref(), Some(r#"up{metacluster="cell-1", zone="b"}"#));
        assert_eq!(sent(&mut out, 1, &[("__name__", "down")]), None);
        assert_eq!(sent(&mut out, 5_000, &[("__name__", "up"), ("metacluster", "forged")]), None);
        assert!(out.wants(&family("up")) && !out.wants(&family("down")));
    }

    #[test]
    fn series_are_decided_once_and_forgotten_when_they_are_gone() {
        let mut out = outgoing("[{url: 'http://a/'}]", &[]);
        assert!(sent(&mut out, 1, &[("__name__", "lives")]).is_some());
        assert!(sent(&mut out, 9_999, &[("__name__", "dies")]).is_some());
        for round in 1..=2 {
            out.forget_old(out.turned + REMEMBER);
            let known = out.series(1, || panic!("is known"));
            assert_eq!(known.map(|labels| labels.to_string()).as_deref(), Some("lives"));
            assert_eq!(out.pages.len(), 3 - round);
        }
        assert!(out.wants(&family("lives")) && !out.wants(&family("dies")));
    }
}
