//! The queue as a whole.

use std::path::Path;
use std::sync::Arc;

use columns::{Decoder, Encoder, Form, Message};
use disk::Disk;
use model::{Labels, TimestampMs};
use parking_lot::Mutex;
use segment_log::{Appended, Log, LogError, Record};

use crate::load::Files;
use crate::place::Place;
use crate::record::{self, Header};
use crate::segment::RecordInfo;
use crate::series::Table;
use crate::state::State;
use crate::{
    Batch, Cursor, Entry, Maintained, Opened, Options, Position, Pushed, QueueError, QueueState, Series, SeriesId,
};

/// Records older than this leave memory, so that they do not keep idle series known.
const MEMORY_AGE_MS: i64 = 10 * 60_000;
/// Segments by which a queue may outgrow its budget between two calls of [`Queue::maintain`].
const OVERDRAFT_SEGMENTS: u64 = 4;

/// A queue. Copies are handles of the same one.
#[derive(Clone)]
pub struct Queue {
    pub(crate) inner: Arc<Inner>,
}

/// Locks are taken in the order `writer`, `table`, `state`; files are read and flushed under neither of the last two.
pub(crate) struct Inner {
    pub(crate) files: Files,
    pub(crate) log: Log,
    pub(crate) source_labels: Vec<String>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) table: Mutex<Table>,
    pub(crate) state: Mutex<State>,
    /// Held by who reads a segment from end to end.
    pub(crate) loading: Mutex<()>,
    pub(crate) decoder: Mutex<Decoder>,
    /// Held by who writes the file of cursors.
    saving: Mutex<()>,
    /// Held by who drops and removes segments.
    maintaining: Mutex<()>,
}

/// What pushing needs.
#[derive(Default)]
pub(crate) struct Writer {
    /// The segment that takes records, and its length.
    segment: Option<(u64, u64)>,
    encoder: Encoder,
    record: Record,
    numbers: Vec<u32>,
    definitions: Vec<(u32, Labels)>,
}

impl Inner {
    pub(crate) fn new(files: Files, log: Log, options: Options, state: State, now: i64) -> Self {
        // The segment that the log began with is empty.
        let writer = Writer { segment: Some((log.segment(), 0)), ..Writer::default() };
        Self {
            files,
            log,
            source_labels: options.source_labels,
            writer: Mutex::new(writer),
            table: Mutex::new(Table::new(now)),
            state: Mutex::new(state),
            loading: Mutex::default(),
            decoder: Mutex::default(),
            saving: Mutex::default(),
            maintaining: Mutex::default(),
        }
    }

