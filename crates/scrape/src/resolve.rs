//! From a raw series to the labels that are stored: target labels, metric relabelling, limits.

use std::borrow::Cow;

use exposition::{SeriesPair, series_pairs};
use model::{Labels, LabelsBuilder};

use crate::fetch::ScrapeError;
use crate::scrape_config::{Limits, ScrapeConfig};

const EXPORTED_PREFIX: &str = "exported_";
const SHOWN_CHARS: usize = 50;

/// Why a raw series has no labels.
pub(crate) enum ResolveError {
    /// It is not a series; the text says why.
    Syntax(String),
    /// It breaks a rule that fails the scrape.
    Refused(ScrapeError),
}

/// The labels under which a raw series is stored; `None` where a relabel rule drops it.
pub(crate) fn resolve(raw: &str, target: &Labels, config: &ScrapeConfig) -> Result<Option<Labels>, ResolveError> {
    let pairs = series_pairs(raw).map_err(|e| ResolveError::Syntax(e.to_string()))?;
    let mut labels = LabelsBuilder::new();
    for (name, value) in &pairs {
        labels.set(name, value);
    }
    if config.honor_labels {
        attach_where_absent(&mut labels, &pairs, target);
    } else {
        attach_and_rename(&mut labels, target);
    }
    if !relabel::apply(&config.metric_relabel_rules, &mut labels) {
        return Ok(None);
    }
    let labels = labels.build();
    if labels.is_empty() {
        return Ok(None);
    }
    if labels.metric_name().is_empty() {
        return Err(ResolveError::Refused(ScrapeError::NoMetricName(labels.to_string())));
    }
    check_limits(&labels, &config.limits).map_err(|m| ResolveError::Refused(ScrapeError::LabelLimit(m)))?;
    Ok(Some(labels))
}

/// `honor_labels: true`: what the target says wins, even an empty value.
fn attach_where_absent(labels: &mut LabelsBuilder, exposed: &[SeriesPair<'_>], target: &Labels) {
    for (name, value) in target.iter() {
        if exposed.binary_search_by(|(n, _)| n.as_ref().cmp(name)).is_err() {
            labels.set(name, value);
        }
    }
}

/// `honor_labels: false`: the target's label wins, the exposed one moves to the first free `exported_` name.
fn attach_and_rename(labels: &mut LabelsBuilder, target: &Labels) {
    let mut conflicts: Vec<(&str, String)> = Vec::new();
    for (name, value) in target.iter() {
        if let Some(exposed) = labels.get(name) {
            conflicts.push((name, exposed.to_owned()));
        }
        labels.set(name, value);
    }
    // Shorter names first, so that `exported_job` itself moves after what `job` became.
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, exposed) in conflicts {
        let mut free = Cow::Borrowed(name);
        while labels.get(&free).is_some() {
            free = Cow::Owned(format!("{EXPORTED_PREFIX}{free}"));
        }
        labels.set(&free, &exposed);
    }
}

fn check_limits(labels: &Labels, limits: &Limits) -> Result<(), String> {
    let over = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
    let shown = |text: &str| text.chars().take(SHOWN_CHARS).collect::<String>();
    let metric = || shown(labels.metric_name());
    let count = labels.len();
    if over(count, limits.labels) {
        return Err(format!(
            "label_limit exceeded (metric: {}, number of labels: {count}, limit: {})",
            metric(),
            limits.labels
        ));
    }
    for (name, value) in labels.iter() {
        if over(name.len(), limits.label_name_bytes) {
            return Err(format!(
                "label_name_length_limit exceeded (metric: {}, label name: {}, length: {}, limit: {})",
                metric(),
                shown(name),
                name.len(),
                limits.label_name_bytes
            ));
        }
        if over(value.len(), limits.label_value_bytes) {
            return Err(format!(
                "label_value_length_limit exceeded (metric: {}, label name: {}, value: {:?}, length: {}, limit: {})",
                metric(),
                shown(name),
                shown(value),
                value.len(),
                limits.label_value_bytes
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scrape_config;

    fn check(yaml: &str, raw: &str, want: &str) {
        let config = scrape_config(&format!("job_name: j\n{yaml}"));
        let target = Labels::from_pairs([("instance", "i"), ("job", "j")]);
        let got = match resolve(raw, &target, &config) {
            Ok(Some(labels)) => labels.to_string(),
            Ok(None) => "-".to_owned(),
            Err(ResolveError::Syntax(message)) => message,
            Err(ResolveError::Refused(error)) => error.to_string(),
        };
        assert_eq!(got, want, "{yaml} {raw}");
    }

    #[test]
    fn honor_labels_decides_conflicts() {
        check("", "a{x=\"1\"}", r#"a{instance="i", job="j", x="1"}"#);
        check("", "a{job=\"x\"}", r#"a{exported_job="x", instance="i", job="j"}"#);
        check(
            "",
            "a{job=\"x\",exported_job=\"y\"}",
            r#"a{exported_exported_job="x", exported_job="y", instance="i", job="j"}"#,
        );
        check("", "a{job=\"\"}", r#"a{instance="i", job="j"}"#);
        check("honor_labels: true", "a{job=\"x\"}", r#"a{instance="i", job="x"}"#);
        check("honor_labels: true", "a{job=\"x\",instance=\"\"}", r#"a{job="x"}"#);
    }

    #[test]
    fn metric_relabelling_sees_target_labels() {
        let drop = "metric_relabel_configs: [{action: drop, source_labels: [job, __name__], regex: j;a}]";
        check(drop, "a", "-");
        check(drop, "b", r#"b{instance="i", job="j"}"#);
        let rename = "metric_relabel_configs: [{target_label: __name__, replacement: c}, {action: labeldrop, regex: instance|x}]";
        check(rename, "a{x=\"1\"}", r#"c{job="j"}"#);
        check("metric_relabel_configs: [{action: labeldrop, regex: .*}]", "a", "-");
    }

    #[test]
    fn limits_and_rules_name_the_offender() {
        check("label_limit: 4", "a{x=\"1\"}", r#"a{instance="i", job="j", x="1"}"#);
        check("label_limit: 3", "a{x=\"1\"}", "label_limit exceeded (metric: a, number of labels: 4, limit: 3)");
        check(
            "label_name_length_limit: 8",
            "a{toolongname=\"1\"}",
            "label_name_length_limit exceeded (metric: a, label name: toolongname, length: 11, limit: 8)",
        );
        check(
            "label_value_length_limit: 3",
            "a{x=\"1234\"}",
            "label_value_length_limit exceeded (metric: a, label name: x, value: \"1234\", length: 4, limit: 3)",
        );
        check("", "{x=\"1\"}", r#"missing metric name (__name__ label): {instance="i", job="j", x="1"}"#);
        check("", "a{x=\"1\",x=\"2\"}", "duplicate label name \"x\"");
    }
}
