//! What all destinations share: the queue, and the way into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use columns::{ExemplarEntry, HistogramEntry};
use model::{AppendError, ExemplarRow, HistogramRow, Labels, MetricMetadata, Sample, TimestampMs};
use parking_lot::{Mutex, RwLock};
use queue::{Entry, Queue, QueueError, SeriesId};
use sources::Report;

use crate::admission::Admission;
use crate::destination::Destination;
use crate::metrics::ForwardMetrics;
use crate::series_key::{SeriesKey, SeriesKeys};

/// Rows of one record. A request is made of whole records, so they are no longer than one.
const MAX_RECORD_ROWS: usize = 5_000;

/// Says who this process is, up to when it has everything, and who is behind below it. Asked for every request.
pub type Teller = Arc<dyn Fn() -> Report + Send + Sync>;

pub(crate) struct Core {
    pub(crate) queue: Queue,
    pub(crate) metrics: ForwardMetrics,
    pub(crate) keys: SeriesKeys,
    destinations: RwLock<Vec<Arc<Destination>>>,
    admission: Mutex<Admission>,
    wants_exemplars: AtomicBool,
    teller: RwLock<Option<Teller>>,
    unqueued: Mutex<Unqueued>,
}

/// What may be stored and not queued, because the queue could not be written.
#[derive(Default)]
struct Unqueued {
    /// Since when.
    since: Option<TimestampMs>,
    /// The same, of what came after somebody began to make up for it.
    again: Option<TimestampMs>,
}

/// A row that the store has taken.
pub(crate) struct Stored {
    pub(crate) key: SeriesKey,
    /// Which row of its batch it was.
    pub(crate) row: usize,
    pub(crate) sample: Sample,
}

/// Columns of the next record.
#[derive(Default)]
struct Record {
    series: Vec<SeriesId>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl Record {
    fn entry(&self) -> Entry<'_> {
        Entry { series: &self.series, timestamps: &self.timestamps, values: &self.values, ..Entry::default() }
    }

    fn clear(&mut self) {
        self.series.clear();
        self.timestamps.clear();
        self.values.clear();
    }
}

impl Core {
    pub(crate) fn new(queue: Queue, metrics: ForwardMetrics) -> Self {
        Self {
            queue,
            metrics,
            keys: SeriesKeys::default(),
            destinations: RwLock::default(),
            admission: Mutex::new(Admission::new(Vec::new())),
            wants_exemplars: AtomicBool::new(false),
            teller: RwLock::default(),
            unqueued: Mutex::default(),
        }
    }

    pub(crate) fn destinations(&self) -> Vec<Arc<Destination>> {
        self.destinations.read().clone()
    }

    /// Makes these the destinations: which series are queued is decided anew.
    pub(crate) fn set_destinations(&self, destinations: Vec<Arc<Destination>>) {
        let selectors = destinations.iter().map(|d| d.selector.clone()).collect();
        let mut admission = self.admission.lock();
        *admission = Admission::new(selectors);
        self.wants_exemplars.store(destinations.iter().any(|d| d.config.exemplars), Ordering::Relaxed);
        *self.destinations.write() = destinations;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.destinations.read().is_empty()
    }

    pub(crate) fn set_teller(&self, teller: Teller) {
        *self.teller.write() = Some(teller);
    }

    /// What this process says of itself.
    pub(crate) fn report(&self) -> Report {
        let teller = self.teller.read().clone();
        let mut report = teller.map(|teller| teller()).unwrap_or_default();
        report.version.get_or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
        report
    }

    /// Queues rows that the store took, of series that any destination selects. `labels` reads those of a row, and is
    /// asked for series that are not remembered.
    pub(crate) fn offer(
        &self,
        stored: &[Stored],
        labels: &dyn Fn(usize) -> Option<Labels>,
        metadata: &[MetricMetadata],
    ) -> Result<(), AppendError> {
        let queued = self.again_if_forgotten(|| self.queue_rows(stored, labels));
        let queued = self.noted(queued);
        if queued.is_ok() && !metadata.is_empty() {
            self.destinations.read().iter().for_each(|destination| destination.learn(metadata));
        }
        queued
    }

    fn queue_rows(&self, stored: &[Stored], labels: &dyn Fn(usize) -> Option<Labels>) -> Result<(), QueueError> {
        let mut record = Record::default();
        for some in stored.chunks(MAX_RECORD_ROWS) {
            record.clear();
            {
                let mut admission = self.admission.lock();
                if admission.is_idle() {
                    return Ok(());
                }
                admission.forget_old(Instant::now());
                let mut series = self.queue.series();
                for row in some {
                    if let Some(id) = admission.admit(row.key, || labels(row.row), &mut series)? {
                        record.series.push(id);
                        record.timestamps.push(row.sample.timestamp.0);
                        record.values.push(row.sample.value);
                    }
                }
            }
            if !record.series.is_empty() {
                self.queue.push(&record.entry(), runtime::now())?;
            }
        }
        Ok(())
    }

