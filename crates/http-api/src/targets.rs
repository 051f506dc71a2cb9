//! `targets`, `targets/metadata`, `scrape_pools`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use axum::extract::State;
use axum::http::StatusCode;
use model::{Labels, METRIC_NAME, MatchOp, Matcher, MetricMetadata, Queryable, TimeRange, matches_all};
use serde::Serialize;

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};
use crate::error::{ApiError, ErrorKind};
use crate::language::any_selector;
use crate::params::Params;
use crate::sources::{ActiveTarget, DroppedTarget};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
    dropped_targets: Vec<DroppedTarget>,
    dropped_target_counts: BTreeMap<String, usize>,
}

pub(crate) async fn targets(State(api): Shared, params: Params) -> Answered {
    let state = params.get("state").to_lowercase();
    let pool = params.get("scrapePool");
    let in_pool = |name: &str| pool.is_empty() || name == pool;
    let mut answer =
        Targets { active_targets: Vec::new(), dropped_targets: Vec::new(), dropped_target_counts: BTreeMap::new() };
    let source = &api.options.targets;
    if matches!(state.as_str(), "" | "any" | "active") {
        answer.active_targets = source.active().into_iter().filter(|t| in_pool(&t.scrape_pool)).collect();
    }
    if matches!(state.as_str(), "" | "any" | "dropped") {
        answer.dropped_targets = source.dropped().into_iter().filter(|t| in_pool(&t.scrape_pool)).collect();
        for target in &answer.dropped_targets {
            *answer.dropped_target_counts.entry(target.scrape_pool.clone()).or_default() += 1;
        }
    }
    Ok(json_response(StatusCode::OK, Answer::of(&answer)?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScrapePools {
    scrape_pools: BTreeSet<String>,
}

pub(crate) async fn scrape_pools(State(api): Shared) -> Answered {
    let source = &api.options.targets;
    let active = source.active().into_iter().map(|t| t.scrape_pool);
    let dropped = source.dropped().into_iter().map(|t| t.scrape_pool);
    let scrape_pools = active.chain(dropped).collect();
    Ok(json_response(StatusCode::OK, Answer::of(&ScrapePools { scrape_pools })?))
}

#[derive(Serialize)]
struct TargetMetadata<'a> {
    target: &'a Labels,
    /// Left out where the caller has named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    r#type: &'static str,
    help: &'a str,
    unit: &'a str,
}

/// A family is a target's when the store holds a recent series of it with the target's labels.
pub(crate) async fn metadata(State(api): Shared, params: Params) -> Answered {
    let limit = params.count("limit")?;
    let worker = api.clone();
    api.compute_json(move || {
        let selector = match params.get("match_target") {
            "" => Vec::new(),
            text => any_selector(text).map_err(|e| ApiError::parameter("match_target", e))?,
        };
        let (storage, wanted) = (&worker.options.storage, params.get("metric"));
        let known = storage.metadata();
        let targets = worker.options.targets.active();
        let mut found = Vec::new();
        for target in targets.iter().filter(|target| matches_all(&selector, &target.labels)) {
            if limit.is_some_and(|limit| found.len() >= limit) {
                break;
            }
            let names = names_of(storage.as_ref(), target)?;
            let families = known.iter().filter(|m| wanted.is_empty() || m.family == wanted);
            found.extend(families.filter(|m| shows(&names, m)).map(|m| TargetMetadata {
                target: &target.labels,
                metric: wanted.is_empty().then_some(m.family.as_str()),
                r#type: m.kind.as_str(),
                help: &m.help,
                unit: &m.unit,
            }));
        }
        Answer::of(&found)
    })
    .await
}

/// The names of the target's recent series.
fn names_of(storage: &dyn Queryable, target: &ActiveTarget) -> Result<HashSet<String>, ApiError> {
    let matchers: Result<Vec<_>, _> =
        target.labels.iter().map(|(name, value)| Matcher::new(MatchOp::Equal, name, value)).collect();
    let matchers = matchers.map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
    let end = runtime::now();
    // Two scrapes, so that the last one is among them.
    let span_ms = i64::try_from(2 * target.scrape_interval.as_millis()).unwrap_or(i64::MAX);
    let range = TimeRange { start: end - span_ms, end };
    Ok(storage.label_values(METRIC_NAME, &[matchers], range)?.into_iter().collect())
}

/// Whether series of these names belong to the family.
fn shows(names: &HashSet<String>, family: &MetricMetadata) -> bool {
    const SUFFIXES: [&str; 6] = ["", "_count", "_sum", "_bucket", "_total", "_info"];
    SUFFIXES.iter().any(|suffix| names.contains(&format!("{}{suffix}", family.family)))
}
