//! `sort` and its relatives: rows in an order of their own, at an instant. Over a range there is no order of rows to
//! speak of.

use std::cmp::Ordering;

use model::Labels;

use super::rows::Rows;
use super::{Evaluation, Sink, Steps};
use crate::PromqlError;
use crate::plan::{SortOrder, Vector};

impl Evaluation<'_> {
    pub(super) fn sort(
        &self,
        order: &SortOrder,
        input: &Vector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        if steps.count != 1 {
            return self.vector(input, steps, sink);
        }
        let mut kept = Rows::new(self.budget)?;
        self.vector(input, steps, &mut |labels, column| kept.keep(labels, column))?;
        // Rows that are equal otherwise come in order of labels.
        kept.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        match order {
            SortOrder::Value { descending } => kept.rows.sort_by(|a, b| {
                // NaN last either way.
                let (a, b) = (a.values[0], b.values[0]);
                let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
                a.is_nan().cmp(&b.is_nan()).then(if *descending { order.reverse() } else { order })
            }),
            SortOrder::Labels { names, descending } => {
                kept.rows.sort_by(|a, b| {
                    let orders = names.iter().map(|name| natural(value(&a.labels, name), value(&b.labels, name)));
                    orders.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels))
                });
                if *descending {
                    kept.rows.reverse();
                }
            }
        }
        kept.rows.iter_mut().try_for_each(|row| sink((&row.labels).into(), &mut row.values))
    }
}

fn value<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.get(name).unwrap_or("")
}

/// The order of people: runs of digits are numbers, so that `cpu10` comes after `cpu9`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(first), Some(second)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if first.is_ascii_digit() && second.is_ascii_digit() {
            let ((left, after_left), (right, after_right)) = (number(a), number(b));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (after_left, after_right);
        } else if first == second {
            (a, b) = (&a[1..], &b[1..]);
        } else {
            return first.cmp(second);
        }
    }
}

/// The digits at the start, without leading zeros, and what follows them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|c| **c == b'0').count();
    // One digit remains of a zero.
    (&text[zeros.min(end - 1)..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_numbers() {
        let mut names = ["cpu10", "cpu2", "a", "cpu2b", "cpu02a", "", "cpu", "b1.10", "b1.9", "0", "00"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "0", "00", "a", "b1.9", "b1.10", "cpu", "cpu2", "cpu02a", "cpu2b", "cpu10"]);
    }
}
