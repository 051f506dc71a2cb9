//! The table of sources as a file (docs/formats/sources.md).

use std::io::{self, ErrorKind};
use std::path::Path;

use disk::Disk;
use model::TimestampMs;

use crate::pace::Lateness;
use crate::report::{joined, list, timestamp, version};
use crate::source::{Nested, Source};
use crate::{Behind, Gap, GapBelow, Lane, MAX_BEHIND, MAX_GAPS, SourceName};

/// The first line.
const MAGIC: &str = "highwater sources 1";
/// Begins the last line.
const CHECKSUM: &str = "crc32c ";
/// What stands for nothing.
const NONE: &str = "-";
/// Larger files are not ours.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_LIST_BYTES: usize = 64 << 10;

/// Why a saved table was not taken up.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("the table of sources cannot be read: {0}; who was silent before this start is forgotten")]
    Unreadable(#[from] io::Error),
    /// It does not hold what was written.
    #[error("the table of sources is damaged ({0}) and was put aside; who was silent before this start is forgotten")]
    Damaged(&'static str),
}

pub(crate) fn load(disk: &dyn Disk, path: &Path, now: TimestampMs) -> Result<Vec<Source>, Problem> {
    let bytes = match disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let decoded = decode_table(&bytes, now);
    if decoded.is_err() {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".damaged");
        disk.rename(path, Path::new(&aside))?;
    }
    decoded.map_err(Problem::Damaged)
}

/// Reads a saved table and returns how many sources it names.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<usize, &'static str> {
    decode_table(bytes, TimestampMs(0)).map(|sources| sources.len())
}

fn decode_table(bytes: &[u8], now: TimestampMs) -> Result<Vec<Source>, &'static str> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("it is too large");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let body = text.strip_suffix('\n').ok_or("it has no end")?;
    let at = body.rfind('\n').ok_or("it has one line")? + 1;
    let checksum = body[at..].strip_prefix(CHECKSUM).ok_or("it has no checksum")?;
    if u32::from_str_radix(checksum, 16) != Ok(crc32c::crc32c(&bytes[..at])) {
        return Err("its checksum is wrong");
    }
    let mut lines = body[..at].lines();
    if lines.next() != Some(MAGIC) {
        return Err("it is of another version");
    }
    lines.map(|line| decode_source(line, now).ok_or("a line cannot be read")).collect()
}

pub(crate) fn encode<'s>(sources: impl Iterator<Item = &'s Source>) -> Vec<u8> {
    let mut out = format!("{MAGIC}\n");
    for source in sources {
        out.push_str(&encode_source(source));
        out.push('\n');
    }
    let checksum = crc32c::crc32c(out.as_bytes());
    out.push_str(&format!("{CHECKSUM}{checksum:08x}\n"));
    out.into_bytes()
}

fn encode_source(source: &Source) -> String {
    let shown = |text: String| if text.is_empty() { NONE.to_owned() } else { text };
    let time = |at: Option<TimestampMs>| shown(at.map(|at| at.to_string()).unwrap_or_default());
    let gap_below = |(source, gap): (&SourceName, &Gap)| GapBelow { source: source.clone(), gap: *gap };
    let gaps_below: Vec<GapBelow> = source.all_gaps().skip(source.gaps.list.len()).map(gap_below).collect();
    let below: Vec<&Behind> = source.behind.iter().map(|nested| &nested.told).collect();
    [
        source.name.to_string(),
        source.address.to_string(),
        source.first_seen.to_string(),
        source.last_seen.to_string(),
        time(source.watermark),
        time(source.newest),
        source.lateness.usual_ms.to_string(),
        source.lane.as_str().to_owned(),
        source.backlog.to_string(),
        source.gaps.samples.to_string(),
        shown(joined(&source.gaps.list, MAX_GAPS, MAX_LIST_BYTES)),
        source.samples.to_string(),
        source.bytes.to_string(),
        shown(source.version.clone()),
        shown(joined(&below, MAX_BEHIND, MAX_LIST_BYTES)),
        // As many as the table has room for.
        shown(joined(&gaps_below, usize::MAX, usize::MAX)),
    ]
    .join(" ")
}

fn decode_source(line: &str, now: TimestampMs) -> Option<Source> {
    let mut fields = line.split(' ');
    let (name, address) = (SourceName::parse(fields.next()?)?, fields.next()?.parse().ok()?);
    let mut time = || match fields.next()? {
        NONE => Some(None),
        text => timestamp(text).map(Some),
    };
    let (first_seen, last_seen, watermark, newest) = (time()??, time()??, time()?, time()?);
    let mut source = Source::new(name, address, now);
    // A clock that was set back since must not make anybody immortal.
    (source.first_seen, source.last_seen) = (first_seen, last_seen.min(now));
    (source.watermark, source.newest) = (watermark, newest);
    source.lateness = Lateness::new(fields.next()?.parse().ok()?, now);
    source.lane = if fields.next()? == Lane::Backfill.as_str() { Lane::Backfill } else { Lane::Live };
    source.backlog = fields.next()?.parse().ok()?;
    source.gaps.samples = fields.next()?.parse().ok()?;
    source.gaps.list = list(fields.next()?, MAX_GAPS);
    source.samples = fields.next()?.parse().ok()?;
    source.bytes = fields.next()?.parse().ok()?;
    source.version = version(fields.next()?).filter(|text| *text != NONE).unwrap_or_default().to_owned();
    let below: Vec<Behind> = list(fields.next()?, MAX_BEHIND);
    let nested = |told| Nested { told, lateness: Lateness::new(0, now) };
    source.behind = below.into_iter().map(nested).collect();
    // Not there in what earlier versions wrote.
    source.observe_below(&list(fields.next().unwrap_or(NONE), usize::MAX), usize::MAX);
    fields.next().is_none().then_some(source)
}
