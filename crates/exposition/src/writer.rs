//! Writes text 0.0.4.

use std::fmt::Write as _;

use model::{Labels, METRIC_NAME, MetricKind, TimestampMs, is_legacy_label_name, is_legacy_metric_name};

use crate::number::write_value;

/// Adds lines to the end of a string. The caller keeps families together and writes HELP and TYPE before their samples.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut String,
}

impl<'a> Writer<'a> {
    /// Writes to the end of `out`.
    pub fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// `# HELP family text`.
    pub fn help(&mut self, family: &str, help: &str) {
        self.out.push_str("# HELP ");
        self.family(family);
        self.out.push(' ');
        for c in help.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
        self.out.push('\n');
    }

    /// `# TYPE family kind`; kinds that text 0.0.4 does not know become the nearest one that it does.
    pub fn kind(&mut self, family: &str, kind: MetricKind) {
        self.out.push_str("# TYPE ");
        self.family(family);
        self.out.push_str(match kind {
            MetricKind::Counter => " counter\n",
            MetricKind::Gauge | MetricKind::Info | MetricKind::StateSet => " gauge\n",
            MetricKind::Histogram | MetricKind::GaugeHistogram => " histogram\n",
            MetricKind::Summary => " summary\n",
            MetricKind::Unknown => " untyped\n",
        });
    }

    /// One sample of a stored series.
    pub fn sample(&mut self, labels: &Labels, value: f64, timestamp: Option<TimestampMs>) {
        let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
        self.sample_of(labels.metric_name(), others, value, timestamp);
    }

    /// One sample, its labels in the given order and without `__name__`.
    pub fn sample_of<'l>(
        &mut self,
        metric_name: &str,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        value: f64,
        timestamp: Option<TimestampMs>,
    ) {
        let mut separator = "{";
        if is_legacy_metric_name(metric_name) {
            self.out.push_str(metric_name);
        } else {
            self.out.push('{');
            separator = "";
            if !metric_name.is_empty() {
                self.quoted(metric_name);
                separator = ",";
            }
        }
        let mut is_open = separator != "{";
        for (name, value) in labels {
            self.out.push_str(separator);
            (separator, is_open) = (",", true);
            if is_legacy_label_name(name) {
                self.out.push_str(name)
            } else {
                self.quoted(name)
            }
            self.out.push('=');
            self.quoted(value);
        }
        self.out.push_str(if is_open { "} " } else { " " });
        write_value(self.out, value);
        if let Some(timestamp) = timestamp {
            // Writing to a string cannot fail.
            let _ = write!(self.out, " {timestamp}");
        }
        self.out.push('\n');
    }

    fn family(&mut self, family: &str) {
        if is_legacy_metric_name(family) { self.out.push_str(family) } else { self.quoted(family) }
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        let mut rest = text;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let (plain, special) = rest.split_at(at);
            self.out.push_str(plain);
            self.out.push_str(match special.as_bytes()[0] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            });
            rest = &special[1..];
        }
        self.out.push_str(rest);
        self.out.push('"');
    }
}
