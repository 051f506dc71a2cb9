//! `info`: adds to each series the labels that info series, such as `target_info`, hold about the same target.
//! Experimental in Prometheus, and like there the target is known by `instance` and `job` alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::binary::braced;
use super::map::same_labelset;
use super::rows::{Merged, Row, Rows};
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{InfoCall, Selector, Shift};

const IDENTIFYING: [&str; 2] = ["instance", "job"];
const TARGET_INFO: &str = "target_info";

/// Info series by metric name and target; their values are the times of their samples.
type InfoRows = BTreeMap<String, HashMap<Labels, Vec<Row>>>;

impl Evaluation<'_> {
    pub(super) fn info(&self, call: &InfoCall, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let mut base = Rows::new(self.budget)?;
        self.vector(&call.input, steps, &mut |labels, column| base.keep(labels, column))?;
        let names = name_matchers(&call.names)?;
        let is_info = |row: &Row| !call.names.is_empty() && names.iter().all(|m| m.matches(row.labels.metric_name()));
        let mut held = Rows::new(self.budget)?;
        let wanted = names.iter().chain(&call.labels).cloned().collect();
        let infos = self.info_rows(wanted, base.rows.iter().filter(|row| !is_info(row)), steps, &mut held)?;
        let mut results = Merged::new(self.budget)?;
        for row in &base.rows {
            self.budget.work(steps.count)?;
            if is_info(row) {
                results.add((&row.labels).into(), &row.values)?.map_err(|_| same_labelset())?;
                continue;
            }
            for (labels, column) in enriched(call, row, &infos)? {
                results.add((&labels).into(), &column)?.map_err(|_| same_labelset())?;
            }
        }
        results.rows.rows.iter_mut().try_for_each(|row| sink((&row.labels).into(), &mut row.values))
    }

    /// The info series of all targets that the base series are of.
    fn info_rows<'r>(
        &self,
        mut matchers: Vec<Matcher>,
        base: impl Iterator<Item = &'r Row>,
        steps: Steps,
        held: &mut Rows<'_>,
    ) -> Result<InfoRows, PromqlError> {
        let mut targets = [BTreeSet::new(), BTreeSet::new()];
        for row in base {
            for (name, values) in IDENTIFYING.iter().zip(&mut targets) {
                values.extend(row.labels.get(name).map(str::to_owned));
            }
        }
        for (name, values) in IDENTIFYING.iter().zip(&targets).filter(|(_, values)| !values.is_empty()) {
            let any = values.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|");
            matchers.push(matcher(MatchOp::Regex, name, any)?);
        }
        let mut infos = InfoRows::new();
        if targets.iter().all(BTreeSet::is_empty) {
            return Ok(infos);
        }
        let shift = Shift { offset_ms: 0, at: None };
        let selector = Selector { matchers, shift, extension: None };
        let taken = |samples: &model::SampleBuffer, at: usize| samples.timestamps[at] as f64;
        self.instants(&selector, steps, None, taken, &mut |labels, column| held.keep(labels, column))?;
        for row in held.rows.drain(..) {
            let (name, target) = (row.labels.metric_name().to_owned(), row.labels.keep_only(&IDENTIFYING));
            infos.entry(name).or_default().entry(target).or_default().push(row);
        }
        Ok(infos)
    }
}

fn matcher(op: MatchOp, name: &str, value: String) -> Result<Matcher, PromqlError> {
    Matcher::new(op, name.to_owned(), value).map_err(|e| PromqlError::execution(e.to_string()))
}

/// Which metrics are info metrics. Matchers that only exclude need something to exclude from.
fn name_matchers(names: &[Matcher]) -> Result<Vec<Matcher>, PromqlError> {
    if names.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, TARGET_INFO)]);
    }
    let mut matchers = names.to_vec();
    if names.iter().all(|m| matches!(m.op(), MatchOp::NotEqual | MatchOp::NotRegex)) {
        matchers.push(matcher(MatchOp::Regex, METRIC_NAME, ".+_info".to_owned())?);
    }
    Ok(matchers)
}

/// A base series with the labels of its target: one row for each label set that it has at some step.
fn enriched(call: &InfoCall, base: &Row, infos: &InfoRows) -> Result<Vec<(Labels, Vec<f64>)>, PromqlError> {
    let target = base.labels.keep_only(&IDENTIFYING);
    let candidates: Vec<&Vec<Row>> = infos.values().filter_map(|targets| targets.get(&target)).collect();
    let required = call.labels.iter().any(|m| !m.matches(""));
    let mut rows: HashMap<Vec<Option<usize>>, (Labels, Vec<f64>)> = HashMap::new();
    let mut order = Vec::new();
    for (step, value) in base.values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
        let chosen = candidates.iter().map(|rows| newest(rows, step)).collect::<Result<Vec<_>, _>>()?;
        if required && chosen.iter().all(Option::is_none) {
            continue;
        }
        if !rows.contains_key(&chosen) {
            let said = candidates.iter().zip(&chosen).filter_map(|(rows, at)| Some(&rows[(*at)?].labels));
            rows.insert(chosen.clone(), (with_labels(call, &base.labels, said)?, vec![absent(); base.values.len()]));
            order.push(chosen.clone());
        }
        if let Some((_, column)) = rows.get_mut(&chosen) {
            column[step] = *value;
        }
    }
    Ok(order.iter().filter_map(|chosen| rows.remove(chosen)).collect())
}

/// Which of the info series of a target has the newest sample.
fn newest(rows: &[Row], step: usize) -> Result<Option<usize>, PromqlError> {
    let mut best: Option<usize> = None;
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| !is_absent(row.values[step])) {
        let time = row.values[step];
        match best {
            Some(known) if rows[known].values[step] > time => {}
            Some(known) if rows[known].values[step] == time => {
                let (first, second) = (braced(&rows[known].labels), braced(&row.labels));
                return Err(PromqlError::execution(format!(
                    "found duplicate series for info metric: existing {first} @ {time}, new {second} @ {time}"
                )));
            }
            _ => best = Some(at),
        }
    }
    Ok(best)
}

/// The base series' own labels stay; info series may not disagree on the others.
fn with_labels<'l>(
    call: &InfoCall,
    base: &Labels,
    said: impl Iterator<Item = &'l Labels>,
) -> Result<Labels, PromqlError> {
    let mut added = LabelsBuilder::new();
    let wanted = |name: &str| call.labels.is_empty() || call.labels.iter().any(|m| m.name() == name);
    for labels in said {
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME && wanted(name)) {
            if added.get(name).is_some_and(|known| known != value) {
                return Err(PromqlError::execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    let mut result = LabelsBuilder::from_labels(base);
    added.iter().for_each(|(name, value)| {
        result.set(name, value);
    });
    Ok(result.build())
}
