//! A store that counts what is asked of it, and can be told to do something at some read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use model::{
    Hints, Labels, Matcher, MetricMetadata, Queryable, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange,
};

use super::storage::MemoryStore;

#[derive(Default)]
pub(crate) struct Watched {
    store: MemoryStore,
    selects: AtomicUsize,
    reads: Arc<AtomicUsize>,
    /// Called with the number of every read.
    pub on_read: Option<Arc<dyn Fn(usize) + Send + Sync>>,
    pub hints: std::sync::Mutex<Hints>,
}

struct Series {
    inner: Box<dyn StoredSeries>,
    reads: Arc<AtomicUsize>,
    on_read: Option<Arc<dyn Fn(usize) + Send + Sync>>,
}

impl StoredSeries for Series {
    fn labels(&self) -> &Labels {
        self.inner.labels()
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        let number = self.reads.fetch_add(1, Relaxed) + 1;
        if let Some(on_read) = &self.on_read {
            on_read(number);
        }
        self.inner.read(range, into)
    }
}

impl Watched {
    /// Adds series `name{a="0", s="0"}` and so on: `s` is the number, `a` the number modulo 10. One sample a minute.
    pub fn add(&mut self, name: &str, series: usize, minutes: usize) {
        for at in 0..series {
            let (a, s) = ((at % 10).to_string(), format!("{at:06}"));
            let mut samples = SampleBuffer::default();
            (0..minutes).for_each(|minute| samples.push(minute as i64 * 60_000, (at * minute) as f64));
            self.store.add(Labels::from_pairs([("__name__", name), ("a", &a), ("s", &s)]), samples);
        }
    }

    pub fn selects(&self) -> usize {
        self.selects.swap(0, Relaxed)
    }

    pub fn reads(&self) -> usize {
        self.reads.swap(0, Relaxed)
    }
}

impl Queryable for Watched {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        self.selects.fetch_add(1, Relaxed);
        *self.hints.lock().expect("nobody panicked") = selection.hints;
        let wrap = |inner| {
            let (reads, on_read) = (self.reads.clone(), self.on_read.clone());
            Box::new(Series { inner, reads, on_read }) as Box<dyn StoredSeries>
        };
        Ok(self.store.select(selection)?.into_iter().map(wrap).collect())
    }

    fn series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        self.store.series(any_of, range)
    }

    fn label_names(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.store.label_names(any_of, range)
    }

    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.store.label_values(name, any_of, range)
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        self.store.metadata()
    }
}
