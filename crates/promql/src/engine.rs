//! The engine: parsed queries are cached, evaluations are bounded.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{Matcher, Queryable, TimeRange, TimestampMs};
use moka::sync::Cache;
use promql_syntax::Expr;

use crate::collect::{Collected, instant_value, range_value};
use crate::eval::{
    Allowance, AnswerMemory, Budget, Evaluation, Helpers, Memory, Notes, QueryTimes, SampleCounts, SharedRows, Steps,
};
use crate::observe::{QueryObserver, QueryOrigin, QueryReport};
use crate::plan::{self, Plan, Spans};
use crate::{PromqlError, QueryResult, QueryStats, SyntaxOptions, ValueType};

// Longer texts are rarely asked twice and would make the cache's memory unpredictable.
const MAX_CACHED_BYTES: usize = 4096;

/// The limits that hold for every query of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How far an instant selector looks back for a sample.
    pub lookback: Duration,
    /// How many samples one query may hold in memory at once.
    pub max_samples: usize,
    /// How many bytes one query may hold in memory at once.
    pub max_memory_bytes: usize,
    /// How many bytes all queries together may hold at once, answers included until they are dropped.
    pub max_memory_total_bytes: usize,
    /// How many series the selectors of one query may choose together.
    pub max_series: usize,
    /// Which experimental parts of the language are on.
    pub syntax: SyntaxOptions,
    /// How many steps a range query may have.
    pub max_points: usize,
    /// How many parsed queries are kept.
    pub parse_cache_entries: u64,
    /// How many threads all queries together may start to read many series at once, each beside its own.
    pub helper_threads: usize,
    /// Who hears of every evaluation.
    pub observer: Option<Arc<dyn QueryObserver>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            max_samples: 50_000_000,
            max_memory_bytes: 1 << 30,
            max_memory_total_bytes: usize::MAX,
            max_series: usize::MAX,
            syntax: SyntaxOptions::default(),
            max_points: 11_000,
            parse_cache_entries: 1024,
            helper_threads: Helpers::for_this_machine(),
            observer: None,
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
    /// Which counts of samples to make.
    pub stats: QueryStatsWanted,
    /// Who asks, for the observer. So are the two below.
    pub origin: QueryOrigin,
    /// How long the query waited for its turn.
    pub waited: Duration,
    /// How long parsing and planning took.
    pub prepared: Duration,
}

/// Which samples to count as Prometheus counts them; that takes time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueryStatsWanted {
    /// None.
    #[default]
    None,
    /// All of them together.
    Total,
    /// Those of each step too.
    PerStep,
}

/// A parsed and planned expression.
#[derive(Debug)]
pub struct Query {
    text: String,
    expr: Expr,
    /// Of durations that depend on the query's step or range there is a plan for each evaluation.
    plan: Option<Plan>,
}

impl Query {
    fn parse(text: &str, options: SyntaxOptions) -> Result<Self, PromqlError> {
        let expr = promql_syntax::parse(text, options)?;
        let plan = if plan::are_fixed(&expr) { Some(Self::planned(&expr)?) } else { None };
        Ok(Self { text: text.to_owned(), expr, plan })
    }

    fn planned(expr: &Expr) -> Result<Plan, PromqlError> {
        let mut plan = plan::build(expr)?;
        plan::share(&mut plan);
        Ok(plan)
    }

    /// The plan of a query whose durations depend on these times.
    fn planned_for(&self, times: QueryTimes) -> Result<Plan, PromqlError> {
        let span = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let spans = Spans { step: span(times.step), range: span(times.end.saturating_sub(times.start)) };
        let mut expr = self.expr.clone();
        plan::fix(&mut expr, spans)?;
        Self::planned(&expr)
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type of its value at an instant.
    pub fn value_type(&self) -> ValueType {
        self.expr.value_type()
    }

    /// What it does; `None` where that depends on the query's step or range.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The canonical form: one line, spaces and parentheses as Prometheus prints them.
    pub fn to_promql(&self) -> String {
        self.expr.to_string()
    }

    /// The matchers of every series selector in it, in order of the text.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        self.expr.selectors().into_iter().map(|selector| selector.matchers.clone()).collect()
    }
}

/// Evaluates queries. One engine serves all threads.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    parsed: Cache<String, Arc<Query>>,
    helpers: Helpers,
    memory: Arc<Memory>,
}

impl Engine {
    /// An engine with an empty cache.
    pub fn new(options: EngineOptions) -> Self {
        let parsed = Cache::new(options.parse_cache_entries);
        let helpers = Helpers::new(options.helper_threads);
        let memory = Arc::new(Memory::new(options.max_memory_total_bytes));
        Self { options, parsed, helpers, memory }
    }

