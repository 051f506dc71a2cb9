//! Everybody who sends to this tier, and what that means for its watermark.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{cmp, io};

use disk::Disk;
use model::{Labels, TimestampMs};
use parking_lot::Mutex;

use crate::pace::millis;
use crate::saved::{self, Problem};
use crate::source::Source;
use crate::{Behind, GapBelow, Inputs, MAX_BEHIND, MAX_GAPS, Report, SourceName, SourceState, SourceStatus, label_of};

/// The tiers whose sources labels can name.
const NAMED_TIERS: [&str; 2] = ["cascade", "edge"];

/// How sources are judged, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// Most sources that are remembered.
    pub max_sources: usize,
    /// For how long after it was last heard of a source is live (`--sources.live-within`).
    pub live_within: Duration,
    /// A source whose watermark lags more is behind: it no longer holds back the watermark of the tier
    /// (`--sources.max-lag`).
    pub max_lag: Duration,
    /// A source that lags more than this beyond what is usual for it is late: queries name it, and its alerts are held.
    pub late_after: Duration,
    /// For how long the alerts of a silent source are held (`--rules.hold-late-sources`).
    pub hold_for: Duration,
    /// After how much silence a source is forgotten.
    pub forget_after: Duration,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            max_sources: 20_000,
            live_within: Duration::from_secs(5 * 60),
            max_lag: Duration::from_secs(2 * 60),
            late_after: Duration::from_secs(30),
            hold_for: Duration::from_secs(86_400),
            forget_after: Duration::from_secs(7 * 86_400),
        }
    }
}

/// A request that was taken.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Who it came from, by the connection.
    pub address: IpAddr,
    /// What it said of itself.
    pub report: &'a Report,
    /// The timestamp of its newest sample.
    pub newest: Option<TimestampMs>,
    /// Samples in it.
    pub samples: u64,
    /// Bytes of its body as they came.
    pub bytes: u64,
    /// When it was stored.
    pub now: TimestampMs,
}

/// All sources of a tier, its own producers among them.
#[derive(Debug)]
pub struct Sources {
    limits: SourceLimits,
    inputs: Inputs,
    recordings: Inputs,
    held_back: Inputs,
    table: Mutex<BTreeMap<SourceName, Source>>,
    refused: AtomicU64,
    file: Option<(Arc<dyn Disk>, PathBuf)>,
    /// Held while the file is written.
    saving: Mutex<()>,
}

impl Default for Sources {
    fn default() -> Self {
        Self::new(SourceLimits::default())
    }
}

impl Sources {
    /// An empty table that is not saved.
    pub fn new(limits: SourceLimits) -> Self {
        let (inputs, recordings, held_back) = Default::default();
        Self {
            limits,
            inputs,
            recordings,
            held_back,
            table: Mutex::default(),
            refused: AtomicU64::new(0),
            file: None,
            saving: Mutex::default(),
        }
    }

