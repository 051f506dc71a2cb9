//! Columns held back by nodes that need several rows together.

use std::collections::HashMap;

use model::{Labels, SampleBuffer};

use super::budget::{Budget, Claim, Held};
use super::labels::RowLabels;
use super::steps::{Steps, is_absent};
use crate::PromqlError;

/// One series of a node's output.
#[derive(Debug)]
pub(crate) struct Row {
    pub labels: Labels,
    pub values: Vec<f64>,
}

/// Rows held in memory, accounted for.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub rows: Vec<Row>,
    held: Held<'a>,
}

impl<'a> Rows<'a> {
    pub fn new(budget: &'a Budget) -> Result<Self, PromqlError> {
        Ok(Self { rows: Vec::new(), held: budget.hold(0)? })
    }

    /// Keeps a copy of a row, unless it has no value at all.
    pub fn keep(&mut self, labels: RowLabels<'_>, values: &[f64]) -> Result<(), PromqlError> {
        self.held.work(values.len())?;
        if values.iter().all(|v| is_absent(*v)) {
            return Ok(());
        }
        let labels = labels.build();
        self.held.add(values.len())?;
        self.held.add_labels(&labels)?;
        self.rows.push(Row { labels, values: values.to_vec() });
        Ok(())
    }

    /// The rows, and what they claim.
    pub fn into_claim(self) -> (Vec<Row>, Claim) {
        (self.rows, self.held.into_claim())
    }
}

/// Rows by their labels: those that share a label set are laid into one, where they do not have values at one step.
pub(crate) struct Merged<'a> {
    index: HashMap<Labels, usize>,
    pub rows: Rows<'a>,
}

/// Two rows with equal labels that cannot be one.
pub(crate) struct Clash;

impl<'a> Merged<'a> {
    pub fn new(budget: &'a Budget) -> Result<Self, PromqlError> {
        Ok(Self { index: HashMap::new(), rows: Rows::new(budget)? })
    }

    /// Adds a row; `Ok(Err(Clash))` when another row with its labels has a value at a step where it has one too.
    pub fn add(&mut self, labels: RowLabels<'_>, values: &[f64]) -> Result<Result<(), Clash>, PromqlError> {
        let labels = labels.build();
        let Some(at) = self.index.get(&labels) else {
            let before = self.rows.rows.len();
            self.rows.keep((&labels).into(), values)?;
            if self.rows.rows.len() > before {
                self.index.insert(labels, before);
            }
            return Ok(Ok(()));
        };
        self.rows.held.work(values.len())?;
        for (new, old) in values.iter().zip(&mut self.rows.rows[*at].values) {
            if is_absent(*new) {
                continue;
            }
            if !is_absent(*old) {
                return Ok(Err(Clash));
            }
            *old = *new;
        }
        Ok(Ok(()))
    }
}

/// Writes the values of a column with their times; the reverse of decoding.
pub(crate) fn compact(values: &[f64], steps: Steps, into: &mut SampleBuffer) {
    into.clear();
    for (value, time) in values.iter().zip(steps.iter()) {
        if !is_absent(*value) {
            into.push(time, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::absent;

    #[test]
    fn rows_merge_where_they_do_not_overlap() {
        let budget = Budget::new(100, None, None);
        let mut merged = Merged::new(&budget).expect("fits");
        let labels = Labels::from_pairs([("a", "b")]);
        let mut add = |values: &[f64]| merged.add((&labels).into(), values).expect("fits").is_ok();
        assert!(add(&[absent(), absent()]));
        assert!(add(&[1.0, absent()]));
        assert!(add(&[absent(), 2.0]));
        assert!(!add(&[3.0, absent()]));
        assert_eq!(merged.rows.rows.len(), 1);
        assert_eq!(merged.rows.rows[0].values, [1.0, 2.0]);
    }
}