    /// The limits it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Bytes that queries hold now, with the answers that are not dropped yet.
    pub fn memory_used(&self) -> usize {
        self.memory.used()
    }

    /// Parses and plans an expression, or finds it in the cache.
    ///
    /// # Errors
    /// When the text is not PromQL, or uses what this engine does not know.
    pub fn parse(&self, query: &str) -> Result<Arc<Query>, PromqlError> {
        if let Some(known) = self.parsed.get(query) {
            return Ok(known);
        }
        let parsed = Arc::new(Query::parse(query, self.options.syntax)?);
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
        let times = QueryTimes { start: at.0, end: at.0, step: 0 };
        self.evaluate(storage, query, (times, Steps::once(at.0)), limits, |evaluation, plan| {
            instant_value(evaluation, plan, at)
        })
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
        if let got @ (ValueType::String | ValueType::Matrix) = query.value_type() {
            let got = got.documented();
            return Err(PromqlError::BadData(format!(
                "invalid expression type {got:?} for range query, must be Scalar or instant Vector"
            )));
        }
        let times = QueryTimes { start: range.start.0, end: range.end.0, step: step_ms };
        self.evaluate(storage, query, (times, steps), limits, |evaluation, plan| range_value(evaluation, plan, steps))
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

    /// Runs one evaluation within its limits, and tells the observer of it.
    fn evaluate(
        &self,
        storage: &dyn Queryable,
        query: &Query,
        (times, steps): (QueryTimes, Steps),
        limits: &QueryLimits,
        value: impl for<'a> FnOnce(&'a Evaluation<'a>, &Plan) -> Result<Collected<'a>, PromqlError>,
    ) -> Result<QueryResult, PromqlError> {
        let computed;
        let plan = match &query.plan {
            Some(plan) => plan,
            None => {
                computed = query.planned_for(times)?;
                &computed
            }
        };
        let running = self.options.observer.as_ref().map(|observer| observer.begins(&query.text));
        let started = Instant::now();
        let budget = Budget::of(self.allowance(limits), self.memory.clone());
        let counts = match limits.stats {
            QueryStatsWanted::None => None,
            wanted => Some(SampleCounts::new(steps.count, wanted == QueryStatsWanted::PerStep)),
        };
        let (notes, shared) = (Mutex::default(), SharedRows::default());
        let lookback = limits.lookback.unwrap_or(self.options.lookback);
        let evaluation = Evaluation {
            storage,
            budget: &budget,
            helpers: &self.helpers,
            lookback_ms: i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX),
            query: times,
            notes: &notes,
            rollups: true,
            counts: counts.as_ref(),
            shared: &shared,
        };
        let (outcome, result_sort) = match budget.check().and_then(|()| value(&evaluation, plan)) {
            Ok(Collected { value, held, sorting }) => {
                (Ok((value, AnswerMemory::keep(&self.memory, held.bytes()))), sorting)
            }
            Err(error) => (Err(error), Duration::ZERO),
        };
        let inner_eval = started.elapsed().saturating_sub(result_sort);
        let stats = stats(&budget, counts.as_ref(), steps, inner_eval, result_sort);
        if let Some(running) = running {
            running.ended(&QueryReport {
                query: &query.text,
                start: TimestampMs(steps.start),
                end: TimestampMs(steps.last()),
                step_ms: steps.step,
                origin: &limits.origin,
                waited: limits.waited,
                prepared: limits.prepared,
                stats: &stats,
                error: outcome.as_ref().err(),
            });
        }
        let (value, memory) = outcome?;
        let notes: Notes = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (warnings, infos) = notes.into_lists(&query.text);
        Ok(QueryResult { value, warnings, infos, stats, memory })
    }

    fn allowance(&self, limits: &QueryLimits) -> Allowance {
        let options = &self.options;
        Allowance {
            max_samples: limits.max_samples.map_or(options.max_samples, |most| most.min(options.max_samples)),
            max_bytes: options.max_memory_bytes,
            max_series: options.max_series,
            deadline: limits.deadline,
            cancelled: limits.cancelled.clone(),
        }
    }
}

fn stats(
    budget: &Budget,
    counts: Option<&SampleCounts>,
    steps: Steps,
    inner_eval: Duration,
    result_sort: Duration,
) -> QueryStats {
    let counted = counts.map(SampleCounts::counted);
    let per_step = |counts: &[u64]| steps.iter().map(TimestampMs).zip(counts.iter().copied()).collect();
    QueryStats {
        samples_read: budget.samples_read(),
        peak_samples: budget.peak_samples(),
        peak_bytes: budget.peak_bytes(),
        queryable_samples: counted.as_ref().map(|counted| counted.total),
        queryable_per_step: counted.filter(|c| !c.per_step.is_empty()).map(|c| per_step(&c.per_step)),
        inner_eval,
        result_sort,
    }
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
