//! A rule group at work: what it remembers, and its evaluation at one instant.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::{Append, AppendError, Labels, Queryable, RefusalReason, TimestampMs};
use promql::{Engine, ErrorClass, PromqlError, ValueType};

use crate::AlertToSend;
use crate::alert::Alerts;
use crate::rule::{Group, Rule, RuleKind, written};
use crate::run::RuleRun;
use crate::status::{AlertingStatus, GroupStatus, Health, RecordingStatus, RuleStatus};

/// How others see this server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct External {
    /// `global.external_labels`
    pub labels: Labels,
    /// `--web.external-url`, without a slash at its end.
    pub url: String,
}

/// What an evaluation works with.
pub struct Context<'a> {
    /// Answers the rules' queries.
    pub engine: &'a Arc<Engine>,
    /// What they are about.
    pub storage: &'a Arc<dyn Queryable>,
    /// Where results go, rule by rule.
    pub sink: &'a dyn Append,
    /// Takes the alerts that are due, rule by rule; must not block.
    pub notify: &'a dyn Fn(Vec<AlertToSend>),
    /// How others see this server.
    pub external: &'a External,
    /// How long one rule may take, its templates' queries included.
    pub rule_timeout: Duration,
    /// How long an alert that was sent is not sent again.
    pub resend_delay: Duration,
    /// Which active alerts keep their state although their condition does not show; `None` where all data are here.
    pub late: Option<LateSources<'a>>,
    /// Ends the evaluation early when set; the rule that was interrupted counts as not evaluated.
    pub cancelled: &'a Arc<AtomicBool>,
    /// Measures how long rules take: `Instant::now`, outside tests.
    pub monotonic: fn() -> Instant,
}

/// Sources whose samples come late or not at all: what their absence says of an alert is nothing.
#[derive(Clone, Copy)]
pub struct LateSources<'a> {
    /// Whether these labels name one of them.
    pub is_late: &'a dyn Fn(&Labels) -> bool,
    /// How long an alert is held at most.
    pub hold_for: Duration,
}

/// Why a rule has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// Its query failed.
    #[error("{0}")]
    Query(#[from] PromqlError),
    /// Its query yields something that is neither series nor a number.
    #[error("the result is a {0}; rules need an instant vector or a scalar")]
    NotVector(ValueType),
    /// Two results have the same labels once the rule's labels are set.
    #[error("several results have the labels {0} once the rule's labels are set; keep a label that tells them apart")]
    SameLabels(Labels),
    /// More results than the group's limit.
    #[error("{got} results, more than the group's limit of {limit}; raise it or narrow the expression")]
    Limit {
        /// The limit.
        limit: usize,
        /// How many there were.
        got: usize,
    },
    /// Its samples could not be stored.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl RuleError {
    fn is_cancelled(&self) -> bool {
        matches!(self, Self::Query(error) if error.class() == ErrorClass::Canceled)
    }
}

/// A rule that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFailure {
    /// The rule's name.
    pub rule: String,
    /// Why.
    pub error: RuleError,
}

/// What became of an evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// How many rules were evaluated, failed ones included.
    pub evaluated: usize,
    /// Which of them failed.
    pub failures: Vec<RuleFailure>,
    /// How many samples the rules yielded, staleness markers not counted.
    pub samples: usize,
    /// Samples that the store did not take, by reason.
    pub refused: BTreeMap<RefusalReason, usize>,
    /// Alerts that keep their state because their source is late.
    pub held: usize,
}

/// What a group remembers from one evaluation to the next.
#[derive(Debug)]
pub struct GroupState {
    pub(crate) group: Arc<Group>,
    pub(crate) rules: Vec<RuleState>,
    /// Whether it began with the process, so that an earlier one may have left alerts.
    begins_anew: bool,
    evaluations: u64,
    evaluation_time: Duration,
    last_evaluation: Option<TimestampMs>,
}

/// What is remembered of one rule.
#[derive(Debug, Default)]
pub(crate) struct RuleState {
    /// The series that the last successful evaluation yielded; where it could not be stored, those before it too, since
    /// their markers are still to be written.
    pub(crate) series: HashSet<Labels>,
    pub(crate) alerts: Alerts,
    /// Alerts whose timers may come from an earlier process are not written before that was looked up: the old series
    /// would be overwritten.
    pub(crate) awaits_restore: bool,
    pub(crate) health: Health,
    pub(crate) last_error: Option<String>,
    evaluation_time: Duration,
    last_evaluation: Option<TimestampMs>,
}

