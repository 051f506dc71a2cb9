//! A store in memory, sources with something in them, and a client that asks the router without a socket.

use std::sync::Arc;
use std::time::Duration;

use ::sources::{Behind, SourceName, SourceStatus};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use model::{
    Column, Exemplar, ExemplarQueryable, Labels, Matcher, MetricKind, MetricMetadata, Queryable, SampleBuffer,
    SelectError, Selection, SeriesExemplars, StoredSeries, TimeRange, TimestampMs, matches_all,
};
use parking_lot::Mutex;
use promql::{Engine, EngineOptions};
use query_gate::{GateOptions, QueryGate, QueryWatch};
use rules::status::{AlertState, AlertStatus, AlertingStatus, GroupStatus, Health, RecordingStatus, RuleStatus};
use runtime::Metrics;
use tower::ServiceExt;

use crate::{
    ActiveTarget, Alertmanagers, ApiOptions, Cardinality, CorsOrigins, DroppedTarget, FleetSource, HttpMetrics,
    RulesSource, RuntimeStatus, StatusSource, StoreError, StoreSource, TargetHealth, TargetsSource, router,
};

#[derive(Clone)]
struct Stored {
    labels: Labels,
    samples: SampleBuffer,
    /// Each sample counts as one.
    counts: bool,
}

impl StoredSeries for Stored {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        for (at, value) in self.samples.timestamps.iter().zip(&self.samples.values) {
            if (range.start.0..=range.end.0).contains(at) {
                into.push(*at, if self.counts { 1.0 } else { *value });
            }
        }
        Ok(())
    }
}

/// Series in order of labels. `gate` lets a test hold a read for as long as it likes.
#[derive(Default)]
pub(super) struct Store {
    series: Vec<Stored>,
    pub(super) gate: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Store {
    pub(super) fn add(&mut self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> &mut Self {
        let mut buffer = SampleBuffer::default();
        for (at, value) in samples {
            buffer.push(*at, *value);
        }
        self.series.push(Stored { labels: Labels::from_pairs(labels.iter().copied()), samples: buffer, counts: false });
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self
    }

    fn matching(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> impl Iterator<Item = &Stored> {
        self.series.iter().filter(move |series| {
            let is_selected = any_of.is_empty() || any_of.iter().any(|m| matches_all(m, &series.labels));
            is_selected && series.samples.timestamps.iter().any(|at| (range.start.0..=range.end.0).contains(at))
        })
    }
}

impl Queryable for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        if let Some(gate) = &self.gate {
            gate();
        }
        let any_of = [selection.matchers.to_vec()];
        let counts = selection.hints.rollups && selection.hints.column == Column::Count;
        let matching = self.matching(&any_of, selection.range).map(|s| Stored { counts, ..s.clone() });
        Ok(matching.map(|s| Box::new(s) as Box<dyn StoredSeries>).collect())
    }

    fn series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(self.matching(any_of, range).map(|s| s.labels.clone()).collect())
    }

    fn label_names(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        let names = self.matching(any_of, range).flat_map(|s| s.labels.iter().map(|(n, _)| n.to_owned()));
        Ok(sorted(names.collect()))
    }

    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        let values = self.matching(any_of, range).filter_map(|s| s.labels.get(name).map(str::to_owned));
        Ok(sorted(values.collect()))
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        let family = |family: &str, kind, help: &str| MetricMetadata {
            family: family.to_owned(),
            kind,
            help: help.to_owned(),
            unit: String::new(),
        };
        vec![
            family("requests_total", MetricKind::Counter, "Requests."),
            family("requests_total", MetricKind::Counter, "Requests <all>."),
            family("up", MetricKind::Gauge, "Whether."),
        ]
    }
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

/// `up` of two jobs and a counter, every 10 s from 0 to 100 s.
pub(super) fn sample_store() -> Store {
    let mut store = Store::default();
    let times = || (0..=10).map(|i| i * 10_000);
    let ones: Vec<_> = times().map(|at| (at, 1.0)).collect();
    let zeros: Vec<_> = times().map(|at| (at, 0.0)).collect();
    let counter: Vec<_> = times().map(|at| (at, at as f64 / 1000.0)).collect();
    store.add(&[("__name__", "up"), ("job", "a"), ("instance", "h:1")], &ones);
    store.add(&[("__name__", "up"), ("job", "b"), ("instance", "h:2")], &zeros);
    store.add(&[("__name__", "requests_total"), ("job", "a"), ("a.b", "x<y")], &counter);
    store
}

