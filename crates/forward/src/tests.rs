//! A forwarder against HTTP servers that can misbehave.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use config::Document;
use disk::{Disk, RealDisk};
use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, ExemplarRefusal, ExemplarRefusalReason, ExemplarReport,
    ExemplarRow, Labels, Refusal, RefusalReason, Sample, TimestampMs,
};
use parking_lot::Mutex;
use runtime::{Metrics, Supervisor};

use crate::{ForwardOptions, Forwarder, Ingest, QueueSync, RemoteWriteConfig};

mod basics;
mod disks;
mod outages;
mod past;
mod peer;
mod wire;

/// Takes everything but negative values; or nothing at all.
#[derive(Default)]
struct Store {
    fails: AtomicBool,
    asked: Mutex<Vec<Commit>>,
}

impl Append for Store {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(AppendError::Unwritable("no space left on purpose".to_owned()));
        }
        let bad = |(row, r): (usize, &model::Row)| {
            (r.sample.value < 0.0).then_some(Refusal { row, reason: RefusalReason::OutOfBounds })
        };
        let refused = batch.rows.iter().enumerate().filter_map(bad).collect();
        Ok(AppendReport { refused, ..AppendReport::default() })
    }

    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        let old = |(_, r): &(usize, &ExemplarRow)| r.exemplar.timestamp.0 < 0;
        let refusal = |(row, _)| ExemplarRefusal { row, reason: ExemplarRefusalReason::OutOfOrder };
        let refused = rows.iter().enumerate().filter(old).map(refusal).collect();
        Ok(ExemplarReport { refused, ..ExemplarReport::default() })
    }

    fn when_durable(&self, commit: Commit, done: Durable) {
        self.asked.lock().push(commit);
        done(Ok(()));
    }
}

pub(crate) fn configs(text: &str) -> Result<Vec<RemoteWriteConfig>, String> {
    let document = Document::parse("c.yml".as_ref(), text).map_err(|p| p.to_string())?;
    let out = RemoteWriteConfig::decode_list(&document.root().items());
    document.finish().map_err(|p| p.to_string())?;
    Ok(out)
}

/// A process with a forwarder in it, over a folder that outlives it.
struct Process {
    tasks: Supervisor,
    metrics: Metrics,
    ingest: Ingest,
}

impl Process {
    fn start_in(folder: &Path, text: &str) -> Self {
        let process = Self::open_in(Arc::new(RealDisk), folder);
        process.reload(text);
        process
    }

    /// One that does not know yet who its destinations are.
    fn open_in(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        let (tasks, metrics) = (Supervisor::new(), Metrics::new("test").expect("registers"));
        let options = ForwardOptions { disk, folder: folder.to_owned(), sync: QueueSync::Each };
        let forwarder = Arc::new(Forwarder::open(&tasks, &metrics, options).expect("opens"));
        Self { tasks, metrics, ingest: Ingest { store: Arc::new(Store::default()), forwarder } }
    }

    fn reload(&self, text: &str) {
        self.ingest.forwarder.update(&configs(text).expect("is valid"), &Labels::empty()).expect("updates");
    }

    /// Samples of the series `m`, at 0, 1, 2...
    fn put(&self, values: &[f64]) {
        let all: Vec<_> = values.iter().enumerate().map(|(at, value)| ("m", at as i64, *value)).collect();
        self.put_rows(&all);
    }

    fn put_rows(&self, rows: &[(&str, i64, f64)]) {
        let mut batch = Batch::default();
        for (name, at, value) in rows {
            let sample = Sample { timestamp: TimestampMs(*at), value: *value };
            batch.push(Labels::from_pairs([("__name__", *name)]), sample);
        }
        self.ingest.append(&batch).expect("takes samples");
    }

    /// Whether a line of the metrics page begins so.
    fn counts(&self, line: &str) -> bool {
        String::from_utf8_lossy(&self.metrics.render()).lines().any(|l| l == line)
    }

    fn page(&self) -> String {
        String::from_utf8_lossy(&self.metrics.render()).into_owned()
    }

    async fn stop(&self) {
        self.tasks.stop(Duration::from_secs(20)).await;
        assert_eq!(self.tasks.failed(), None);
    }
}

/// A process with a folder of its own.
fn process(text: &str) -> (Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Process::start_in(&folder.path().join("forward"), text), folder)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
