//! One source: what is known of it, and what follows at a given time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{Labels, TimestampMs};

use crate::gaps::Gaps;
use crate::pace::{Lateness, Rate, millis};
use crate::table::{Arrival, SourceLimits};
use crate::teller::Tellers;
use crate::{Backlog, Behind, Gap, GapBelow, Lane, SourceName};

/// How a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceState {
    /// It was heard of lately and is complete but for a little.
    Live,
    /// It was heard of lately; its watermark lags.
    Behind,
    /// It was not heard of lately.
    Gone,
}

impl SourceState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Live, Self::Behind, Self::Gone];

    /// As labels and JSON name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Behind => "behind",
            Self::Gone => "gone",
        }
    }
}

/// A source as others see it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceStatus {
    /// Who it is.
    pub source: SourceName,
    /// The direct source below which it stands, where it is known only from that one's report.
    pub via: Option<SourceName>,
    /// The labels that its samples carry and those of others do not.
    pub labels: Labels,
    /// How it is doing.
    pub state: SourceState,
    /// Up to when it is complete.
    pub watermark: Option<TimestampMs>,
    /// Whether the watermark is only the timestamp of its newest sample, because it tells none.
    pub is_estimated: bool,
    /// How long ago that is, in milliseconds.
    pub lag_ms: Option<i64>,
    /// What it dropped lately, newest first.
    pub gaps: Vec<Gap>,
    /// All samples that it is known to have dropped.
    pub gap_samples: u64,
    /// The rest; `None` for sources that are known only from the report of another.
    pub direct: Option<DirectStatus>,
}

/// What is known of a source that sends to this tier itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectStatus {
    /// Where it sent from last.
    pub address: IpAddr,
    /// When it was heard of first.
    pub first_seen: TimestampMs,
    /// When it was heard of last.
    pub last_seen: TimestampMs,
    /// What waits in its queue for this tier.
    pub backlog: Backlog,
    /// Samples received since it was first heard of, known ones included.
    pub samples: u64,
    /// Bytes received since then, as they came.
    pub bytes: u64,
    /// Samples per second, over about a minute.
    pub samples_per_second: f64,
    /// Bytes per second, over about a minute.
    pub bytes_per_second: f64,
    /// The lane of its last samples.
    pub lane: Lane,
    /// The version of its program; empty when it does not tell.
    pub version: String,
    /// Who lags below it.
    pub behind: Vec<Behind>,
}

/// A source below a source.
#[derive(Debug, Clone)]
pub(crate) struct Nested {
    pub(crate) told: Behind,
    pub(crate) lateness: Lateness,
}

/// A source that sends to this tier.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: SourceName,
    pub(crate) address: IpAddr,
    pub(crate) first_seen: TimestampMs,
    pub(crate) last_seen: TimestampMs,
    tellers: Tellers,
    /// As told by all of them.
    pub(crate) watermark: Option<TimestampMs>,
    /// The timestamp of its newest sample.
    pub(crate) newest: Option<TimestampMs>,
    pub(crate) lateness: Lateness,
    pub(crate) backlog: Backlog,
    pub(crate) gaps: Gaps,
    /// Of those that stand below it.
    pub(crate) below: BTreeMap<SourceName, Gaps>,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    pub(crate) samples_rate: Rate,
    pub(crate) bytes_rate: Rate,
    pub(crate) lane: Lane,
    pub(crate) version: String,
    pub(crate) behind: Vec<Nested>,
}

impl Source {
    pub(crate) fn new(name: SourceName, address: IpAddr, now: TimestampMs) -> Self {
        Self {
            name,
            address,
            first_seen: now,
            last_seen: now,
            tellers: Tellers::default(),
            watermark: None,
            newest: None,
            lateness: Lateness::new(0, now),
            backlog: Backlog::default(),
            gaps: Gaps::default(),
            below: BTreeMap::new(),
            samples: 0,
            bytes: 0,
            samples_rate: Rate::new(now),
            bytes_rate: Rate::new(now),
            lane: Lane::Live,
            version: String::new(),
            behind: Vec::new(),
        }
    }

    pub(crate) fn observe(&mut self, arrival: &Arrival<'_>) {
        let Arrival { address, report, newest, samples, bytes, now } = *arrival;
        self.address = address;
        self.last_seen = self.last_seen.max(now);
        self.newest = self.newest.max(newest);
        self.samples = self.samples.saturating_add(samples);
        self.bytes = self.bytes.saturating_add(bytes);
        self.samples_rate.add(samples, now);
        self.bytes_rate.add(bytes, now);
        if samples > 0 {
            self.lane = report.lane.unwrap_or_default();
        }
        if let Some(version) = &report.version {
            self.version.clone_from(version);
        }
        if report.source.is_none() {
            return;
        }
        self.tellers.hear(report, now);
        self.watermark = self.tellers.watermark().or(self.watermark);
        if let Some(lag_ms) = self.told_lag_ms(now) {
            self.lateness.observe(lag_ms, now);
        }
        self.backlog = self.tellers.backlog();
        self.gaps.observe(&report.gaps);
        let below = std::mem::take(&mut self.behind);
        self.behind = self.tellers.behind().into_iter().map(|told| nested(told, &below, now)).collect();
    }

