//! `status/{buildinfo,runtimeinfo,config,flags,tsdb,walreplay}` and `notifications`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use model::TimestampMs;
use serde::Serialize;

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};
use crate::error::ApiError;
use crate::params::Params;
use crate::redact::redacted_yaml;
use crate::sources::{Cardinality, Count};
use crate::time::{rfc3339, serialize_moment};

/// The Prometheus whose API this is. Grafana and others choose by it what they may ask for.
const COMPATIBLE_VERSION: &str = "3.5.0";
/// Entries in each list of `status/tsdb`, unless the caller wants another number.
const DEFAULT_TOP: usize = 10;
/// More than this is refused.
const MAX_TOP: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo<'a> {
    version: &'static str,
    revision: &'a str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    application: &'static str,
    application_version: &'a str,
    role: &'a str,
}

pub(crate) async fn build_info(State(api): Shared) -> Answered {
    let info = BuildInfo {
        version: COMPATIBLE_VERSION,
        revision: &api.options.revision,
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
        application: "Highwater",
        application_version: &api.options.version,
        role: &api.options.role,
    };
    Ok(json_response(StatusCode::OK, Answer::of(&info)?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    start_time: String,
    #[serde(rename = "CWD")]
    working_directory: String,
    hostname: String,
    server_time: String,
    reload_config_success: bool,
    #[serde(serialize_with = "serialize_moment")]
    last_config_time: Option<TimestampMs>,
    corruption_count: u64,
    goroutine_count: u64,
    #[serde(rename = "GOMAXPROCS")]
    processors: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: i64,
    #[serde(rename = "GOGC")]
    go_gc: &'static str,
    #[serde(rename = "GODEBUG")]
    go_debug: &'static str,
    storage_retention: String,
}

pub(crate) async fn runtime_info(State(api): Shared) -> Answered {
    let status = api.options.status.runtime();
    let info = RuntimeInfo {
        start_time: rfc3339(api.options.started),
        working_directory: std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        hostname: runtime::hostname(),
        server_time: rfc3339(runtime::now()),
        reload_config_success: status.reload_succeeded,
        last_config_time: status.config_loaded,
        corruption_count: status.corruptions,
        goroutine_count: 0,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        // Go's own number for "no limit".
        memory_limit: i64::MAX,
        go_gc: "",
        go_debug: "",
        storage_retention: status.retention,
    };
    Ok(json_response(StatusCode::OK, Answer::of(&info)?))
}

#[derive(Serialize)]
struct Config {
    yaml: String,
}

pub(crate) async fn config(State(api): Shared) -> Answered {
    let worker = api.clone();
    api.compute_json(move || Answer::of(&Config { yaml: redacted_yaml(&worker.options.status.config()) })).await
}

pub(crate) async fn flags(State(api): Shared) -> Answered {
    let flags: BTreeMap<String, String> = api.options.status.flags().into_iter().collect();
    Ok(json_response(StatusCode::OK, Answer::of(&flags)?))
}

pub(crate) async fn tsdb(State(api): Shared, params: Params) -> Answered {
    let top = match params.get("limit") {
        "" => DEFAULT_TOP,
        text => match text.parse::<usize>() {
            Ok(top) if top > MAX_TOP => {
                return Err(ApiError::bad_data(format!("limit must not exceed {MAX_TOP}")));
            }
            Ok(top) if top > 0 => top,
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    let store = api.options.store.clone();
    api.compute_json(move || Answer::of(&TsdbStatus::of(store.cardinality(top)))).await
}

/// Segments of the log.
#[derive(Serialize)]
struct WalReplay {
    min: u64,
    max: u64,
    current: u64,
}

/// The log is replayed before the first request is served.
pub(crate) async fn wal_replay() -> Answered {
    Ok(json_response(StatusCode::OK, Answer::of(&WalReplay { min: 0, max: 0, current: 0 })?))
}

#[derive(Serialize)]
struct Notification {
    text: &'static str,
    date: String,
    active: bool,
}

/// What the operator should know; nothing, mostly.
pub(crate) async fn notifications(State(api): Shared) -> Answered {
    let status = api.options.status.runtime();
    let failed = (!status.reload_succeeded).then(|| Notification {
        text: "Configuration reload has failed.",
        date: rfc3339(status.reloaded.unwrap_or_default()),
        active: true,
    });
    Ok(json_response(StatusCode::OK, Answer::of(&failed.as_slice())?))
}

#[derive(Serialize)]
struct Entry {
    name: String,
    value: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_label_pairs: u64,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TsdbStatus {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Entry>,
    label_value_count_by_label_name: Vec<Entry>,
    memory_in_bytes_by_label_name: Vec<Entry>,
    series_count_by_label_value_pair: Vec<Entry>,
}

impl TsdbStatus {
    fn of(store: Cardinality) -> Self {
        let entries = |counts: Vec<Count>| counts.into_iter().map(|(name, value)| Entry { name, value }).collect();
        Self {
            head_stats: HeadStats {
                num_series: store.series,
                num_label_pairs: store.label_pairs,
                chunk_count: store.chunks,
                min_time: store.min_time.0,
                max_time: store.max_time.0,
            },
            series_count_by_metric_name: entries(store.series_by_metric),
            label_value_count_by_label_name: entries(store.values_by_label),
            memory_in_bytes_by_label_name: entries(store.bytes_by_label),
            series_count_by_label_value_pair: entries(store.series_by_pair),
        }
    }
}