    /// Writes one record, into a new segment where it is time for one, or where the old one takes no more.
    fn write(
        &self,
        writer: &mut Writer,
        entry: &Entry<'_>,
        header: &Header,
        segment_bytes: u64,
    ) -> Result<(u64, Appended), QueueError> {
        if writer.segment.is_some_and(|(_, bytes)| bytes >= segment_bytes) {
            writer.segment = None;
        }
        loop {
            let is_new = writer.segment.is_none();
            let (segment, _) = match writer.segment {
                Some(segment) => segment,
                None => (self.log.rotate()?, 0),
            };
            match self.write_to(segment, writer, entry, header) {
                Ok(appended) => {
                    writer.segment = Some((segment, appended.offset + appended.bytes));
                    return Ok((segment, appended));
                }
                Err(error) => {
                    self.table.lock().undefine(&writer.definitions);
                    let has_moved = matches!(error, QueueError::Log(LogError::Moved(_)));
                    writer.segment = writer.segment.or(Some((segment, 0))).filter(|_| !has_moved);
                    if is_new || !has_moved {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn write_to(
        &self,
        segment: u64,
        writer: &mut Writer,
        entry: &Entry<'_>,
        header: &Header,
    ) -> Result<Appended, QueueError> {
        let Writer { encoder, record, numbers, definitions, .. } = writer;
        numbers.clear();
        numbers.extend(entry.series.iter().map(|id| id.0));
        definitions.clear();
        {
            let mut table = self.table.lock();
            let exemplars = entry.exemplars.iter().map(|exemplar| exemplar.number);
            let others = entry.histograms.iter().map(|histogram| histogram.number).chain(exemplars);
            for id in numbers.iter().copied().chain(others) {
                if let Some(labels) = table.use_in(id, segment)? {
                    definitions.push((id, labels));
                }
            }
        }
        let message = Message {
            definitions,
            numbers,
            timestamps: entry.timestamps,
            values: entry.values,
            exemplars: entry.exemplars,
            histograms: entry.histograms,
            metadata: &[],
        };
        record::write(record, header, encoder.encode(&message, Form::Stored));
        Ok(self.log.append_to(segment, record)?)
    }

    /// Lets a segment take no more records, if it does.
    pub(crate) fn close_segment(&self, number: u64) -> Result<(), QueueError> {
        let mut writer = self.writer.lock();
        if self.state.lock().segments.get(&number).is_some_and(|segment| segment.is_open) {
            let next = self.log.rotate()?;
            writer.segment = Some((next, 0));
            self.state.lock().segment_opened(next);
        }
        Ok(())
    }

    /// Lets a segment take no more records, so that it can be read. Where there is no room for another one it stays the
    /// log's newest, and the next push begins another one or fails: what waits must be able to leave a full disk.
    pub(crate) fn seal_segment(&self, number: u64) {
        if self.close_segment(number).is_err() {
            let mut writer = self.writer.lock();
            writer.segment = writer.segment.filter(|(segment, _)| *segment != number);
        }
    }

    fn save(&self) -> Result<(), QueueError> {
        let _one_at_a_time = self.saving.lock();
        let saved = {
            let mut state = self.state.lock();
            if !state.is_changed {
                return Ok(());
            }
            state.is_changed = false;
            state.to_save()
        };
        let written = saved.write(&*self.files.disk, &self.files.folder);
        let mut state = self.state.lock();
        state.is_changed |= written.is_err();
        state.is_short |= written.is_err();
        // A destination that came meanwhile changed it again.
        state.must_save &= state.is_changed;
        written
    }
}

impl Queue {
    /// Opens the queue in `folder`, which is created where it is missing. What cannot be read is named, copied aside and
    /// left out. `options.segment_bytes` is an eighth of the budget at most.
    ///
    /// # Errors
    /// When the folder cannot be created or read, or a later version wrote it.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: Options,
        now: TimestampMs,
    ) -> Result<(Self, Opened), QueueError> {
        let (inner, opened) = crate::open::open(disk, folder, options, now.0)?;
        Ok((Self { inner: Arc::new(inner) }, opened))
    }

    /// Changes the budget; the next [`Queue::maintain`] enforces it, and segments get the size that goes with it.
    pub fn set_budget(&self, max_bytes: u64, max_age_ms: i64) {
        let mut state = self.inner.state.lock();
        (state.max_bytes, state.max_age_ms) = (max_bytes, max_age_ms);
    }

    /// The series, locked.
    pub fn series(&self) -> Series<'_> {
        Series { table: self.inner.table.lock() }
    }

    /// The labels of a series: [`Series::labels`].
    pub fn labels(&self, id: SeriesId) -> Option<Labels> {
        self.series().labels(id).cloned()
    }

    /// Appends one record, which survives the death of the process when this returns. One write to the page cache, as a
    /// rule. Without destinations nothing is written.
    ///
    /// # Errors
    /// What the disk says, or [`QueueError::UnknownSeries`]; nothing was queued then, and the same may be pushed again.
    pub fn push(&self, entry: &Entry<'_>, now: TimestampMs) -> Result<Pushed, QueueError> {
        let inner = &*self.inner;
        let nothing = Pushed { position: None, commit: 0 };
        if let Some(fault) = entry.fault() {
            return Err(QueueError::Entry(fault));
        }
        let Some((min, max)) = entry.times() else { return Ok(nothing) };
        let samples = (entry.values.len() + entry.histograms.len()) as u32;
        let header = Header { arrived: now.0, min, max, samples };
        let mut writer = inner.writer.lock();
        let (must_save, max_bytes, segment_bytes) = {
            let state = inner.state.lock();
            if state.places.is_empty() {
                return Ok(nothing);
            }
            (state.must_save, state.max_bytes, state.segment_bytes())
        };
        if must_save {
            inner.save()?;
        }
        let written = inner.write(&mut writer, entry, &header, segment_bytes);
        let (segment, appended) = written.inspect_err(|_| inner.state.lock().is_short = true)?;
        let info = RecordInfo::new(&header, appended.offset, appended.bytes);
        let batch = Batch {
            series: entry.series.to_vec(),
            timestamps: entry.timestamps.to_vec(),
            values: entry.values.to_vec(),
            exemplars: entry.exemplars.to_vec(),
            histograms: entry.histograms.to_vec(),
            min: TimestampMs(min),
            max: TimestampMs(max),
            arrived: now,
            _pin: Some(inner.table.lock().pin()),
        };
        let wakers = inner.state.lock().pushed(segment, &header, info, batch);
        drop(writer);
        wakers.iter().for_each(|wake| wake());
        if inner.log.bytes_on_disk() > max_bytes.saturating_add(OVERDRAFT_SEGMENTS * segment_bytes) {
            // Nobody maintains it in time. The record is safe, whatever comes of this.
            let _ = inner.maintaining.try_lock().map(|_one| inner.enforce_budget(now.0, &mut Maintained::default()));
        }
        let position = Some(Position { segment, offset: appended.offset });
        Ok(Pushed { position, commit: appended.position })
    }

    /// Makes everything that was pushed before this call survive a power loss; returns the commit that is durable now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> Result<u64, QueueError> {
        Ok(self.inner.log.sync()?)
    }

    /// Everything pushed with a commit up to this survives a power loss.
    pub fn synced(&self) -> u64 {
        self.inner.log.synced()
    }

    /// The cursor of a destination: where it was, or, for a name that is new here, at the end. What another handle of the
    /// same name has in flight is waiting again, in the backlog.
    pub fn cursor(&self, destination: &str) -> Cursor {
        // Nothing is pushed meanwhile: what is pushed later is for the new destination too.
        let _writer = self.inner.writer.lock();
        let mut state = self.inner.state.lock();
        let same = state.places.iter_mut().find(|(_, place)| place.destination == destination);
        let id = match same {
            Some((id, place)) => {
                place.forget_in_flight();
                let id = *id;
                state.is_changed = true;
                id
            }
            None => {
                let open = state.segments.iter().next_back().filter(|(_, segment)| segment.is_open);
                let end = open.map(|(number, segment)| (*number, segment.records.last().map_or(0, RecordInfo::end)));
                let (segment, offset) = end.unwrap_or((self.inner.log.segment(), 0));
                let mut place = Place::new(destination.to_owned(), Position { segment, offset });
                if !state.from_the_beginning {
                    place.skip_all(&state.segments);
                }
                let id = state.next_place;
                state.next_place += 1;
                state.places.insert(id, place);
                (state.is_changed, state.must_save) = (true, true);
                id
            }
        };
        Cursor::new(Arc::clone(&self.inner), id, destination.to_owned())
    }

    /// The destinations that have a place, and how many samples each does not have.
    pub fn destinations(&self) -> Vec<(String, u64)> {
        let State { places, segments, .. } = &mut *self.inner.state.lock();
        let of = |place: &mut Place| {
            let waiting = place.waiting(segments);
            (place.destination.clone(), waiting.live.samples + waiting.backlog.samples)
        };
        places.values_mut().map(of).collect()
    }

    /// Forgets the cursors of all other destinations. Until the first call nothing is removed for not being wanted.
    pub fn retain(&self, destinations: &[&str]) {
        let mut state = self.inner.state.lock();
        let before = state.places.len();
        state.places.retain(|_, place| destinations.contains(&place.destination.as_str()));
        state.is_changed |= state.places.len() != before;
        (state.is_settled, state.from_the_beginning) = (true, false);
    }

    /// Drops what is over the budget, removes segments that nobody needs any more, forgets idle series, saves cursors. Call
    /// it about once per second; it reads and writes the disk.
    ///
    /// # Errors
    /// What the disk says; the next call goes on.
    pub fn maintain(&self, now: TimestampMs) -> Result<Maintained, QueueError> {
        let inner = &*self.inner;
        let mut done = Maintained::default();
        let outcome = self.maintain_files(now.0, &mut done);
        {
            let mut state = inner.state.lock();
            done.dropped = std::mem::take(&mut state.dropped);
            state.forget_old_records(now.0.saturating_sub(MEMORY_AGE_MS));
            state.unload_idle();
        }
        inner.table.lock().forget_idle(now.0);
        let saved = inner.save();
        match outcome.and(saved) {
            Ok(()) => Ok(done),
            Err(error) => {
                // They are still to be told.
                inner.state.lock().dropped.append(&mut done.dropped);
                Err(error)
            }
        }
    }

    fn maintain_files(&self, now: i64, done: &mut Maintained) -> Result<(), QueueError> {
        let inner = &*self.inner;
        let _one = inner.maintaining.lock();
        let finished = {
            let state = inner.state.lock();
            let has_room = !state.is_short && inner.log.bytes_on_disk() <= state.max_bytes / 2;
            state.finished(if has_room { now.saturating_sub(state.keep_ms) } else { i64::MAX })
        };
        for number in finished {
            // The file goes first: while it is there, so is what is known of it.
            inner.log.remove(number)?;
            let mut state = inner.state.lock();
            state.forget_segment(number);
            state.is_changed = true;
            done.removed_segments += 1;
        }
        inner.enforce_budget(now, done)
    }

    /// Saves the cursors, if they changed. [`Queue::maintain`] does it too.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self) -> Result<(), QueueError> {
        self.inner.save()
    }

    /// How large it is.
    pub fn state(&self) -> QueueState {
        let disk_bytes = self.inner.log.bytes_on_disk();
        let series = self.inner.table.lock().len();
        let state = self.inner.state.lock();
        QueueState { disk_bytes, segments: state.segments.len(), memory_bytes: state.memory.bytes, series }
    }
}
