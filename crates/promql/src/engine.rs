//! The engine: parsed queries are cached, evaluations are bounded.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{Labels, Matcher, Queryable, Sample, SampleBuffer, TimeRange, TimestampMs};
use moka::sync::Cache;

use crate::eval::{Budget, Evaluation, Helpers, Notes, RowLabels, Steps, compact, is_absent};
use crate::plan::{self, Plan, RangeSource, Vector};
use crate::{MatrixSeries, PromqlError, QueryResult, Value, ValueType, VectorSample, syntax};

// Longer texts are rarely asked twice and would make the cache's memory unpredictable.
const MAX_CACHED_BYTES: usize = 4096;

/// The limits that hold for every query of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How far an instant selector looks back for a sample.
    pub lookback: Duration,
    /// How many samples one query may hold in memory at once.
    pub max_samples: usize,
    /// How many steps a range query may have.
    pub max_points: usize,
    /// How many parsed queries are kept.
    pub parse_cache_entries: u64,
    /// How many threads all queries together may start to read many series at once, each beside its own.
    pub helper_threads: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            max_samples: 50_000_000,
            max_points: 11_000,
            parse_cache_entries: 1024,
            helper_threads: Helpers::for_this_machine(),
        }
    }
}

/// What one caller allows one evaluation, where that differs from the engine's options.
#[derive(Debug, Clone, Default)]
pub struct QueryLimits {
    /// Replaces [`EngineOptions::lookback`].
    pub lookback: Option<Duration>,
    /// When the evaluation gives up with [`PromqlError::Timeout`].
    pub deadline: Option<Instant>,
    /// Set by whoever no longer needs the answer: the evaluation ends with [`PromqlError::Canceled`].
    pub cancelled: Option<Arc<AtomicBool>>,
    /// Lowers [`EngineOptions::max_samples`].
    pub max_samples: Option<usize>,
}

/// A parsed and planned expression.
#[derive(Debug)]
pub struct Query {
    text: String,
    canonical: String,
    plan: Plan,
    selectors: Vec<Vec<Matcher>>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, PromqlError> {
        let expr = syntax::parse_expr(text)?;
        let mut selectors = Vec::new();
        syntax::collect_selectors(&expr, &mut selectors)?;
        Ok(Self { text: text.to_owned(), canonical: syntax::print(&expr), plan: plan::build(&expr)?, selectors })
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type of its value at an instant.
    pub fn value_type(&self) -> ValueType {
        match self.plan {
            Plan::Scalar(_) => ValueType::Scalar,
            Plan::String(_) => ValueType::String,
            Plan::Vector(_) => ValueType::Vector,
            Plan::Matrix(_) => ValueType::Matrix,
        }
    }

    /// The canonical form: one line, spaces and parentheses as Prometheus prints them.
    pub fn to_promql(&self) -> String {
        self.canonical.clone()
    }

    /// The matchers of every series selector in it, in order of the text.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        self.selectors.clone()
    }
}

/// Evaluates queries. One engine serves all threads.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    parsed: Cache<String, Arc<Query>>,
    helpers: Helpers,
}

impl Engine {
    /// An engine with an empty cache.
    pub fn new(options: EngineOptions) -> Self {
        let parsed = Cache::new(options.parse_cache_entries);
        let helpers = Helpers::new(options.helper_threads);
        Self { options, parsed, helpers }
    }

    /// The limits it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Parses and plans an expression, or finds it in the cache.
    ///
    /// # Errors
    /// When the text is not PromQL, or uses what this engine does not know.
    pub fn parse(&self, query: &str) -> Result<Arc<Query>, PromqlError> {
        if let Some(known) = self.parsed.get(query) {
            return Ok(known);
        }
        let parsed = Arc::new(Query::parse(query)?);
        if query.len() <= MAX_CACHED_BYTES {
            self.parsed.insert(query.to_owned(), parsed.clone());
        }
        Ok(parsed)
    }

