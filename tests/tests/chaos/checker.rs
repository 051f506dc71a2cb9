//! Compares what two stores hold, sample by sample, modulo the labels that tiers put on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::wire::{self, Labels, Point};
use crate::harness::until;

/// What a store holds: samples by series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored(pub BTreeMap<Labels, Vec<Point>>);

/// Labels that one tier has and another has not.
const OF_TIERS: [&str; 3] = ["metacluster", "region", "replica"];

impl Stored {
    /// Reads the series with these labels; those of tiers are taken off.
    pub async fn read(
        address: SocketAddr,
        matchers: &[(&str, &str)],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Self, String> {
        let mut out = Self::default();
        for (mut labels, points) in wire::read(address, matchers, from_ms, to_ms).await? {
            labels.retain(|name, _| !OF_TIERS.contains(&name.as_str()));
            out.add(labels, points).map_err(|e| format!("{address}: {e}"))?;
        }
        Ok(out)
    }

    fn add(&mut self, labels: Labels, points: Vec<Point>) -> Result<(), String> {
        match self.0.insert(labels, points) {
            None => Ok(()),
            Some(_) => Err("two series differ only in the labels of tiers".to_owned()),
        }
    }

    pub fn samples(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Count and checksum (FNV-1a of timestamps and value bits, in order) of one series.
    fn digest(points: &[Point]) -> (usize, u64) {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        let sum = points.iter().fold(0xCBF2_9CE4_8422_2325, |hash, (timestamp, bits)| {
            timestamp.to_le_bytes().into_iter().chain(bits.to_le_bytes()).fold(hash, step)
        });
        (points.len(), sum)
    }

    /// What is different from what should be there, or nothing: the same series, each with the same samples once.
    pub fn must_be(&self, want: &Self) -> Result<(), String> {
        let mut wrong = Vec::new();
        for labels in want.0.keys().chain(self.0.keys()).collect::<BTreeSet<_>>() {
            let none = Vec::new();
            let (have, want) = (self.0.get(labels).unwrap_or(&none), want.0.get(labels).unwrap_or(&none));
            if Self::digest(have) != Self::digest(want) {
                wrong.push(format!("{labels:?}: {}", difference(have, want)));
            }
        }
        let shown: String = wrong.iter().take(3).map(|line| format!("\n  {line}")).collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of {} series differ:{shown}", wrong.len(), want.0.len().max(self.0.len())))
        }
    }

    /// Nothing here that is not in `whole`, and nothing twice.
    pub fn must_be_within(&self, whole: &Self) -> Result<(), String> {
        for (labels, points) in &self.0 {
            let known: BTreeSet<&Point> = whole.0.get(labels).into_iter().flatten().collect();
            if let Some(strange) = points.iter().find(|point| !known.contains(point)) {
                return Err(format!("{labels:?}: {strange:?} was never sent"));
            }
            if !points.windows(2).all(|pair| pair[0].0 < pair[1].0) {
                return Err(format!("{labels:?}: not one sample for one timestamp"));
            }
        }
        Ok(())
    }

    /// The series of two replicas as one: nothing that neither scraped, never two samples of both near one another, and no
    /// hole where either has something. Times are in milliseconds; what is after `until_ms` is not missed yet.
    pub fn must_merge(&self, replicas: [&Self; 2], near_ms: i64, until_ms: i64) -> Result<(), String> {
        let whole = replicas[0].union(replicas[1]);
        self.must_be_within(&whole)?;
        for (labels, scraped) in &whole.0 {
            let none = Vec::new();
            let kept = self.0.get(labels).unwrap_or(&none);
            let hole = scraped.iter().filter(|(at, _)| *at <= until_ms).find(|(at, _)| {
                let next = kept.partition_point(|(kept, _)| kept < at);
                let beside = kept[next.saturating_sub(1)..kept.len().min(next + 1)].iter();
                beside.map(|(kept, _)| (kept - at).abs()).min().is_none_or(|distance| distance > near_ms)
            });
            if let Some(hole) = hole {
                return Err(format!("{labels:?}: {} was scraped, and nothing near it was kept", shown(hole)));
            }
            let of_one = |pair: &[Point]| {
                replicas.iter().any(|r| r.0.get(labels).is_some_and(|all| pair.iter().all(|point| all.contains(point))))
            };
            if let Some(pair) = kept.windows(2).find(|pair| pair[1].0 - pair[0].0 < near_ms / 2 && !of_one(pair)) {
                return Err(format!("{labels:?}: {} and {} say the same", shown(&pair[0]), shown(&pair[1])));
            }
        }
        Ok(())
    }

    /// The samples of both.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (labels, points) in &other.0 {
            let all = out.0.entry(labels.clone()).or_default();
            all.extend(points);
            all.sort_unstable();
            all.dedup();
        }
        out
    }
}

