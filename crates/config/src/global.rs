//! The `global` section that edge, cascade and central share with Prometheus.

use std::path::PathBuf;
use std::time::Duration;

use model::{Labels, LabelsBuilder};

use crate::{Mapping, Node};

/// Defaults for scrapes and rules, and the labels that name this server to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// How often targets are scraped (default 1m).
    pub scrape_interval: Duration,
    /// How long a scrape may take (default 10s, or the interval where that is shorter).
    pub scrape_timeout: Duration,
    /// How often rules are evaluated (default 1m).
    pub evaluation_interval: Duration,
    /// How far back rules look, for data that arrive late (`rule_query_offset`, default 0s).
    pub rule_query_offset: Duration,
    /// Where every query is logged (`query_log_file`, default: nowhere).
    pub query_log_file: Option<PathBuf>,
    /// Labels added to whatever leaves this server; `${NAME}` is replaced by the environment's variable.
    pub external_labels: Labels,
}

impl Default for Global {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            scrape_interval: minute,
            scrape_timeout: Duration::from_secs(10),
            evaluation_interval: minute,
            rule_query_offset: Duration::ZERO,
            query_log_file: None,
            external_labels: Labels::empty(),
        }
    }
}

impl Global {
    /// Decodes the section; what is wrong in it falls back to the default after it was reported.
    pub fn decode(node: &Node<'_>) -> Self {
        let default = Self::default();
        let Some(fields) = node.mapping() else { return default };
        let scrape_interval = fields.positive_duration("scrape_interval").unwrap_or(default.scrape_interval);
        let scrape_timeout = fields.positive_duration("scrape_timeout");
        if scrape_timeout.is_some_and(|t| t > scrape_interval) {
            node.problem("scrape_timeout is longer than scrape_interval; make it as long or shorter");
        }
        let external_labels = fields.get("external_labels").and_then(|n| {
            let labels = n.labels(false)?;
            Some(expand_environment(&labels, |name| {
                let value = std::env::var(name).ok();
                if value.is_none() {
                    n.problem(format!("the environment variable {name} is not set; set it or write the value"));
                }
                value
            }))
        });
        let evaluation_interval =
            fields.positive_duration("evaluation_interval").unwrap_or(default.evaluation_interval);
        let rule_query_offset = fields.duration("rule_query_offset").unwrap_or_default();
        let query_log_file = fields.path("query_log_file").filter(|path| !path.as_os_str().is_empty());
        check_formats(&fields);
        fields.unsupported("scrape_failure_log_file", "remove it and use --log.level=debug");
        for key in [
            "body_size_limit",
            "sample_limit",
            "label_limit",
            "label_name_length_limit",
            "label_value_length_limit",
            "target_limit",
            "keep_dropped_targets",
        ] {
            fields.unsupported(key, "set it in each scrape_configs entry");
        }
        fields.finish();
        Self {
            scrape_interval,
            scrape_timeout: scrape_timeout.unwrap_or(default.scrape_timeout.min(scrape_interval)),
            evaluation_interval,
            rule_query_offset,
            query_log_file,
            external_labels: external_labels.unwrap_or_default(),
        }
    }
}

/// Preferences that hold what every scrape does anyway are fine.
fn check_formats(fields: &Mapping<'_>) {
    let text = |protocol: &String| protocol.starts_with("PrometheusText") || protocol.starts_with("OpenMetricsText");
    if let Some(node) = fields.get("scrape_protocols").filter(|n| !n.strings().iter().any(text)) {
        node.problem("none of these scrape protocols is supported yet; add PrometheusText0.0.4");
    }
    if let Some(node) = fields.get("metric_name_validation_scheme").filter(|n| n.text().is_some_and(|s| s != "utf8")) {
        node.problem("only the validation scheme utf8 is supported; remove it");
    }
    for key in [
        "scrape_native_histograms",
        "always_scrape_classic_histograms",
        "convert_classic_histograms_to_nhcb",
        "metric_name_escaping_scheme",
        "extra_scrape_metrics",
    ] {
        fields.unsupported(key, "remove it");
    }
}

/// Replaces `${NAME}` and `$NAME` in label values; `$$` is a dollar. What `lookup` does not know becomes empty.
fn expand_environment(labels: &Labels, lookup: impl Fn(&str) -> Option<String>) -> Labels {
    let mut out = LabelsBuilder::new();
    for (name, value) in labels.iter() {
        let (mut expanded, mut rest) = (String::new(), value);
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                expanded.push('$');
                rest = after;
                continue;
            }
            let variable = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                Some((variable, after)) => {
                    rest = after;
                    variable
                }
                None => {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    let (variable, after) = rest.split_at(end);
                    rest = after;
                    variable
                }
            };
            if variable.is_empty() {
                expanded.push('$');
            } else {
                expanded.push_str(&lookup(variable).unwrap_or_default());
            }
        }
        expanded.push_str(rest);
        out.set(name, &expanded);
    }
    out.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn a_stock_section_is_fine() {
        let decoded = |text: &str| {
            let document = Document::parse("c.yml".as_ref(), text).expect("is YAML");
            let global = Global::decode(&document.root());
            document.finish().map(|()| global).map_err(|p| p.to_string())
        };
        let global = decoded(
            "scrape_interval: 15s\nrule_query_offset: 30s\nscrape_protocols: [PrometheusProto, PrometheusText0.0.4]\n\
             scrape_native_histograms: false\nmetric_name_validation_scheme: utf8\nquery_log_file: /var/log/q.log\n",
        );
        let read = global.map(|g| (g.rule_query_offset, g.query_log_file));
        assert_eq!(read, Ok((Duration::from_secs(30), Some("/var/log/q.log".into()))));
        assert_eq!(decoded("query_log_file: ''\n").map(|g| g.query_log_file), Ok(None));
        for (text, says) in [
            ("scrape_protocols: [PrometheusProto]\n", "add PrometheusText0.0.4"),
            ("scrape_native_histograms: true\n", "not supported yet"),
            ("scrape_failure_log_file: x\n", "not supported yet"),
        ] {
            assert!(decoded(text).expect_err(text).contains(says));
        }
    }

    #[test]
    fn expands_the_environment() {
        let lookup = |name: &str| (name == "REGION").then(|| "eu-1".to_owned());
        let cases = [
            ("a-${REGION}", "a-eu-1"),
            ("$REGION/x", "eu-1/x"),
            ("$$REGION", "$REGION"),
            ("x$", "x$"),
            ("${NO}y", "y"),
        ];
        for (written, want) in cases {
            let labels = expand_environment(&Labels::from_pairs([("l", written)]), lookup);
            assert_eq!(labels.get("l"), Some(want), "{written}");
        }
    }
}