impl GroupState {
    /// A group that was never evaluated. With `restore`, the timers of alerts with a long `for` are taken up again from
    /// `ALERTS_FOR_STATE` after the second evaluation, and so are alerts whose source is late; for groups that a process
    /// starts with.
    pub fn new(group: Arc<Group>, restore: bool) -> Self {
        let state = |rule: &Rule| RuleState {
            awaits_restore: restore && crate::restore::applies(&rule.kind),
            ..RuleState::default()
        };
        let rules = group.rules.iter().map(state).collect();
        Self {
            group,
            rules,
            begins_anew: restore,
            evaluations: 0,
            evaluation_time: Duration::ZERO,
            last_evaluation: None,
        }
    }

    /// The group.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Evaluates the rules in order at `at`, each written before the next is evaluated.
    pub fn evaluate(&mut self, context: &Context<'_>, at: TimestampMs) -> Evaluation {
        let started = (context.monotonic)();
        let mut report = Evaluation::default();
        for index in 0..self.rules.len() {
            if context.cancelled.load(Ordering::Relaxed) {
                return report;
            }
            self.evaluate_rule(index, context, at, &mut report);
        }
        self.evaluations += 1;
        self.evaluation_time = (context.monotonic)().saturating_duration_since(started);
        self.last_evaluation = Some(at);
        // Not after the first: what the rules look at may not have arrived yet.
        if self.evaluations == 2 && self.begins_anew {
            self.restore(context, at);
        }
        report.held = self.rules.iter().map(|rule| rule.alerts.held()).sum();
        report
    }

    fn evaluate_rule(&mut self, index: usize, context: &Context<'_>, at: TimestampMs, report: &mut Evaluation) {
        let started = (context.monotonic)();
        let group = self.group.clone();
        let (rule, state) = (&group.rules[index], &mut self.rules[index]);
        let run = RuleRun { group: &group, rule, context, at, deadline: started + context.rule_timeout };
        let result = match &rule.kind {
            RuleKind::Recording => run.record(),
            RuleKind::Alerting(settings) => run.alert(settings, state),
        };
        if result.as_ref().is_err_and(RuleError::is_cancelled) {
            return;
        }
        report.evaluated += 1;
        state.last_evaluation = Some(at);
        match result {
            Ok(rows) => {
                state.health = Health::Ok;
                state.last_error = None;
                if let Err(error) = run.write(rows, state, report) {
                    state.fail(rule, error.into(), report);
                }
            }
            // Neither series nor alerts end because a query failed.
            Err(error) => state.fail(rule, error, report),
        }
        state.evaluation_time = (context.monotonic)().saturating_duration_since(started);
    }

    /// The group as others see it.
    pub fn status(&self) -> GroupStatus {
        let group = &self.group;
        GroupStatus {
            name: group.name.clone(),
            file: group.file.clone(),
            rules: group.rules.iter().zip(&self.rules).map(|(rule, state)| state.status(rule)).collect(),
            interval: group.interval.as_secs_f64(),
            limit: group.limit as u64,
            evaluation_time: self.evaluation_time.as_secs_f64(),
            last_evaluation: self.last_evaluation,
        }
    }
}

impl RuleState {
    fn fail(&mut self, rule: &Rule, error: RuleError, report: &mut Evaluation) {
        self.health = Health::Err;
        self.last_error = Some(error.to_string());
        report.failures.push(RuleFailure { rule: rule.name.clone(), error });
    }

    fn status(&self, rule: &Rule) -> RuleStatus {
        let (name, query, labels) = (rule.name.clone(), rule.query.to_promql(), rule.written_labels());
        let (health, last_error) = (self.health, self.last_error.clone());
        let (evaluation_time, last_evaluation) = (self.evaluation_time.as_secs_f64(), self.last_evaluation);
        match &rule.kind {
            RuleKind::Recording => RuleStatus::Recording(RecordingStatus {
                name,
                query,
                labels,
                health,
                last_error,
                evaluation_time,
                last_evaluation,
            }),
            RuleKind::Alerting(settings) => RuleStatus::Alerting(AlertingStatus {
                state: self.alerts.state(),
                name,
                query,
                duration: settings.hold.as_secs_f64(),
                keep_firing_for: settings.keep_firing_for.as_secs_f64(),
                labels,
                annotations: written(&settings.annotations),
                alerts: self.alerts.statuses(),
                health,
                last_error,
                evaluation_time,
                last_evaluation,
            }),
        }
    }
}
