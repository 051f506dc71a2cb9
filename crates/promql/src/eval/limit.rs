//! `limitk` and `limit_ratio`: some of the rows, as they pass.

use model::Labels;
use xxhash_rust::xxh64::xxh64;

use super::annotations::Remark;
use super::groups::Groups;
use super::top::{Extremes, whole_numbers};
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{Aggregate, Parameter};

impl Evaluation<'_> {
    /// The first rows of each group at each step, in the order in which they come.
    pub(super) fn limit(
        &self,
        k: &Parameter,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let k = self.scalar(&k.value, steps)?;
        let Some(limits) = whole_numbers(&k)? else { return self.vector(&node.input, steps, &mut |_, _| Ok(())) };
        let names = node.grouping.names();
        let mut held = self.budget.hold(0)?;
        let mut groups: Groups<Vec<usize>> = Groups::new();
        self.vector(&node.input, steps, &mut |labels, column| {
            let counts = groups.of_row(&node.grouping, &names, labels, || {
                held.add_group(steps.count)?;
                Ok::<_, PromqlError>(vec![0; steps.count])
            })?;
            for (value, (count, limit)) in column.iter_mut().zip(counts.iter_mut().zip(&limits)) {
                if is_absent(*value) {
                    continue;
                }
                if *count < *limit {
                    *count += 1;
                } else {
                    *value = absent();
                }
            }
            sink(labels, column)
        })
    }

    /// The share of rows whose labels hash below the ratio; above its complement where it is negative.
    pub(super) fn limit_ratio(
        &self,
        ratio: &Parameter,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let place = ratio.place;
        let ratios = self.scalar(&ratio.value, steps)?;
        let extremes = Extremes::of(&ratios);
        if extremes.any_nan {
            return Err(PromqlError::execution("Ratio value is NaN"));
        }
        if extremes.max > 1.0 {
            self.note(place, &Remark::InvalidRatio { ratio: extremes.max, capped: 1.0 });
        }
        if extremes.min < -1.0 {
            self.note(place, &Remark::InvalidRatio { ratio: extremes.min, capped: -1.0 });
        }
        self.vector(&node.input, steps, &mut |labels, column| {
            let offset = offset(&labels.build());
            for (value, ratio) in column.iter_mut().zip(&ratios) {
                if !is_absent(*value) && !is_taken(ratio.clamp(-1.0, 1.0), offset) {
                    *value = absent();
                }
            }
            sink(labels, column)
        })
    }
}

fn is_taken(ratio: f64, offset: f64) -> bool {
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// Where in 0 to 1 a series stands: the hash that Prometheus has of its labels (xxHash64 of all names and values, each
/// after its length), so that both choose the same series.
fn offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::new();
    for part in labels.iter().flat_map(|(name, value)| [name, value]) {
        let length = part.len();
        if length < 255 {
            bytes.push(length as u8);
        } else {
            bytes.push(255);
            bytes.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_complement_share_the_rows() {
        let offsets: Vec<f64> =
            (0..1000).map(|i| offset(&Labels::from_pairs([("__name__", "m"), ("i", &i.to_string())]))).collect();
        let taken = |ratio: f64| offsets.iter().filter(|o| is_taken(ratio, **o)).count();
        assert_eq!(taken(0.3) + taken(-0.7), 1000);
        assert_eq!((taken(0.0), taken(1.0), taken(-1.0)), (0, 1000, 1000));
        assert!((200..400).contains(&taken(0.3)), "{}", taken(0.3));
    }

    #[test]
    fn offsets_are_those_of_the_hash() {
        // xxHash64 of no bytes is EF46DB3751D8E999.
        assert_eq!(offset(&Labels::empty()), 0xEF46_DB37_51D8_E999_u64 as f64 / u64::MAX as f64);
        assert_ne!(offset(&Labels::from_pairs([("a", "b".repeat(300))])), offset(&Labels::empty()));
    }
}
