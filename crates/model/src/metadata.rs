//! What a metric family says of itself: kind, help, unit.

/// The kind of a metric family (OpenMetrics names; `Unknown` is `untyped` in text 0.0.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricKind {
    /// Nothing was said.
    #[default]
    Unknown,
    /// Only grows, except for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic or native histogram.
    Histogram,
    /// A histogram of the present state.
    GaugeHistogram,
    /// Quantiles computed by the client.
    Summary,
    /// Information in labels; the value is 1.
    Info,
    /// A set of states, one of them 1.
    StateSet,
}

impl MetricKind {
    /// Every kind, in the order of the numbers that remote write gives them.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// Its place in [`MetricKind::ALL`]: what stands for it on the wire and in files.
    pub fn number(self) -> u8 {
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0) as u8
    }

    /// The family that a series of this kind belongs to, by its metric's name. Counters keep their `_total`, as the text
    /// format names their families.
    pub fn family_of(self, metric: &str) -> &str {
        let suffixes: &[&str] = match self {
            Self::Histogram => &["_bucket", "_sum", "_count", "_created"],
            Self::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
            Self::Summary => &["_sum", "_count", "_created"],
            _ => &[],
        };
        let family = suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix));
        family.filter(|family| !family.is_empty()).unwrap_or(metric)
    }

    /// The name used by the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// Metadata of one metric family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricMetadata {
    /// The family's name: without `_bucket`, `_sum`, `_count`.
    pub family: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Its help text, unescaped.
    pub help: String,
    /// Its unit, or empty.
    pub unit: String,
}
