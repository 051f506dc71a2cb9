//! Operators between numbers, and between two vectors whose series are matched by labels.

use std::collections::HashMap;

use model::{Labels, LabelsBuilder, METRIC_NAME};

use super::map::same_labelset;
use super::rows::{Merged, Row, Rows};
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{BinaryOp, Cardinality, Vector, VectorBinary};

fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        comparison => f64::from(u8::from(holds(comparison, left, right))),
    }
}

fn holds(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => false,
    }
}

/// Between two scalars; comparisons answer 0 or 1.
pub(super) fn scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    arithmetic(op, left, right)
}

/// Between two elements, of which at least one is of a vector; a comparison that does not hold leaves nothing, one
/// that holds leaves `kept`.
#[inline]
pub(super) fn element(op: BinaryOp, return_bool: bool, left: f64, right: f64, kept: f64) -> f64 {
    if !op.is_comparison() || return_bool {
        arithmetic(op, left, right)
    } else if holds(op, left, right) {
        kept
    } else {
        absent()
    }
}

/// Rows of one side by what they are matched on.
struct Side {
    rows: Vec<Row>,
    by_key: HashMap<Labels, Vec<usize>>,
    /// Whether any row has a value at the step.
    any: Vec<bool>,
}

impl Evaluation<'_> {
    /// An operator between two vectors.
    pub(super) fn binary(&self, node: &VectorBinary, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let mut left_rows = Rows::new(self.budget)?;
        let mut right_rows = Rows::new(self.budget)?;
        let left = self.side(node, &node.left, steps, &mut left_rows)?;
        if left.rows.is_empty() {
            return Ok(());
        }
        let right = self.side(node, &node.right, steps, &mut right_rows)?;
        let swapped = node.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
        for rows in one.by_key.values().filter(|rows| rows.len() > 1) {
            refuse_duplicates(node, one, many, rows)?;
        }
        let mut results = Merged::new(self.budget)?;
        let mut scratch = Scratch { column: vec![absent(); steps.count], seen: vec![false; steps.count] };
        let mut keys: Vec<_> = many.by_key.iter().collect();
        // In order of rows, so that answers and errors do not depend on hashing.
        keys.sort_by_key(|(_, rows)| rows.first().copied());
        for (key, many_rows) in keys {
            let Some(one_rows) = one.by_key.get(key) else { continue };
            scratch.seen.fill(false);
            for many_row in many_rows.iter().map(|at| &many.rows[*at]) {
                for one_row in one_rows.iter().map(|at| &one.rows[*at]) {
                    self.budget.work(steps.count)?;
                    combine(node, many_row, one_row, &mut scratch)?;
                    let labels = result_labels(node, &many_row.labels, &one_row.labels);
                    results.add((&labels).into(), &scratch.column)?.map_err(|_| clash(node))?;
                }
            }
        }
        results.rows.rows.iter_mut().try_for_each(|row| sink((&row.labels).into(), &mut row.values))
    }

    fn side(
        &self,
        node: &VectorBinary,
        input: &Vector,
        steps: Steps,
        kept: &mut Rows<'_>,
    ) -> Result<Side, PromqlError> {
        let names = node.matching.names();
        let mut any = vec![false; steps.count];
        self.vector(input, steps, &mut |labels, column| {
            for (any, value) in any.iter_mut().zip(column.iter()) {
                *any |= !is_absent(*value);
            }
            kept.keep(labels, column)
        })?;
        let rows = std::mem::take(&mut kept.rows);
        let mut by_key: HashMap<Labels, Vec<usize>> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            by_key.entry(node.matching.key((&row.labels).into(), &names)).or_default().push(at);
        }
        Ok(Side { rows, by_key, any })
    }
}

struct Scratch {
    column: Vec<f64>,
    /// Steps at which the match group already has a result.
    seen: Vec<bool>,
}

/// Fills the scratch column with the results of one pair of rows.
fn combine(node: &VectorBinary, many: &Row, one: &Row, scratch: &mut Scratch) -> Result<(), PromqlError> {
    let (left, right) = if node.cardinality == Cardinality::OneToMany { (one, many) } else { (many, one) };
    let slots = scratch.column.iter_mut().zip(&mut scratch.seen);
    for ((slot, seen), (l, r)) in slots.zip(left.values.iter().zip(&right.values)) {
        *slot = if is_absent(*l) || is_absent(*r) { absent() } else { element(node.op, node.return_bool, *l, *r, *l) };
        if node.cardinality == Cardinality::OneToOne && !is_absent(*slot) {
            if *seen {
                return Err(PromqlError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            *seen = true;
        }
    }
    Ok(())
}

/// Of the "one" side, no two rows of a match group may have a value at the same step.
fn refuse_duplicates(node: &VectorBinary, one: &Side, many: &Side, rows: &[usize]) -> Result<(), PromqlError> {
    let mut holder: Vec<Option<usize>> = vec![None; many.any.len()];
    for at in rows {
        for (step, value) in one.rows[*at].values.iter().enumerate() {
            // Where the other side is empty there is nothing to match.
            if is_absent(*value) || !many.any[step] {
                continue;
            }
            if let Some(first) = holder[step] {
                let names = node.matching.names();
                let group = braced(&node.matching.key((&one.rows[*at].labels).into(), &names));
                let side = if node.cardinality == Cardinality::OneToMany { "left" } else { "right" };
                let (second, first) = (braced(&one.rows[*at].labels), braced(&one.rows[first].labels));
                return Err(PromqlError::execution(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
                     [{second}, {first}];many-to-many matching not allowed: matching labels must be unique on one side"
                )));
            }
            holder[step] = Some(*at);
        }
    }
    Ok(())
}

fn clash(node: &VectorBinary) -> PromqlError {
    match node.cardinality {
        Cardinality::OneToOne => same_labelset(),
        Cardinality::ManyToOne | Cardinality::OneToMany => {
            PromqlError::execution("multiple matches for labels: grouping labels must ensure unique matches")
        }
    }
}

/// All labels within the braces, as Prometheus' messages show them.
fn braced(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn result_labels(node: &VectorBinary, many: &Labels, one: &Labels) -> Labels {
    let mut labels = LabelsBuilder::from_labels(many);
    if !node.op.is_comparison() || node.return_bool {
        labels.remove(METRIC_NAME);
    }
    if node.cardinality == Cardinality::OneToOne {
        // The name is matched on only where `on` lists it, yet a comparison keeps it unless `on` drops it.
        let listed = |name: &str| node.matching.labels.iter().any(|l| l == name);
        if node.matching.include {
            labels.retain(|name, _| listed(name));
        } else {
            labels.retain(|name, _| name == METRIC_NAME || !listed(name));
        }
    }
    for name in &node.include {
        labels.set(name, one.get(name).unwrap_or(""));
    }
    labels.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_on_odd_numbers() {
        let nan = f64::NAN;
        assert!(scalars(BinaryOp::Mod, 1.0, 0.0).is_nan());
        assert_eq!(scalars(BinaryOp::Mod, -5.0, 3.0), -2.0);
        assert_eq!(scalars(BinaryOp::Pow, 1.0, nan), 1.0);
        assert_eq!(scalars(BinaryOp::Div, 1.0, 0.0), f64::INFINITY);
        assert_eq!(scalars(BinaryOp::NotEqual, nan, nan), 1.0);
        assert!(is_absent(element(BinaryOp::Equal, false, nan, nan, nan)));
        assert_eq!(element(BinaryOp::Less, false, 1.0, 2.0, 2.0), 2.0);
        assert_eq!(element(BinaryOp::Less, true, 2.0, 1.0, 1.0), 0.0);
    }
}
