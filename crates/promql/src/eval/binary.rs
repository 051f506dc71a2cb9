//! Operators between numbers, and between two vectors whose series are matched by labels.

use std::collections::HashMap;

use model::{Labels, LabelsBuilder, METRIC_NAME, is_legacy_label_name};
use promql_syntax::quote;

use super::labels::is_metadata;
use super::map::same_labelset;
use super::rows::{Merged, Row, Rows};
use super::{Budget, Evaluation, Sink, Steps, absent, is_absent};
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

impl Side {
    fn group(&self, key: &Labels) -> Vec<&Row> {
        self.by_key.get(key).into_iter().flatten().map(|at| &self.rows[*at]).collect()
    }

    /// The keys in order of their rows, so that answers and errors do not depend on hashing.
    fn keys(&self) -> Vec<&Labels> {
        let mut keys: Vec<_> = self.by_key.iter().collect();
        keys.sort_by_key(|(_, rows)| rows.first().copied());
        keys.into_iter().map(|(key, _)| key).collect()
    }
}

impl Evaluation<'_> {
    /// An operator between two vectors.
    pub(super) fn binary(&self, node: &VectorBinary, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let mut left_rows = Rows::new(self.budget)?;
        let mut right_rows = Rows::new(self.budget)?;
        let left = self.side(node, &node.left, steps, &mut left_rows)?;
        let right = self.side(node, &node.right, steps, &mut right_rows)?;
        let swapped = node.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
        let (fill_many, fill_one) =
            if swapped { (node.fill_right, node.fill_left) } else { (node.fill_left, node.fill_right) };
        let mut matches = Matches {
            node,
            budget: self.budget,
            results: Merged::new(self.budget)?,
            column: vec![absent(); steps.count],
            matched: vec![false; steps.count],
        };
        let _held = self.budget.hold(steps.count)?;
        for key in one.keys() {
            refuse_duplicates(node, one, many, &one.by_key[key])?;
        }
        for key in many.keys() {
            let (many_rows, one_rows) = (many.group(key), one.group(key));
            let mut taken = Taken::new(node, &many_rows, steps);
            let filled = fill_one.map(|fill| filled(key, &one_rows, fill, steps));
            for many_row in &many_rows {
                for one_row in one_rows.iter().copied().chain(&filled) {
                    matches.pair(many_row, one_row, &mut taken)?;
                }
            }
        }
        if let Some(fill) = fill_many {
            for key in one.keys() {
                let filled = filled(key, &many.group(key), fill, steps);
                for one_row in one.group(key) {
                    matches.pair(&filled, one_row, &mut Taken::Anything)?;
                }
            }
        }
        matches.results.rows.rows.iter_mut().try_for_each(|row| sink((&row.labels).into(), &mut row.values))
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

/// A row that stands in where none of the match group has a value.
fn filled(key: &Labels, rows: &[&Row], fill: f64, steps: Steps) -> Row {
    let empty = |step: usize| rows.iter().all(|row| is_absent(row.values[step]));
    let values = (0..steps.count).map(|step| if empty(step) { fill } else { absent() }).collect();
    Row { labels: key.clone(), values }
}

/// Which results one match group already has.
enum Taken {
    /// No two can meet.
    Anything,
    /// One for each step, where there may only be one.
    Steps(Vec<bool>),
    /// One for each step and label set.
    Labels(HashMap<Labels, Vec<bool>>),
}

impl Taken {
    fn new(node: &VectorBinary, many_rows: &[&Row], steps: Steps) -> Self {
        // Rows of one group differ, and their results do, where these are all that is lost of a row.
        let replaced = |row: &&Row| node.include.iter().any(|label| row.labels.get(label).is_some());
        match node.cardinality {
            _ if many_rows.len() < 2 => Self::Anything,
            Cardinality::OneToOne => Self::Steps(vec![false; steps.count]),
            _ if !node.loses_names && !many_rows.iter().any(replaced) => Self::Anything,
            Cardinality::ManyToOne | Cardinality::OneToMany => Self::Labels(HashMap::new()),
        }
    }

    fn take(&mut self, labels: &Labels, matched: &[bool]) -> Result<(), PromqlError> {
        let (before, text) = match self {
            Self::Anything => return Ok(()),
            Self::Steps(before) => (before, "many-to-one matching must be explicit (group_left/group_right)"),
            Self::Labels(results) => {
                let before = results.entry(labels.clone()).or_insert_with(|| vec![false; matched.len()]);
                (before, "grouping labels must ensure unique matches")
            }
        };
        for (before, now) in before.iter_mut().zip(matched) {
            if *before && *now {
                return Err(PromqlError::execution(format!("multiple matches for labels: {text}")));
            }
            *before |= *now;
        }
        Ok(())
    }
}

/// The results of all match groups, and scratch columns.
struct Matches<'n> {
    node: &'n VectorBinary,
    budget: &'n Budget,
    results: Merged<'n>,
    column: Vec<f64>,
    matched: Vec<bool>,
}

impl Matches<'_> {
    /// Adds the results of one pair of rows.
    fn pair(&mut self, many: &Row, one: &Row, taken: &mut Taken) -> Result<(), PromqlError> {
        let node = self.node;
        self.budget.work(self.column.len())?;
        let (left, right) = if node.cardinality == Cardinality::OneToMany { (one, many) } else { (many, one) };
        let slots = self.column.iter_mut().zip(&mut self.matched);
        for ((slot, matched), (l, r)) in slots.zip(left.values.iter().zip(&right.values)) {
            *matched = !is_absent(*l) && !is_absent(*r);
            *slot = if *matched { element(node.op, node.return_bool, *l, *r, *l) } else { absent() };
        }
        let labels = result_labels(node, &many.labels, &one.labels);
        taken.take(&labels, &self.matched)?;
        self.results.add((&labels).into(), &self.column)?.map_err(|_| same_labelset())
    }
}

/// Of the "one" side, no two rows of a match group may have a value at the same step.
fn refuse_duplicates(node: &VectorBinary, one: &Side, many: &Side, rows: &[usize]) -> Result<(), PromqlError> {
    if rows.len() < 2 {
        return Ok(());
    }
    let always = node.fill_left.is_some() || node.fill_right.is_some();
    let mut holder: Vec<Option<usize>> = vec![None; many.any.len()];
    for at in rows {
        for (step, value) in one.rows[*at].values.iter().enumerate() {
            // Where the other side is empty there is nothing to match.
            if is_absent(*value) || !(always || many.any[step]) {
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

/// All labels within the braces, as Prometheus' messages show them.
pub(super) fn braced(labels: &Labels) -> String {
    let shown = |name: &str| if is_legacy_label_name(name) { name.to_owned() } else { quote(name) };
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{}={}", shown(name), quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn result_labels(node: &VectorBinary, many: &Labels, one: &Labels) -> Labels {
    let mut labels = LabelsBuilder::from_labels(many);
    if !node.op.is_comparison() || node.return_bool {
        labels.retain(|name, _| !is_metadata(name));
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
