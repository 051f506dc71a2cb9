//! The `global` section that edge, cascade and central share with Prometheus.

use std::time::Duration;

use model::{Labels, LabelsBuilder};

use crate::Node;

/// Defaults for scrapes and rules, and the labels that name this server to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// How often targets are scraped (default 1m).
    pub scrape_interval: Duration,
    /// How long a scrape may take (default 10s, or the interval where that is shorter).
    pub scrape_timeout: Duration,
    /// How often rules are evaluated (default 1m).
    pub evaluation_interval: Duration,
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
        for key in ["query_log_file", "scrape_failure_log_file"] {
            fields.unsupported(key, "remove it and use --log.level=debug");
        }
        for key in [
            "body_size_limit",
            "sample_limit",
            "label_limit",
            "label_name_length_limit",
            "label_value_length_limit",
            "target_limit",
        ] {
            fields.unsupported(key, "set it in each scrape_configs entry");
        }
        fields.finish();
        Self {
            scrape_interval,
            scrape_timeout: scrape_timeout.unwrap_or(default.scrape_timeout.min(scrape_interval)),
            evaluation_interval,
            external_labels: external_labels.unwrap_or_default(),
        }
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
