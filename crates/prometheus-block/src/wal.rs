//! Replays the write-ahead log of a Prometheus: the newest checkpoint, the segments after it, and the log of samples
//! that came out of order (`wbl`). Together they hold everything that is in no block yet.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use model::{Labels, MetricKind, MetricMetadata, Sample, TimestampMs};

use crate::block::list_blocks;
use crate::error::PrometheusError;
use crate::tombstones::Tombstones;
use crate::wal_pages::{Next, SegmentReader};
use crate::wal_records as records;

/// Damages that are described; all are counted.
const MAX_DESCRIBED: usize = 100;

/// Something in a log that could not be read and was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// What a replay met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalReport {
    /// Series that were defined.
    pub series: u64,
    /// Samples that were handed over.
    pub samples: u64,
    /// Samples left out because blocks hold their time; where they were deleted from those, they are gone.
    pub older_samples: u64,
    /// Samples left out because they were deleted.
    pub deleted_samples: u64,
    /// Samples of series whose definition is missing.
    pub unknown_samples: u64,
    /// Records of native histograms, left out.
    pub histogram_records: u64,
    /// Records of exemplars, left out.
    pub exemplar_records: u64,
    /// Records of a kind that is not known, left out.
    pub unknown_records: u64,
    /// Damaged places.
    pub damages: u64,
    /// The first hundred of them.
    pub described: Vec<Damage>,
}

