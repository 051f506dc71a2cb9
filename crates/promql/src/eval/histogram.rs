//! `histogram_quantile` over classic buckets: cumulative counters with an upper bound in the label `le`.

use model::BUCKET_LABEL;

use super::groups::Groups;
use super::rows::Rows;
use super::{Evaluation, RowLabels, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{Scalar, Vector};

// Differences between neighbouring buckets below this, relative to their counts, are noise of floating point.
const TOLERANCE: f64 = 1e-12;
const SMALLEST_NORMAL: f64 = f64::MIN_POSITIVE;

/// One bucket at one step: upper bound, cumulative count.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The rows of one histogram, each with its upper bound.
struct Histogram<'a> {
    rows: Rows<'a>,
    bounds: Vec<f64>,
    metric: String,
}

impl Evaluation<'_> {
    /// `histogram_quantile(quantile, input)`.
    pub(super) fn histogram_quantile(
        &self,
        quantile: &Scalar,
        input: &Vector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let phi = self.scalar(quantile, steps)?;
        self.check_quantile(&phi);
        let mut histograms: Groups<Histogram<'_>> = Groups::new();
        self.vector(input, steps, &mut |labels, column| {
            let Some(bound) = self.bound(labels) else { return Ok(()) };
            let histogram =
                histograms.entry(labels.without_name().iter().filter(|(name, _)| *name != BUCKET_LABEL), || {
                    let (rows, metric) = (Rows::new(self.budget)?, labels.metric_name().to_owned());
                    Ok::<_, PromqlError>(Histogram { rows, bounds: Vec::new(), metric })
                })?;
            histogram.rows.keep(labels, column)?;
            // A row without values is not kept.
            histogram.bounds.resize(histogram.rows.rows.len(), bound);
            Ok(())
        })?;
        let mut column = vec![absent(); steps.count];
        for (labels, histogram) in histograms.groups {
            self.quantiles(&histogram, &phi, &mut column)?;
            sink((&labels).into(), &mut column)?;
        }
        Ok(())
    }

    fn bound(&self, labels: RowLabels<'_>) -> Option<f64> {
        let text = labels.get(BUCKET_LABEL).unwrap_or("");
        let bound = text.parse::<f64>().ok();
        if bound.is_none() {
            let metric = labels.metric_name();
            self.warn(|| {
                format!(
                    "bucket label \"le\" is missing or has a malformed value of {text:?} for metric name {metric:?}"
                )
            });
        }
        bound
    }

    fn quantiles(&self, histogram: &Histogram<'_>, phi: &[f64], column: &mut [f64]) -> Result<(), PromqlError> {
        let rows = &histogram.rows.rows;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|a, b| histogram.bounds[*a].total_cmp(&histogram.bounds[*b]));
        let mut buckets = Vec::with_capacity(rows.len());
        for (step, slot) in column.iter_mut().enumerate() {
            buckets.clear();
            let present = order.iter().map(|at| Bucket { bound: histogram.bounds[*at], count: rows[*at].values[step] });
            buckets.extend(present.filter(|bucket| !is_absent(bucket.count)));
            self.budget.work(buckets.len())?;
            if buckets.is_empty() {
                *slot = absent();
                continue;
            }
            let (value, repaired) = bucket_quantile(phi[step], &mut buckets);
            *slot = value;
            if repaired {
                let metric = &histogram.metric;
                self.inform(|| {
                    format!(
                        "input to histogram_quantile needed to be fixed for monotonicity (see \
                         https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) \
                         for metric name {metric:?}"
                    )
                });
            }
        }
        Ok(())
    }
}

/// The quantile, and whether counts had to be made to grow. Buckets are sorted by bound.
fn bucket_quantile(phi: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if phi.is_nan() {
        return (f64::NAN, false);
    }
    if !(0.0..=1.0).contains(&phi) {
        return (if phi < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, false);
    }
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return (f64::NAN, false);
    }
    coalesce(buckets);
    let repaired = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 || observations.is_nan() {
        return (f64::NAN, repaired);
    }
    let mut rank = phi * observations;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank);
    if at == last {
        return (buckets[last - 1].bound, repaired);
    }
    if at == 0 && buckets[0].bound <= 0.0 {
        return (buckets[0].bound, repaired);
    }
    let Bucket { bound: end, mut count } = buckets[at];
    let mut start = 0.0;
    if at > 0 {
        start = buckets[at - 1].bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (end - start) * (rank / count), repaired)
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

/// Cumulative counts cannot fall; where they do, the scrape saw the buckets at different moments. True when a fall was
/// more than noise.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut repaired = false;
    for at in 1..buckets.len() {
        let (before, now) = (buckets[at - 1].count, buckets[at].count);
        let noise = almost_equal(before, now);
        if noise || now < before {
            buckets[at].count = before;
            repaired |= !noise;
        }
    }
    repaired
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

    fn quantile(phi: f64, buckets: &[(f64, f64)]) -> (f64, bool) {
        let mut buckets: Vec<_> =
            buckets.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect();
        bucket_quantile(phi, &mut buckets)
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn interpolates_within_the_bucket() {
        let buckets = [(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 40.0)];
        assert_eq!(quantile(0.5, &buckets), (1.5, false));
        assert_eq!(quantile(0.125, &buckets), (0.5, false));
        assert_eq!(quantile(1.0, &buckets), (4.0, false));
        assert_eq!(quantile(0.99, &[(1.0, 1.0), (INF, 10.0)]), (1.0, false));
        assert_eq!(quantile(0.1, &[(-1.0, 10.0), (1.0, 10.0), (INF, 10.0)]), (-1.0, false));
        assert_eq!(quantile(-1.0, &buckets).0, f64::NEG_INFINITY);
        assert_eq!(quantile(2.0, &buckets).0, INF);
    }

    #[test]
    fn has_no_answer_without_observations_or_infinity() {
        for buckets in
            [&[(1.0, 5.0)][..], &[(INF, 5.0)], &[(1.0, 0.0), (INF, 0.0)], &[(1.0, f64::NAN), (INF, f64::NAN)]]
        {
            assert!(quantile(0.5, buckets).0.is_nan(), "{buckets:?}");
        }
    }

    #[test]
    fn repairs_falling_counts_and_says_so() {
        assert_eq!(quantile(0.5, &[(1.0, 10.0), (2.0, 5.0), (INF, 20.0)]), (1.0, true));
        assert_eq!(quantile(0.5, &[(1.0, 10.0), (2.0, 10.0 - 1e-13), (INF, 20.0)]), (1.0, false));
        assert_eq!(quantile(0.5, &[(1.0, 4.0), (1.0, 6.0), (INF, 20.0)]), (1.0, false));
    }
}
