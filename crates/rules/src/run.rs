//! One evaluation of one rule: its query, what becomes of the result, and the samples it writes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use gotmpl::Value as TemplateValue;
use model::{AppendError, Batch, Labels, LabelsBuilder, METRIC_NAME, Queryable, Row, Sample, TimestampMs, stale_nan};
use promql::{Engine, Query, QueryLimits, QueryOrigin, Value, VectorSample};

use crate::Template;
use crate::alert::{ALERT_NAME, Observed, Sending, Timing};
use crate::group::{Context, Evaluation, External, RuleError, RuleState};
use crate::rule::{AlertSettings, Group, Rule, millis};
use crate::status::Health;
use crate::template::{self, Bound, Scope};

/// One evaluation of one rule.
pub(crate) struct RuleRun<'a> {
    pub(crate) group: &'a Group,
    pub(crate) rule: &'a Rule,
    pub(crate) context: &'a Context<'a>,
    pub(crate) at: TimestampMs,
    pub(crate) deadline: Instant,
}

impl RuleRun<'_> {
    /// The time that queries see and samples get.
    fn data_time(&self) -> TimestampMs {
        self.at - millis(self.group.query_offset)
    }

    fn limits(&self) -> QueryLimits {
        QueryLimits {
            deadline: Some(self.deadline),
            cancelled: Some(self.context.cancelled.clone()),
            origin: QueryOrigin::RuleGroup {
                file: self.group.file.as_str().into(),
                name: self.group.name.as_str().into(),
            },
            ..QueryLimits::default()
        }
    }

    fn result(&self) -> Result<Vec<VectorSample>, RuleError> {
        let Context { engine, storage, .. } = self.context;
        vector(engine, storage.as_ref(), &self.rule.query, self.data_time(), &self.limits())
    }

    fn check_limit(&self, got: usize) -> Result<(), RuleError> {
        let limit = self.group.limit;
        if limit > 0 && got > limit { Err(RuleError::Limit { limit, got }) } else { Ok(()) }
    }

    pub(crate) fn record(&self) -> Result<Vec<Row>, RuleError> {
        let result = self.result()?;
        let (mut rows, mut seen) = (Vec::with_capacity(result.len()), HashSet::with_capacity(result.len()));
        let mut builder = LabelsBuilder::new();
        for VectorSample { labels, sample } in result {
            builder.reset(&labels);
            builder.set(METRIC_NAME, &self.rule.name);
            for (name, value) in &self.rule.labels {
                builder.set(name, value.text());
            }
            let labels = builder.build();
            if !seen.insert(labels.clone()) {
                return Err(RuleError::SameLabels(labels));
            }
            rows.push(Row { labels, sample: Sample { timestamp: self.data_time(), value: sample.value } });
        }
        self.check_limit(rows.len())?;
        Ok(rows)
    }

    pub(crate) fn alert(&self, settings: &AlertSettings, state: &mut RuleState) -> Result<Vec<Row>, RuleError> {
        let observed = self.observed(settings)?;
        let timing = Timing { hold_ms: millis(settings.hold), keep_firing_ms: millis(settings.keep_firing_for) };
        let active = state.alerts.update(observed, self.at, timing, self.context.late);
        if let Err(error) = self.check_limit(active) {
            // As documented for `limit`: all alerts of the rule are cleared.
            state.alerts.clear();
            return Err(error);
        }
        let generator_url = self.context.external.url.clone() + &template::graph_link(&self.rule.query.to_promql(), 1);
        let sending = Sending {
            resend_delay_ms: millis(self.context.resend_delay),
            interval_ms: self.group.interval_ms(),
            generator_url: &generator_url,
        };
        let due = state.alerts.due(self.at, &sending);
        if !due.is_empty() {
            (self.context.notify)(due);
        }
        Ok(if state.awaits_restore { Vec::new() } else { state.alerts.rows(self.data_time()) })
    }

    /// The result's series as alerts, templates expanded.
    fn observed(&self, settings: &AlertSettings) -> Result<BTreeMap<Labels, Observed>, RuleError> {
        let result = self.result()?;
        let mut out = BTreeMap::new();
        if result.is_empty() {
            return Ok(out);
        }
        let expander = self.expander(settings);
        let mut builder = LabelsBuilder::new();
        for VectorSample { labels, sample } in result {
            let data = expander.data(&labels, sample.value);
            builder.reset(&labels);
            builder.remove(METRIC_NAME);
            for (name, template) in &expander.labels {
                builder.set(name, &template.expand(&data));
            }
            builder.set(ALERT_NAME, &self.rule.name);
            let labels = builder.build();
            let annotations = expander.annotations(&data);
            if out.insert(labels.clone(), Observed { annotations, value: sample.value }).is_some() {
                return Err(RuleError::SameLabels(labels));
            }
        }
        Ok(out)
    }

    /// The annotations of an alert whose condition was true in an earlier process: what is left of it are its labels.
    pub(crate) fn annotations_of(&self, settings: &AlertSettings, labels: &Labels) -> Labels {
        let expander = self.expander(settings);
        expander.annotations(&expander.data(labels, f64::NAN))
    }

    fn expander<'t>(&'t self, settings: &'t AlertSettings) -> Expander<'t> {
        let (engine, storage) = (self.context.engine.clone(), self.context.storage.clone());
        let (at, limits) = (self.data_time(), self.limits());
        let query = move |text: &str| {
            let query = engine.parse(text).map_err(|e| e.to_string())?;
            vector(&engine, storage.as_ref(), &query, at, &limits).map_err(|e| e.to_string())
        };
        let External { labels, url } = self.context.external;
        let scope = Scope { query: Arc::new(query), external_url: url.clone(), at: self.at };
        let functions = template::functions(scope);
        let bind = |pairs: &'t [(String, Template)]| -> Vec<(&'t str, Bound<'t>)> {
            pairs.iter().map(|(name, template)| (name.as_str(), template.bind(&functions))).collect()
        };
        Expander {
            labels: bind(&self.rule.labels),
            annotations: bind(&settings.annotations),
            external_labels: template::map(labels.iter()),
            external_url: TemplateValue::String(Arc::from(url.as_str())),
        }
    }

    /// Appends the rule's samples, and a staleness marker for every series it yielded before and does not yield now.
    pub(crate) fn write(
        &self,
        rows: Vec<Row>,
        state: &mut RuleState,
        report: &mut Evaluation,
    ) -> Result<(), AppendError> {
        let yielded: HashSet<Labels> = rows.iter().map(|row| row.labels.clone()).collect();
        let mut vanished: Vec<&Labels> = state.series.iter().filter(|labels| !yielded.contains(labels)).collect();
        vanished.sort();
        report.samples += rows.len();
        let mut batch = Batch { rows, metadata: Vec::new() };
        for labels in vanished {
            batch.push(labels.clone(), Sample { timestamp: self.data_time(), value: stale_nan() });
        }
        if !batch.is_empty() {
            let refused = match self.context.sink.append(&batch) {
                Ok(appended) => appended.refused,
                Err(error) => {
                    // Some of it may be there all the same: whatever is not yielded next is ended then.
                    state.series.extend(yielded);
                    return Err(error);
                }
            };
            if let Some(first) = refused.first() {
                let series = batch.rows.get(first.row).map(|row| &row.labels).cloned().unwrap_or_default();
                let (count, reason) = (refused.len(), first.reason);
                state.health = Health::Err;
                state.last_error = Some(format!("the store refused {count} samples, the first of {series}: {reason}"));
            }
            for refusal in refused {
                *report.refused.entry(refusal.reason).or_default() += 1;
            }
        }
        state.series = yielded;
        Ok(())
    }
}

