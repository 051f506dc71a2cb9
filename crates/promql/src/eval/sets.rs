//! `and`, `or`, `unless`: which rows are there decides, not their values.

use std::collections::HashMap;

use model::Labels;

use super::map::same_labelset;
use super::rows::Merged;
use super::{Evaluation, RowLabels, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{SetBinary, SetOp, Vector};

/// For each match group, the steps at which some row has a value.
type Presence = HashMap<Labels, Vec<bool>>;

impl Evaluation<'_> {
    /// A set operator.
    pub(super) fn set(&self, node: &SetBinary, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        if node.op == SetOp::Or {
            return self.or(node, steps, sink);
        }
        let names = node.matching.names();
        let mut held = self.budget.hold(0)?;
        let mut present = Presence::new();
        let mut note = |labels: RowLabels<'_>, column: &mut [f64]| {
            let key = node.matching.key(labels, &names);
            if !present.contains_key(&key) {
                // A flag is an eighth of a sample.
                held.add_group(steps.count / 8 + 1)?;
            }
            mark(&mut present, key, column);
            Ok(())
        };
        self.vector(&node.right, steps, &mut note)?;
        let wanted = node.op == SetOp::And;
        self.vector(&node.left, steps, &mut |labels, column| {
            let there = present.get(&node.matching.key(labels, &names));
            for (step, value) in column.iter_mut().enumerate() {
                if there.is_some_and(|there| there[step]) != wanted {
                    *value = absent();
                }
            }
            self.budget.work(column.len())?;
            sink(labels, column)
        })
    }

    fn or(&self, node: &SetBinary, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let names = node.matching.names();
        let mut present = Presence::new();
        let mut merged = Merged::new(self.budget)?;
        let add = |merged: &mut Merged<'_>, labels: RowLabels<'_>, column: &[f64]| {
            merged.add(labels, column)?.map_err(|_| same_labelset())
        };
        let (left, right): (&Vector, &Vector) = (&node.left, &node.right);
        self.vector(left, steps, &mut |labels, column| {
            mark(&mut present, node.matching.key(labels, &names), column);
            add(&mut merged, labels, column)
        })?;
        self.vector(right, steps, &mut |labels, column| {
            if let Some(there) = present.get(&node.matching.key(labels, &names)) {
                column.iter_mut().zip(there).filter(|(_, there)| **there).for_each(|(value, _)| *value = absent());
            }
            self.budget.work(column.len())?;
            add(&mut merged, labels, column)
        })?;
        merged.rows.rows.iter_mut().try_for_each(|row| sink((&row.labels).into(), &mut row.values))
    }
}

fn mark(present: &mut Presence, key: Labels, column: &[f64]) {
    let flags = present.entry(key).or_insert_with(|| vec![false; column.len()]);
    for (flag, value) in flags.iter_mut().zip(column) {
        *flag |= !is_absent(*value);
    }
}