    /// The table that was saved at `path`. One that cannot be read is put aside as `PATH.damaged`, and why is returned
    /// beside an empty table.
    pub fn open(limits: SourceLimits, disk: Arc<dyn Disk>, path: PathBuf, now: TimestampMs) -> (Self, Option<Problem>) {
        let (saved, problem) = match saved::load(disk.as_ref(), &path, now) {
            Ok(saved) => (saved, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let kept = saved.into_iter().take(limits.max_sources).map(|source| (source.name.clone(), source)).collect();
        (Self { table: Mutex::new(kept), file: Some((disk, path)), ..Self::new(limits) }, problem)
    }

    /// Forgets who has been silent for too long and saves the table where it was opened from. To be called every few seconds,
    /// and at the end.
    ///
    /// # Errors
    /// When the file cannot be written; the one before is still there.
    pub fn save(&self, now: TimestampMs) -> io::Result<()> {
        let _one_at_a_time = self.saving.lock();
        let bytes = {
            let mut table = self.table.lock();
            table.retain(|_, source| !source.is_forgotten(&self.limits, now));
            table.values_mut().for_each(|source| source.forget_gaps_before(now - millis(self.limits.forget_after)));
            saved::encode(table.values())
        };
        let Some((disk, path)) = &self.file else { return Ok(()) };
        disk::write_whole(disk.as_ref(), path, &bytes)
    }

    /// Forgets a source that will not come back: its silence means nothing any more. One that sends again begins anew. False
    /// when no such source sends here.
    ///
    /// # Errors
    /// When that cannot be saved; it is forgotten until the next start.
    pub fn forget(&self, name: &SourceName, now: TimestampMs) -> io::Result<bool> {
        let is_known = self.table.lock().remove(name).is_some();
        if is_known {
            self.save(now)?;
        }
        Ok(is_known)
    }

    /// Whether nobody sends.
    pub fn is_empty(&self) -> bool {
        self.table.lock().is_empty()
    }

    /// How sources are judged.
    pub fn limits(&self) -> &SourceLimits {
        &self.limits
    }

    /// Where scrapes register.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Where rule groups register: they wait for everything else, and nothing else waits for them but those above.
    pub fn recordings(&self) -> &Inputs {
        &self.recordings
    }

    /// Where samples register that are held back of replicas. Rules do not wait for them: while the replica that is listened
    /// to lives, its next sample covers them.
    pub fn held_back(&self) -> &Inputs {
        &self.held_back
    }

    /// Takes in a request whose samples are stored. One of a source for which there is no room is counted
    /// ([`Sources::refused`]).
    pub fn observe(&self, arrival: &Arrival<'_>) {
        let name = arrival.report.source_or(arrival.address);
        let mut table = self.table.lock();
        if arrival.report.is_elsewhere {
            table.remove(&name);
            return;
        }
        if !table.contains_key(&name) && !self.has_room(&mut table, &name) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let begin = || Source::new(name.clone(), arrival.address, arrival.now);
        table.entry(name.clone()).or_insert_with(begin).observe(arrival);
        let told = &arrival.report.gaps_below;
        if arrival.report.source.is_some() && !told.is_empty() {
            let known: usize = table.values().map(|source| source.below.len()).sum();
            let room = self.limits.max_sources.saturating_sub(known);
            table.entry(name).and_modify(|source| source.observe_below(told, room));
        }
    }

    /// Senders that say who they are come before those that do not.
    fn has_room(&self, table: &mut BTreeMap<SourceName, Source>, name: &SourceName) -> bool {
        if table.len() < self.limits.max_sources {
            return true;
        }
        if name.is_derived() {
            return false;
        }
        let derived = table.values().filter(|source| source.name.is_derived());
        let longest_silent = derived.min_by_key(|source| source.last_seen).map(|source| source.name.clone());
        longest_silent.is_some_and(|name| table.remove(&name).is_some())
    }

    /// Requests of sources for which the table had no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Everything with a timestamp up to this is stored here: the minimum of what runs here and what live sources told.
    /// This is what a tier tells upward, as far as its queue has been delivered.
    pub fn watermark(&self, now: TimestampMs) -> TimestampMs {
        // Sources first: what one of them brought is registered as held back before its watermark is taken in.
        let of_sources = self.watermark_of_inputs(now);
        of_sources.min(self.held_back.watermark(now)).min(self.recordings.watermark(now))
    }

    /// The same without rule groups and what is held back: what rule groups wait for.
    pub fn watermark_of_inputs(&self, now: TimestampMs) -> TimestampMs {
        let table = self.table.lock();
        let live = table.values().filter(|source| source.state(&self.limits, now) == SourceState::Live);
        let told = live.filter_map(|source| source.watermark).min();
        let own = self.inputs.watermark(now);
        told.map_or(own, |told| told.min(own))
    }

    /// Who lags or is silent, most late first, at most 50, for as long as they are remembered: what a tier tells upward. A replica whose sibling is complete
    /// is not among them.
    pub fn behind(&self, now: TimestampMs) -> Vec<Behind> {
        self.lagging(now, |lag_ms| lag_ms > millis(self.limits.max_lag)).map_or_else(Vec::new, |mut list| {
            list.truncate(MAX_BEHIND);
            list.into_iter().map(|lagging| lagging.0).collect()
        })
    }

    /// What the sources dropped and those below them, for as long as a source is remembered: what a tier tells upward. 16
    /// at a time: others have their turn in the next second, so that nobody's gap is kept quiet by those of others.
    pub fn gaps_below(&self, now: TimestampMs) -> Vec<GapBelow> {
        let since = now - millis(self.limits.forget_after);
        let table = self.table.lock();
        let all = table.values().flat_map(Source::all_gaps).filter(|(_, gap)| gap.to >= since);
        let mut all: Vec<_> = all.collect();
        let turns = all.len().div_ceil(MAX_GAPS).max(1) as i64;
        let turn = now.0.div_euclid(1000).rem_euclid(turns) as usize;
        all.sort_unstable_by_key(|(source, gap)| (cmp::Reverse(gap.from), *source));
        let of_turn = all.into_iter().skip(turn * MAX_GAPS).take(MAX_GAPS);
        of_turn.map(|(source, gap)| GapBelow { source: source.clone(), gap: *gap }).collect()
    }

    /// Who is not complete up to `end`, most late first, each with the source below which it stands: what was not here
    /// `late_after` ago at the latest, and should have been.
    pub fn incomplete(&self, end: TimestampMs, now: TimestampMs) -> Vec<(Behind, Option<SourceName>)> {
        let due_lag_ms = (now - end).max(millis(self.limits.late_after));
        self.lagging(now, |lag_ms| lag_ms > due_lag_ms).unwrap_or_default()
    }

    /// Sources with a told watermark that lags too much, those below them included; `None` without any source.
    fn lagging(
        &self,
        now: TimestampMs,
        is_too_much: impl Fn(i64) -> bool,
    ) -> Option<Vec<(Behind, Option<SourceName>)>> {
        let table = self.table.lock();
        if table.is_empty() {
            return None;
        }
        let lags = |watermark: TimestampMs| is_too_much((now - watermark).max(0));
        let mut out = Vec::new();
        for source in table.values() {
            if let Some(watermark) = source.watermark.filter(|watermark| lags(*watermark)) {
                let mut family = family(&table, source.name.family());
                if family.all(|sibling| sibling.watermark.is_none_or(lags)) {
                    out.push((Behind { source: source.name.clone(), watermark }, None));
                }
            }
            let below = source.behind.iter().filter(|nested| lags(nested.told.watermark));
            out.extend(below.map(|nested| (nested.told.clone(), Some(source.name.clone()))));
        }
        out.sort_by_key(|(behind, _)| behind.watermark);
        Some(out)
    }

    /// Whether the source that these labels name is late or silent, so that what is missing of it means nothing. Of
    /// replicas all have to be.
    pub fn is_late(&self, labels: &Labels, now: TimestampMs) -> bool {
        let table = self.table.lock();
        NAMED_TIERS.iter().any(|tier| {
            let Some(name) = label_of(tier).and_then(|label| labels.get(label)) else { return false };
            let mut direct = family(&table, (tier, name)).peekable();
            (direct.peek().is_some() && direct.all(|source| source.is_late(&self.limits, now)))
                || table.values().any(|source| self.is_late_below(source, (tier, name), labels, now))
        })
    }

    fn is_late_below(&self, source: &Source, named: (&str, &str), labels: &Labels, now: TimestampMs) -> bool {
        // Two regions may use the same name for one of theirs.
        let stands_below = label_of(source.name.tier())
            .and_then(|label| labels.get(label))
            .is_none_or(|region| region == source.name.name());
        let is_late =
            |nested: &crate::source::Nested| nested.told.source.family() == named && nested.is_late(&self.limits, now);
        stands_below && source.behind.iter().any(is_late)
    }

    /// Every source in order of name, each followed by those below it that lag, or dropped something.
    pub fn statuses(&self, now: TimestampMs) -> Vec<SourceStatus> {
        let table = self.table.lock();
        let mut out = Vec::new();
        for source in table.values() {
            out.push(source.status(&self.limits, now));
            out.extend(source.statuses_below(&self.limits, now));
        }
        out
    }
}

/// The replicas of a source.
fn family<'t>(
    table: &'t BTreeMap<SourceName, Source>,
    (tier, name): (&str, &str),
) -> impl Iterator<Item = &'t Source> + use<'t> {
    let first = SourceName::new(tier, name, "");
    let range = table.range(first.clone()..).map(|(_, source)| source);
    range.take_while(move |source| source.name.family().cmp(&first.family()) == cmp::Ordering::Equal)
}
