//! The labels of a row on its way up. Those of a stored series are built when a node looks at them, so that one that
//! needs none (`count(x)`) costs none.

use model::{Labels, METRIC_NAME, StoredSeries};

/// Whether a label says what the metric is. What is computed of it is something else and drops them.
#[inline]
pub(super) fn is_metadata(name: &str) -> bool {
    name.starts_with("__") && matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// The labels of one row; cheap to copy.
#[derive(Clone, Copy)]
pub(crate) struct RowLabels<'a> {
    source: Source<'a>,
    nameless: bool,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Known(&'a Labels),
    Stored(&'a dyn StoredSeries),
}

impl<'a> From<&'a Labels> for RowLabels<'a> {
    fn from(labels: &'a Labels) -> Self {
        Self { source: Source::Known(labels), nameless: false }
    }
}

impl<'a> RowLabels<'a> {
    /// Those of a series in the store.
    pub fn stored(series: &'a dyn StoredSeries) -> Self {
        Self { source: Source::Stored(series), nameless: false }
    }

    /// The same without the metric name, and what else there is of metadata.
    pub fn without_name(self) -> Self {
        Self { nameless: true, ..self }
    }

    /// The label set.
    pub fn build(self) -> Labels {
        if self.nameless { collect(self.iter()) } else { self.source.labels().clone() }
    }

    /// The pairs, in order of names.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        let nameless = self.nameless;
        self.source.labels().iter().filter(move |(name, _)| !(nameless && is_metadata(name)))
    }

    /// Calls `each` with the pairs, in order of names. Builds nothing.
    pub fn each(self, each: &mut dyn FnMut(&str, &str)) {
        let mut named = |name: &str, value: &str| {
            if !(self.nameless && is_metadata(name)) {
                each(name, value);
            }
        };
        match self.source {
            Source::Known(labels) => labels.iter().for_each(|(name, value)| named(name, value)),
            Source::Stored(series) => series.each_label(&mut named),
        }
    }

    /// The value of a label.
    pub fn get(self, name: &str) -> Option<&'a str> {
        if self.nameless && is_metadata(name) { None } else { self.source.labels().get(name) }
    }

    /// The value of `__name__`, or the empty string.
    pub fn metric_name(self) -> &'a str {
        self.get(METRIC_NAME).unwrap_or("")
    }
}

impl<'a> Source<'a> {
    fn labels(self) -> &'a Labels {
        match self {
            Self::Known(labels) => labels,
            Self::Stored(series) => series.labels(),
        }
    }
}

/// A label set from pairs that came out of another one.
pub(crate) fn collect<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)> + Clone) -> Labels {
    Labels::from_sorted(pairs.clone()).unwrap_or_else(|| Labels::from_pairs(pairs))
}
