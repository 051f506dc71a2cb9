//! The writing side.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use disk::Disk;
use parking_lot::Mutex;

use crate::files::{SegmentInfo, path_of, remove_unfinished, segments};
use crate::format::{FRAME_HEADER, MAX_RECORD_BYTES};
use crate::state::{Current, Proof, State, Unproven};
use crate::{LogError, Record, read};

/// How a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment that would grow beyond this is followed by a new one. A larger record gets a segment of its own.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 128 << 20 }
    }
}

/// Where a record was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Where in the file of its segment it begins: for [`crate::Reader::record_at`].
    pub offset: u64,
    /// Bytes that it takes there.
    pub bytes: u64,
    /// The position behind it, as [`Log::append`] returns it.
    pub position: u64,
}

/// The checksum of a payload that is not too large.
fn checksum(record: &Record) -> Result<u32, LogError> {
    if record.len() > MAX_RECORD_BYTES {
        return Err(LogError::TooLarge { bytes: record.len(), limit: MAX_RECORD_BYTES });
    }
    Ok(crc32c::crc32c(record))
}

/// A log that is being written. Any number of threads may append and sync at once; appends are ordered by a lock that is
/// held for one write to the page cache, and a flush to the disk holds it not at all.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Held by who flushes, writes segments anew or removes them. Taken before `state`.
    flushing: Mutex<()>,
    /// Changed under `state`.
    written: AtomicU64,
    /// Changed under `flushing`.
    synced: AtomicU64,
}

