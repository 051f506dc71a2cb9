//! One peer: how to ask it, what it differed in, and what the last comparison came to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use model::TimestampMs;
use parking_lot::Mutex;
use runtime::{HttpClient, HttpClientError};

use crate::config_section::PeerConfig;
use crate::digest::Digest;

pub(crate) struct Peer {
    pub(crate) config: PeerConfig,
    pub(crate) client: HttpClient,
    pub(crate) status: Mutex<PeerStatus>,
    pub(crate) differences: Mutex<Differences>,
}

impl Peer {
    pub(crate) fn new(config: PeerConfig) -> Result<Self, HttpClientError> {
        let client = config.client.build()?;
        Ok(Self { config, client, status: Mutex::default(), differences: Mutex::default() })
    }
}

/// What the last comparison came to, and what all of them did.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerStatus {
    /// The peer is this process.
    pub(crate) is_self: bool,
    /// Why the last comparison failed.
    pub(crate) error: Option<String>,
    pub(crate) last_comparison: Option<TimestampMs>,
    /// Where the windows that were compared end.
    pub(crate) compared_until: Option<TimestampMs>,
    /// Since when every comparison found nothing missing here.
    pub(crate) complete_since: Option<TimestampMs>,
    /// Since when the oldest difference has been seen.
    pub(crate) differs_since: Option<TimestampMs>,
    pub(crate) windows_compared: usize,
    pub(crate) windows_differing: usize,
    pub(crate) repaired: u64,
    pub(crate) conflicts: u64,
    pub(crate) refused: u64,
}

/// Both digests of a window of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) ours: Digest,
    pub(crate) theirs: Digest,
}

/// What was done about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// Nothing yet: samples may be on their way by themselves.
    Seen,
    /// Whatever the peer had is here now, or conflicts with what is here.
    Settled,
    /// The store did not take a part of it; worth another try then.
    Refused { again: TimestampMs },
}

/// One difference, from the first time it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    pub(crate) since: TimestampMs,
    pub(crate) pair: Pair,
    pub(crate) handling: Handling,
}

/// The differences of a peer, by start of the window and source.
#[derive(Debug, Default)]
pub(crate) struct Differences(pub(crate) BTreeMap<(i64, String), Difference>);

impl Differences {
    /// Notes that a window differs. True when the same difference was seen before and something can be done about it:
    /// while samples still arrive by themselves, digests change from one comparison to the next.
    pub(crate) fn note(&mut self, key: (i64, String), pair: Pair, now: TimestampMs) -> bool {
        // Where the peer has nothing, there is nothing to fetch.
        let handling = if pair.theirs.samples == 0 { Handling::Settled } else { Handling::Seen };
        match self.0.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Difference { since: now, pair, handling });
                false
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if known.pair != pair {
                    *known = Difference { since: known.since, pair, handling };
                    return false;
                }
                match known.handling {
                    Handling::Seen => true,
                    Handling::Settled => false,
                    Handling::Refused { again } => again <= now,
                }
            }
        }
    }

    /// Since when there has been a difference.
    pub(crate) fn since(&self) -> Option<TimestampMs> {
        self.0.values().map(|difference| difference.since).min()
    }

    /// Whether nothing is known to be missing here.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.values().all(|difference| difference.handling == Handling::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: u64, theirs: u64) -> Pair {
        let of = |samples| Digest { samples, checksum: u128::from(samples) };
        Pair { ours: of(ours), theirs: of(theirs) }
    }

    #[test]
    fn only_what_stands_still_is_repaired() {
        let mut differences = Differences::default();
        let key = || (0, "eu".to_owned());
        let steps = [(pair(1, 9), 0, false), (pair(4, 9), 1, false), (pair(4, 9), 2, true), (pair(4, 9), 3, true)];
        for (pair, at, repair) in steps {
            assert_eq!(differences.note(key(), pair, TimestampMs(at)), repair, "at {at}");
            assert!(!differences.is_complete());
        }
        assert_eq!(differences.since(), Some(TimestampMs(0)));
        let known = differences.0.get_mut(&key()).expect("is there");
        known.handling = Handling::Refused { again: TimestampMs(7) };
        assert!(!differences.note(key(), pair(4, 9), TimestampMs(6)) && !differences.is_complete());
        assert!(differences.note(key(), pair(4, 9), TimestampMs(7)));
        differences.0.get_mut(&key()).expect("is there").handling = Handling::Settled;
        assert!(!differences.note(key(), pair(4, 9), TimestampMs(8)) && differences.is_complete());
        assert!(!differences.note(key(), pair(4, 10), TimestampMs(9)) && !differences.is_complete(), "it changed");
    }

    #[test]
    fn where_the_peer_has_nothing_nothing_is_missing() {
        let mut differences = Differences::default();
        for at in 0..3 {
            assert!(!differences.note((0, String::new()), pair(3, 0), TimestampMs(at)));
            assert!(differences.is_complete() && differences.since() == Some(TimestampMs(0)));
        }
    }
}