    /// Gaps of sources that stand below this one. `room`: how many more of them there may be.
    pub(crate) fn observe_below(&mut self, told: &[GapBelow], mut room: usize) {
        for GapBelow { source, gap } in told {
            match self.below.get_mut(source) {
                Some(gaps) => gaps.observe(&[*gap]),
                None if room > 0 => {
                    room -= 1;
                    self.below.entry(source.clone()).or_default().observe(&[*gap]);
                }
                None => {}
            }
        }
    }

    /// Its own gaps and those below it, with whose they are.
    pub(crate) fn all_gaps(&self) -> impl Iterator<Item = (&SourceName, &Gap)> {
        let own = self.gaps.list.iter().map(|gap| (&self.name, gap));
        own.chain(self.below.iter().flat_map(|(source, gaps)| gaps.list.iter().map(move |gap| (source, gap))))
    }

    /// Forgets sources below that dropped nothing since.
    pub(crate) fn forget_gaps_before(&mut self, time: TimestampMs) {
        self.below.retain(|_, gaps| gaps.list.iter().any(|gap| gap.to >= time));
    }

    fn told_lag_ms(&self, now: TimestampMs) -> Option<i64> {
        self.watermark.map(|watermark| (now - watermark).max(0))
    }

    pub(crate) fn silent_ms(&self, now: TimestampMs) -> i64 {
        (now - self.last_seen).max(0)
    }

    pub(crate) fn state(&self, limits: &SourceLimits, now: TimestampMs) -> SourceState {
        if self.silent_ms(now) > millis(limits.live_within) {
            SourceState::Gone
        } else if self.told_lag_ms(now).is_some_and(|lag| lag > millis(limits.max_lag)) {
            SourceState::Behind
        } else {
            SourceState::Live
        }
    }

    /// Whether something is known to be missing of it that was there at other times: it lags more than it usually does,
    /// or is silent; for no longer than what is late is waited for.
    pub(crate) fn is_late(&self, limits: &SourceLimits, now: TimestampMs) -> bool {
        let lags = |lag| self.lateness.beyond_ms(lag) > millis(limits.late_after);
        let is_late = self.told_lag_ms(now).map_or(self.state(limits, now) == SourceState::Gone, lags);
        is_late && self.silent_ms(now) <= millis(limits.hold_for)
    }

    pub(crate) fn is_forgotten(&self, limits: &SourceLimits, now: TimestampMs) -> bool {
        // An address that pushed something once is nobody's concern tomorrow.
        let kept = if self.name.is_derived() { limits.hold_for } else { limits.forget_after };
        self.silent_ms(now) > millis(kept)
    }

    pub(crate) fn status(&self, limits: &SourceLimits, now: TimestampMs) -> SourceStatus {
        let watermark = self.watermark.or(self.newest);
        SourceStatus {
            source: self.name.clone(),
            via: None,
            labels: self.name.labels(),
            state: self.state(limits, now),
            watermark,
            is_estimated: self.watermark.is_none(),
            lag_ms: watermark.map(|watermark| (now - watermark).max(0)),
            gaps: self.gaps.list.clone(),
            gap_samples: self.gaps.samples,
            direct: Some(DirectStatus {
                address: self.address,
                first_seen: self.first_seen,
                last_seen: self.last_seen,
                backlog: self.backlog,
                samples: self.samples,
                bytes: self.bytes,
                samples_per_second: self.samples_rate.per_second(now),
                bytes_per_second: self.bytes_rate.per_second(now),
                lane: self.lane,
                version: self.version.clone(),
                behind: self.behind.iter().map(|nested| nested.told.clone()).collect(),
            }),
        }
    }
}

/// The sources below one that sends here: those that lag, and those that dropped something.
impl Source {
    pub(crate) fn statuses_below(&self, limits: &SourceLimits, now: TimestampMs) -> Vec<SourceStatus> {
        let mut out: Vec<_> = self.behind.iter().map(|nested| self.status_below(&nested.told.source)).collect();
        for (status, nested) in out.iter_mut().zip(&self.behind) {
            status.watermark = Some(nested.told.watermark);
            status.lag_ms = Some((now - nested.told.watermark).max(0));
        }
        let is_listed = |source: &&SourceName| self.behind.iter().any(|nested| nested.told.source == **source);
        let others = self.below.keys().filter(|source| !is_listed(source));
        // As complete as the one that would name them if they lagged.
        let state = self.state(limits, now);
        out.extend(others.map(|source| SourceStatus { state, ..self.status_below(source) }));
        out
    }

    fn status_below(&self, source: &SourceName) -> SourceStatus {
        let gaps = self.below.get(source).cloned().unwrap_or_default();
        SourceStatus {
            source: source.clone(),
            via: Some(self.name.clone()),
            labels: source.labels(),
            state: SourceState::Behind,
            watermark: None,
            is_estimated: false,
            lag_ms: None,
            gaps: gaps.list,
            gap_samples: gaps.samples,
            direct: None,
        }
    }
}

impl Nested {
    pub(crate) fn is_late(&self, limits: &SourceLimits, now: TimestampMs) -> bool {
        let lag_ms = (now - self.told.watermark).max(0);
        self.lateness.beyond_ms(lag_ms) > millis(limits.late_after) && lag_ms <= millis(limits.hold_for)
    }
}

fn nested(told: Behind, known: &[Nested], now: TimestampMs) -> Nested {
    let before = known.iter().find(|nested| nested.told.source == told.source);
    let mut lateness = before.map_or_else(|| Lateness::new(0, now), |nested| nested.lateness);
    lateness.observe((now - told.watermark).max(0), now);
    Nested { told, lateness }
}