/// What a replay hands over.
#[derive(Debug)]
pub enum WalItem<'a> {
    /// A sample of a series. Samples of one series come in order of time, but those of `wbl`, which come last.
    Sample(&'a Labels, Sample),
    /// What was said of a metric family.
    Metadata(MetricMetadata),
    /// A segment is finished: its path and size in bytes.
    Segment(&'a Path, u64),
}

#[derive(Debug, Clone)]
struct Segment {
    path: PathBuf,
    bytes: u64,
    /// Holds samples that came out of order. Neither blocks nor deletions say anything of them.
    late: bool,
}

/// The segments of a log.
#[derive(Debug, Clone, Default)]
pub struct Wal {
    /// In the order in which they were written.
    segments: Vec<Segment>,
    /// Samples that came in order and are older are in blocks already.
    blocks_end: i64,
    /// A segment that should be there.
    missing: Vec<Damage>,
}

impl Wal {
    /// Finds the log in a data folder. One without a log has an empty one.
    ///
    /// # Errors
    /// When a folder cannot be listed, or the description of a block cannot be read.
    pub fn find(data: &Path) -> Result<Self, PrometheusError> {
        let in_order = list_blocks(data)?.into_iter().filter(|(_, meta)| !meta.compaction.is_late());
        let blocks_end = in_order.map(|(_, meta)| meta.max_time).max().unwrap_or(i64::MIN);
        let mut out = Self { blocks_end, ..Self::default() };
        let wal = data.join("wal");
        let checkpoint = newest_checkpoint(&wal)?;
        if let Some((_, folder)) = &checkpoint {
            out.add(folder, 0, false)?;
        }
        out.add(&wal, checkpoint.map_or(0, |(number, _)| number.saturating_add(1)), false)?;
        out.add(&data.join("wbl"), 0, true)?;
        Ok(out)
    }

    /// Adds the segments of a folder from number `from` on.
    fn add(&mut self, folder: &Path, from: u64, late: bool) -> Result<(), PrometheusError> {
        let mut before: Option<u64> = None;
        for (number, path) in numbered(folder, "")?.range(from..) {
            if before.is_some_and(|b| b + 1 < *number) {
                let what = "segments before this one are missing";
                self.missing.push(Damage { path: path.clone(), offset: 0, what });
            }
            before = Some(*number);
            let bytes = std::fs::metadata(path).map_err(PrometheusError::io(path))?.len();
            self.segments.push(Segment { path: path.clone(), bytes, late });
        }
        Ok(())
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Reads the log twice, once for deletions and once for everything else, and hands over what it holds.
    ///
    /// # Errors
    /// When a file cannot be opened, and what `each` returns. Damage is no error: it is passed over and reported.
    pub fn replay<E: From<PrometheusError>>(
        &self,
        mut each: impl FnMut(WalItem<'_>) -> Result<(), E>,
    ) -> Result<WalReport, E> {
        let mut replay = Replay::default();
        for Segment { path, .. } in &self.segments {
            walk::<E>(path, |_, record| {
                if let Some((&records::TOMBSTONES, body)) = record.ok().and_then(|r| r.split_first()) {
                    // A damaged one is reported by the second pass.
                    let _ = records::tombstones(body, |series, first, last| replay.deleted.add(series, first, last));
                }
                Ok(())
            })?;
        }
        self.missing.iter().for_each(|damage| replay.report.damage(damage.clone()));
        for Segment { path, bytes, late } in &self.segments {
            replay.from = if *late { None } else { Some(self.blocks_end) };
            walk::<E>(path, |offset, record| {
                let damage = |what| Damage { path: path.clone(), offset, what };
                match record {
                    Ok(record) => {
                        if replay.record(record, &mut each)?.is_none() {
                            replay.report.damage(damage("a record does not hold what its kind promises"));
                        }
                    }
                    Err(what) => replay.report.damage(damage(what)),
                }
                Ok(())
            })?;
            each(WalItem::Segment(path, *bytes))?;
        }
        Ok(replay.report)
    }
}

impl WalReport {
    fn damage(&mut self, damage: Damage) {
        self.damages += 1;
        if self.described.len() < MAX_DESCRIBED {
            self.described.push(damage);
        }
    }
}

/// Calls `each` with where, and with a record or what is wrong there.
fn walk<E: From<PrometheusError>>(
    path: &Path,
    mut each: impl FnMut(u64, Result<&[u8], &'static str>) -> Result<(), E>,
) -> Result<(), E> {
    let mut segment = SegmentReader::open(path)?;
    loop {
        let before = segment.position();
        match segment.next()? {
            Next::Record(record) => each(before, Ok(record))?,
            Next::Damage(at, what) => each(at, Err(what))?,
            Next::End => return Ok(()),
        }
    }
}

/// Files or folders named by a prefix and a number, by number. None where the folder is missing.
fn numbered(folder: &Path, prefix: &str) -> Result<BTreeMap<u64, PathBuf>, PrometheusError> {
    let mut out = BTreeMap::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(out),
        other => other.map_err(PrometheusError::io(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(PrometheusError::io(folder))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(prefix));
        let digits = name.filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if let Some(number) = digits.and_then(|n| n.parse().ok()) {
            out.insert(number, path);
        }
    }
    Ok(out)
}

fn newest_checkpoint(wal: &Path) -> Result<Option<(u64, PathBuf)>, PrometheusError> {
    Ok(numbered(wal, "checkpoint.")?.into_iter().rfind(|(_, path)| path.is_dir()))
}

/// What is known while replaying.
#[derive(Default)]
struct Replay {
    series: HashMap<u64, Labels>,
    deleted: Tombstones,
    /// From when on samples are wanted; `None` among late ones, which blocks and deletions do not concern.
    from: Option<i64>,
    report: WalReport,
}

impl Replay {
    /// `None` for a damaged record, parts of which may have been handed over.
    fn record<E>(
        &mut self,
        record: &[u8],
        each: &mut impl FnMut(WalItem<'_>) -> Result<(), E>,
    ) -> Result<Option<()>, E> {
        let Some((kind, body)) = record.split_first() else { return Ok(None) };
        Ok(match *kind {
            records::SERIES => records::series(body, |reference, labels| {
                self.report.series += 1;
                self.series.insert(reference, labels);
            }),
            records::SAMPLES => {
                let Self { series, deleted, from, report } = self;
                return records::samples(body, |reference, timestamp, value| {
                    let Some(labels) = series.get(&reference) else {
                        report.unknown_samples += 1;
                        return Ok(());
                    };
                    if from.is_some_and(|from| timestamp < from) {
                        report.older_samples += 1;
                        return Ok(());
                    }
                    if from.is_some() && deleted.covers(reference, timestamp) {
                        report.deleted_samples += 1;
                        return Ok(());
                    }
                    report.samples += 1;
                    each(WalItem::Sample(labels, Sample { timestamp: TimestampMs(timestamp), value }))
                });
            }
            records::METADATA => return self.metadata(body, each),
            records::EXEMPLARS => {
                self.report.exemplar_records += 1;
                Some(())
            }
            kind if records::HISTOGRAMS.contains(&kind) => {
                self.report.histogram_records += 1;
                Some(())
            }
            records::TOMBSTONES => records::tombstones(body, |_, _, _| {}),
            // Says which samples of `wbl` are in files of chunks too.
            records::MMAP_MARKERS => Some(()),
            _ => {
                self.report.unknown_records += 1;
                Some(())
            }
        })
    }

    fn metadata<E>(&self, body: &[u8], each: &mut impl FnMut(WalItem<'_>) -> Result<(), E>) -> Result<Option<()>, E> {
        let mut found = Vec::new();
        let whole = records::metadata(body, |said| {
            if let Some(labels) = self.series.get(&said.series) {
                let family = family(labels.metric_name(), said.kind).to_owned();
                let (help, unit) = (said.help.to_owned(), said.unit.to_owned());
                found.push(MetricMetadata { family, kind: said.kind, help, unit });
            }
        });
        found.into_iter().try_for_each(|said| each(WalItem::Metadata(said)))?;
        Ok(whole)
    }
}

/// The log names series; metadata is of families, which have no suffix.
fn family(metric: &str, kind: MetricKind) -> &str {
    let suffixes: &[&str] = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricKind::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix)).unwrap_or(metric)
}