/// Nobody sends, unless a test says so.
#[derive(Default)]
pub(super) struct Fleet {
    pub(super) table: ::sources::Sources,
    pub(super) now: TimestampMs,
}

impl FleetSource for Fleet {
    fn sources(&self) -> Vec<SourceStatus> {
        self.table.statuses(self.now)
    }

    fn watermark(&self) -> TimestampMs {
        self.table.watermark(self.now)
    }

    fn incomplete(&self, end: TimestampMs) -> Vec<(Behind, Option<SourceName>)> {
        self.table.incomplete(end, self.now)
    }

    fn forget(&self, source: &SourceName) -> Result<bool, StoreError> {
        self.table.forget(source, self.now).map_err(|error| StoreError(error.to_string()))
    }
}

pub(super) struct Sources;

impl TargetsSource for Sources {
    fn active(&self) -> Vec<ActiveTarget> {
        vec![ActiveTarget {
            discovered_labels: Labels::from_pairs([("__address__", "h:1"), ("job", "a")]),
            labels: Labels::from_pairs([("instance", "h:1"), ("job", "a")]),
            scrape_pool: "a".into(),
            scrape_url: "http://h:1/metrics".into(),
            global_url: "http://h:1/metrics".into(),
            last_error: String::new(),
            last_scrape: Some(TimestampMs(1_700_000_000_250)),
            last_scrape_duration: Duration::from_micros(4500),
            health: TargetHealth::Up,
            scrape_interval: Duration::from_secs(15),
            scrape_timeout: Duration::from_secs(10),
        }]
    }

    fn dropped(&self) -> Vec<DroppedTarget> {
        let discovered_labels = Labels::from_pairs([("__address__", "h:9"), ("job", "z")]);
        vec![DroppedTarget { discovered_labels, scrape_pool: "z".into() }]
    }
}

fn alerting(name: &str, labels: Labels, alerts: Vec<AlertStatus>) -> RuleStatus {
    RuleStatus::Alerting(AlertingStatus {
        state: AlertState::Firing,
        name: name.into(),
        query: "up == 0".into(),
        duration: 60.0,
        keep_firing_for: 0.0,
        labels,
        annotations: Labels::empty(),
        alerts,
        health: Health::Ok,
        last_error: None,
        evaluation_time: 0.25,
        last_evaluation: Some(TimestampMs(1_700_000_000_000)),
    })
}

fn recording(name: &str) -> RuleStatus {
    RuleStatus::Recording(RecordingStatus {
        name: name.into(),
        query: "sum(up)".into(),
        labels: Labels::from_pairs([("team", "{{ $labels.team }}")]),
        health: Health::Ok,
        last_error: None,
        evaluation_time: 0.0,
        last_evaluation: None,
    })
}

impl ExemplarQueryable for Sources {
    /// One of a bucket's series.
    fn exemplars(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<SeriesExemplars> {
        let series = Labels::from_pairs([("__name__", "seconds_bucket"), ("le", "0.5")]);
        let exemplar = |at, value, labels| Exemplar { timestamp: TimestampMs(at), value, labels };
        let all = [
            exemplar(1_000, 6.0, Labels::from_pairs([("trace_id", "a<b"), ("span_id", "1")])),
            exemplar(2_010, 1e-7, Labels::empty()),
            exemplar(3_000, f64::INFINITY, Labels::empty()),
        ];
        let within = |e: &Exemplar| (range.start..=range.end).contains(&e.timestamp);
        let exemplars: Vec<Exemplar> = all.into_iter().filter(within).collect();
        let found = any_of.iter().any(|m| matches_all(m, &series)) && !exemplars.is_empty();
        if found { vec![SeriesExemplars { series, exemplars }] } else { Vec::new() }
    }
}

impl RulesSource for Sources {
    fn groups(&self) -> Vec<GroupStatus> {
        let group = |name: &str, rules| GroupStatus {
            name: name.into(),
            file: "/r.yml".into(),
            rules,
            interval: 15.0,
            limit: 0,
            evaluation_time: 0.5,
            last_evaluation: None,
        };
        let alert = AlertStatus {
            labels: Labels::from_pairs([("alertname", "Down"), ("job", "b")]),
            annotations: Labels::empty(),
            state: AlertState::Firing,
            active_at: Some(TimestampMs(1_700_000_000_000)),
            keep_firing_since: None,
            value: 0.0,
        };
        let page = Labels::from_pairs([("severity", "page")]);
        vec![
            group("g1", vec![recording("a:b"), alerting("Down", page, vec![alert])]),
            group("g2", vec![recording("c:d")]),
            group("g3", vec![alerting("Slow", Labels::empty(), Vec::new())]),
        ]
    }

