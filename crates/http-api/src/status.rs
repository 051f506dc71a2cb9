//! `status/{buildinfo,runtimeinfo,config,flags,tsdb}`.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;
use axum::http::StatusCode;
use model::{Labels, TimeRange, TimestampMs};
use serde::Serialize;

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};
use crate::error::{ApiError, ErrorKind};
use crate::params::Params;
use crate::redact::redacted_yaml;
use crate::sources::StoreStatus;
use crate::time::{rfc3339, serialize_moment};

/// The Prometheus whose API this is. Grafana and others choose by it what they may ask for.
const COMPATIBLE_VERSION: &str = "3.5.0";
/// Entries in each list of `status/tsdb`, unless the caller wants another number.
const DEFAULT_TOP: usize = 10;

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
    server_time: String,
    reload_config_success: bool,
    #[serde(serialize_with = "serialize_moment")]
    last_config_time: Option<TimestampMs>,
    corruption_count: u64,
    goroutine_count: u64,
    #[serde(rename = "GOMAXPROCS")]
    processors: usize,
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
        server_time: rfc3339(runtime::now()),
        reload_config_success: status.reload_succeeded,
        last_config_time: status.config_loaded,
        corruption_count: status.corruptions,
        goroutine_count: 0,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
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
            Ok(top) if top > 0 => top,
            _ => return Err(ApiError::parameter("limit", "limit must be a positive number")),
        },
    };
    let Some(store) = api.options.status.store() else {
        return Err(ApiError::new(ErrorKind::NotFound, "this role's store does not report statistics"));
    };
    let storage = api.options.storage.clone();
    api.compute_json(move || {
        let series = storage.series(&[], TimeRange::ALL)?;
        Answer::of(&Cardinality::of(&series).report(store, top))
    })
    .await
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

/// How often names and values occur among series.
#[derive(Default)]
struct Cardinality<'a> {
    series: u64,
    by_metric: HashMap<&'a str, u64>,
    by_pair: HashMap<(&'a str, &'a str), u64>,
    values: HashMap<&'a str, HashSet<&'a str>>,
}

impl<'a> Cardinality<'a> {
    fn of(series: &'a [Labels]) -> Self {
        let mut counts = Self { series: series.len() as u64, ..Self::default() };
        for labels in series {
            *counts.by_metric.entry(labels.metric_name()).or_default() += 1;
            for (name, value) in labels.iter() {
                *counts.by_pair.entry((name, value)).or_default() += 1;
                counts.values.entry(name).or_default().insert(value);
            }
        }
        counts
    }

    fn report(&self, store: StoreStatus, top: usize) -> TsdbStatus {
        let bytes = |values: &HashSet<&str>| values.iter().map(|v| v.len() as u64).sum();
        TsdbStatus {
            head_stats: HeadStats {
                num_series: self.series,
                num_label_pairs: self.by_pair.len() as u64,
                chunk_count: store.chunks,
                min_time: store.min_time.0,
                max_time: store.max_time.0,
            },
            series_count_by_metric_name: largest(self.by_metric.iter().map(|(n, c)| (n, *c)), top, |n| (*n).to_owned()),
            label_value_count_by_label_name: largest(self.values.iter().map(|(n, v)| (n, v.len() as u64)), top, |n| {
                (*n).to_owned()
            }),
            memory_in_bytes_by_label_name: largest(self.values.iter().map(|(n, v)| (n, bytes(v))), top, |n| {
                (*n).to_owned()
            }),
            series_count_by_label_value_pair: largest(
                self.by_pair.iter().map(|(p, c)| (p, *c)),
                top,
                |(name, value)| format!("{name}={value}"),
            ),
        }
    }
}

/// The `top` largest counts, equal ones by name.
fn largest<'k, K: Ord + 'k>(
    counts: impl Iterator<Item = (&'k K, u64)>,
    top: usize,
    show: impl Fn(&K) -> String,
) -> Vec<Entry> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    counts.into_iter().take(top).map(|(key, value)| Entry { name: show(key), value }).collect()
}
