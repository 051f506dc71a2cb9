//! Field numbers and kinds of `prometheus.WriteRequest` and, where they differ, of `io.prometheus.write.v2.Request`.

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
pub(crate) const SAMPLE_START: u32 = 3;
/// Histogram: only its time is read; the other fields are whoever's who understands them
pub(crate) const HISTOGRAM_TIMESTAMP: u32 = 15;
/// MetricMetadata
pub(crate) const KIND: u32 = 1;
pub(crate) const FAMILY: u32 = 2;
pub(crate) const HELP: u32 = 4;
pub(crate) const UNIT: u32 = 5;

/// What nobody sends: takes the place of a label of 2.0 whose symbols do not exist, so that its series is refused when its
/// labels are read. A TimeSeries of 1.0 has no such field among its labels.
pub(crate) const NO_SUCH_SYMBOL: u32 = 15;

/// The messages of 2.0
pub(crate) mod v2 {
    /// Request
    pub(crate) const SYMBOLS: u32 = 4;
    pub(crate) const TIMESERIES: u32 = 5;
    /// TimeSeries
    pub(crate) const LABELS_REFS: u32 = 1;
    pub(crate) const SAMPLES: u32 = 2;
    pub(crate) const HISTOGRAMS: u32 = 3;
    pub(crate) const EXEMPLARS: u32 = 4;
    pub(crate) const METADATA: u32 = 5;
    /// Until 2.0-rc.3; later versions say it of every sample
    pub(crate) const CREATED: u32 = 6;
    /// Metadata
    pub(crate) const KIND: u32 = 1;
    pub(crate) const HELP_REF: u32 = 3;
    pub(crate) const UNIT_REF: u32 = 4;
}

pub(crate) fn kind_to_wire(kind: MetricKind) -> u64 {
    u64::from(kind.number())
}

pub(crate) fn kind_from_wire(number: u64) -> MetricKind {
    usize::try_from(number).ok().and_then(|n| MetricKind::ALL.get(n)).copied().unwrap_or_default()
}