    /// Evaluates a query at one instant.
    ///
    /// # Errors
    /// When the data do not fit the expression, a limit is reached, or the store cannot be read.
    pub fn instant(
        &self,
        storage: &dyn Queryable,
        query: &Query,
        at: TimestampMs,
        limits: &QueryLimits,
    ) -> Result<QueryResult, PromqlError> {
        let steps = Steps::once(at.0);
        let (budget, notes) = (self.budget(limits)?, Mutex::default());
        let evaluation = self.evaluation(storage, steps, limits, &budget, &notes);
        let value = match &query.plan {
            Plan::String(text) => Value::String { timestamp: at, value: text.clone() },
            Plan::Scalar(scalar) => {
                let value = evaluation.scalar(scalar, steps)?.first().copied().unwrap_or(f64::NAN);
                Value::Scalar(Sample { timestamp: at, value })
            }
            Plan::Vector(vector) => Value::Vector(instant_vector(&evaluation, vector, at)?),
            Plan::Matrix(source) => {
                let mut series = Vec::new();
                let mut held = evaluation.budget.hold(0)?;
                evaluation.matrix(source, steps, &mut |labels, samples| {
                    held.add(samples.len())?;
                    push_series(&mut series, labels, samples);
                    Ok(())
                })?;
                drop(held);
                if matches!(source, RangeSource::Subquery { .. }) {
                    series.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                Value::Matrix(series)
            }
        };
        Ok(finish(&budget, notes, value))
    }

    /// Evaluates a query at every step of a range.
    ///
    /// # Errors
    /// When the range or step is not acceptable, the expression is not a scalar or an instant vector, the data do not
    /// fit the expression, a limit is reached, or the store cannot be read.
    pub fn range(
        &self,
        storage: &dyn Queryable,
        query: &Query,
        range: TimeRange,
        step_ms: i64,
        limits: &QueryLimits,
    ) -> Result<QueryResult, PromqlError> {
        let steps = self.steps(range, step_ms)?;
        let (budget, notes) = (self.budget(limits)?, Mutex::default());
        let evaluation = self.evaluation(storage, steps, limits, &budget, &notes);
        let mut series = Vec::new();
        let mut held = evaluation.budget.hold(0)?;
        let mut buffer = SampleBuffer::default();
        let mut collect = |labels: RowLabels<'_>, column: &mut [f64]| {
            compact(column, steps, &mut buffer);
            held.add(buffer.len())?;
            push_series(&mut series, labels, &buffer);
            Ok(())
        };
        match &query.plan {
            Plan::Scalar(scalar) => collect((&Labels::empty()).into(), &mut evaluation.scalar(scalar, steps)?)?,
            Plan::Vector(vector) => evaluation.vector(vector, steps, &mut collect)?,
            Plan::String(_) | Plan::Matrix(_) => {
                let got = query.value_type().documented();
                return Err(PromqlError::BadData(format!(
                    "invalid expression type {got:?} for range query, must be Scalar or instant Vector"
                )));
            }
        }
        drop(held);
        if !matches!(&query.plan, Plan::Vector(vector) if vector.is_in_label_order()) {
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(finish(&budget, notes, Value::Matrix(series)))
    }

    fn steps(&self, range: TimeRange, step_ms: i64) -> Result<Steps, PromqlError> {
        if step_ms <= 0 {
            return Err(PromqlError::BadData(
                "zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned(),
            ));
        }
        if range.end < range.start {
            return Err(PromqlError::BadData("end timestamp must not be before start time".to_owned()));
        }
        let intervals = usize::try_from((range.end - range.start) / step_ms).unwrap_or(usize::MAX);
        if intervals > self.options.max_points {
            let limit = with_thousands(self.options.max_points);
            return Err(PromqlError::BadData(format!(
                "exceeded maximum resolution of {limit} points per timeseries. Try decreasing the query resolution \
                 (?step=XX)"
            )));
        }
        Ok(Steps { start: range.start.0, step: step_ms, count: intervals + 1 })
    }

    fn budget(&self, limits: &QueryLimits) -> Result<Budget, PromqlError> {
        let max_samples = limits.max_samples.map_or(self.options.max_samples, |m| m.min(self.options.max_samples));
        let budget = Budget::new(max_samples, limits.deadline, limits.cancelled.clone());
        budget.check()?;
        Ok(budget)
    }

    fn evaluation<'a>(
        &'a self,
        storage: &'a dyn Queryable,
        query: Steps,
        limits: &QueryLimits,
        budget: &'a Budget,
        notes: &'a Mutex<Notes>,
    ) -> Evaluation<'a> {
        let lookback = limits.lookback.unwrap_or(self.options.lookback);
        let lookback_ms = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        Evaluation { storage, budget, helpers: &self.helpers, lookback_ms, query, notes, rollups: true }
    }
}

fn instant_vector(
    evaluation: &Evaluation<'_>,
    vector: &Vector,
    at: TimestampMs,
) -> Result<Vec<VectorSample>, PromqlError> {
    let mut samples = Vec::new();
    let mut held = evaluation.budget.hold(0)?;
    evaluation.vector(vector, Steps::once(at.0), &mut |labels, column| {
        if let Some(value) = column.first().copied().filter(|v| !is_absent(*v)) {
            held.add(1)?;
            samples.push(VectorSample { labels: labels.build(), sample: Sample { timestamp: at, value } });
        }
        Ok(())
    })?;
    if !vector.is_ordered() && !vector.is_in_label_order() {
        samples.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Ok(samples)
}

fn push_series(series: &mut Vec<MatrixSeries>, labels: RowLabels<'_>, samples: &SampleBuffer) {
    if !samples.is_empty() {
        series.push(MatrixSeries { labels: labels.build(), samples: samples.clone() });
    }
}

fn finish(budget: &Budget, notes: Mutex<Notes>, value: Value) -> QueryResult {
    let Notes { warnings, infos } = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let list = |set: BTreeSet<String>| set.into_iter().collect();
    let (samples_read, peak_samples) = (budget.samples_read(), budget.peak());
    QueryResult { value, warnings: list(warnings), infos: list(infos), samples_read, peak_samples }
}

/// 11000 as "11,000".
fn with_thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = {
        let first = digits.len() % 3;
        let (head, tail) = digits.split_at(first);
        let tail = (0..tail.len() / 3).map(|i| &tail[3 * i..3 * i + 3]);
        std::iter::once(head).filter(|h| !h.is_empty()).chain(tail).collect()
    };
    groups.join(",")
}
