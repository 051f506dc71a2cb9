//! `features`: what this server can do, in Prometheus' words, so that clients need not guess it from a version.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use promql_syntax::{Function, Options};

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};

/// Parts of the API that are always there.
const API: [&str; 7] = [
    "exclude_alerts",
    "label_values_match",
    "openapi_3.1",
    "query_stats",
    "query_warnings",
    "time_range_labels",
    "time_range_series",
];

pub(crate) async fn features(State(api): Shared) -> Answered {
    let options = &api.options;
    let mut of_api: BTreeMap<&str, bool> = API.into_iter().map(|name| (name, true)).collect();
    of_api.insert("admin", options.enable_admin);
    of_api.insert("lifecycle", options.enable_lifecycle);
    of_api.insert("otlp_write_receiver", false);
    of_api.insert("remote_write_receiver", options.receives_writes);
    let of_server = BTreeMap::from([("agent_mode", false), ("auto_reload_config", false), ("server_mode", true)]);
    let all = BTreeMap::from([
        ("api", of_api),
        ("prometheus", of_server),
        ("promql", of_language(options.engine.options().syntax)),
        ("promql_functions", of_functions(options.engine.options().syntax)),
        ("promql_operators", of_operators()),
    ]);
    Ok(json_response(StatusCode::OK, Answer::of(&all)?))
}

/// What the language has.
const LANGUAGE: [&str; 14] = [
    "at_modifier",
    "bool",
    "by",
    "delayed_name_removal",
    "group_left",
    "group_right",
    "ignoring",
    "negative_offset",
    "offset",
    "on",
    "per_query_lookback_delta",
    "per_step_stats",
    "subqueries",
    "without",
];

fn of_language(options: Options) -> BTreeMap<&'static str, bool> {
    let mut all: BTreeMap<_, _> = LANGUAGE.into_iter().map(|name| (name, true)).collect();
    all.insert("duration_expr", options.duration_expressions);
    all.extend(["anchored", "smoothed"].map(|name| (name, options.extended_ranges)));
    all.extend(["fill", "fill_left", "fill_right"].map(|name| (name, options.fill)));
    all
}

fn of_functions(options: Options) -> BTreeMap<&'static str, bool> {
    let is_on = |function: &Function| match function.name {
        "info" => options.info,
        _ => !function.experimental || options.experimental_functions,
    };
    promql_syntax::functions().iter().map(|function| (function.name, is_on(function))).collect()
}

const OPERATORS: [&str; 19] =
    ["!=", "!~", "%", "*", "+", "-", "/", "<", "<=", "=", "==", "=~", ">", ">=", "^", "and", "atan2", "or", "unless"];
const AGGREGATIONS: [&str; 14] = [
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
];

fn of_operators() -> BTreeMap<&'static str, bool> {
    OPERATORS.into_iter().chain(AGGREGATIONS).map(|name| (name, true)).collect()
}
