//! What is kept of one query: a column for each series over neighbouring steps.

use std::cmp::Ordering;

use model::{Labels, SampleBuffer, Version};

use super::remarks::Remarks;
use crate::MatrixSeries;
use crate::eval::{absent, is_absent};

/// Steps, `step` milliseconds apart; maybe none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub start: i64,
    pub step: i64,
    pub count: usize,
}

impl Grid {
    /// The time of a step; there are no more of them than a query may have, so nothing overflows.
    pub(super) fn at(&self, index: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(index as i64))
    }

    pub(super) fn last(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    fn end(&self) -> i64 {
        self.at(self.count)
    }

    /// Those at or after `start` and before `end`, both of which are times of the same grid.
    fn between(&self, start: i64, end: i64) -> Self {
        let count = usize::try_from(end.saturating_sub(start) / self.step).unwrap_or(0);
        Self { start, count, ..*self }
    }

    /// Where `time`, which is of the same grid, stands in this one.
    fn index_of(&self, time: i64) -> usize {
        usize::try_from(time.saturating_sub(self.start) / self.step).unwrap_or(0)
    }

    /// Those from the `first`, at most `count`.
    pub(super) fn part(&self, first: usize, count: usize) -> Self {
        Self { start: self.at(first), count: count.min(self.count - first.min(self.count)), ..*self }
    }

    pub(super) fn within(&self, other: &Self) -> Self {
        self.between(self.start.max(other.start), self.end().min(other.end()))
    }

    /// Those before all of `part`, which lies within.
    pub(super) fn before(&self, part: &Self) -> Self {
        self.between(self.start, part.start)
    }

    /// Those behind all of `part`, which lies within.
    pub(super) fn behind(&self, part: &Self) -> Self {
        self.between(part.end(), self.end())
    }

    pub(super) fn without_first(&self) -> Self {
        self.part(1.min(self.count), self.count)
    }

    pub(super) fn without_last(&self) -> Self {
        Self { count: self.count.saturating_sub(1), ..*self }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        other.count == 0 || (self.start <= other.start && other.end() <= self.end())
    }

    /// All of these and, of `other`, which overlaps them, as many as make no more than `most` together: the newest first,
    /// since dashboards move on.
    pub(super) fn joined(&self, other: &Self, most: usize) -> Self {
        let end = self.end().max(other.end());
        let longest = self.between(self.start.min(other.start), end);
        let spare = longest.count.saturating_sub(most.max(self.count));
        let old = spare.min(self.index_of_start_in(&longest));
        let left = longest.part(old, longest.count);
        let new = (spare - old).min(left.behind(self).count);
        Self { count: left.count - new, ..left }
    }

    fn index_of_start_in(&self, other: &Self) -> usize {
        other.index_of(self.start)
    }
}

/// One series; a slot for each step.
#[derive(Debug)]
pub(super) struct Kept {
    labels: Labels,
    values: Box<[f64]>,
}

/// The answer to a query at neighbouring steps.
#[derive(Debug)]
pub(super) struct Extent {
    pub grid: Grid,
    /// The steps that may be used: at the others something was being written.
    pub valid: Grid,
    /// When it was true.
    pub version: Version,
    pub remarks: Remarks,
    /// Each remark is about one of these steps at least.
    pub remarked: Grid,
    /// By labels.
    pub(super) series: Vec<Kept>,
}

const SERIES_BYTES: usize = size_of::<Kept>();

impl Extent {
    pub(super) fn bytes(&self) -> usize {
        let series = self.series.iter().map(|kept| SERIES_BYTES + kept.labels.size_bytes() + 8 * kept.values.len());
        size_of::<Self>() + self.remarks.bytes() + series.sum::<usize>()
    }

    /// About how many bytes an extent would take, and a little more where a series is in several of its parts.
    pub(super) fn bytes_of(grid: &Grid, known: Option<&Self>, parts: &[&[MatrixSeries]]) -> u64 {
        let most = parts.iter().map(|series| series.len()).chain(known.map(|extent| extent.series.len())).max();
        let labels = parts.iter().flat_map(|series| series.iter().map(|one| one.labels.size_bytes())).sum::<usize>();
        let columns = (most.unwrap_or(0) as u64).saturating_mul((8 * grid.count + SERIES_BYTES) as u64);
        columns.saturating_add(labels as u64)
    }

