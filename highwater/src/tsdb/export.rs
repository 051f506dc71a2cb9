//! `highwater tsdb export`: what is stored as Prometheus blocks, in a folder and in object storage.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use model::{Queryable, SampleBuffer, TimeRange, TimestampMs, format_bytes};
use prometheus_block::{BlockMeta, ExportOptions, ExportWriter};
use tempfile::TempDir;

use super::args::ExportArgs;
use super::select::{Damages, selected};
use super::upload::{Bucket, Uploaded};
use crate::moment::show_moment;

/// Blocks begin at multiples of this, as Prometheus' own do.
const WINDOW_MS: i64 = 2 * 3600 * 1000;
/// Of a block's id: what is before it is the time it was made, what is behind a hash of what it holds.
const CONTENT_FROM: usize = 10;

/// Writes the blocks. `bounds` are the oldest and the newest sample of the store.
pub fn run(args: &ExportArgs, store: &dyn Queryable, bounds: Option<(TimestampMs, TimestampMs)>) -> Result<()> {
    let bucket = args.upload.as_ref().map(|url| Bucket::open(url, &args.s3)).transpose()?;
    if bucket.is_some() && args.thanos_labels.is_empty() {
        eprintln!("without --thanos-label the blocks carry no external labels; Mimir takes them so, Thanos does not");
    }
    // Blocks that are only uploaded lie here until they are.
    let passing = TempDir::new().context("cannot create a temporary folder")?;
    let folder = args.output.as_deref().unwrap_or(passing.path());
    prepare(folder)?;
    let (mut blocks, mut samples, mut damages) = (0u64, 0, Damages::default());
    for window in windows(args.selection.range(), bounds) {
        let Some(written) = write_window(args, store, window, folder, &mut damages)? else { continue };
        blocks += 1;
        samples += written.meta.stats.num_samples;
        report(&written)?;
        if let Some(bucket) = &bucket {
            match bucket.upload(&written.place, &written.meta)? {
                Uploaded::Now(bytes) => println!("{}: uploaded, {}", written.meta.ulid, format_bytes(bytes)),
                Uploaded::Before(id) => println!("{}: in object storage already, as {id}", written.meta.ulid),
            }
        }
        if args.output.is_none() {
            std::fs::remove_dir_all(&written.place).context("cannot remove a block that was uploaded")?;
        }
    }
    if blocks == 0 {
        damages.end()?;
        bail!("nothing to export: the store holds no sample that is selected");
    }
    println!("{samples} samples in {blocks} blocks");
    damages.end()
}

/// A block that is complete.
struct Written {
    meta: BlockMeta,
    place: PathBuf,
    /// It was there before.
    again: bool,
}

/// promtool wants a data folder to have a `wal`, even an empty one.
fn prepare(folder: &Path) -> Result<()> {
    let wal = folder.join("wal");
    std::fs::create_dir_all(&wal).with_context(|| format!("cannot create {}", wal.display()))
}

/// The windows that touch both the selected time and what is stored, cut to the selected time.
fn windows(selected: TimeRange, bounds: Option<(TimestampMs, TimestampMs)>) -> impl Iterator<Item = TimeRange> {
    let span = bounds.map(|(oldest, newest)| (selected.start.max(oldest).0, selected.end.min(newest).0));
    let span = span.filter(|(start, end)| start <= end);
    let numbers = span.map(|(start, end)| start.div_euclid(WINDOW_MS)..=end.div_euclid(WINDOW_MS));
    numbers.into_iter().flatten().map(move |number| {
        let start = TimestampMs(number.saturating_mul(WINDOW_MS));
        TimeRange { start: start.max(selected.start), end: (start + (WINDOW_MS - 1)).min(selected.end) }
    })
}

/// Writes the block of one window; `None` when there is nothing in it.
fn write_window(
    args: &ExportArgs,
    store: &dyn Queryable,
    window: TimeRange,
    folder: &Path,
    damages: &mut Damages,
) -> Result<Option<Written>> {
    let labels = args.thanos_labels.iter().cloned().collect();
    let options = ExportOptions {
        created: super::now(),
        thanos_labels: (!args.thanos_labels.is_empty()).then_some(labels),
        source: "highwater".to_owned(),
    };
    let mut writer = ExportWriter::create(folder, options)?;
    let mut samples = SampleBuffer::default();
    for series in selected(store, &args.selection.matches, window)? {
        if damages.read(&*series, window, &mut samples) {
            writer.add(series.labels(), &samples)?;
        }
    }
    if writer.series_count() == 0 {
        return Ok(None);
    }
    // The same content was exported before: the new copy goes away with the writer.
    let content = writer.content_id();
    for (place, meta) in prometheus_block::list_blocks(folder)? {
        if meta.ulid.get(CONTENT_FROM..) == Some(&content) {
            return Ok(Some(Written { meta, place, again: true }));
        }
    }
    let finished = writer.finish()?;
    Ok(finished.map(|(meta, place)| Written { meta, place, again: false }))
}

fn report(written: &Written) -> Result<()> {
    let meta = &written.meta;
    let note = if written.again { ", there already" } else { "" };
    println!(
        "{}: {} to {}, {} series, {} samples, {}{note}",
        meta.ulid,
        show_moment(meta.min_time),
        show_moment(meta.max_time),
        meta.stats.num_series,
        meta.stats.num_samples,
        format_bytes(folder_bytes(&written.place)?)
    );
    Ok(())
}

/// Size of all files of a block.
fn folder_bytes(folder: &Path) -> Result<u64> {
    Ok(block_files(folder)?.iter().map(|(_, bytes)| bytes).sum())
}

/// The files of a block with their sizes, by path within it; its description, which makes it valid, last.
pub fn block_files(block: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut out = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = block.join(&folder);
        for entry in std::fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
            let metadata = entry.metadata().with_context(|| format!("cannot look at {}", entry.path().display()))?;
            let name = folder.join(entry.file_name());
            if metadata.is_dir() { folders.push(name) } else { out.push((name, metadata.len())) }
        }
    }
    out.sort_by_key(|(name, _)| (name.as_os_str() == "meta.json", name.clone()));
    Ok(out)
}

/// Which of the ids has the same content as `ulid`.
pub fn same_content<'a>(ulid: &str, ids: &'a HashSet<String>) -> Option<&'a String> {
    ids.iter().find(|id| id.get(CONTENT_FROM..) == ulid.get(CONTENT_FROM..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_prometheus() {
        let at = |ms| TimestampMs(ms);
        let check = |selected: (i64, i64), bounds, want: &[(i64, i64)]| {
            let selected = TimeRange { start: at(selected.0), end: at(selected.1) };
            let found: Vec<_> = windows(selected, bounds).map(|w| (w.start.0, w.end.0)).collect();
            assert_eq!(found, want);
        };
        let all = (i64::MIN, i64::MAX);
        check(all, None, &[]);
        check(all, Some((at(5), at(5))), &[(0, WINDOW_MS - 1)]);
        check(all, Some((at(-1), at(0))), &[(-WINDOW_MS, -1), (0, WINDOW_MS - 1)]);
        let two = [(0, WINDOW_MS - 1), (WINDOW_MS, 2 * WINDOW_MS - 1)];
        check(all, Some((at(WINDOW_MS - 1), at(WINDOW_MS))), &two);
        check((10, WINDOW_MS), Some((at(0), at(9 * WINDOW_MS))), &[(10, WINDOW_MS - 1), (WINDOW_MS, WINDOW_MS)]);
        check((10, 20), Some((at(30), at(40))), &[]);
    }
}
