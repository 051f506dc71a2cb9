//! The store as an object: how it is opened and closed, and what its parts share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use block::{Block, BlockError};
use disk::{Disk, Lock};
use head::{Accepted, Head};
use model::TimestampMs;
use parking_lot::{Mutex, RwLock};
use postings::MatchCache;
use segment_log::{Log, SegmentInfo, segments};

use crate::catalogue::{Catalogue, Opened, open_all};
use crate::damages::Damages;
use crate::durability::Durability;
use crate::exemplars::Exemplars;
use crate::families::Families;
use crate::journal::Journal;
use crate::layout::Layout;
use crate::options::{Clock, MAX_AHEAD_MS, as_ms};
use crate::recovery::Recovery;
use crate::sealed::SealedCache;
use crate::statistics::{Cardinality, Counters, StoreStatistics};
use crate::upkeep::Upkeep;
use crate::wal::Wal;
use crate::{OpenError, StoreError, StoreOptions};

/// What cached results of matchers may take.
const MATCH_CACHE_BYTES: u64 = 32 << 20;
/// How long a stop waits for the replay of the last run's log.
const CLOSE_WAITS_FOR_REPLAY: Duration = Duration::from_secs(60);

/// The time series store: see the crate's description.
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) options: StoreOptions,
    pub(crate) clock: Clock,
    pub(crate) head: Head,
    /// The number of the segment that began the present generation. Held for reading by appends.
    pub(crate) epoch: RwLock<u64>,
    /// The first segment of this run; lower numbers are the last run's.
    pub(crate) first_segment: u64,
    /// `None` where the store is only read.
    pub(crate) wal: Option<Arc<Wal>>,
    pub(crate) durability: Option<Durability>,
    catalogue: ArcSwap<Catalogue>,
    /// Lists that were replaced and may still have readers. Held while the list is changed.
    retired: Mutex<Vec<Weak<Catalogue>>>,
    pub(crate) recovery: Recovery,
    pub(crate) families: Families,
    pub(crate) exemplars: Exemplars,
    pub(crate) sealed_cache: SealedCache,
    pub(crate) match_cache: MatchCache,
    pub(crate) journal: Journal,
    pub(crate) upkeep: Mutex<Upkeep>,
    /// How many wait for long upkeep to give up its turn.
    pub(crate) urgent: AtomicUsize,
    pub(crate) closed: AtomicBool,
    /// The latest time that a block was named by: names ascend whatever the clock does.
    pub(crate) last_block_ms: AtomicI64,
    /// The newest sample; `i64::MIN` where there is none.
    pub(crate) newest: AtomicI64,
    /// No sample after this is in a block or in what is being recovered.
    pub(crate) sealed_until: AtomicI64,
    /// Buffers of appends, used one after another.
    pub(crate) accepted: Mutex<Vec<Accepted>>,
    pub(crate) counters: Counters,
    pub(crate) quarantined: Mutex<Vec<String>>,
    pub(crate) damages: Arc<Damages>,
    /// Released last.
    folder_lock: Mutex<Option<Box<dyn Lock>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.layout.root.display())
    }
}

/// Whoever flushes the log.
fn durability(options: &StoreOptions, wal: &Arc<Wal>, layout: &Layout) -> Result<Durability, OpenError> {
    let flushed = wal.clone();
    let started = Durability::start(options.wal_sync, Box::new(move || flushed.sync()));
    started.map_err(|error| OpenError::Io { path: layout.wal.clone(), error })
}

