//! The way of native histograms: as that of samples, in records of their own. What is in them is of no concern here, and
//! queries do not see them yet.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;

use head::AcceptedHistograms;
use model::{AppendError, AppendReport, HistogramRow, Labels, TimestampMs};

use crate::Store;
use crate::record::{HistogramRecordRow, encode_histograms};
use crate::wal::Wal;

/// A record has histograms of so many bytes at most, and one more.
const MAX_RECORD_BYTES: usize = 16 << 20;

impl Store {
    /// Stores native histograms, as [`model::Append::append_histograms`] says.
    pub(crate) fn take_histograms(&self, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        let times = || rows.iter().map(|row| row.timestamp.0);
        let wal = self.ready_for(|| times().min())?;
        let report = self.take_in_epoch(wal, rows)?;
        self.answer(wal, report)
    }

    fn take_in_epoch(&self, wal: &Wal, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        let generation = self.epoch.read();
        if self.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        let held = OnceCell::new();
        let sealed = |labels: &Labels, timestamp: TimestampMs| {
            self.sealed_value(held.get_or_init(|| self.sealed()), labels, timestamp.0)
        };
        let mut accepted = AcceptedHistograms::default();
        let writing = self.journal.write(rows.iter().map(|row| row.timestamp.0));
        let report = self.head.append_histograms(rows, &self.bounds(&sealed), &mut accepted);
        drop(writing);
        if let Some(newest) = accepted.rows.iter().map(|row| row.1).max() {
            self.saw(newest);
        }
        self.counters.histograms.add(report.appended as u64);
        self.counters.duplicates.add(report.duplicates as u64);
        self.log_histograms(wal, *generation, &accepted)?;
        self.head.mark_defined(&accepted.undefined);
        Ok(report)
    }

    fn log_histograms(&self, wal: &Wal, generation: u64, accepted: &AcceptedHistograms) -> Result<(), AppendError> {
        let (mut definitions, mut outcome) = self.define(wal, generation, &accepted.undefined);
        let mut rest = accepted.rows.as_slice();
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(length_of_record(rest));
            let mut record = wal.record();
            encode_histograms(&mut record, generation, &std::mem::take(&mut definitions), part);
            // After a failure the rest waits behind it: all of it is in memory.
            outcome = outcome.and(wal.write(record));
            rest = behind;
        }
        outcome
    }
}

/// How many of these rows one record takes: at least one.
fn length_of_record(rows: &[HistogramRecordRow]) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take_while(|(_, _, histogram)| {
        let fits = bytes < MAX_RECORD_BYTES;
        bytes += histogram.as_bytes().len();
        fits
    });
    fit.count()
}
