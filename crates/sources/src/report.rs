//! What a sender says with every request, as HTTP headers (docs/formats/headers.md).

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr;

use model::TimestampMs;

use crate::SourceName;

/// Who sends: `tier/name` or `tier/name/replica`.
pub const SOURCE_HEADER: &str = "highwater-source";
/// Everything that the source ever had with a timestamp up to this was delivered here.
pub const WATERMARK_HEADER: &str = "highwater-watermark-ms";
/// Which lane the request travels in.
pub const LANE_HEADER: &str = "highwater-lane";
/// What waits for this destination.
pub const BACKLOG_HEADER: &str = "highwater-backlog";
/// What was dropped for lack of room.
pub const GAPS_HEADER: &str = "highwater-gaps";
/// What sources below the source dropped.
pub const GAPS_BELOW_HEADER: &str = "highwater-gaps-below";
/// Who lags below the source.
pub const BEHIND_HEADER: &str = "highwater-behind";
/// Which process sends: several may bear one name.
pub const PROCESS_HEADER: &str = "highwater-process";
/// The source sends somewhere else from now on.
pub const ELSEWHERE_HEADER: &str = "highwater-elsewhere";
/// The version of the sender's program.
pub const VERSION_HEADER: &str = "highwater-version";

/// Names and values of all headers of a report together.
pub const MAX_REPORT_BYTES: usize = 8 << 10;
/// Gaps in a report, and as many of sources below.
pub const MAX_GAPS: usize = 16;
/// Sources that lag in a report.
pub const MAX_BEHIND: usize = 50;
const YES: &str = "1";
const MAX_VERSION_BYTES: usize = 64;

/// The lane a request travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// What is new.
    #[default]
    Live,
    /// What could not be sent when it was new.
    Backfill,
}

impl Lane {
    /// As the header says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
        }
    }
}

/// What waits in a sender's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Samples.
    pub samples: u64,
    /// The timestamp of the oldest; `None` when nothing waits.
    pub oldest: Option<TimestampMs>,
}

/// Samples that a sender dropped for lack of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The timestamp of the first.
    pub from: TimestampMs,
    /// The timestamp of the last.
    pub to: TimestampMs,
    /// How many there were.
    pub samples: u64,
}

/// Samples that a source below the sender dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapBelow {
    /// Which.
    pub source: SourceName,
    /// What it dropped.
    pub gap: Gap,
}

/// A source that lags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Which.
    pub source: SourceName,
    /// Up to when it is complete.
    pub watermark: TimestampMs,
}

/// What a sender says of itself. Whatever it does not say is `None` or empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Who it is.
    pub source: Option<SourceName>,
    /// Which of the processes of that name, the same over restarts.
    pub process: Option<u64>,
    /// It will send nothing more here: it has another address for the same destination. Its silence means nothing then.
    pub is_elsewhere: bool,
    /// Everything that it ever had with a timestamp up to this was delivered here.
    pub watermark: Option<TimestampMs>,
    /// The lane of the request.
    pub lane: Option<Lane>,
    /// What waits there.
    pub backlog: Option<Backlog>,
    /// What it had to drop, newest first.
    pub gaps: Vec<Gap>,
    /// Who lags below it, most late first.
    pub behind: Vec<Behind>,
    /// The version of its program.
    pub version: Option<String>,
    /// Some of what sources below it dropped; others with other requests.
    pub gaps_below: Vec<GapBelow>,
}

impl Report {
    /// The headers that say this, at most 8 KiB together: what comes last gives way.
    pub fn to_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Headers { list: Vec::new(), left: MAX_REPORT_BYTES };
        headers.add(SOURCE_HEADER, self.source.as_ref());
        headers.add(PROCESS_HEADER, self.process.map(|process| format!("{process:016x}")));
        headers.add(ELSEWHERE_HEADER, self.is_elsewhere.then_some(YES));
        headers.add(WATERMARK_HEADER, self.watermark);
        headers.add(LANE_HEADER, self.lane.map(Lane::as_str));
        headers.add(BACKLOG_HEADER, self.backlog);
        headers.add(VERSION_HEADER, self.version.as_deref().and_then(version));
        headers.add_list(GAPS_HEADER, &self.gaps, MAX_GAPS);
        headers.add_list(BEHIND_HEADER, &self.behind, MAX_BEHIND);
        headers.add_list(GAPS_BELOW_HEADER, &self.gaps_below, MAX_GAPS);
        headers.list
    }

    /// Reads a report from headers, by lower-case name. What is missing, malformed or beyond the bounds is ignored: these
    /// headers never fail a request.
    pub fn from_headers<'h>(get: impl Fn(&'static str) -> Option<&'h str>) -> Self {
        let mut left = MAX_REPORT_BYTES;
        let mut read = |name: &'static str| {
            let text = get(name)?;
            left = left.checked_sub(name.len() + text.len())?;
            Some(text.trim())
        };
        Self {
            source: read(SOURCE_HEADER).and_then(SourceName::parse),
            process: read(PROCESS_HEADER).and_then(process),
            is_elsewhere: read(ELSEWHERE_HEADER) == Some(YES),
            watermark: read(WATERMARK_HEADER).and_then(timestamp),
            lane: read(LANE_HEADER).and_then(|text| match text {
                "live" => Some(Lane::Live),
                "backfill" => Some(Lane::Backfill),
                _ => None,
            }),
            backlog: read(BACKLOG_HEADER).and_then(|text| text.parse().ok()),
            version: read(VERSION_HEADER).and_then(version).map(str::to_owned),
            gaps: read(GAPS_HEADER).map(|text| list(text, MAX_GAPS)).unwrap_or_default(),
            behind: read(BEHIND_HEADER).map(|text| list(text, MAX_BEHIND)).unwrap_or_default(),
            gaps_below: read(GAPS_BELOW_HEADER).map(|text| list(text, MAX_GAPS)).unwrap_or_default(),
        }
    }

    /// Who sent this: as told, else after where it came from.
    pub fn source_or(&self, address: IpAddr) -> SourceName {
        self.source.clone().unwrap_or_else(|| SourceName::derived(address))
    }
}