    /// Lays the steps `clean` of a known extent and evaluated parts side by side. All are in order of labels.
    pub(super) fn stitch(
        grid: Grid,
        known: Option<(&Self, Grid)>,
        parts: &[&[MatrixSeries]],
        version: Version,
        remarks: Remarks,
    ) -> Self {
        let mut series = Vec::new();
        let old: &[Kept] = known.map_or(&[], |(extent, _)| extent.series.as_slice());
        let mut at_old = 0;
        let mut at = vec![0; parts.len()];
        loop {
            let heads = parts.iter().zip(&at).filter_map(|(part, at)| part.get(*at)).map(|one| &one.labels);
            let Some(labels) = heads.chain(old.get(at_old).map(|kept| &kept.labels)).min().cloned() else { break };
            let mut values = vec![absent(); grid.count];
            if let Some((extent, clean)) = known
                && let Some(kept) = old.get(at_old).filter(|kept| kept.labels == labels)
            {
                at_old += 1;
                let shared = grid.within(&clean);
                let (from, to) = (extent.grid.index_of(shared.start), grid.index_of(shared.start));
                values[to..to + shared.count].copy_from_slice(&kept.values[from..from + shared.count]);
            }
            for (part, at) in parts.iter().zip(&mut at) {
                if let Some(one) = part.get(*at).filter(|one| one.labels.cmp(&labels) == Ordering::Equal) {
                    *at += 1;
                    // What is evaluated again is the same as what was there.
                    for (time, value) in one.samples.timestamps.iter().zip(&one.samples.values) {
                        values[grid.index_of(*time)] = *value;
                    }
                }
            }
            if values.iter().any(|value| !is_absent(*value)) {
                series.push(Kept { labels, values: values.into() });
            }
        }
        Self { grid, valid: grid, version, remarks, remarked: grid, series }
    }

    /// Its series at some of its steps; those that have nothing there are left out.
    pub(super) fn series_within(&self, part: Grid) -> Vec<(Labels, SampleBuffer)> {
        let from = self.grid.index_of(part.start);
        let cut = |kept: &Kept| {
            let values = &kept.values[from..from + part.count];
            let count = values.iter().filter(|value| !is_absent(**value)).count();
            let mut samples = SampleBuffer { timestamps: Vec::with_capacity(count), values: Vec::with_capacity(count) };
            for (index, value) in values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                samples.push(part.at(index), *value);
            }
            (count > 0).then(|| (kept.labels.clone(), samples))
        };
        self.series.iter().filter_map(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(start: i64, count: usize) -> Grid {
        Grid { start, step: 10, count }
    }

    #[test]
    fn grids() {
        let all = grid(100, 10);
        assert_eq!((all.last(), all.at(2)), (190, 120));
        assert_eq!(all.within(&grid(150, 20)), grid(150, 5));
        assert_eq!(all.within(&grid(300, 3)).count, 0);
        assert_eq!(all.within(&grid(0, 3)).count, 0);
        assert_eq!(all.before(&grid(130, 2)), grid(100, 3));
        assert_eq!(all.behind(&grid(130, 2)), grid(150, 5));
        assert_eq!((all.without_first(), all.without_last()), (grid(110, 9), grid(100, 9)));
        assert!(all.covers(&grid(110, 9)) && !all.covers(&grid(110, 10)) && !all.covers(&grid(90, 2)));
    }

    #[test]
    fn a_joined_grid_keeps_its_length_and_what_is_asked() {
        let asked = grid(100, 5);
        let cases = [
            (grid(50, 8), 5, grid(100, 5)),
            (grid(50, 8), 8, grid(70, 8)),
            (grid(50, 8), 100, grid(50, 10)),
            (grid(110, 20), 5, grid(100, 5)),
            (grid(110, 20), 10, grid(100, 10)),
            (grid(80, 9), 7, grid(100, 7)),
            (grid(80, 9), 8, grid(90, 8)),
        ];
        for (other, most, want) in cases {
            assert_eq!(asked.joined(&other, most), want, "{other:?} {most}");
        }
    }

    #[test]
    fn stitches_what_is_kept_and_what_is_new() {
        let series = |name: &str, samples: &[(i64, f64)]| {
            let (timestamps, values) = samples.iter().copied().unzip();
            MatrixSeries { labels: Labels::from_pairs([("n", name)]), samples: SampleBuffer { timestamps, values } }
        };
        let version = Version { changes: 0, layout: 0 };
        let first = [series("a", &[(100, 1.0), (110, 2.0)]), series("c", &[(120, 3.0)])];
        let old = Extent::stitch(grid(100, 3), None, &[&first], version, Remarks::default());
        let before = [series("b", &[(90, 0.5)])];
        let behind = [series("a", &[(120, 9.0)]), series("d", &[(130, 4.0)])];
        let clean = grid(100, 2);
        let new = Extent::stitch(grid(90, 5), Some((&old, clean)), &[&before, &behind], version, Remarks::default());
        let shown: Vec<_> = new
            .series_within(grid(90, 5))
            .into_iter()
            .map(|(labels, s)| (labels.get("n").unwrap_or("").to_owned(), s.timestamps, s.values))
            .collect();
        let want =
            [("a", vec![100, 110, 120], vec![1.0, 2.0, 9.0]), ("b", vec![90], vec![0.5]), ("d", vec![130], vec![4.0])];
        let want: Vec<_> = want.into_iter().map(|(name, times, values)| (name.to_owned(), times, values)).collect();
        assert_eq!(shown, want);
        assert_eq!(new.series_within(grid(110, 1)).len(), 1);
    }
}