impl Log {
    /// Begins a new segment after every one that is in the folder, which is created where it is missing. Old segments are
    /// for [`read`] and [`Log::remove_before`]. A disk that is full or read-only does not keep the log from opening: the
    /// next append tries again, and says what is wrong.
    ///
    /// # Errors
    /// When the folder cannot be created or listed.
    pub fn create(disk: Arc<dyn Disk>, folder: &Path, options: Options) -> Result<Self, LogError> {
        disk.create_folder(folder)?;
        remove_unfinished(&*disk, folder)?;
        let mut state = State::behind(segments(&*disk, folder)?);
        let _ = state.begin(&*disk, folder);
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            options,
            state: Mutex::new(state),
            flushing: Mutex::new(()),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        })
    }

    /// Appends one record in one write and returns the position behind it: the bytes that records took since the log was
    /// created. An empty record is not written. Of a write that failed nothing stays that a reader could take for a
    /// record; the same record may be appended again.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], or what the disk says.
    pub fn append(&self, record: &mut Record) -> Result<u64, LogError> {
        if record.is_empty() {
            return Ok(self.written());
        }
        let checksum = checksum(record)?;
        let length = (FRAME_HEADER + record.len()) as u64;
        let mut state = self.state.lock();
        let fits = |segment: &Current| segment.bytes.saturating_add(length) <= self.options.segment_bytes;
        if !state.current.as_ref().is_some_and(|segment| fits(segment) || !segment.has_records()) {
            state.begin(&*self.disk, &self.folder)?;
        }
        self.write(&mut state, record, checksum).map(|appended| appended.position)
    }

    /// The same into this segment and no other, whatever its length: for records that lean on earlier ones of their segment.
    ///
    /// # Errors
    /// [`LogError::Moved`] when that segment takes no more records; what [`Log::append`] says otherwise.
    pub fn append_to(&self, segment: u64, record: &mut Record) -> Result<Appended, LogError> {
        let checksum = checksum(record)?;
        let mut state = self.state.lock();
        if record.is_empty() || state.current.as_ref().is_none_or(|current| current.identity.number != segment) {
            return Err(LogError::Moved(segment));
        }
        self.write(&mut state, record, checksum)
    }

    /// Appends to the current segment, which there is.
    fn write(&self, state: &mut State, record: &mut Record, checksum: u32) -> Result<Appended, LogError> {
        let segment = state.current.as_mut().ok_or_else(|| io::Error::other("the log has no segment"))?;
        let offset = segment.bytes;
        let frame = record.frame(segment.identity, offset, checksum);
        let length = frame.len() as u64;
        if let Err(error) = segment.file.append(frame) {
            if segment.file.truncate(offset).is_err() {
                state.abandon(&*self.disk);
            }
            return Err(error.into());
        }
        segment.bytes += length;
        let position = self.written.fetch_add(length, Ordering::Release) + length;
        Ok(Appended { offset, bytes: length, position })
    }

    /// Makes everything that was appended before this call survive a power loss, what earlier processes appended included,
    /// and returns a position behind it. Callers that come while another one flushes wait for it and share the next
    /// flush. A segment whose flush failed takes no more records; the next call that finds the disk working writes it anew.
    ///
    /// # Errors
    /// What the disk says, or [`LogError::Lost`]. The position that was proven before stays.
    pub fn sync(&self) -> Result<u64, LogError> {
        let wanted = self.written();
        let _flushing = self.flushing.lock();
        let (position, unproven) = {
            let state = self.state.lock();
            if self.synced() >= wanted && state.waiting.is_empty() {
                return Ok(self.synced());
            }
            (self.written(), state.unproven())
        };
        self.flush(&unproven)?;
        for Unproven { segment, proof, .. } in &unproven {
            if matches!(proof, Proof::WriteAnew) {
                self.write_anew(segment)?;
            }
        }
        self.synced.store(position, Ordering::Release);
        Ok(position)
    }

    /// Flushes what flushing helps, and the names of that.
    fn flush(&self, unproven: &[Unproven]) -> Result<(), LogError> {
        let mut flushed = Vec::with_capacity(unproven.len());
        for Unproven { segment, proof, named } in unproven {
            let outcome = match proof {
                Proof::Flush(file) => file.sync(),
                Proof::FlushByName => match self.disk.sync_file(&segment.path) {
                    // Whoever removed it needs it no more.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    outcome => outcome,
                },
                Proof::WriteAnew => continue,
            };
            outcome.inspect_err(|_| self.state.lock().fail(segment))?;
            flushed.push((segment, *named));
        }
        if flushed.iter().any(|(_, named)| !named) {
            self.disk.sync_folder(&self.folder)?;
        }
        let mut state = self.state.lock();
        flushed.iter().for_each(|(segment, _)| state.prove(segment));
        Ok(())
    }

    /// Replaces a segment by a copy of itself. What the operating system still knows of it may never reach the disk by
    /// itself: after a failed flush it takes the bytes for written.
    fn write_anew(&self, segment: &SegmentInfo) -> Result<(), LogError> {
        let reader = read(&*self.disk, segment)?;
        let mut records = reader.records();
        while records.offset() < segment.bytes {
            let offset = records.offset();
            if !matches!(records.next(), Some(Ok(_))) {
                return Err(LogError::Lost { path: segment.path.clone(), offset });
            }
        }
        // The records end where the segment does, so its length fits memory.
        disk::write_whole(&*self.disk, &segment.path, &reader.bytes()[..segment.bytes as usize])?;
        self.state.lock().prove(segment);
        Ok(())
    }

    /// Begins a new segment and returns its number: every record that was appended before is in one with a lower number.
    /// The next [`Log::sync`] includes those.
    ///
    /// # Errors
    /// What the disk says; the old segment goes on then.
    pub fn rotate(&self) -> Result<u64, LogError> {
        let mut state = self.state.lock();
        state.begin(&*self.disk, &self.folder)?;
        Ok(state.next_number - 1)
    }

    /// Removes the segments with lower numbers, those of earlier processes included; never the newest one, so that numbers
    /// are not given twice. The highest goes first and for good: whatever is left after a crash is the beginning of the
    /// log, so records that lean on earlier ones never stand without them.
    ///
    /// # Errors
    /// What the disk says; calling it again goes on.
    pub fn remove_before(&self, segment: u64) -> Result<(), LogError> {
        let _flushing = self.flushing.lock();
        let numbers = self.state.lock().closed_before(segment);
        numbers.into_iter().rev().try_for_each(|number| self.remove_closed(number))
    }

    /// Removes one segment, for good: for logs whose segments do not lean on one another. One that takes records, the newest
    /// one, or one that is not there is left alone.
    ///
    /// # Errors
    /// What the disk says; calling it again goes on.
    pub fn remove(&self, segment: u64) -> Result<(), LogError> {
        let _flushing = self.flushing.lock();
        let is_closed = self.state.lock().closed_before(segment.saturating_add(1)).last() == Some(&segment);
        if is_closed { self.remove_closed(segment) } else { Ok(()) }
    }

    /// Under `flushing`.
    fn remove_closed(&self, number: u64) -> Result<(), LogError> {
        match self.disk.remove(&path_of(&self.folder, number)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        self.disk.sync_folder(&self.folder)?;
        self.state.lock().forget(number);
        Ok(())
    }

    /// The position behind the last record.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The position up to which records survive a power loss.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// The number of the segment that takes records; while there is none, that of the next.
    pub fn segment(&self) -> u64 {
        let state = self.state.lock();
        state.current.as_ref().map_or(state.next_number, |current| current.identity.number)
    }

    /// The length of all segments, those of earlier processes included.
    pub fn bytes_on_disk(&self) -> u64 {
        let state = self.state.lock();
        let current = state.current.as_ref().map_or(0, |segment| segment.bytes);
        state.closed.values().sum::<u64>() + current
    }
}
