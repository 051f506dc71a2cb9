//! Exposition text 0.0.4, written.

use std::fmt::Write;

use model::MetricKind;

use crate::histogram::Histogram;

/// A page being written.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A page with room for a usual one.
    pub(crate) fn new() -> Self {
        Self(String::with_capacity(16 * 1024))
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }

    /// Begins a family; its samples follow.
    pub(crate) fn family<'a>(&'a mut self, name: &'a str, kind: MetricKind, help: &str) -> Family<'a> {
        self.push(&["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.as_str(), "\n"]);
        Family { page: self, name }
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.0.push_str(part));
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], le: Option<f64>, value: f64) {
        self.push(&[name, suffix]);
        let mut separator = "{";
        for (label, text) in labels {
            self.push(&[separator, label, "=\""]);
            separator = ",";
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        // Writing into a String cannot fail.
        let _ = match le {
            Some(f64::INFINITY) => write!(self.0, "{separator}le=\"+Inf\""),
            Some(bound) => write!(self.0, "{separator}le=\"{bound}\""),
            None => Ok(()),
        };
        if !labels.is_empty() || le.is_some() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// One family of a page.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    name: &'a str,
}

impl Family<'_> {
    /// Adds a gauge, or a counter that is a whole number.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.page.sample(self.name, "", labels, None, value);
        self
    }

    /// Adds a counter that counts in fractions; cut to millionths, which keeps pages short and counters growing.
    pub(crate) fn fraction(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.sample(labels, (value * 1e6).floor() / 1e6)
    }

    /// Adds a histogram.
    pub(crate) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        for (bound, count) in histogram.buckets() {
            self.page.sample(self.name, "_bucket", labels, Some(bound), count);
        }
        self.page.sample(self.name, "_bucket", labels, Some(f64::INFINITY), histogram.count);
        self.page.sample(self.name, "_sum", labels, None, (histogram.sum * 1e6).floor() / 1e6);
        self.page.sample(self.name, "_count", labels, None, histogram.count);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_format_says() {
        let mut page = Page::new();
        page.family("a_total", MetricKind::Counter, "Of a.")
            .sample(&[], 1.0)
            .sample(&[("x", "q\"b\\n\n"), ("y", "2")], 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP a_total Of a.\n# TYPE a_total counter\na_total 1\na_total{x=\"q\\\"b\\\\n\\n\",y=\"2\"} 0.5\n"
        );
    }
}
