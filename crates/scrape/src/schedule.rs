//! When a target is scraped: at a fixed offset within its interval, by the wall clock.

use std::time::Duration;

use model::TimestampMs;

/// How far a scrape's timestamp may be moved onto its schedule. Equal distances compress to almost nothing.
const MAX_TOLERANCE_MS: i64 = 2;

/// The offset of a target within its interval, in milliseconds. The same after a restart; another one on a replica
/// with another seed.
pub(crate) fn offset_ms(target_hash: u64, seed: u64, interval: Duration) -> i64 {
    // Mixed, so that targets which differ in the last digit of a port do not follow one another.
    let mixed = (target_hash ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 32)) % interval_ms(interval) as u64) as i64
}

/// The next time after `now` that lies at the offset. `last` is the time this was called for before: a clock that
/// stands a little before it (timers and clocks differ) does not make the scrape happen twice, one that was set back
/// does not make it wait.
pub(crate) fn next_due(now: TimestampMs, last: Option<TimestampMs>, interval: Duration, offset: i64) -> TimestampMs {
    let interval = interval_ms(interval);
    let after = match last {
        Some(last) if last >= now && last - now < interval / 2 + 1 => last,
        _ => now,
    };
    let since = (after.0 - offset).rem_euclid(interval);
    after + (interval - since)
}

/// The timestamp of a scrape that was due at `due` and began at `began`.
pub(crate) fn align(began: TimestampMs, due: TimestampMs, interval: Duration) -> TimestampMs {
    let tolerance = MAX_TOLERANCE_MS.min(interval_ms(interval) / 100);
    if (began - due).abs() <= tolerance { due } else { began }
}

fn interval_ms(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn due_times_lie_at_the_offset() {
        let due = |now, last: Option<i64>| next_due(TimestampMs(now), last.map(TimestampMs), SECOND, 300).0;
        assert_eq!(due(10_000, None), 10_300);
        assert_eq!(due(10_300, None), 11_300);
        assert_eq!(due(10_301, Some(10_300)), 11_300);
        assert_eq!(due(10_299, Some(10_300)), 11_300, "the clock lags behind the timer");
        assert_eq!(due(4_000, Some(10_300)), 4_300, "the clock was set back");
        assert_eq!(due(90_000, Some(10_300)), 90_300, "scrapes were missed");
        assert_eq!(due(-10, None), 300);
    }

    #[test]
    fn timestamps_snap_to_the_schedule() {
        let at = |began, interval| align(TimestampMs(began), TimestampMs(1000), interval).0;
        assert_eq!(at(1002, SECOND), 1000);
        assert_eq!(at(1003, SECOND), 1003);
        assert_eq!(at(1001, Duration::from_millis(50)), 1001);
    }

    proptest! {
        #[test]
        fn a_scrape_comes_once_per_interval(
            now in -1_000_000i64..1_000_000, hash in any::<u64>(), seed in any::<u64>(), ms in 1u64..100_000,
        ) {
            let interval = Duration::from_millis(ms);
            let offset = offset_ms(hash, seed, interval);
            prop_assert!((0..ms as i64).contains(&offset));
            let due = next_due(TimestampMs(now), None, interval, offset);
            prop_assert!(due.0 > now && due.0 <= now + ms as i64);
            prop_assert_eq!((due.0 - offset).rem_euclid(ms as i64), 0);
            prop_assert_eq!(next_due(due, Some(due), interval, offset), due + ms as i64);
        }
    }
}
