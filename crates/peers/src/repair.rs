//! Filling what is missing in one window of one source: find the shards that differ, fetch those, append.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{AppendReport, Batch, RefusalReason};

use crate::client::{Piece, accept};
use crate::digest::{Digest, Shards};
use crate::error::PeerError;
use crate::peer::{Pair, Peer};
use crate::shared::{Plan, Shared};
use crate::survey::Span;
use crate::wire::{MAX_PARTS, MAX_SAMPLES};

/// Samples that are fetched without looking closer, and in one request where shards can be put together.
const ENOUGH: u64 = 20_000;
/// Rows that are appended at once.
const APPEND_AT_ONCE: usize = 5_000;
/// Conflicts that a repair names in the log.
const NAMED: usize = 3;

/// What came of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Repaired {
    /// Samples that were missing and are here now.
    pub(crate) samples: u64,
    /// Samples for which another value is here.
    pub(crate) conflicts: u64,
    /// Samples that this store does not keep whoever asks: older than its retention, too far ahead.
    pub(crate) unkept: u64,
    /// Samples that it may take another time: it is out of room.
    pub(crate) refused: u64,
    /// The peer's samples changed while they were fetched.
    pub(crate) has_moved: bool,
}

impl Repaired {
    fn count(&mut self, report: &AppendReport) {
        self.samples += report.appended as u64;
        for refusal in &report.refused {
            match refusal.reason {
                RefusalReason::DuplicateTimestamp => self.conflicts += 1,
                RefusalReason::SeriesLimit | RefusalReason::SourceSeriesLimit | RefusalReason::MemoryLimit => {
                    self.refused += 1;
                }
                RefusalReason::OutOfBounds
                | RefusalReason::TooFarInFuture
                | RefusalReason::InvalidLabels
                | RefusalReason::NativeHistogram => self.unkept += 1,
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.conflicts += other.conflicts;
        self.unkept += other.unkept;
        self.refused += other.refused;
        self.has_moved |= other.has_moved;
    }
}

/// Parts of a source that differ, put together into requests: their numbers, and what they hold at the peer.
fn requests(differing: &BTreeMap<u16, Digest>) -> Vec<(Vec<u16>, Digest)> {
    let mut out: Vec<(Vec<u16>, Digest)> = Vec::new();
    for (number, digest) in differing {
        let fits = |(parts, sum): &(Vec<u16>, Digest)| {
            parts.len() < MAX_PARTS && sum.samples.saturating_add(digest.samples) <= ENOUGH
        };
        match out.last_mut().filter(|last| fits(last)) {
            Some((parts, sum)) => {
                parts.push(*number);
                *sum += *digest;
            }
            None => out.push((vec![*number], *digest)),
        }
    }
    out
}

impl Shared {
    /// Fetches what differs in a window of a source, and appends it.
    pub(crate) async fn repair(
        &self,
        plan: &Plan,
        peer: &Peer,
        source: &str,
        span: Span,
        pair: Pair,
    ) -> Result<Repaired, PeerError> {
        let (shards, differing) = self.differing(plan, peer, source, span, pair).await?;
        let mut repaired = Repaired::default();
        for (parts, want) in requests(&differing) {
            let got = self.fetch(plan, peer, Piece { source, span, shards, parts: &parts }, want).await?;
            repaired.add(got);
            // What it claims to have is no measure: no answer holds more than that.
            let fetched = want.samples.min(MAX_SAMPLES as u64);
            let pace = fetched as f64 / plan.config.max_samples_per_second.max(1) as f64;
            tokio::time::sleep(Duration::from_secs_f64(pace)).await;
        }
        Ok(repaired)
    }

    /// The parts of a source that differ and hold something at the peer, small enough where that is possible.
    async fn differing(
        &self,
        plan: &Plan,
        peer: &Peer,
        source: &str,
        span: Span,
        pair: Pair,
    ) -> Result<(Shards, BTreeMap<u16, Digest>), PeerError> {
        if pair.theirs.samples <= ENOUGH {
            return Ok((Shards::ONE, [(0, pair.theirs)].into()));
        }
        let few = self.differing_shards(plan, peer, source, span, Shards::FEW).await?;
        if few.values().all(|digest| digest.samples <= ENOUGH) {
            return Ok((Shards::FEW, few));
        }
        Ok((Shards::MANY, self.differing_shards(plan, peer, source, span, Shards::MANY).await?))
    }

    async fn differing_shards(
        &self,
        plan: &Plan,
        peer: &Peer,
        source: &str,
        span: Span,
        shards: Shards,
    ) -> Result<BTreeMap<u16, Digest>, PeerError> {
        let mut theirs = peer.shards(source, span, shards).await?;
        let source = source.to_owned();
        let ours = self.read(plan, move |survey| survey.shards(&source, span, shards)).await??;
        theirs.retain(|number, digest| digest.samples > 0 && ours.get(number) != Some(digest));
        Ok(theirs)
    }

    /// Fetches and appends one piece. What is not what the peer's digest promised is not appended: it has changed since,
    /// or on the way, and the next comparison sees.
    async fn fetch(&self, plan: &Plan, peer: &Peer, piece: Piece<'_>, want: Digest) -> Result<Repaired, PeerError> {
        let body = peer.samples(piece).await?;
        let (sink, scope) = (self.options.sink.clone(), plan.scope.clone());
        let (source, parts) = (piece.source.to_owned(), piece.parts.to_vec());
        let (span, shards, name) = (piece.span, piece.shards, peer.config.name.clone());
        let work = move || {
            let piece = Piece { source: &source, span, shards, parts: &parts };
            let (batch, got) = accept(&body, &scope, piece)?;
            if got != want {
                tracing::debug!(peer = name, source, "samples changed while they were fetched");
                return Ok(Repaired { has_moved: true, ..Repaired::default() });
            }
            let mut repaired = Repaired::default();
            for rows in batch.rows.chunks(APPEND_AT_ONCE) {
                let some = Batch { rows: rows.to_vec(), metadata: Vec::new() };
                let report = sink.append(&some)?;
                name_conflicts(&name, &some, &report, repaired.conflicts);
                repaired.count(&report);
            }
            Ok(repaired)
        };
        self.pool.run(work).await?
    }
}

fn name_conflicts(peer: &str, batch: &Batch, report: &AppendReport, named: u64) {
    let conflicts = report.refused.iter().filter(|r| r.reason == RefusalReason::DuplicateTimestamp);
    let room = NAMED.saturating_sub(usize::try_from(named).unwrap_or(usize::MAX));
    for row in conflicts.filter_map(|refusal| batch.rows.get(refusal.row)).take(room) {
        tracing::warn!(
            peer,
            series = ?row.labels,
            timestamp_ms = row.sample.timestamp.0,
            theirs = row.sample.value,
            "the peer holds another value for a sample; find out who writes this series twice"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_filled_and_bounded() {
        let digest = |samples| Digest { samples, checksum: 1 };
        let many: BTreeMap<u16, Digest> = (0..600).map(|n| (n, digest(1))).collect();
        let sizes: Vec<usize> = requests(&many).iter().map(|(parts, _)| parts.len()).collect();
        assert_eq!(sizes, [256, 256, 88]);
        let large: BTreeMap<u16, Digest> = [(3, ENOUGH - 1), (5, 1), (9, 1), (11, 3 * ENOUGH), (12, 1)]
            .into_iter()
            .map(|(number, samples)| (number, digest(samples)))
            .collect();
        let got = requests(&large);
        let parts: Vec<&[u16]> = got.iter().map(|(parts, _)| parts.as_slice()).collect();
        assert_eq!(parts, [&[3, 5][..], &[9], &[11], &[12]]);
        assert_eq!(got[0].1, Digest { samples: ENOUGH, checksum: 2 });
    }
}
