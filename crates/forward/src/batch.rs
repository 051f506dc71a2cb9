//! What is on its way in one request, or in a few where a receiver takes less at once.

use std::ops::Range;

use columns::{ExemplarEntry, HistogramEntry};
use model::{Labels, TimestampMs};
use queue::{Lane, Taken};

use crate::outgoing::Outgoing;

/// One sample. Its series is a number of the queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OutRow {
    pub(crate) series: u32,
    /// Which record of the batch it came with.
    pub(crate) record: u32,
    pub(crate) timestamp: i64,
    pub(crate) value: f64,
}

/// Records that were taken from the queue, and what one destination wants of them.
pub(crate) struct Batch {
    pub(crate) lane: Lane,
    /// The records: when all below has arrived, they have.
    pub(crate) taken: Vec<Taken>,
    pub(crate) rows: Vec<OutRow>,
    pub(crate) exemplars: Vec<ExemplarEntry>,
    pub(crate) histograms: Vec<HistogramEntry>,
    /// What the series of all of these are called, in order of their numbers once [`Batch::settle`] was called.
    pub(crate) series: Vec<(u32, Labels)>,
    /// When the first record was queued.
    pub(crate) arrived: Option<TimestampMs>,
    /// Samples that were left out because they are too old.
    pub(crate) too_old: usize,
    /// Samples of the records, wanted or not.
    pub(crate) looked_at: usize,
}

/// What a destination wants, beside which series.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) exemplars: bool,
    /// Samples with an older timestamp are left out.
    pub(crate) oldest: TimestampMs,
}

impl Batch {
    pub(crate) fn new(lane: Lane) -> Self {
        Self {
            lane,
            taken: Vec::new(),
            rows: Vec::new(),
            exemplars: Vec::new(),
            histograms: Vec::new(),
            series: Vec::new(),
            arrived: None,
            too_old: 0,
            looked_at: 0,
        }
    }

    /// Samples and histograms.
    pub(crate) fn samples(&self) -> usize {
        self.rows.len() + self.histograms.len()
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.exemplars.is_empty() && self.histograms.is_empty()
    }

    /// Adds what a destination wants of a record. `labels` reads those of a series.
    pub(crate) fn add(
        &mut self,
        taken: Taken,
        outgoing: &mut Outgoing,
        labels: impl Fn(u32) -> Option<Labels>,
        wanted: Wanted,
    ) {
        let batch = taken.batch.clone();
        // A batch has fewer than samples.
        let record = self.taken.len() as u32;
        let mut leaves = |series: &mut Vec<(u32, Labels)>, number: u32| {
            if series.last().is_some_and(|(last, _)| *last == number) {
                return true;
            }
            let out = outgoing.series(number, || labels(number));
            out.map(|out| series.push((number, out))).is_some()
        };
        for ((id, timestamp), value) in batch.series.iter().zip(&batch.timestamps).zip(&batch.values) {
            if *timestamp < wanted.oldest.0 {
                self.too_old += 1;
            } else if leaves(&mut self.series, id.0) {
                self.rows.push(OutRow { series: id.0, record, timestamp: *timestamp, value: *value });
            }
        }
        for entry in &batch.histograms {
            if entry.timestamp < wanted.oldest.0 {
                self.too_old += 1;
            } else if leaves(&mut self.series, entry.number) {
                self.histograms.push(entry.clone());
            }
        }
        for entry in batch.exemplars.iter().filter(|_| wanted.exemplars) {
            if leaves(&mut self.series, entry.number) {
                self.exemplars.push(entry.clone());
            }
        }
        self.arrived = Some(self.arrived.map_or(batch.arrived, |first| first.min(batch.arrived)));
        self.looked_at += batch.samples();
        self.taken.push(taken);
    }

    /// Brings everything in order of series, and of time within a series; what came first of equals stays first.
    pub(crate) fn settle(&mut self) {
        self.rows.sort_by_key(|row| (row.series, row.timestamp));
        self.histograms.sort_by_key(|entry| (entry.number, entry.timestamp));
        self.exemplars.sort_by_key(|entry| (entry.number, entry.exemplar.timestamp));
        self.series.sort_unstable_by_key(|(number, _)| *number);
        self.series.dedup_by_key(|(number, _)| *number);
    }

    /// Brings these rows of a settled batch in order of records, and of series within a record.
    pub(crate) fn settle_by_record(&mut self, items: Range<usize>) {
        let end = items.end.min(self.rows.len());
        self.rows[items.start.min(end)..end].sort_by_key(|row| (row.record, row.series, row.timestamp));
    }

    /// The record and the series of an item: rows come before histograms, which count as another record and as other series.
    pub(crate) fn place(&self, item: usize) -> (u32, u32) {
        match self.rows.get(item) {
            Some(row) => (row.record, row.series),
            None => (u32::MAX, self.histograms.get(item - self.rows.len()).map_or(0, |entry| entry.number)),
        }
    }

    /// What a series of a settled batch is called.
    pub(crate) fn labels(&self, number: u32) -> Option<&Labels> {
        let at = self.series.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.series.get(at).map(|(_, labels)| labels)
    }

    /// The newest timestamp of a sample.
    pub(crate) fn newest(&self) -> Option<TimestampMs> {
        let rows = self.rows.iter().map(|row| row.timestamp);
        rows.chain(self.histograms.iter().map(|entry| entry.timestamp)).max().map(TimestampMs)
    }
}
