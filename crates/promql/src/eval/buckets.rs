//! Classic histograms: cumulative counts under upper bounds, and what can be estimated from them.

// Differences between neighbouring buckets below this, relative to their counts, are noise of floating point.
const TOLERANCE: f64 = 1e-12;
const SMALLEST_NORMAL: f64 = f64::MIN_POSITIVE;

/// One bucket at one step: upper bound, cumulative count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub bound: f64,
    pub count: f64,
}

/// Falls of counts that were taken out: the lowest and highest bound they were at, and the largest of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Repair {
    pub low: f64,
    pub high: f64,
    pub difference: f64,
}

/// The quantile, and what had to be repaired. Buckets are sorted by bound, and there is at least one.
pub(super) fn quantile(phi: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Repair>) {
    if phi.is_nan() {
        return (f64::NAN, None);
    }
    if !(0.0..=1.0).contains(&phi) {
        return (if phi < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, None);
    }
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let repair = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, repair);
    }
    let mut rank = phi * observations;
    // Written so that a count or rank that is not a number is never enough.
    let enough = |bucket: &Bucket| bucket.count >= rank;
    let at = buckets[..last].partition_point(|bucket| !enough(bucket));
    if at == last {
        return (buckets[last - 1].bound, repair);
    }
    if at == 0 && buckets[0].bound <= 0.0 {
        return (buckets[0].bound, repair);
    }
    let Bucket { bound: end, mut count } = buckets[at];
    let mut start = 0.0;
    if at > 0 {
        start = buckets[at - 1].bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (end - start) * (rank / count), repair)
}

/// The share of observations between two values. Buckets are sorted by bound, and there is at least one.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let observations = buckets[buckets.len() - 1].count;
    if observations == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, observations) - rank_of(lower, buckets, observations)) / observations
}

/// How many observations are at most `value`, as far as the buckets tell.
fn rank_of(value: f64, buckets: &[Bucket], observations: f64) -> f64 {
    // Where all bounds are positive, so are the observations.
    let mut start = if buckets[0].bound > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    for bucket in buckets {
        if start >= value {
            break;
        }
        if bucket.bound > value {
            // In a bucket without a lower end nothing is known of the distribution, so all of it counts.
            let whole = start == f64::NEG_INFINITY;
            rank = if whole {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - start) / (bucket.bound - start)
            };
            return at_most(rank, observations);
        }
        (start, rank) = (bucket.bound, bucket.count);
    }
    if start >= value { at_most(rank, observations) } else { observations }
}

/// The smaller of the two; a rank that is not a number stays one.
fn at_most(rank: f64, observations: f64) -> f64 {
    if rank > observations { observations } else { rank }
}

/// Lays buckets with the same bound into one.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|later, kept| {
        let same = later.bound == kept.bound;
        if same {
            kept.count += later.count;
        }
        same
    });
}

/// Cumulative counts cannot fall; where they do, the scrape saw the buckets at different moments. Falls that are no
/// more than noise are taken out in silence.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    for at in 1..buckets.len() {
        let (before, Bucket { bound, count }) = (buckets[at - 1].count, buckets[at]);
        let noise = almost_equal(before, count);
        if !noise && count < before {
            let known = repair.unwrap_or(Repair { low: bound, high: bound, difference: 0.0 });
            repair = Some(Repair { high: bound, difference: known.difference.max(before - count), ..known });
        }
        if noise || count < before {
            buckets[at].count = before;
        }
    }
    repair
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (difference, magnitude) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || magnitude < SMALLEST_NORMAL {
        return difference < TOLERANCE * SMALLEST_NORMAL;
    }
    difference / magnitude.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn made(buckets: &[(f64, f64)]) -> Vec<Bucket> {
        buckets.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
    }

    fn quantile(phi: f64, buckets: &[(f64, f64)]) -> f64 {
        super::quantile(phi, &mut made(buckets)).0
    }

    fn fraction(lower: f64, upper: f64, buckets: &[(f64, f64)]) -> f64 {
        super::fraction(lower, upper, &mut made(buckets))
    }

    #[test]
    fn quantiles_interpolate_within_the_bucket() {
        let buckets = [(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 40.0)];
        assert_eq!(quantile(0.5, &buckets), 1.5);
        assert_eq!(quantile(0.125, &buckets), 0.5);
        assert_eq!(quantile(1.0, &buckets), 4.0);
        assert_eq!(quantile(0.99, &[(1.0, 1.0), (INF, 10.0)]), 1.0);
        assert_eq!(quantile(0.1, &[(-1.0, 10.0), (1.0, 10.0), (INF, 10.0)]), -1.0);
        assert_eq!(quantile(-1.0, &buckets), f64::NEG_INFINITY);
        assert_eq!(quantile(2.0, &buckets), INF);
        assert_eq!(quantile(0.5, &[(1.0, f64::NAN), (2.0, f64::NAN), (INF, f64::NAN)]), 2.0);
    }

    #[test]
    fn quantiles_need_observations_and_infinity() {
        for buckets in [&[(1.0, 5.0)][..], &[(INF, 5.0)], &[(1.0, 0.0), (INF, 0.0)]] {
            assert!(quantile(0.5, buckets).is_nan(), "{buckets:?}");
            assert!(quantile(f64::NAN, buckets).is_nan(), "{buckets:?}");
        }
    }

    #[test]
    fn falling_counts_are_repaired_and_told_of() {
        let repaired = |buckets: &[(f64, f64)]| super::quantile(0.5, &mut made(buckets));
        let repair = Repair { low: 2.0, high: 3.0, difference: 5.0 };
        assert_eq!(repaired(&[(1.0, 10.0), (2.0, 5.0), (3.0, 9.0), (INF, 20.0)]), (1.0, Some(repair)));
        assert_eq!(repaired(&[(1.0, 10.0), (2.0, 10.0 - 1e-13), (INF, 20.0)]), (1.0, None));
        assert_eq!(repaired(&[(1.0, 4.0), (1.0, 6.0), (INF, 20.0)]), (1.0, None));
    }

    #[test]
    fn fractions_interpolate_too() {
        let buckets = [(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 50.0)];
        assert_eq!(fraction(0.0, 1.5, &buckets), 0.4);
        assert_eq!(fraction(f64::NEG_INFINITY, INF, &buckets), 1.0);
        assert_eq!(fraction(1.0, 2.0, &buckets), 0.4);
        // Of what is beyond the last finite bound nothing is known but that it is there.
        assert_eq!(fraction(4.0, 100.0, &buckets), 0.0);
        assert_eq!(fraction(4.0, INF, &buckets), 0.2);
        assert_eq!(fraction(2.0, 1.0, &buckets), 0.0);
        assert_eq!(fraction(f64::NEG_INFINITY, -2.0, &[(-1.0, 10.0), (INF, 40.0)]), 0.25);
        assert!(fraction(0.0, 1.0, &[(1.0, 5.0)]).is_nan());
        assert!(fraction(0.0, 1.0, &[(1.0, 0.0), (INF, 0.0)]).is_nan());
        assert!(fraction(f64::NAN, 1.0, &buckets).is_nan());
    }
}
