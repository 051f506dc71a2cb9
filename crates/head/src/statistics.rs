//! What labels there are, and which of them make many series.

use std::cmp::Reverse;

use model::METRIC_NAME;

use crate::catalog::SLICE;
use crate::head::Head;

/// The labels that cost most, each list with the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Metric names and how many series have them.
    pub series_by_metric: Vec<(String, u64)>,
    /// Label names and how many values they have.
    pub values_by_name: Vec<(String, u64)>,
    /// Label names and the bytes of their values.
    pub bytes_by_name: Vec<(String, u64)>,
    /// Label pairs, as `name=value`, and how many series have them.
    pub series_by_pair: Vec<(String, u64)>,
    /// How many pairs there are.
    pub pairs: u64,
}

/// Keeps the `limit` largest.
fn shorten<T: Ord>(list: &mut Vec<(u64, T)>, limit: usize) {
    list.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    list.truncate(limit);
}

fn named(mut list: Vec<(u64, String)>, limit: usize) -> Vec<(String, u64)> {
    shorten(&mut list, limit);
    list.into_iter().map(|(count, text)| (text, count)).collect()
}

impl Head {
    /// All label names, sorted.
    pub fn names(&self) -> Vec<String> {
        let catalog = self.catalog();
        let index = catalog.index.read();
        let mut names: Vec<String> = index.pairs.names().iter().map(|n| n.text.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// All values of a label, sorted.
    pub fn values(&self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        self.catalog().each_value(name, 0, &mut |_, value| {
            values.push(value.to_owned());
            true
        });
        values.sort_unstable();
        values
    }

    /// The `limit` largest of each kind. Looks at every pair.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let catalog = self.catalog();
        let (values, bytes, pairs) = {
            let index = catalog.index.read();
            let names = || index.pairs.names().iter();
            let values: Vec<_> = names().map(|n| (n.pairs.len() as u64, n.text.to_string())).collect();
            let bytes: Vec<_> = names().map(|n| (n.value_bytes, n.text.to_string())).collect();
            (values, bytes, index.pairs.len())
        };
        let (mut metrics, mut all) = (Vec::new(), Vec::new());
        for start in (0..pairs).step_by(SLICE) {
            let index = catalog.index.read();
            for pair in (start..pairs.min(start + SLICE)).map(|pair| pair as u32) {
                let entry = (index.pairs.postings(pair).len() as u64, Reverse(pair));
                if index.pairs.text(pair).0 == METRIC_NAME {
                    metrics.push(entry);
                }
                all.push(entry);
            }
            drop(index);
            // What cannot be among the largest any more is dropped on the way.
            shorten(&mut metrics, limit.max(SLICE));
            shorten(&mut all, limit.max(SLICE));
        }
        shorten(&mut metrics, limit);
        shorten(&mut all, limit);
        let index = catalog.index.read();
        let text = |pair: &Reverse<u32>| index.pairs.text(pair.0);
        let metrics = metrics.iter().map(|(count, pair)| (*count, text(pair).1.to_owned())).collect();
        let all = all.iter().map(|(count, pair)| (*count, format!("{}={}", text(pair).0, text(pair).1))).collect();
        Cardinality {
            series_by_metric: named(metrics, limit),
            values_by_name: named(values, limit),
            bytes_by_name: named(bytes, limit),
            series_by_pair: named(all, limit),
            pairs: pairs as u64,
        }
    }
}
