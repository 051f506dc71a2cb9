//! How far apart the samples of a series are: the second smallest of its last eight distances.
//!
//! Outages make distances longer, restarts one of them shorter; neither changes the estimate. A longer interval is believed
//! at its seventh distance: until then samples of both replicas may be kept, which does no harm. An estimate that is too
//! long would make holes.

/// What is assumed of a series of which only one sample is known.
const ASSUMED_MS: i64 = 15_000;
/// What is assumed where a longer interval than the true one would drop samples.
const LEAST_MS: i64 = 1_000;
const DISTANCES: usize = 8;

/// The last distances between samples of one replica, in milliseconds. Zero is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    distances: [u32; DISTANCES],
    next: u8,
    estimate: u32,
}

impl Interval {
    /// One more distance.
    #[inline]
    pub(crate) fn observe(&mut self, distance_ms: i64) {
        if distance_ms <= 0 {
            return;
        }
        let distance = u32::try_from(distance_ms).unwrap_or(u32::MAX);
        let oldest = std::mem::replace(&mut self.distances[usize::from(self.next) % DISTANCES], distance);
        self.next = (self.next + 1) % DISTANCES as u8;
        if oldest != distance {
            self.estimate = self.second_smallest();
        }
    }

    /// Of two distances the smaller one.
    fn second_smallest(&self) -> u32 {
        let (mut smallest, mut second) = (u32::MAX, u32::MAX);
        for distance in self.distances {
            let distance = if distance == 0 { u32::MAX } else { distance };
            second = second.min(smallest.max(distance));
            smallest = smallest.min(distance);
        }
        if self.is_learning() { smallest } else { second }
    }

    /// True until three distances are known.
    #[inline]
    pub(crate) fn is_learning(&self) -> bool {
        self.distances[2] == 0
    }

    /// The estimate; `None` as long as no distance is known.
    #[inline]
    pub(crate) fn estimate_ms(&self) -> Option<i64> {
        (self.estimate > 0).then(|| i64::from(self.estimate))
    }

    /// Within this distance a sample covers one of another replica: 0.6 intervals. `seen_ms` is the distance at hand
    /// where nothing better is known, zero where that is not either.
    #[inline]
    pub(crate) fn near_ms(&self, seen_ms: i64) -> i64 {
        let seen = if seen_ms > 0 { seen_ms.min(ASSUMED_MS) } else { LEAST_MS };
        self.estimate_ms().unwrap_or(seen) * 3 / 5
    }

    /// So much newer may another replica's samples be before it is elected: 1.5 intervals and a little. `own_ms` is the
    /// other one's last distance: a replica that paused itself proves nothing about the elected one's pause.
    #[inline]
    pub(crate) fn patience_ms(&self, own_ms: i64) -> Option<i64> {
        let interval = self.estimate_ms().unwrap_or(0).max(own_ms);
        (interval > 0).then(|| interval.saturating_add(interval / 2).saturating_add((interval / 10).clamp(10, 1_000)))
    }

    /// A distance between samples of which nobody knows how many are missing.
    pub(crate) fn suppose(&mut self, distance_ms: i64) {
        self.observe(distance_ms.min(ASSUMED_MS));
    }

    /// The estimate, or what is assumed.
    pub(crate) fn assumed_ms(&self) -> i64 {
        self.estimate_ms().unwrap_or(ASSUMED_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_distances_change_nothing() {
        let cases: [(&[i64], Option<i64>); 8] = [
            (&[], None),
            (&[0, -5], None),
            (&[15], Some(15)),
            (&[15, 30], Some(15)),
            (&[15, 15, 600, 40, 500, 30], Some(15)),
            (&[15, 15, 2], Some(15)),
            (&[15, 15, 15, 60, 60, 60, 60, 60, 60, 60], Some(60)),
            (&[60, 60, 60, 15, 15], Some(15)),
        ];
        for (distances, want) in cases {
            let mut interval = Interval::default();
            distances.iter().for_each(|distance| interval.observe(*distance));
            assert_eq!(interval.estimate_ms(), want, "{distances:?}");
        }
    }

    #[test]
    fn patience_is_that_of_the_slower_one() {
        let mut interval = Interval::default();
        assert_eq!(interval.patience_ms(0), None);
        assert_eq!(interval.patience_ms(1_000), Some(1_600));
        interval.observe(15_000);
        assert_eq!(interval.patience_ms(1_000), Some(23_500));
        assert_eq!(interval.patience_ms(60_000), Some(91_000));
        assert_eq!(
            (interval.near_ms(1), Interval::default().near_ms(1_000), Interval::default().near_ms(0)),
            (9_000, 600, 600)
        );
    }
}
