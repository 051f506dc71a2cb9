//! `highwater tsdb import`: the history of a Prometheus, copied into a store sample by sample.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use model::{
    Append, Batch, Labels, MetricMetadata, RefusalReason, Sample, SampleBuffer, TimeRange, TimestampMs, format_bytes,
};
use prometheus_block::{BlockMeta, BlockReader, Wal, WalItem, WalReport, list_blocks};
use tsdb::Store;

use super::args::ImportArgs;
use super::imported::Imported;
use super::known::drop_known;
use super::open_for_writing;
use crate::moment::show_moment;

/// Samples are handed to the store in batches of so many, and in larger ones while most of them are known: then the store
/// is read once for each batch, which is faster than asking it sample by sample.
const BATCH_SAMPLES: usize = 1 << 14;
const KNOWN_BATCH_SAMPLES: usize = 1 << 20;
/// A block is read in spans of this length, all series of one before the next: that is how the store seals.
const SPAN_MS: i64 = 2 * 3600 * 1000;
/// A block that covers more of them is read in longer ones.
const MAX_SPANS: i64 = 1000;

/// Copies blocks, oldest first, then the log.
pub fn run(args: &ImportArgs) -> Result<()> {
    let from = &args.from;
    let blocks = list_blocks(from)?;
    let wal = Wal::find(from)?;
    if blocks.is_empty() && wal.bytes() == 0 {
        bail!(
            "{} holds neither blocks nor a write-ahead log of a Prometheus; give its --storage.tsdb.path",
            from.display()
        );
    }
    let mut importer = Importer::new(open_for_writing(&args.store.path)?);
    let outcome = importer.import(args, &blocks, &wal);
    // What was taken is kept, whatever happened after it.
    let closed = importer.store.close();
    outcome?;
    closed?;
    importer.summary()
}

/// What was done so far.
struct Importer {
    store: Arc<Store>,
    batch: Batch,
    /// Most samples of the last batch were there already.
    expects_known: bool,
    started: Instant,
    appended: u64,
    duplicates: u64,
    refused: BTreeMap<RefusalReason, Refused>,
    /// Series, or parts of them, that could not be read.
    damaged: u64,
    histogram_samples: u64,
}

/// Samples that the store did not take.
struct Refused {
    count: u64,
    /// One of them.
    example: String,
}