/// A query's answer as series; a scalar is one without labels.
fn vector(
    engine: &Engine,
    storage: &dyn Queryable,
    query: &Query,
    at: TimestampMs,
    limits: &QueryLimits,
) -> Result<Vec<VectorSample>, RuleError> {
    match engine.instant(storage, query, at, limits)?.value {
        Value::Vector(vector) => Ok(vector),
        Value::Scalar(sample) => Ok(vec![VectorSample { labels: Labels::empty(), sample }]),
        other => Err(RuleError::NotVector(other.value_type())),
    }
}

/// The templates of one alerting rule, bound for one evaluation.
struct Expander<'t> {
    labels: Vec<(&'t str, Bound<'t>)>,
    annotations: Vec<(&'t str, Bound<'t>)>,
    external_labels: TemplateValue,
    external_url: TemplateValue,
}

impl Expander<'_> {
    fn annotations(&self, data: &TemplateValue) -> Labels {
        Labels::from_pairs(self.annotations.iter().map(|(name, template)| (*name, template.expand(data))))
    }

    fn data(&self, labels: &Labels, value: f64) -> TemplateValue {
        let fields = [
            ("Labels", template::map(labels.iter())),
            ("ExternalLabels", self.external_labels.clone()),
            ("ExternalURL", self.external_url.clone()),
            ("Value", TemplateValue::Float(value)),
        ];
        TemplateValue::Map(Arc::new(fields.into_iter().map(|(name, value)| (Arc::from(name), value)).collect()))
    }
}
