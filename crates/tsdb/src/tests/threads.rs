//! Appends beside reads beside seals and compaction, on real threads.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use disk::{Disk, Entry, FileBytes, Lock, OpenFile, SimulatedDisk};
use model::{Hints, Queryable, TimestampMs};
use parking_lot::{Condvar, Mutex};

use super::support::{HOUR, NOW, World, append, everything, put, range, recovered, select};
use crate::Store;

/// Every sample that was acknowledged before a read began is in what it reads, whatever is being sealed or joined.
#[test]
fn reads_see_what_was_acknowledged() {
    const SEALS: u64 = 20;
    let world = World::with(|options| options.max_head_samples = 100);
    let store = world.open();
    let acknowledged: Vec<AtomicI64> = (0..2).map(|_| AtomicI64::new(0)).collect();
    let writing = AtomicBool::new(true);
    let writer = |name: &str, count: &AtomicI64| {
        let deadline = Instant::now() + Duration::from_secs(60);
        for n in 0.. {
            // Each sample is told once, or again as the same.
            let at = NOW - 8 * HOUR + n * 10;
            put(&store, &[(name, at, n as f64)]);
            if n % 3 == 0 {
                let again = append(&store, &[(name, at, n as f64)]).expect("can be written");
                assert_eq!(again.duplicates, 1);
            }
            count.store(n + 1, Ordering::Release);
            let statistics = store.statistics();
            if statistics.seals.done >= SEALS && statistics.compactions.done > 0 || Instant::now() > deadline {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let (store, writing, acknowledged, writer) = (&*store, &writing, &acknowledged, &writer);
        let writers = [("a", 0), ("b", 1)].map(|(name, at)| scope.spawn(move || writer(name, &acknowledged[at])));
        scope.spawn(move || {
            while writing.load(Ordering::Acquire) {
                store.maintain();
            }
        });
        scope.spawn(move || {
            while writing.load(Ordering::Acquire) {
                let before: Vec<i64> = acknowledged.iter().map(|a| a.load(Ordering::Acquire)).collect();
                let found = everything(store);
                for (name, count) in [("a", before[0]), ("b", before[1])] {
                    let there = found.get(name).map_or(0, |samples| samples.len() as i64);
                    assert!(there >= count, "{name}: {there} samples, {count} were acknowledged");
                }
                let recent = select(store, &[], range(NOW - HOUR, NOW), Hints::default());
                assert!(recent.len() <= 2);
                assert!(store.label_values("series", &[], model::TimeRange::ALL).expect("reads").len() <= 2);
            }
        });
        let joined = writers.map(|writer| writer.join());
        writing.store(false, Ordering::Release);
        joined.into_iter().for_each(|writer| writer.expect("writes"));
    });
    let statistics = store.statistics();
    assert!(statistics.seals.done >= SEALS && statistics.compactions.done > 0, "{statistics:?}");
    let counts: Vec<i64> = acknowledged.iter().map(|count| count.load(Ordering::Acquire)).collect();
    assert_eq!(everything(&store).values().map(|s| s.len() as i64).collect::<Vec<_>>(), counts);
}

/// While the log of the last run is replayed, samples arrive and queries are answered; those that need it wait.
#[test]
fn a_replay_goes_on_beside_everything() {
    let world = World::with(|options| options.max_head_samples = 200);
    let store = world.open();
    for n in 0..1000 {
        put(&store, &[("a", NOW - 1000 + n, n as f64)]);
    }
    world.disk.kill();
    let store = world.open();
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || (0..100).for_each(|n| put(store, &[("a", NOW + n, 1.0)])));
        scope.spawn(move || assert!(everything(store)["a"].len() >= 1000));
        scope.spawn(move || (0..20).for_each(|_| store.maintain()));
    });
    recovered(&store);
    assert_eq!(everything(&store)["a"].len(), 1100);
}

/// A disk whose writes to files wait at a gate once it is closed, and fail behind it.
#[derive(Debug, Clone)]
struct Gated {
    disk: SimulatedDisk,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// How many wait.
    waiting: usize,
    /// Those who wait are let through, to fail.
    broken: bool,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn OpenFile>,
    disk: Gated,
}

impl OpenFile for GatedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let (gate, changed) = &*self.disk.gate;
        let mut gate = gate.lock();
        if !gate.closed {
            return self.file.append(bytes);
        }
        gate.waiting += 1;
        changed.notify_all();
        changed.wait_while(&mut gate, |gate| !gate.broken);
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }
}

impl Disk for Gated {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(GatedFile { file: self.disk.create(path)?, disk: self.clone() }))
    }

    fn read(&self, path: &Path) -> io::Result<FileBytes> {
        self.disk.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(folder)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path, owner)
    }
}

/// A sample that comes again while the first is still being written is not acknowledged before that is.
#[test]
fn a_duplicate_waits_for_the_first_to_be_logged() {
    let world = World::new();
    let gated = Gated { disk: world.disk.clone(), gate: Arc::default() };
    let clock = Arc::new(|| TimestampMs(NOW));
    let store = Store::open(Arc::new(gated.clone()), Path::new("store"), world.options.clone(), clock).expect("opens");
    let (gate, changed) = &*gated.gate;
    gate.lock().closed = true;
    std::thread::scope(|scope| {
        let store = &store;
        let first = scope.spawn(move || append(store, &[("a", NOW, 1.0)]));
        changed.wait_while(&mut gate.lock(), |gate| gate.waiting == 0);
        // It is in memory, and somewhere on its way to the log.
        let again = scope.spawn(move || append(store, &[("a", NOW, 1.0)]));
        while store.counters.duplicates.get() == 0 {
            std::thread::yield_now();
        }
        gate.lock().broken = true;
        changed.notify_all();
        assert!(first.join().expect("ends").is_err());
        assert!(again.join().expect("ends").is_err(), "acknowledged, and nowhere in the log");
    });
}
