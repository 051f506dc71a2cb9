//! Functions of histograms. Classic ones are series of cumulative counters with an upper bound in the label `le`; of
//! native ones there are none yet, so that functions that look at those alone answer nothing.

use std::collections::BTreeMap;

use model::{BUCKET_LABEL, LabelsBuilder};

use super::annotations::{Forced, Remark};
use super::buckets::{self, Bucket, Repair};
use super::groups::Groups;
use super::rows::Rows;
use super::text::open_metrics;
use super::{Evaluation, RowLabels, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{HistogramCall, HistogramFunction};

/// The rows of one histogram, each with its upper bound.
struct Histogram<'a> {
    rows: Rows<'a>,
    bounds: Vec<f64>,
}

impl Histogram<'_> {
    /// The rows by their bounds.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.rows.len()).collect();
        order.sort_by(|a, b| self.bounds[*a].total_cmp(&self.bounds[*b]));
        order
    }
}

impl Evaluation<'_> {
    /// A function over classic histograms.
    pub(super) fn histogram(&self, call: &HistogramCall, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let params: Vec<_> = call.params.iter().map(|p| self.scalar(&p.value, steps)).collect::<Result<_, _>>()?;
        if call.function != HistogramFunction::Fraction {
            call.params.iter().zip(&params).for_each(|(param, phi)| self.check_quantile(param.place, phi));
        }
        let histograms = self.histograms(call, steps)?;
        let mut column = vec![absent(); steps.count];
        for (labels, histogram) in &histograms.groups {
            let labels = RowLabels::from(labels).without_name();
            match (&call.function, params.as_slice()) {
                (HistogramFunction::Fraction, [lower, upper]) => {
                    self.each_step(histogram, &mut column, |step, buckets| {
                        buckets::fraction(lower[step], upper[step], buckets)
                    })?;
                    sink(labels, &mut column)?;
                }
                (HistogramFunction::Quantile, [phi]) => {
                    self.quantiles(call, histogram, phi, steps, &mut column)?;
                    sink(labels, &mut column)?;
                }
                (HistogramFunction::Quantiles(label), phis) => {
                    for phi in phis {
                        self.quantiles(call, histogram, phi, steps, &mut column)?;
                        send_labelled(label, phi, labels, &column, sink)?;
                    }
                }
                _ => return Err(PromqlError::execution("missing parameter of a histogram function")),
            }
        }
        Ok(())
    }

    /// The histograms of the input, by all labels but `le`.
    fn histograms(&self, call: &HistogramCall, steps: Steps) -> Result<Groups<Histogram<'_>>, PromqlError> {
        let mut histograms: Groups<Histogram<'_>> = Groups::new();
        self.vector(&call.input, steps, &mut |labels, column| {
            if column.iter().all(|v| is_absent(*v)) {
                return Ok(());
            }
            let text = labels.get(BUCKET_LABEL).unwrap_or("");
            let Ok(bound) = text.parse::<f64>() else {
                self.note(call.buckets, &Remark::BadBucketLabel(text));
                return Ok(());
            };
            let histogram = histograms.entry(labels.iter().filter(|(name, _)| *name != BUCKET_LABEL), || {
                Ok::<_, PromqlError>(Histogram { rows: Rows::new(self.budget)?, bounds: Vec::new() })
            })?;
            histogram.rows.keep(labels, column)?;
            histogram.bounds.push(bound);
            Ok(())
        })?;
        Ok(histograms)
    }

    fn quantiles(
        &self,
        call: &HistogramCall,
        histogram: &Histogram<'_>,
        phi: &[f64],
        steps: Steps,
        column: &mut [f64],
    ) -> Result<(), PromqlError> {
        self.each_step(histogram, column, |step, buckets| {
            let (value, repair) = buckets::quantile(phi[step], buckets);
            if let Some(Repair { low, high, difference }) = repair {
                let at = steps.at(step);
                let forced = Forced { first_ms: at, last_ms: at, low, high, difference, count: 1 };
                self.note(call.repairs, &Remark::ForcedMonotonicity(forced));
            }
            value
        })
    }

    /// Fills a column from the buckets that are there at each step.
    fn each_step(
        &self,
        histogram: &Histogram<'_>,
        column: &mut [f64],
        mut value: impl FnMut(usize, &mut Vec<Bucket>) -> f64,
    ) -> Result<(), PromqlError> {
        let (order, mut buckets) = (histogram.order(), Vec::new());
        for (step, slot) in column.iter_mut().enumerate() {
            buckets.clear();
            let counts = order.iter().map(|at| (histogram.bounds[*at], histogram.rows.rows[*at].values[step]));
            buckets.extend(counts.filter(|(_, c)| !is_absent(*c)).map(|(bound, count)| Bucket { bound, count }));
            self.budget.work(buckets.len())?;
            *slot = if buckets.is_empty() { absent() } else { value(step, &mut buckets) };
        }
        Ok(())
    }
}

/// Sends a column under a label that holds the quantile, which may be another one at another step.
fn send_labelled(
    label: &str,
    phi: &[f64],
    labels: RowLabels<'_>,
    column: &[f64],
    sink: &mut Sink<'_>,
) -> Result<(), PromqlError> {
    let mut rows: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (step, (phi, value)) in phi.iter().zip(column).enumerate() {
        rows.entry(phi.to_bits()).or_insert_with(|| vec![absent(); column.len()])[step] = *value;
    }
    let mut builder = LabelsBuilder::from_labels(&labels.build());
    for (phi, mut column) in rows {
        builder.set(label, &open_metrics(f64::from_bits(phi)));
        sink((&builder.build()).into(), &mut column)?;
    }
    Ok(())
}
