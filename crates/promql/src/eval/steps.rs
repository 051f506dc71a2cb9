//! The grid of evaluation times, and the mark of an empty slot.

use model::{is_stale, stale_nan};

/// Evaluation times: `count` of them from `start`, `step` milliseconds apart. A step of 0 repeats one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    pub start: i64,
    pub step: i64,
    pub count: usize,
}

impl Steps {
    /// One instant.
    pub fn once(at: i64) -> Self {
        Self { start: at, step: 0, count: 1 }
    }

    /// The time of step `index`.
    #[inline]
    pub fn at(&self, index: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(index as i64))
    }

    /// The last time; the start when there is none.
    pub fn last(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    /// All times.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.count).map(|i| self.at(i))
    }

    /// The same grid, `ms` earlier.
    pub fn earlier(&self, ms: i64) -> Self {
        Self { start: self.start.saturating_sub(ms), ..*self }
    }

    /// The grid of a subquery: multiples of `step` within the windows `(t - range, t]` of all `ends`.
    pub fn of_subquery(ends: Steps, range: i64, step: i64) -> Self {
        let after = ends.start.saturating_sub(range);
        let start = after.div_euclid(step).saturating_mul(step).saturating_add(step);
        let last = ends.last();
        let count = if ends.count == 0 || last < start { 0 } else { last.saturating_sub(start) / step + 1 };
        Self { start, step, count: usize::try_from(count).unwrap_or(usize::MAX) }
    }
}

/// The times of the whole query, which a subquery does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueryTimes {
    pub start: i64,
    /// As asked for: the last step may be before it.
    pub end: i64,
    /// 0 at an instant.
    pub step: i64,
}

/// The mark of a slot without a value.
#[inline]
pub(crate) fn absent() -> f64 {
    stale_nan()
}

/// True for a slot without a value.
#[inline]
pub(crate) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subquery_grids_are_aligned_and_left_open() {
        let grid = |start, step, count, range, sub| Steps::of_subquery(Steps { start, step, count }, range, sub);
        assert_eq!(grid(100, 0, 1, 30, 10), Steps { start: 80, step: 10, count: 3 });
        assert_eq!(grid(105, 0, 1, 30, 10), Steps { start: 80, step: 10, count: 3 });
        assert_eq!(grid(100, 50, 3, 30, 20), Steps { start: 80, step: 20, count: 7 });
        assert_eq!(grid(5, 0, 1, 30, 10), Steps { start: -20, step: 10, count: 3 });
        assert_eq!(grid(105, 0, 1, 3, 10).count, 0);
        assert_eq!(grid(i64::MAX, 0, 1, i64::MAX, 1).count, i64::MAX as usize);
    }
}
