//! Which resolution answers which part of a query's time: raw samples or one of the rollups.

use model::{Column, Hints, TimeRange, TimestampMs};

/// A rollup may stand for raw samples where a query steps over at least so many of its rows.
const ROWS_PER_STEP: i64 = 5;

/// Which times one resolution has, as ascending spans, both ends included. Zero is raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) resolution: i64,
    pub(crate) spans: Vec<(i64, i64)>,
}

/// A part of a query's time and the resolution that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) resolution: i64,
    pub(crate) range: TimeRange,
}

/// Whether a query may read this resolution although raw samples are there.
fn coarse_enough(resolution: i64, hints: &Hints) -> bool {
    // `last` needs two rows in a window that something is taken the rate of; whether it is, is not known here.
    let rows = if hints.column == Column::Last { 2 } else { 1 };
    hints.step_ms >= resolution.saturating_mul(ROWS_PER_STEP) && hints.window_ms >= resolution.saturating_mul(rows)
}

/// Splits `range`. `rollups` are ascending by resolution; raw samples begin at `raw_from` (older ones are gone by retention).
/// Without leave to read rollups everything is raw. Parts come in order of time.
pub(crate) fn layers(range: TimeRange, hints: &Hints, raw_from: i64, rollups: &[Coverage]) -> Vec<Layer> {
    let whole = (range.start.0, range.end.0);
    let mut out = Vec::new();
    let mut gaps = vec![whole];
    if hints.rollups {
        let raw = Coverage { resolution: 0, spans: vec![(raw_from, i64::MAX)] };
        let preferred = rollups.iter().rev().find(|c| coarse_enough(c.resolution, hints));
        for coverage in preferred.into_iter().chain([&raw]).chain(rollups) {
            gaps = fill(&gaps, coverage, &mut out);
        }
    }
    // Where nothing is known to be, raw samples are looked for.
    out.extend(gaps.into_iter().map(|span| layer(0, span)));
    out.sort_unstable_by_key(|layer| layer.range.start);
    out
}

fn layer(resolution: i64, (start, end): (i64, i64)) -> Layer {
    Layer { resolution, range: TimeRange { start: TimestampMs(start), end: TimestampMs(end) } }
}

/// Takes what a resolution covers of the gaps, and returns what is left of them.
fn fill(gaps: &[(i64, i64)], coverage: &Coverage, out: &mut Vec<Layer>) -> Vec<(i64, i64)> {
    let mut left = Vec::new();
    for &(start, end) in gaps {
        let mut rest = Some(start);
        for &(from, to) in &coverage.spans {
            let Some(start) = rest else { break };
            let (from, to) = (from.max(start), to.min(end));
            if from > to {
                continue;
            }
            if start < from {
                left.push((start, from - 1));
            }
            out.push(layer(coverage.resolution, (from, to)));
            rest = to.checked_add(1);
        }
        if let Some(start) = rest.filter(|start| *start <= end) {
            left.push((start, end));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: i64 = 300_000;
    const HOUR: i64 = 3_600_000;

    #[track_caller]
    fn check(range: (i64, i64), hints: Hints, raw_from: i64, want: &[(i64, i64, i64)]) {
        let rollups = [
            Coverage { resolution: FIVE, spans: vec![(1, 100)] },
            Coverage { resolution: HOUR, spans: vec![(1, 20), (41, 60)] },
        ];
        let range = TimeRange { start: TimestampMs(range.0), end: TimestampMs(range.1) };
        let found: Vec<_> = layers(range, &hints, raw_from, &rollups)
            .iter()
            .map(|l| (l.resolution, l.range.start.0, l.range.end.0))
            .collect();
        assert_eq!(found, want);
    }

    fn hints(step_ms: i64, window_ms: i64) -> Hints {
        Hints { step_ms, window_ms, rollups: true, ..Hints::default() }
    }

    #[test]
    fn raw_unless_asked_or_gone() {
        check((0, 200), Hints { rollups: false, ..hints(100 * HOUR, 100 * HOUR) }, 50, &[(0, 0, 200)]);
        check((0, 200), hints(1, HOUR), 0, &[(0, 0, 200)]);
        // The step allows it, the window does not.
        check((0, 200), hints(100 * HOUR, FIVE), 0, &[(0, 0, 200)]);
        // Raw samples are gone before 50: the finest rollup, and what no rollup has is looked for in vain.
        check((0, 200), hints(1, HOUR), 50, &[(0, 0, 0), (FIVE, 1, 49), (0, 50, 200)]);
    }

    #[test]
    fn the_coarsest_that_the_step_allows() {
        check((0, 200), hints(5 * FIVE, 2 * FIVE), 0, &[(0, 0, 0), (FIVE, 1, 100), (0, 101, 200)]);
        let want = [(0, 0, 0), (HOUR, 1, 20), (0, 21, 40), (HOUR, 41, 60), (0, 61, 200)];
        check((0, 200), hints(5 * HOUR, 2 * HOUR), 0, &want);
        // Gaps of the coarse one are filled by what is best there.
        check((10, 50), hints(5 * HOUR, 2 * HOUR), 30, &[(HOUR, 10, 20), (FIVE, 21, 29), (0, 30, 40), (HOUR, 41, 50)]);
        check((0, i64::MAX), hints(1, 0), 50, &[(0, 0, 0), (FIVE, 1, 49), (0, 50, i64::MAX)]);
    }
}