struct Headers {
    list: Vec<(&'static str, String)>,
    left: usize,
}

impl Headers {
    fn add(&mut self, name: &'static str, value: Option<impl fmt::Display>) {
        let Some(value) = value.map(|v| v.to_string()) else { return };
        if let Some(left) = self.left.checked_sub(name.len() + value.len()) {
            self.left = left;
            self.list.push((name, value));
        }
    }

    fn add_list(&mut self, name: &'static str, items: &[impl fmt::Display], most: usize) {
        let value = joined(items, most, self.left.saturating_sub(name.len()));
        self.add(name, (!value.is_empty()).then_some(value));
    }
}

/// The first items, separated by commas, as many as fit.
pub(crate) fn joined(items: &[impl fmt::Display], most: usize, max_bytes: usize) -> String {
    let (mut out, mut whole) = (String::new(), 0);
    for item in items.iter().take(most) {
        // Writing to a string does not fail.
        let _ = write!(out, "{}{item}", if whole == 0 { "" } else { "," });
        if out.len() > max_bytes {
            break;
        }
        whole = out.len();
    }
    out.truncate(whole);
    out
}

/// The items that can be read, of the first `most`.
pub(crate) fn list<T: FromStr>(text: &str, most: usize) -> Vec<T> {
    text.split(',').take(most).filter_map(|item| item.trim().parse().ok()).collect()
}

pub(crate) fn timestamp(text: &str) -> Option<TimestampMs> {
    text.parse().ok().map(TimestampMs)
}

fn process(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

/// A version as it may be shown; `None` when it may not.
pub(crate) fn version(text: &str) -> Option<&str> {
    let is_fine = !text.is_empty() && text.len() <= MAX_VERSION_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
    is_fine.then_some(text)
}

/// What cannot be read; never shown to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "samples={}", self.samples)?;
        self.oldest.map_or(Ok(()), |oldest| write!(f, ";oldest_ms={oldest}"))
    }
}

impl FromStr for Backlog {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (mut samples, mut oldest) = (None, None);
        for field in text.split(';') {
            match field.trim().split_once('=').ok_or(Malformed)? {
                ("samples", value) => samples = Some(value.parse().map_err(|_| Malformed)?),
                ("oldest_ms", value) => oldest = Some(timestamp(value).ok_or(Malformed)?),
                // Of a later version.
                _ => {}
            }
        }
        Ok(Self { samples: samples.ok_or(Malformed)?, oldest })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}={}", self.from, self.to, self.samples)
    }
}

impl FromStr for Gap {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (range, samples) = text.split_once('=').ok_or(Malformed)?;
        // A timestamp before 1970 begins with the separator.
        let at = range.get(1..).and_then(|rest| rest.find('-')).ok_or(Malformed)? + 1;
        let (from, to) = (timestamp(&range[..at]).ok_or(Malformed)?, timestamp(&range[at + 1..]).ok_or(Malformed)?);
        let samples = samples.parse().map_err(|_| Malformed)?;
        if from > to { Err(Malformed) } else { Ok(Self { from, to, samples }) }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.source, self.watermark)
    }
}

impl FromStr for Behind {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (source, watermark) = text.split_once('=').ok_or(Malformed)?;
        let source = SourceName::parse(source).ok_or(Malformed)?;
        Ok(Self { source, watermark: timestamp(watermark).ok_or(Malformed)? })
    }
}

impl fmt::Display for GapBelow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.source, self.gap)
    }
}

impl FromStr for GapBelow {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (source, gap) = text.split_once('=').ok_or(Malformed)?;
        Ok(Self { source: SourceName::parse(source).ok_or(Malformed)?, gap: gap.parse()? })
    }
}
