//! From when on samples are held back: no watermark may pass them until they are stored or known to be covered.

use std::collections::BTreeMap;

use model::TimestampMs;
use sources::{InputGuard, Inputs};

/// Times this close together are one: what is held back changes with every sample.
const STEP_MS: i64 = 100;
/// The time of a series of which nothing is held back.
pub(crate) const NOTHING: i64 = i64::MAX;

/// The earliest sample that is held back of each series, counted by time.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    series: BTreeMap<i64, usize>,
    /// Of the earliest of all.
    guard: Option<InputGuard>,
    pub(crate) inputs: Inputs,
}

impl HeldBack {
    pub(crate) fn new(inputs: Inputs) -> Self {
        Self { inputs, ..Self::default() }
    }

    /// The time by which a series that holds `earliest` back is counted.
    #[inline]
    pub(crate) fn step(earliest: Option<i64>) -> i64 {
        earliest.map_or(NOTHING, |at| at.saturating_sub(at.rem_euclid(STEP_MS)))
    }

    /// A series is counted by another time from now on.
    pub(crate) fn moved(&mut self, from: i64, to: i64) {
        if to != NOTHING {
            *self.series.entry(to).or_default() += 1;
        }
        if let Some(count) = self.series.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.series.remove(&from);
            }
        }
        let earliest = self.series.first_key_value().map(|(at, _)| TimestampMs(*at));
        if earliest != self.guard.as_ref().map(InputGuard::timestamp) {
            // The old one goes when the new one is there.
            self.guard = earliest.map(|at| self.inputs.begin(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_of_all_series_is_registered() {
        let inputs = Inputs::default();
        let mut held = HeldBack::new(inputs.clone());
        let complete = || inputs.watermark(TimestampMs(10_000)).0;
        let mut moved = |from: Option<i64>, to: Option<i64>| held.moved(HeldBack::step(from), HeldBack::step(to));
        for (from, to, want) in [
            (None, Some(5_050), 4_999),
            (None, Some(5_020), 4_999),
            (None, Some(-50), -101),
            (Some(5_050), Some(6_000), -101),
            (Some(-50), None, 4_999),
            (Some(5_020), Some(7_000), 5_999),
            (Some(6_000), None, 6_999),
            (Some(7_000), None, 9_999),
        ] {
            moved(from, to);
            assert_eq!(complete(), want, "{from:?} to {to:?}");
        }
        assert_eq!((held.series.len(), inputs.registered()), (0, 0));
    }
}