    /// Queues exemplars that the store took, where any destination wants some.
    pub(crate) fn offer_exemplars(&self, rows: &[&ExemplarRow]) -> Result<(), AppendError> {
        if !self.wants_exemplars.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.noted(self.again_if_forgotten(|| {
            let numbers = self.numbers(rows.iter().map(|row| &row.series))?;
            let entry = |(row, id): (&&ExemplarRow, Option<SeriesId>)| {
                id.map(|id| ExemplarEntry { number: id.0, exemplar: row.exemplar.clone() })
            };
            let exemplars: Vec<_> = rows.iter().zip(numbers).filter_map(entry).collect();
            self.push_some(&Entry { exemplars: &exemplars, ..Entry::default() })
        }))
    }

    /// Queues native histograms that the store took.
    pub(crate) fn offer_histograms(&self, rows: &[&HistogramRow]) -> Result<(), AppendError> {
        self.noted(self.again_if_forgotten(|| {
            let numbers = self.numbers(rows.iter().map(|row| &row.labels))?;
            let entry = |(row, id): (&&HistogramRow, Option<SeriesId>)| {
                let (timestamp, histogram) = (row.timestamp.0, row.histogram.clone());
                id.map(|id| HistogramEntry { number: id.0, timestamp, histogram })
            };
            let histograms: Vec<_> = rows.iter().zip(numbers).filter_map(entry).collect();
            self.push_some(&Entry { histograms: &histograms, ..Entry::default() })
        }))
    }

    fn push_some(&self, entry: &Entry<'_>) -> Result<(), QueueError> {
        if !entry.exemplars.is_empty() || !entry.histograms.is_empty() {
            self.queue.push(entry, runtime::now())?;
        }
        Ok(())
    }

    /// The number of a series that anybody wants.
    pub(crate) fn number(&self, labels: &Labels) -> Result<Option<SeriesId>, QueueError> {
        self.admission.lock().admit(self.keys.of_labels(labels), || Some(labels.clone()), &mut self.queue.series())
    }

    /// The numbers of series that anybody wants.
    fn numbers<'a>(&self, labels: impl Iterator<Item = &'a Labels>) -> Result<Vec<Option<SeriesId>>, QueueError> {
        let mut admission = self.admission.lock();
        let mut series = self.queue.series();
        let mut number =
            |labels: &Labels| admission.admit(self.keys.of_labels(labels), || Some(labels.clone()), &mut series);
        labels.map(&mut number).collect()
    }

    /// Tries once more where the queue had forgotten a series between two looks at it.
    fn again_if_forgotten(&self, attempt: impl Fn() -> Result<(), QueueError>) -> Result<(), QueueError> {
        match attempt() {
            Err(QueueError::UnknownSeries(_)) => {
                let selectors = self.destinations.read().iter().map(|d| d.selector.clone()).collect();
                *self.admission.lock() = Admission::new(selectors);
                attempt()
            }
            outcome => outcome,
        }
    }

    /// Notes that something is stored and not queued.
    fn noted(&self, outcome: Result<(), QueueError>) -> Result<(), AppendError> {
        outcome.map_err(|error| {
            let (mut unqueued, now) = (self.unqueued.lock(), runtime::now());
            let since = *unqueued.since.get_or_insert(now);
            unqueued.again.get_or_insert(now);
            self.metrics.unqueued.set(since.as_seconds());
            AppendError::Unwritable(format!("stored here, and queued for remote write once that works again: {error}"))
        })
    }

    /// Since when something may be stored and not queued.
    pub(crate) fn unqueued_since(&self) -> Option<TimestampMs> {
        self.unqueued.lock().since
    }

    /// Something may be stored and not queued since then.
    pub(crate) fn may_lack_since(&self, since: TimestampMs) {
        self.unqueued.lock().since = Some(since);
    }

    /// The same as [`Core::unqueued_since`], for who makes up for it: what cannot be queued from now on is not included.
    pub(crate) fn begin_making_up(&self) -> Option<TimestampMs> {
        let mut unqueued = self.unqueued.lock();
        unqueued.again = None;
        unqueued.since
    }

    /// Everything is queued now that could not be when [`Core::begin_making_up`] was called.
    pub(crate) fn made_up(&self) {
        let mut unqueued = self.unqueued.lock();
        unqueued.since = unqueued.again.take();
        self.metrics.unqueued.set(unqueued.since.map_or(0.0, TimestampMs::as_seconds));
    }
}
