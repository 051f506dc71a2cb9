//! Reading segments: once from end to end when they are opened, then record by record.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use columns::{Decoder, ExemplarEntry, HistogramEntry, Limits};
use disk::Disk;
use model::{Labels, TimestampMs};
use parking_lot::Mutex;
use segment_log::{Damage, Reader, SegmentInfo, segments};

use crate::record;
use crate::segment::{RecordInfo, Segment};
use crate::series::{KeyHasher, Pin, Table};
use crate::{Batch, QueueError, SeriesId};

/// What we wrote ourselves is only bounded against rot that checksums did not find.
pub(crate) const LIMITS: Limits = Limits {
    max_decoded_bytes: 1 << 30,
    max_labels: 10_000,
    max_name_bytes: 1 << 20,
    max_value_bytes: 1 << 20,
    max_samples: 64 << 20,
};

/// Where segments are, and what reads them.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
}

/// A segment that is open for reading, and the series that its numbers are.
#[derive(Debug)]
pub(crate) struct Loaded {
    reader: Reader,
    series: HashMap<u32, SeriesId, BuildHasherDefault<KeyHasher>>,
    pin: Pin,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        Self { disk, folder: folder.to_owned() }
    }

    /// Opens a segment that takes no more records. `None` when it is not there.
    pub(crate) fn open(&self, number: u64) -> Result<Option<Reader>, QueueError> {
        let found = segments(&*self.disk, &self.folder)?.into_iter().find(|segment| segment.number == number);
        found.map(|segment| segment_log::read(&*self.disk, &segment)).transpose().map_err(QueueError::from)
    }

    /// Reads a segment, keeps copies of what is damaged, and returns what it holds.
    pub(crate) fn scan(&self, info: &SegmentInfo) -> Result<(Segment, Vec<Damage>), QueueError> {
        let reader = segment_log::read(&*self.disk, info)?;
        let mut segment = Segment::empty(false);
        let mut damages = Vec::new();
        let newer = each_record(&reader, |header, found, _| segment.add(header, found), |damage| damages.push(damage));
        if newer > 0 {
            return Err(QueueError::NewerVersion { path: info.path.clone() });
        }
        if !damages.is_empty() {
            // Where copies cannot be written, the damage is still named.
            let _ = segment_log::quarantine(&*self.disk, info, &damages, &self.folder.join("damaged"));
        }
        Ok((segment, damages))
    }

    /// Opens a segment for taking records from it. `None` when it is not there.
    pub(crate) fn load(
        &self,
        number: u64,
        table: &Mutex<Table>,
    ) -> Result<Option<(Loaded, Vec<RecordInfo>)>, QueueError> {
        let Some(reader) = self.open(number)? else { return Ok(None) };
        let (mut records, mut definitions, mut decoder) = (Vec::new(), Vec::new(), Decoder::default());
        let read = |_: &record::Header, found: RecordInfo, message: &[u8]| {
            records.push(found);
            if let Ok((_, found)) = decoder.outline(message, &LIMITS) {
                definitions.extend(found.filter_map(|(number, labels)| Some((number, labels.ok()?))));
            }
        };
        each_record(&reader, read, drop);
        let mut table = table.lock();
        let pin = table.pin();
        let mut series = HashMap::with_capacity_and_hasher(definitions.len(), BuildHasherDefault::default());
        for (number, labels) in definitions {
            series.insert(number, table.intern(labels)?);
        }
        Ok(Some((Loaded { reader, series, pin }, records)))
    }

    /// The labels that a segment gives its numbers, and the series of every row, record by record.
    pub(crate) fn outline(
        &self,
        number: u64,
        mut labels: impl FnMut(u32, &Labels),
        mut rows: impl FnMut(&record::Header, RecordInfo, &[u32]),
    ) -> Result<(), QueueError> {
        let Some(reader) = self.open(number)? else { return Ok(()) };
        let mut decoder = Decoder::default();
        let read = |header: &record::Header, found: RecordInfo, message: &[u8]| {
            let Ok((numbers, definitions)) = decoder.outline(message, &LIMITS) else { return };
            for (number, defined) in definitions {
                defined.iter().for_each(|defined| labels(number, defined));
            }
            rows(header, found, numbers);
        };
        each_record(&reader, read, drop);
        Ok(())
    }
}

/// Walks over the records of a segment. Returns how many there are that this version does not understand.
fn each_record(
    reader: &Reader,
    mut each: impl FnMut(&record::Header, RecordInfo, &[u8]),
    mut damaged: impl FnMut(Damage),
) -> usize {
    let (mut records, mut newer) = (reader.records(), 0);
    loop {
        let offset = records.offset();
        match records.next() {
            None => return newer,
            Some(Err(damage)) => damaged(damage),
            Some(Ok(payload)) => {
                let bytes = records.offset() - offset;
                match record::read(payload) {
                    Some((header, message)) => each(&header, RecordInfo::new(&header, offset, bytes), message),
                    None => newer += 1,
                }
            }
        }
    }
}

impl Loaded {
    /// The record at this offset, and how many of its samples are of series that nothing defines any more. `None` when it
    /// cannot be read.
    pub(crate) fn batch(&self, offset: u64, decoder: &mut Decoder) -> Option<(Batch, u64)> {
        let (header, message) = record::read(self.reader.record_at(offset)?)?;
        let decoded = decoder.decode(message, &LIMITS).ok()?;
        let mut batch = Batch {
            min: TimestampMs(header.min),
            max: TimestampMs(header.max),
            arrived: TimestampMs(header.arrived),
            _pin: Some(Arc::clone(&self.pin)),
            ..Batch::default()
        };
        batch.series.reserve(decoded.numbers.len());
        batch.timestamps.reserve(decoded.numbers.len());
        batch.values.reserve(decoded.numbers.len());
        let rows = decoded.numbers.iter().zip(decoded.timestamps).zip(decoded.values);
        for ((number, timestamp), value) in rows {
            let Some(id) = self.series.get(number) else { continue };
            batch.series.push(*id);
            batch.timestamps.push(*timestamp);
            batch.values.push(*value);
        }
        let id = |number: u32| self.series.get(&number).map(|id| id.0);
        let exemplar = |entry: ExemplarEntry| Some(ExemplarEntry { number: id(entry.number)?, ..entry });
        let histogram = |entry: HistogramEntry| Some(HistogramEntry { number: id(entry.number)?, ..entry });
        batch.exemplars = decoded.exemplars.into_iter().filter_map(exemplar).collect();
        batch.histograms = decoded.histograms.into_iter().filter_map(histogram).collect();
        let lost = u64::from(header.samples).saturating_sub(batch.samples() as u64);
        Some((batch, lost))
    }
}