impl Importer {
    fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            batch: Batch::default(),
            expects_known: false,
            started: Instant::now(),
            appended: 0,
            duplicates: 0,
            refused: BTreeMap::new(),
            damaged: 0,
            histogram_samples: 0,
        }
    }

    fn import(&mut self, args: &ImportArgs, blocks: &[(PathBuf, BlockMeta)], wal: &Wal) -> Result<()> {
        let mut imported = Imported::load(&args.store.path)?;
        for (at, (folder, meta)) in blocks.iter().enumerate() {
            let position = format!("block {} of {} ({})", at + 1, blocks.len(), meta.ulid);
            if imported.has(meta) && !args.again {
                eprintln!("{position}: imported before");
                continue;
            }
            let damaged = self.damaged;
            self.block(folder)?;
            self.report(&format!("{position}, until {}", show_moment(meta.max_time)));
            // A damaged one may be replaced by a copy that is not.
            if self.damaged == damaged {
                imported.add(meta)?;
            }
        }
        if wal.bytes() > 0 {
            eprintln!("write-ahead log: {}", format_bytes(wal.bytes()));
            let report = wal.replay(|item| self.log_item(item))?;
            self.flush()?;
            self.report("write-ahead log");
            describe(&report);
        }
        Ok(())
    }

    /// Copies a block. When this returns, its samples survive a power loss.
    fn block(&mut self, folder: &Path) -> Result<()> {
        let mut reader = BlockReader::open(folder)?;
        let (first, last) = (reader.meta().min_time, reader.meta().max_time);
        let mut samples = SampleBuffer::default();
        let mut damages = BTreeSet::new();
        let length = SPAN_MS.saturating_mul(last.saturating_sub(first) / (SPAN_MS * MAX_SPANS) + 1);
        for span in first.div_euclid(length)..=last.div_euclid(length) {
            let start = span.saturating_mul(length);
            let range = TimeRange { start: TimestampMs(start), end: TimestampMs(start.saturating_add(length - 1)) };
            while let Some(series) = reader.next_series(range, &mut samples) {
                match series {
                    Ok(labels) => self.series(&labels, &samples)?,
                    Err(error) => {
                        damages.insert(error.to_string());
                    }
                }
            }
            self.flush()?;
            self.histogram_samples += reader.skipped().histogram_samples;
            reader.rewind();
            self.store.maintain();
        }
        self.damaged += damages.len() as u64;
        damages.iter().for_each(|damage| eprintln!("left out: {damage}"));
        self.store.sync()?;
        Ok(())
    }

    fn series(&mut self, labels: &Labels, samples: &SampleBuffer) -> Result<()> {
        for (timestamp, value) in samples.timestamps.iter().zip(&samples.values) {
            self.push(labels, Sample { timestamp: TimestampMs(*timestamp), value: *value })?;
        }
        Ok(())
    }

    fn log_item(&mut self, item: WalItem<'_>) -> Result<()> {
        match item {
            WalItem::Sample(labels, sample) => self.push(labels, sample),
            WalItem::Metadata(metadata) => self.metadata(metadata),
            WalItem::Segment(path, bytes) => {
                self.flush()?;
                self.store.maintain();
                eprintln!("{}: {} read", path.display(), format_bytes(bytes));
                Ok(())
            }
        }
    }

    fn push(&mut self, labels: &Labels, sample: Sample) -> Result<()> {
        self.batch.push(labels.clone(), sample);
        let enough = if self.expects_known { KNOWN_BATCH_SAMPLES } else { BATCH_SAMPLES };
        if self.batch.rows.len() >= enough { self.flush() } else { Ok(()) }
    }

    fn metadata(&mut self, metadata: MetricMetadata) -> Result<()> {
        self.batch.metadata.push(metadata);
        if self.batch.metadata.len() >= BATCH_SAMPLES { self.flush() } else { Ok(()) }
    }

    /// Hands over what was collected.
    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let rows = self.batch.rows.len() as u64;
        let known = if self.expects_known { drop_known(&*self.store, &mut self.batch)? } else { 0 };
        let report = self.store.append(&self.batch).map_err(|e| anyhow!("{e}; what was imported so far is kept"))?;
        self.appended += report.appended as u64;
        let duplicates = known + report.duplicates as u64;
        self.duplicates += duplicates;
        self.expects_known = duplicates > rows / 2;
        for refusal in report.refused {
            let row = &self.batch.rows[refusal.row];
            let example = || format!("{} at {}", row.labels, show_moment(row.sample.timestamp.0));
            self.refused.entry(refusal.reason).or_insert_with(|| Refused { count: 0, example: example() }).count += 1;
        }
        self.batch.rows.clear();
        self.batch.metadata.clear();
        Ok(())
    }

    fn report(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let all = self.appended + self.duplicates;
        eprintln!("{what}: {} samples so far, {:.0} a second", all, all as f64 / seconds);
    }

    /// Says what became of everything; fails when something that was there is not here now.
    fn summary(&self) -> Result<()> {
        println!("{} samples imported, {} were there already", self.appended, self.duplicates);
        if self.histogram_samples > 0 {
            eprintln!(
                "{} samples of native histograms in blocks were left out; they cannot be stored yet",
                self.histogram_samples
            );
        }
        for (reason, refused) in &self.refused {
            eprintln!("{} samples were refused: {reason} (as {})", refused.count, refused.example);
        }
        if self.damaged > 0 {
            bail!("{} series could not be read; they are named above, everything else was imported", self.damaged);
        }
        Ok(())
    }
}

/// Says what of a log was left out.
fn describe(report: &WalReport) {
    let say = |count: u64, what: &str| {
        if count > 0 {
            eprintln!("write-ahead log: {count} {what}");
        }
    };
    say(report.older_samples, "samples were taken from the blocks instead");
    say(report.deleted_samples, "samples were left out because they were deleted");
    say(report.unknown_samples, "samples were left out because the log does not say of which series");
    say(report.histogram_records, "records of native histograms were left out; they cannot be stored yet");
    say(report.exemplar_records, "records of exemplars were left out");
    say(report.unknown_records, "records of an unknown kind were left out; a newer Prometheus wrote them");
    say(report.damages, "damaged places were passed over; a torn end is normal after a crash");
    for damage in &report.described {
        eprintln!("  {} at byte {}: {}", damage.path.display(), damage.offset, damage.what);
    }
}
