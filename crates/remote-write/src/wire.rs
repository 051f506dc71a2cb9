//! Field numbers and kinds of `prometheus.WriteRequest`.

use model::MetricKind;

/// WriteRequest
pub(crate) const TIMESERIES: u32 = 1;
pub(crate) const METADATA: u32 = 3;
/// TimeSeries
pub(crate) const LABELS: u32 = 1;
pub(crate) const SAMPLES: u32 = 2;
pub(crate) const EXEMPLARS: u32 = 3;
pub(crate) const HISTOGRAMS: u32 = 4;
/// Label
pub(crate) const NAME: u32 = 1;
pub(crate) const VALUE: u32 = 2;
/// Exemplar; its labels are those of a TimeSeries
pub(crate) const EXEMPLAR_VALUE: u32 = 2;
pub(crate) const EXEMPLAR_TIMESTAMP: u32 = 3;
/// Sample
pub(crate) const SAMPLE_VALUE: u32 = 1;
pub(crate) const SAMPLE_TIMESTAMP: u32 = 2;
/// MetricMetadata
pub(crate) const KIND: u32 = 1;
pub(crate) const FAMILY: u32 = 2;
pub(crate) const HELP: u32 = 4;
pub(crate) const UNIT: u32 = 5;

pub(crate) fn kind_to_wire(kind: MetricKind) -> u64 {
    u64::from(kind.number())
}

pub(crate) fn kind_from_wire(number: u64) -> MetricKind {
    usize::try_from(number).ok().and_then(|n| MetricKind::ALL.get(n)).copied().unwrap_or_default()
}