/// In words: what is missing, what is too much, what is there twice.
fn difference(have: &[Point], want: &[Point]) -> String {
    let (had, wanted): (BTreeSet<&Point>, BTreeSet<&Point>) = (have.iter().collect(), want.iter().collect());
    let mut text = format!("{} samples of {}", have.len(), want.len());
    for (what, set) in [("missing", &wanted - &had), ("never sent", &had - &wanted)] {
        if let (Some(first), Some(last)) = (set.first(), set.last()) {
            text += &format!(", {} {what} from {} to {}", set.len(), shown(first), shown(last));
        }
    }
    if had.len() < have.len() {
        text += &format!(", {} there twice", have.len() - had.len());
    }
    text
}

fn shown((timestamp, bits): &Point) -> String {
    format!("{:.3}={}", *timestamp as f64 / 1000.0, f64::from_bits(*bits))
}

/// Waits until every one of `at` holds exactly what `source` holds, of the series with these labels.
pub async fn agree(
    source: (SocketAddr, &[(&str, &str)]),
    at: (&[SocketAddr], &[(&str, &str)]),
    from_ms: i64,
    to_ms: i64,
) -> Stored {
    until(&format!("{:?} as {:?}", at.1, source.1), || async {
        let want = Stored::read(source.0, source.1, from_ms, to_ms).await?;
        for address in at.0 {
            let have = Stored::read(*address, at.1, from_ms, to_ms).await?;
            have.must_be(&want).map_err(|wrong| format!("{address}: {wrong}"))?;
        }
        if want.samples() == 0 { Err("there are no samples to compare".to_owned()) } else { Ok(want) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(points: &[Point]) -> Stored {
        Stored([(Labels::from([("series".to_owned(), "a".to_owned())]), points.to_vec())].into())
    }

    #[test]
    fn every_difference_is_noticed() {
        let whole = stored(&[(1, 10), (2, 20), (3, 30)]);
        assert_eq!(whole.must_be(&whole), Ok(()));
        for (points, what) in [
            (&[(1, 10), (3, 30)][..], "1 missing from 0.002"),
            (&[(1, 10), (2, 20), (3, 30), (4, 40)], "1 never sent from 0.004"),
            (&[(1, 10), (2, 20), (2, 20), (3, 30)], "1 there twice"),
            (&[(1, 10), (2, 21), (3, 30)], "1 missing from 0.002"),
            (&[], "0 samples of 3"),
        ] {
            let wrong = stored(points).must_be(&whole).expect_err(what);
            assert!(wrong.contains(what), "{what}: {wrong}");
        }
        assert!(whole.must_be(&Stored::default()).is_err());
    }

    #[test]
    fn replicas_are_merged_without_a_hole_and_without_doubles() {
        let (a, b) = (stored(&[(0, 1), (1_000, 3), (3_000, 7)]), stored(&[(400, 2), (1_400, 4), (2_400, 6)]));
        let merged = |points: &[Point]| stored(points).must_merge([&a, &b], 750, 3_000);
        assert_eq!(merged(&[(0, 1), (1_000, 3), (2_400, 6), (3_000, 7)]), Ok(()));
        for (points, what) in [
            (&[(0, 1), (1_000, 3), (3_000, 8)][..], "never sent"),
            (&[(0, 1), (3_000, 7)], "1.000=0"),
            (&[(0, 1), (1_000, 3)], "2.400=0"),
            (&[], "nothing near it was kept"),
        ] {
            let wrong = merged(points).expect_err(what);
            assert!(wrong.contains(what), "{what}: {wrong}");
        }
        let wrong = stored(&[(0, 1), (100, 2)]).must_merge([&stored(&[(0, 1)]), &stored(&[(100, 2)])], 750, 3_000);
        assert!(wrong.is_err_and(|wrong| wrong.contains("say the same")));
    }

    #[test]
    fn a_part_has_nothing_strange_and_nothing_twice() {
        let whole = stored(&[(1, 10)]).union(&stored(&[(1, 10), (2, 20)]));
        assert_eq!(whole, stored(&[(1, 10), (2, 20)]));
        assert_eq!(stored(&[(2, 20)]).must_be_within(&whole), Ok(()));
        for points in [&[(2, 21)][..], &[(1, 10), (1, 10)], &[(3, 30)]] {
            assert!(stored(points).must_be_within(&whole).is_err(), "{points:?}");
        }
    }
}
