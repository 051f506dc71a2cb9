//! Remarks on the data, in Prometheus' words and with the place in the query that each is about.
//!
//! Native histograms, when they come, bring remarks of their own ("encountered a mix of histograms and floats",
//! "ignored histogram in ... aggregation"): each is one more [`Remark`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use promql_syntax::quote;

use super::text::{general, rfc3339, two_digits};
use crate::plan;

// An answer shows ten and counts the others; beyond this they are not worth their memory.
const MAX_NOTES: usize = 1000;

/// What there is to say.
pub(crate) enum Remark<'t> {
    /// A quantile outside of 0 to 1.
    InvalidQuantile(f64),
    /// A ratio outside of -1 to 1.
    InvalidRatio { ratio: f64, capped: f64 },
    /// A bucket whose `le` is not a number.
    BadBucketLabel(&'t str),
    /// `rate` or `increase` of a metric with this name.
    PossibleNonCounter(&'t str),
    /// Buckets whose counts fell.
    ForcedMonotonicity(Forced),
}

/// Where the counts of buckets had to be made to grow: the times, the bounds of the buckets, the largest fall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Forced {
    pub first_ms: i64,
    pub last_ms: i64,
    pub low: f64,
    pub high: f64,
    pub difference: f64,
    pub count: u64,
}

impl Forced {
    fn join(self, other: Self) -> Self {
        Self {
            first_ms: self.first_ms.min(other.first_ms),
            last_ms: self.last_ms.max(other.last_ms),
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            difference: self.difference.max(other.difference),
            count: self.count + other.count,
        }
    }

    fn text(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            general(self.low),
            general(self.high),
            two_digits(self.difference),
            self.count,
            rfc3339(self.first_ms),
            rfc3339(self.last_ms)
        )
    }
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    place: u32,
    forced: Option<Forced>,
}

/// Remarks gathered during evaluation. Equal texts are one remark, about the last place of them.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: BTreeMap<String, Noted>,
    infos: BTreeMap<String, Noted>,
    taken: usize,
}

impl Notes {
    /// Adds a remark about what begins at this byte of the query.
    pub fn add(&mut self, plan::Place(place): plan::Place, remark: &Remark<'_>) {
        self.taken += 1;
        let (notes, text) = match remark {
            Remark::InvalidQuantile(phi) => {
                let text = format!("quantile value should be between 0 and 1, got {}", general(*phi));
                (&mut self.warnings, text)
            }
            Remark::InvalidRatio { ratio, capped } => {
                let (ratio, capped) = (general(*ratio), general(*capped));
                let text = format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}");
                (&mut self.warnings, text)
            }
            Remark::BadBucketLabel(value) => (
                &mut self.warnings,
                format!("bucket label \"le\" is missing or has a malformed value of {}", quote(value)),
            ),
            Remark::PossibleNonCounter(name) => {
                let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
                (&mut self.infos, format!("{text}: {}", quote(name)))
            }
            Remark::ForcedMonotonicity(_) => {
                let page = "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile";
                let text = format!("input to histogram_quantile needed to be fixed for monotonicity (see {page})");
                (&mut self.infos, text)
            }
        };
        let forced = if let Remark::ForcedMonotonicity(forced) = remark { Some(*forced) } else { None };
        let full = notes.len() >= MAX_NOTES;
        match notes.entry(text) {
            Entry::Occupied(mut known) => {
                let noted = known.get_mut();
                noted.place = noted.place.max(place);
                noted.forced = match (noted.forced, forced) {
                    (Some(before), Some(now)) => Some(before.join(now)),
                    (before, now) => before.or(now),
                };
            }
            Entry::Vacant(slot) if !full => {
                slot.insert(Noted { place, forced });
            }
            Entry::Vacant(_) => {}
        }
    }

    /// How many remarks were added, equal ones included.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Warnings and infos as they are shown, sorted.
    pub fn into_lists(self, query: &str) -> (Vec<String>, Vec<String>) {
        let list = |kind: &str, notes: BTreeMap<String, Noted>| {
            let shown = |(text, noted): (String, Noted)| {
                let details = noted.forced.map(|forced| forced.text()).unwrap_or_default();
                format!("PromQL {kind}: {text}{details} ({})", line_and_column(query, noted.place as usize))
            };
            notes.into_iter().map(shown).collect()
        };
        (list("warning", self.warnings), list("info", self.infos))
    }
}

/// `line:column`, both from 1, columns in bytes.
fn line_and_column(query: &str, position: usize) -> String {
    let Some(before) = query.as_bytes().get(..position) else { return "invalid position".to_owned() };
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_remark() {
        let mut notes = Notes::default();
        notes.add(plan::Place(5), &Remark::PossibleNonCounter("b"));
        notes.add(plan::Place(7), &Remark::PossibleNonCounter("b"));
        notes.add(plan::Place(0), &Remark::PossibleNonCounter("a"));
        notes.add(plan::Place(9), &Remark::InvalidRatio { ratio: 1.1, capped: 1.0 });
        let at = |ms, low| Forced { first_ms: ms, last_ms: ms, low, high: low, difference: low, count: 1 };
        notes.add(plan::Place(1), &Remark::ForcedMonotonicity(at(5000, 2.0)));
        notes.add(plan::Place(1), &Remark::ForcedMonotonicity(at(1000, 4.0)));
        let (warnings, infos) = notes.into_lists("sum(\nx)abc");
        assert_eq!(warnings, ["PromQL warning: ratio value should be between -1 and 1, got 1.1, capping to 1 (2:5)"]);
        let counter = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
        assert_eq!(infos[1..], [format!("{counter} \"a\" (1:1)"), format!("{counter} \"b\" (2:3)")]);
        let end = "#histogram_quantile), from buckets 2 to 4, with a max diff of 4, over 2 samples from \
                   1970-01-01T00:00:01Z to 1970-01-01T00:00:05Z (1:2)";
        assert!(infos[0].ends_with(end), "{}", infos[0]);
    }

    #[test]
    fn remarks_are_bounded() {
        let mut notes = Notes::default();
        (0..5000).for_each(|i| notes.add(plan::Place(0), &Remark::PossibleNonCounter(&format!("m{i}"))));
        assert_eq!(notes.into_lists("").1.len(), MAX_NOTES);
    }
}