    fn alertmanagers(&self) -> Alertmanagers {
        Alertmanagers { active: vec!["http://r:9093/api/v2/alerts".into()], dropped: Vec::new() }
    }
}

impl StatusSource for Sources {
    fn config(&self) -> String {
        "remote_write:\n- {url: 'http://h/w', basic_auth: {username: u, password: hunter2}}\n".into()
    }

    fn flags(&self) -> Vec<(String, String)> {
        vec![("web.listen-address".into(), ":9090".into()), ("log.level".into(), "info".into())]
    }

    fn runtime(&self) -> RuntimeStatus {
        RuntimeStatus {
            reload_succeeded: true,
            reloaded: None,
            config_loaded: Some(TimestampMs(1_700_000_000_000)),
            retention: "15d".into(),
            corruptions: 0,
        }
    }
}

/// Writes down what it is asked to do; cannot while `broken`.
#[derive(Default)]
pub(super) struct Operated {
    pub(super) log: Mutex<Vec<String>>,
    pub(super) broken: bool,
}

impl Operated {
    fn note(&self, what: String) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError("no space left on device; make some".into()));
        }
        self.log.lock().push(what);
        Ok(())
    }
}

impl StoreSource for Operated {
    fn cardinality(&self, limit: usize) -> Cardinality {
        let count = |counts: &[(&str, u64)]| counts.iter().take(limit).map(|(n, c)| ((*n).to_owned(), *c)).collect();
        Cardinality {
            series: 3,
            label_pairs: 7,
            chunks: 4,
            min_time: TimestampMs(0),
            max_time: TimestampMs(100_000),
            series_by_metric: count(&[("up", 2), ("requests_total", 1)]),
            values_by_label: count(&[("__name__", 2), ("job", 2)]),
            bytes_by_label: count(&[("__name__", 16), ("instance", 9)]),
            series_by_pair: count(&[("__name__=up", 2), ("job=a", 2)]),
        }
    }

    fn delete_series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<(), StoreError> {
        let shown: Vec<String> = any_of.iter().flatten().map(ToString::to_string).collect();
        self.note(format!("delete {} {}..{}", shown.join(","), range.start.0, range.end.0))
    }

    fn clean_tombstones(&self) -> Result<(), StoreError> {
        self.note("clean".into())
    }

    fn snapshot(&self, name: &str) -> Result<(), StoreError> {
        self.note(format!("snapshot {name}"))
    }
}

pub(super) fn options(store: Store) -> ApiOptions {
    options_of(store, GateOptions { slots: 2, max_waiting: 100 })
}

pub(super) fn options_of(store: Store, size: GateOptions) -> ApiOptions {
    let metrics = Metrics::new("test").expect("registers");
    let watch = QueryWatch::new(&metrics, None).expect("registers");
    let sources = Arc::new(Sources);
    ApiOptions {
        role: "central".into(),
        version: "0.1.0".into(),
        revision: "abc".into(),
        started: TimestampMs(1_700_000_000_000),
        engine: Arc::new(Engine::new(EngineOptions { observer: Some(Arc::new(watch)), ..EngineOptions::default() })),
        storage: Arc::new(store),
        exemplars: sources.clone(),
        store: Arc::new(Operated::default()),
        enable_admin: false,
        enable_lifecycle: true,
        receives_writes: true,
        gate: QueryGate::new(size, &metrics).expect("registers"),
        metrics,
        external_labels: Arc::new(|| Labels::from_pairs([("region", "eu"), ("job", "never")])),
        query_timeout: Duration::from_secs(120),
        result_cache_bytes: 1 << 20,
        cors_origins: CorsOrigins::default(),
        status: sources.clone(),
        targets: sources.clone(),
        rules: sources,
        fleet: Arc::new(Fleet::default()),
    }
}

/// A router as a role builds it.
pub(super) fn app(options: ApiOptions) -> Router {
    let http = HttpMetrics::new(&options.metrics).expect("registers");
    http.observe(router(options).expect("registers"))
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("is UTF-8")
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("is text"))
    }
}

pub(super) async fn send(app: &Router, request: Request<Body>) -> Reply {
    let response = app.clone().oneshot(request).await.expect("cannot fail");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("reads").to_vec();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub(super) async fn get(app: &Router, path: &str) -> Reply {
    send(app, Request::get(path).body(Body::empty()).expect("is a request")).await
}

pub(super) async fn post(app: &Router, path: &str, form: &str) -> Reply {
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .expect("is a request");
    send(app, request).await
}
