//! Exemplars: the newest of all series, in memory and in a small log of their own, which brings them over a restart.
//!
//! They are a courtesy beside the samples: whatever fails about their log is told and counted, and keeps nothing else from
//! working.

mod log;
mod record;
mod ring;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use head::HeadOptions;
use model::{
    AppendError, Exemplar, ExemplarQueryable, ExemplarRefusal, ExemplarRefusalReason, ExemplarReport, ExemplarRow,
    Labels, Matcher, SeriesExemplars, TimeRange, TimestampMs,
};
use parking_lot::{Mutex, RwLock};
use segment_log::{LogError, SegmentInfo, segments};

use crate::Store;
use crate::options::MAX_AHEAD_MS;
use crate::statistics::{Counter, ExemplarStatistics};
use log::{ExemplarLog, replay};
use ring::{Ring, Verdict};

/// The exemplars of a store. Locks are taken in the order log, ring; a reader takes the ring alone and waits for no disk.
pub(crate) struct Exemplars {
    ring: RwLock<Ring>,
    /// Made when it is needed first.
    log: Mutex<Option<ExemplarLog>>,
    appended: Counter,
    out_of_order: Counter,
    log_failures: Counter,
}

impl Exemplars {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            ring: RwLock::new(Ring::new(capacity)),
            log: Mutex::default(),
            appended: Counter::default(),
            out_of_order: Counter::default(),
            log_failures: Counter::default(),
        }
    }

    /// Changes how many are kept: of more than that the newest.
    pub(crate) fn resize(&self, capacity: usize) {
        let mut ring = self.ring.write();
        if ring.capacity() != capacity {
            ring.resize(capacity);
        }
    }

    pub(crate) fn statistics(&self) -> ExemplarStatistics {
        let ring = self.ring.read();
        ExemplarStatistics {
            appended: self.appended.get(),
            out_of_order: self.out_of_order.get(),
            log_failures: self.log_failures.get(),
            capacity: ring.capacity() as u64,
            stored: ring.len() as u64,
            series: ring.series() as u64,
            bytes: ring.bytes() as u64,
            oldest: ring.oldest().map(|exemplar| exemplar.timestamp),
        }
    }

    /// What keeps an exemplar out, whatever is stored.
    fn check(row: &ExemplarRow, limits: &HeadOptions, latest: TimestampMs) -> Result<(), ExemplarRefusalReason> {
        let too_long = |(name, value): (&str, &str)| {
            name.len() > limits.max_label_name_bytes || value.len() > limits.max_label_value_bytes
        };
        let Exemplar { labels, timestamp, .. } = &row.exemplar;
        if row.series.len() > limits.max_labels || row.series.iter().any(too_long) {
            Err(ExemplarRefusalReason::InvalidLabels)
        } else if characters(labels) > Exemplar::MAX_LABEL_CHARACTERS {
            Err(ExemplarRefusalReason::LabelsTooLong)
        } else if *timestamp > latest {
            // It would keep every later one of its series out.
            Err(ExemplarRefusalReason::TooFarInFuture)
        } else {
            Ok(())
        }
    }

    /// Takes what is new; returns that beside the report.
    fn take<'a>(
        &self,
        rows: &'a [ExemplarRow],
        limits: &HeadOptions,
        latest: TimestampMs,
    ) -> (ExemplarReport, Vec<&'a ExemplarRow>) {
        let mut ring = self.ring.write();
        if ring.capacity() == 0 {
            return (ExemplarReport::refused(rows.len(), ExemplarRefusalReason::Disabled), Vec::new());
        }
        let (mut report, mut fresh) = (ExemplarReport::default(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let reason = match Self::check(row, limits, latest).map(|()| ring.push(row)) {
                Ok(Verdict::New) => {
                    fresh.push(row);
                    continue;
                }
                Ok(Verdict::Duplicate) => {
                    report.duplicates += 1;
                    continue;
                }
                Ok(Verdict::OutOfOrder) => ExemplarRefusalReason::OutOfOrder,
                Err(reason) => reason,
            };
            self.out_of_order.add(u64::from(reason == ExemplarRefusalReason::OutOfOrder));
            report.refused.push(ExemplarRefusal { row: at, reason });
        }
        report.appended = fresh.len();
        self.appended.add(fresh.len() as u64);
        (report, fresh)
    }
}