impl Store {
    /// Opens the store in a folder, which is created where it is missing. Blocks that are damaged are put aside and named.
    /// What the last run left in its log is replayed on a thread of its own; appends and reads may begin at once.
    ///
    /// # Errors
    /// When somebody else has the folder, a newer version wrote to it, or the disk does not let us.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: StoreOptions,
        clock: Clock,
    ) -> Result<Arc<Self>, OpenError> {
        options.check()?;
        let layout = Layout::new(folder);
        let now = clock().0;
        let folder_lock = if options.read_only {
            if !layout.check_version(&*disk)? {
                return Err(OpenError::NotAStore { path: layout.version_path() });
            }
            None
        } else {
            Some(layout.lock(&*disk)?)
        };
        // First everything is looked at, then something is changed.
        let opened = open_all(&disk, &layout.blocks)?;
        let old_segments = readable_segments(&*disk, &layout.wal)?;
        let mut wal = None;
        if !options.read_only {
            layout.make_ready(&*disk, now)?;
            let log = Log::create(disk.clone(), &layout.wal, segment_log::Options::default())?;
            wal = Some(Arc::new(Wal::new(log)));
        }
        let first_segment = wal.as_ref().map_or(0, |wal| wal.log().segment());
        let durability = wal.as_ref().map(|wal| durability(&options, wal, &layout)).transpose()?;
        let store = Self {
            head: Head::new(options.head.clone()),
            epoch: RwLock::new(first_segment),
            first_segment,
            wal,
            durability,
            catalogue: ArcSwap::default(),
            retired: Mutex::default(),
            recovery: Recovery::new(!old_segments.is_empty()),
            families: Families::default(),
            exemplars: Exemplars::new(options.max_exemplars),
            sealed_cache: SealedCache::default(),
            match_cache: MatchCache::new(MATCH_CACHE_BYTES),
            journal: Journal::default(),
            upkeep: Mutex::default(),
            urgent: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            last_block_ms: AtomicI64::new(0),
            newest: AtomicI64::new(i64::MIN),
            sealed_until: AtomicI64::new(i64::MIN),
            accepted: Mutex::default(),
            counters: Counters::default(),
            quarantined: Mutex::default(),
            damages: Arc::default(),
            folder_lock: Mutex::new(folder_lock),
            disk,
            layout,
            options,
            clock,
        };
        store.begin_with(opened);
        store.load_families();
        store.load_exemplars();
        let store = Arc::new(store);
        if !old_segments.is_empty() {
            Self::begin_recovery(&store, old_segments);
        }
        Ok(store)
    }

    /// Takes the blocks that were found, and clears away what does not count.
    fn begin_with(&self, opened: Opened) {
        let Opened { mut blocks, damaged, replaced, orphans } = opened;
        for error in damaged {
            blocks.extend(self.put_aside(&error));
        }
        if !self.options.read_only {
            let leftovers = replaced.iter().map(|block| block.path().to_owned()).chain(orphans);
            self.upkeep.lock().garbage.extend(leftovers);
            self.upkeep.lock().garbage.extend(replaced.iter().map(Block::tombstones_path));
        }
        let catalogue = Catalogue::of(blocks);
        self.last_block_ms.store(catalogue.last_created().unwrap_or(0), Ordering::Release);
        self.saw(catalogue.newest().unwrap_or(i64::MIN));
        self.sealed_until.store(catalogue.newest_raw().unwrap_or(i64::MIN), Ordering::Release);
        self.catalogue.store(Arc::new(catalogue));
    }

    /// Names damage that was found when a block was opened, and moves the file aside. What remains of the block, where it
    /// was only its tombstones that are damaged, is returned.
    fn put_aside(&self, error: &BlockError) -> Option<Block> {
        self.damages.count.add(1);
        let BlockError::Corrupt { path, .. } = error else { return None };
        if self.options.read_only {
            tracing::error!(%error, "a damaged file is left out");
            return None;
        }
        match self.layout.quarantine(&*self.disk, path) {
            Ok(to) => {
                tracing::error!(%error, moved_to = %to.display(), "a damaged file was put aside");
                self.quarantined.lock().push(to.display().to_string());
            }
            Err(failed) => tracing::error!(%error, %failed, "a damaged file is left out, it could not be put aside"),
        }
        let block = path.with_extension(&block::BLOCK_SUFFIX[1..]);
        if block == *path {
            return None;
        }
        Block::open(self.disk.clone(), &block).ok()
    }

    fn load_families(&self) {
        let path = &self.layout.families;
        if let Err(error) = self.families.load(&*self.disk, path) {
            self.damages.count.add(1);
            tracing::error!(path = %path.display(), %error, "metadata of metric families cannot be read, it is learned anew");
            if !self.options.read_only
                && let Ok(to) = self.layout.quarantine(&*self.disk, path)
            {
                self.quarantined.lock().push(to.display().to_string());
            }
        }
    }

    /// The blocks as they are now. Whoever holds this keeps samples in memory that later blocks have: hold it shortly.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Replaces blocks in the list. Their files are not touched.
    pub(crate) fn change_catalogue(&self, without: &[String], with: Vec<Block>) {
        let _changing = self.journal.change_anything();
        let mut retired = self.retired.lock();
        let fresh = Arc::new(self.catalogue().replaced(without, with));
        let old = self.catalogue.swap(fresh);
        retired.push(Arc::downgrade(&old));
        drop(old);
        retired.retain(|list| list.strong_count() > 0);
        self.sealed_cache.forget(without);
    }

    /// The lists before the present one that still have readers.
    pub(crate) fn lists_being_read(&self) -> Vec<Weak<Catalogue>> {
        self.retired.lock().iter().filter(|list| list.strong_count() > 0).cloned().collect()
    }

    /// Notes the time of a stored sample.
    pub(crate) fn saw(&self, timestamp: i64) {
        self.newest.fetch_max(timestamp, Ordering::AcqRel);
    }

    /// The time of the newest sample, from which windows and retention are counted. Samples that were stored while the
    /// clock was ahead must not take everything else with them once it is back: they do not count until their time comes.
    pub(crate) fn present(&self) -> i64 {
        let latest_possible = (self.clock)() + MAX_AHEAD_MS;
        self.newest.load(Ordering::Acquire).min(latest_possible.0)
    }

    /// What retention has not reached begins here.
    pub(crate) fn cutoff(&self) -> i64 {
        self.present().saturating_sub(as_ms(self.options.retention))
    }

    /// Flushes the write-ahead log to the disk itself.
    ///
    /// # Errors
    /// What the disk says, or that the log has gaps for lack of space.
    pub fn sync(&self) -> Result<(), model::AppendError> {
        let Some(wal) = &self.wal else { return Ok(()) };
        wal.catch_up()?;
        wal.sync().map(|_| ())
    }

    /// Waits until what the last run left in its log is replayed. False when it is not after so long.
    pub fn wait_until_replayed(&self, timeout: Duration) -> bool {
        self.recovery.wait(timeout)
    }

    /// A clean stop: nothing more is accepted, what is in memory moves into blocks, so that the next start has nothing to
    /// replay. Where there is too much of it, or no space, the log is flushed instead. Reads go on working.
    ///
    /// # Errors
    /// When the log could not be flushed either. Everything is still in it, as far as the disk goes.
    pub fn close(&self) -> Result<(), StoreError> {
        let first = {
            // No append is under way when this is held.
            let _epoch = self.epoch.write();
            !self.closed.swap(true, Ordering::AcqRel)
        };
        if !first {
            return Ok(());
        }
        self.urgent.fetch_add(1, Ordering::AcqRel);
        let outcome = match &self.wal {
            None => Ok(()),
            Some(wal) => self.seal_at_close(wal),
        };
        self.sync_exemplars();
        self.recovery.stop();
        if let Some(durability) = &self.durability {
            durability.stop();
        }
        *self.folder_lock.lock() = None;
        outcome
    }

    fn seal_at_close(&self, wal: &Wal) -> Result<(), StoreError> {
        let replayed = self.recovery.wait(CLOSE_WAITS_FOR_REPLAY);
        let upkeep = &mut *self.upkeep.lock();
        let little_enough = self.head.samples() <= self.options.max_head_samples.saturating_mul(2);
        let sealed = if replayed && little_enough {
            self.seal_recovered().and_then(|()| self.seal(upkeep, true))
        } else {
            Err(StoreError::Replaying)
        };
        if let Err(error) = self.collect_garbage(upkeep) {
            tracing::warn!(%error, "files of no use could not be removed, the next start tries again");
        }
        let Err(error) = sealed else { return Ok(()) };
        tracing::warn!(%error, "memory was not sealed, the next start replays the log");
        wal.catch_up().and_then(|()| wal.sync()).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(())
    }

    /// What the store holds and did.
    pub fn statistics(&self) -> StoreStatistics {
        let catalogue = self.catalogue();
        let recovered = self.recovery.head();
        let heads = || [Some(&self.head), recovered.as_deref()].into_iter().flatten();
        let oldest = heads().filter_map(Head::bounds).map(|b| b.0.0).chain(catalogue.oldest()).min();
        let newest = self.newest.load(Ordering::Acquire);
        StoreStatistics {
            head_series: heads().map(|head| head.series() as u64).sum(),
            head_samples: heads().map(Head::samples).sum(),
            head_chunks: heads().map(Head::chunks).sum(),
            head_series_created: heads().map(|head| head.series() as u64 + head.removed_series()).sum(),
            head_series_removed: heads().map(Head::removed_series).sum(),
            head_bounds: heads().filter_map(Head::bounds).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
            head_bytes: heads().map(Head::memory_bytes).sum(),
            appended: self.counters.appended.get(),
            appended_histograms: self.counters.histograms.get(),
            duplicates: self.counters.duplicates.get(),
            blocks: catalogue.raw.len() as u64,
            rollup_blocks: catalogue.rollups.len() as u64,
            block_bytes: catalogue.all().map(Block::bytes).sum(),
            block_samples: catalogue.raw.iter().map(|block| block.meta().samples).sum(),
            bounds: oldest.map(|oldest| (TimestampMs(oldest), TimestampMs(newest.max(oldest)))),
            exemplars: self.exemplars.statistics(),
            wal: self.wal.as_ref().map(|wal| wal.statistics()).unwrap_or_default(),
            recovery: self.recovery.statistics(),
            corruptions: self.damages.count.get(),
            quarantined: self.quarantined.lock().clone(),
            seals: self.counters.seals.statistics(),
            compactions: self.counters.compactions.statistics(),
            rollups: self.counters.rollups.statistics(),
            removals: self.counters.removals.statistics(),
            time_retentions: self.counters.time_retentions.get(),
            size_retentions: self.counters.size_retentions.get(),
            retention: (self.options.retention, self.options.retention_bytes),
        }
    }

    /// The shape of the series in memory: the `limit` largest of each kind.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let found = self.head.cardinality(limit);
        Cardinality {
            series: self.head.series() as u64,
            label_pairs: found.pairs,
            series_by_metric: found.series_by_metric,
            values_by_label: found.values_by_name,
            memory_by_label: found.bytes_by_name,
            series_by_pair: found.series_by_pair,
        }
    }

    /// The folder of the store.
    pub fn folder(&self) -> PathBuf {
        self.layout.root.clone()
    }
}

impl Drop for Store {
    /// As a kill does it: nothing is sealed, everything acknowledged is in the log.
    fn drop(&mut self) {
        self.recovery.stop();
    }
}

/// The segments that the last run left, all of a version that can be read.
fn readable_segments(disk: &dyn Disk, folder: &Path) -> Result<Vec<SegmentInfo>, OpenError> {
    let found = match disk.list(folder) {
        Ok(_) => segments(disk, folder)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(OpenError::Io { path: folder.to_owned(), error }),
    };
    for segment in &found {
        segment_log::read(disk, segment)?;
    }
    Ok(found)
}
