//! The store's side of its log: records are written in full before anybody is answered, and those that could not be
//! written are kept and written before anything else is accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use model::{AppendError, Commit};
use parking_lot::Mutex;
use segment_log::{Log, LogError, Record};

use crate::statistics::{Counter, SyncTimes, WalStatistics};

/// Buffers of records kept for the next one, and the largest that is worth keeping.
const SPARE_RECORDS: usize = 8;
const SPARE_RECORD_BYTES: usize = 1 << 20;

/// The log and what waits to be written to it.
pub(crate) struct Wal {
    log: Arc<Log>,
    /// Records whose samples are in memory already, in the order they failed.
    pending: Mutex<Vec<Record>>,
    /// Whether `pending` holds anything: read by every append.
    blocked: AtomicBool,
    spare: Mutex<Vec<Record>>,
    write_failures: Counter,
    sync_failures: Counter,
    syncs: SyncTimes,
}

fn unwritable(error: &LogError) -> AppendError {
    AppendError::Unwritable(error.to_string())
}

impl Wal {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log: Arc::new(log),
            pending: Mutex::default(),
            blocked: AtomicBool::new(false),
            spare: Mutex::default(),
            write_failures: Counter::default(),
            sync_failures: Counter::default(),
            syncs: SyncTimes::default(),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// An empty record, from a buffer that was used before.
    pub(crate) fn record(&self) -> Record {
        self.spare.lock().pop().unwrap_or_default()
    }

    /// Keeps the buffer of a record for the next one.
    pub(crate) fn recycle(&self, mut record: Record) {
        if record.capacity() > SPARE_RECORD_BYTES {
            return;
        }
        record.clear();
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_RECORDS {
            spare.push(record);
        }
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// When it still cannot. Nothing may be accepted then: memory holds samples that the log does not.
    pub(crate) fn catch_up(&self) -> Result<(), AppendError> {
        if !self.is_blocked() {
            return Ok(());
        }
        let mut pending = self.pending.lock();
        while let Some(record) = pending.first_mut() {
            self.log.append(record).map_err(|error| unwritable(&error))?;
            pending.remove(0);
        }
        if self.blocked.swap(false, Ordering::AcqRel) {
            tracing::info!("the write-ahead log can be written again, samples are accepted");
        }
        Ok(())
    }

    /// Writes a record whose samples are in memory; behind those that wait, where some do.
    ///
    /// # Errors
    /// When it could not be written; it is kept for [`Wal::catch_up`].
    pub(crate) fn write(&self, mut record: Record) -> Result<(), AppendError> {
        let failed = if self.is_blocked() {
            AppendError::Unwritable("records of earlier samples could not be written to the log yet".to_owned())
        } else {
            match self.log.append(&mut record) {
                Ok(_) => {
                    self.recycle(record);
                    return Ok(());
                }
                Err(error) => {
                    self.write_failures.add(1);
                    tracing::error!(%error, "cannot write the write-ahead log, samples are refused until it can be");
                    unwritable(&error)
                }
            }
        };
        let mut pending = self.pending.lock();
        pending.push(record);
        self.blocked.store(true, Ordering::Release);
        Err(failed)
    }

    /// Whether records wait to be written.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Flushes to the disk itself.
    ///
    /// # Errors
    /// What the disk says; the next sync proves it all anew.
    pub(crate) fn sync(&self) -> Result<Commit, AppendError> {
        let started = Instant::now();
        match self.log.sync() {
            Ok(position) => {
                self.syncs.note(started.elapsed());
                Ok(Commit(position))
            }
            Err(error) => {
                self.sync_failures.add(1);
                tracing::error!(%error, "cannot flush the write-ahead log, trying again with the next flush");
                Err(unwritable(&error))
            }
        }
    }

    /// Where the log ends.
    pub(crate) fn written(&self) -> Commit {
        Commit(self.log.written())
    }

    /// What is known to survive a power loss.
    pub(crate) fn synced(&self) -> Commit {
        Commit(self.log.synced())
    }

    pub(crate) fn statistics(&self) -> WalStatistics {
        WalStatistics {
            written_bytes: self.log.written(),
            synced_bytes: self.log.synced(),
            replay_bytes: self.log.bytes_on_disk(),
            write_failures: self.write_failures.get(),
            sync_failures: self.sync_failures.get(),
            syncs: self.syncs.statistics(),
            blocked: self.is_blocked(),
        }
    }
}