/// Characters of all names and values, without what text formats put around them.
fn characters(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
}

impl Store {
    /// Takes exemplars. Never waits for a replay: their log is small, and read before the store opens.
    pub(crate) fn take_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        // Held over both, so that the log has them in the ring's order.
        let mut log = self.exemplars.log.lock();
        let latest = (self.clock)() + MAX_AHEAD_MS;
        let (report, fresh) = self.exemplars.take(rows, &self.options.head, latest);
        if self.wal.is_some() && !fresh.is_empty() {
            let capacity = self.exemplars.ring.read().capacity();
            self.log_exemplars(&mut log, &fresh, capacity);
        }
        Ok(report)
    }

    fn log_exemplars(&self, log: &mut Option<ExemplarLog>, rows: &[&ExemplarRow], capacity: usize) {
        let (disk, folder) = (self.disk.clone(), &self.layout.exemplars);
        let write = || {
            let log = match log {
                Some(log) => log,
                None => log.insert(ExemplarLog::create(disk, folder)?),
            };
            log.write(rows, capacity)
        };
        if let Err(error) = write() {
            self.exemplar_log_failed(&error);
        }
    }

    /// Counts, and says so the first time.
    fn exemplar_log_failed(&self, error: &LogError) {
        if self.exemplars.log_failures.get() == 0 {
            tracing::warn!(%error, "exemplars cannot be written to their log; a restart forgets these");
        }
        self.exemplars.log_failures.add(1);
    }

    /// Reads what earlier runs logged. What still counts of it begins a new log; the old one goes.
    pub(crate) fn load_exemplars(&self) {
        let (folder, capacity) = (&self.layout.exemplars, self.exemplars.ring.read().capacity());
        let old: Vec<SegmentInfo> = match segments(&*self.disk, folder) {
            Ok(old) if !old.is_empty() => old,
            Ok(_) => return,
            Err(LogError::Disk(error)) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(%error, "the exemplars of the last run cannot be read");
                return;
            }
        };
        let mut ring = self.exemplars.ring.write();
        let replayed = replay(&*self.disk, old, |row| {
            ring.push(&row);
        });
        let mut keep = !replayed.unreadable.is_empty();
        for (path, error) in replayed.unreadable {
            tracing::error!(path = %path.display(), %error, "exemplars of the last run cannot be read, the file is kept");
        }
        for (segment, damages) in replayed.damaged {
            self.damages.count.add(damages.len() as u64);
            damages.iter().for_each(|damage| tracing::error!(%damage, "the log of exemplars is damaged"));
            if self.options.read_only {
                continue;
            }
            match segment_log::quarantine(&*self.disk, &segment, &damages, &self.layout.quarantine) {
                Ok(paths) => self.quarantined.lock().extend(paths.iter().map(|path| path.display().to_string())),
                Err(error) => {
                    tracing::error!(%error, "damage of the log of exemplars cannot be put aside, its segments are kept");
                    keep = true;
                }
            }
        }
        if self.options.read_only || keep {
            return;
        }
        let rows: Vec<&ExemplarRow> = ring.rows().collect();
        let begin = || -> Result<ExemplarLog, LogError> {
            let mut log = ExemplarLog::create(self.disk.clone(), folder)?;
            log.write(&rows, capacity.max(1))?;
            log.sync()?;
            log.forget_earlier()?;
            Ok(log)
        };
        match begin() {
            Ok(log) => *self.exemplars.log.lock() = Some(log),
            Err(error) => self.exemplar_log_failed(&error),
        }
    }

    /// Flushes the log of exemplars.
    pub(crate) fn sync_exemplars(&self) {
        let log = self.exemplars.log.lock();
        if let Some(Err(error)) = log.as_ref().map(ExemplarLog::sync) {
            self.exemplar_log_failed(&error);
        }
    }

    /// Keeps so many exemplars from now on, the newest of those that are there; none with zero.
    pub fn set_max_exemplars(&self, capacity: usize) {
        self.exemplars.resize(capacity);
    }
}

impl ExemplarQueryable for Store {
    fn exemplars(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<SeriesExemplars> {
        self.exemplars.ring.read().select(any_of, range)
    }
}
