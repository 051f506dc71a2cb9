//! `targets`, `scrape_pools`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};
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
