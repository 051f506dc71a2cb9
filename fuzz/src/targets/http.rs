//! HTTP requests to every endpoint of the API, over the small store of the queries. The first line has method and target,
//! headers follow until an empty line, and then the body.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode, header};
use http_api::{
    ApiOptions, Cardinality, CorsOrigins, FleetSource, Nothing, RemoteReadLimits, RemoteReadOptions, RuntimeStatus,
    StatusSource, StoreError, StoreSource, remote_read_router, router,
};
use model::{Exemplar, ExemplarQueryable, Labels, Matcher, SeriesExemplars, TimeRange, TimestampMs, matches_all};
use query_gate::{GateOptions, QueryGate};
use runtime::{CpuPool, Metrics};
use sources::{Behind, SourceName, SourceStatus};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::query::{self, Store};

/// Longer answers are cut off: nothing that is asked of a dozen series comes near.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// What a role would know of itself: little, and the same every time.
struct Role;

impl StatusSource for Role {
    fn config(&self) -> String {
        "remote_write:\n- {url: 'http://h/w', basic_auth: {username: u, password: hunter2}}\n".to_owned()
    }

    fn flags(&self) -> Vec<(String, String)> {
        vec![("web.listen-address".to_owned(), ":9090".to_owned())]
    }

    fn runtime(&self) -> RuntimeStatus {
        let retention = "15d".to_owned();
        RuntimeStatus { reload_succeeded: true, reloaded: None, config_loaded: None, retention, corruptions: 0 }
    }
}

impl StoreSource for Role {
    fn cardinality(&self, limit: usize) -> Cardinality {
        let some = |count: u64| vec![("a".to_owned(), count); limit.min(3)];
        Cardinality {
            series: 12,
            label_pairs: 9,
            chunks: 12,
            min_time: TimestampMs(0),
            max_time: TimestampMs(600_000),
            series_by_metric: some(4),
            values_by_label: some(3),
            bytes_by_label: some(9),
            series_by_pair: some(4),
        }
    }

    fn delete_series(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<(), StoreError> {
        Ok(())
    }

    fn clean_tombstones(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn snapshot(&self, name: &str) -> Result<(), StoreError> {
        assert!(!name.contains(['/', '\\', '\0']), "{name:?} leaves its folder");
        Ok(())
    }
}

impl ExemplarQueryable for Role {
    fn exemplars(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<SeriesExemplars> {
        let series = Labels::from_pairs([("__name__", "m_bucket"), ("le", "1")]);
        let at = TimestampMs(100_000);
        let labels = Labels::from_pairs([("trace_id", "a<b\n")]);
        let found = (range.start..=range.end).contains(&at) && any_of.iter().any(|m| matches_all(m, &series));
        let exemplars = vec![Exemplar { timestamp: at, value: f64::NEG_INFINITY, labels }];
        if found { vec![SeriesExemplars { series, exemplars }] } else { Vec::new() }
    }
}

impl FleetSource for Role {
    fn sources(&self) -> Vec<SourceStatus> {
        Vec::new()
    }

    fn watermark(&self) -> TimestampMs {
        TimestampMs(0)
    }

    fn incomplete(&self, _: TimestampMs) -> Vec<(Behind, Option<SourceName>)> {
        Vec::new()
    }

    fn forget(&self, _: &SourceName) -> Result<bool, StoreError> {
        Ok(false)
    }
}

fn app() -> Router {
    let metrics = Metrics::new("fuzz").expect("registers");
    let gate = QueryGate::new(GateOptions { slots: 2, max_waiting: 10 }, &metrics).expect("registers");
    let (storage, role) = (Arc::new(Store::new()), Arc::new(Role));
    let external_labels = Arc::new(|| Labels::from_pairs([("region", "eu")]));
    let limits = RemoteReadLimits { max_samples: 10_000, max_frame_bytes: 256, ..RemoteReadLimits::default() };
    let read = RemoteReadOptions {
        storage: storage.clone(),
        external_labels: external_labels.clone(),
        limits,
        pool: CpuPool::new(1, 10),
    };
    let options = ApiOptions {
        role: "central".to_owned(),
        version: "0.1.0".to_owned(),
        revision: String::new(),
        started: TimestampMs(0),
        engine: Arc::new(query::engine()),
        storage,
        exemplars: role.clone(),
        store: role.clone(),
        enable_admin: true,
        enable_lifecycle: true,
        receives_writes: true,
        gate,
        metrics: metrics.clone(),
        external_labels,
        query_timeout: Duration::from_secs(2),
        result_cache_bytes: 1 << 20,
        cors_origins: CorsOrigins::parse("https?://(a|b)").expect("compiles"),
        status: role.clone(),
        targets: Arc::new(Nothing),
        rules: Arc::new(Nothing),
        fleet: role,
    };
    let read = remote_read_router(read, &metrics).expect("registers");
    router(options).expect("registers").merge(read)
}

thread_local!(static SERVED: (Router, Runtime) = {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    (app(), runtime)
});

/// What a connection would make of the bytes, where they are a request at all.
fn read(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &b""[..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], &line[colon + 1..]);
    }
    request.body(Body::from(Bytes::copy_from_slice(body))).ok()
}

/// Every request has an answer, none of them is "internal error", and what says it is JSON is.
pub(super) fn request(bytes: &[u8]) {
    let Some(request) = read(bytes) else { return };
    let shown = format!("{} {}", request.method(), request.uri());
    let answered = SERVED.with(|(app, runtime)| {
        runtime.block_on(async {
            let (head, body) = app.clone().oneshot(request).await.expect("never fails").into_parts();
            (head, to_bytes(body, MAX_ANSWER_BYTES).await.expect("the whole answer"))
        })
    });
    let (head, body) = answered;
    assert_ne!(head.status, StatusCode::INTERNAL_SERVER_ERROR, "{shown}: {}", String::from_utf8_lossy(&body));
    let is_plain_json = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
        && !head.headers.contains_key(header::CONTENT_ENCODING);
    if is_plain_json && !body.is_empty() {
        let parsed = serde_json::from_slice::<serde_json::Value>(&body);
        assert!(parsed.is_ok(), "{shown}: {}", String::from_utf8_lossy(&body));
    }
}

/// Every endpoint, with what it takes.
const GETS: [&str; 34] = [
    "query?query=sum%20by%20(a)%20(m_total)&time=300&timeout=1s&limit=3&stats=all&lookback_delta=1m",
    "query?query=m_total[1m]&time=2023-11-14T22:13:20.5Z",
    "query?query=%22text%22",
    "query_range?query=rate(m_total[1m])&start=0&end=600&step=60s",
    "query_range?query=1&start=0.5&end=1e3&step=0.25",
    "query_exemplars?query=m_bucket&start=0&end=600",
    "format_query?query=sum(m_total)by(a)",
    "parse_query?query=m_total%20offset%205m",
    "series?match[]=m_total&match[]={a=%22x%22}&start=0&end=600&limit=2",
    "labels?match[]=n_total&limit=1",
    "label/a/values?match[]=m_total&start=-1&end=600",
    "label/U__a_2e_b/values",
    "metadata?limit=1&limit_per_metric=1&metric=m_total",
    "targets?state=active&scrapePool=a",
    "targets/metadata?match_target={job=%22a%22}&metric=m&limit=2",
    "scrape_pools",
    "rules?type=alert&rule_name[]=a&rule_group[]=g&file[]=f&match[]={a=%22b%22}&exclude_alerts=true&group_limit=1",
    "rules?group_limit=1&group_next_token=abc",
    "alerts",
    "alertmanagers",
    "status/config",
    "status/flags",
    "status/runtimeinfo",
    "status/buildinfo",
    "status/tsdb?limit=5",
    "status/walreplay",
    "features",
    "notifications",
    "openapi.yaml",
    "fleet/sources",
    "query?query=topk(2,m_total)&time=inf",
    "query?query=label_replace(m_total,%22a%22,%22$1%22,%22b%22,%22(.*)%22)",
    "query?query=m_total%20@%201e15",
    "nope",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<String> = GETS.map(|target| format!("GET /api/v1/{target}")).to_vec();
    all.extend(
        [
            "GET /",
            "HEAD /api/v1/query?query=1",
            "OPTIONS /api/v1/query\nOrigin:https://a",
            "GET /federate?match[]=m_total&match[]={a=~%22x|y%22}\nAccept:application/openmetrics-text;version=1.0.0",
            "GET /api/v1/query?query=m_total&time=300\nAccept-Encoding:gzip;q=0.5, zstd\nOrigin:http://b\nX-Dashboard-Uid:d",
            "POST /api/v1/query\nContent-Type:application/x-www-form-urlencoded\n\nquery=m_total&time=300&query=2",
            "POST /api/v1/series?start=0\nContent-Type:application/x-www-form-urlencoded;charset=utf-8\n\nmatch%5B%5D=m_total&end=600",
            "POST /api/v1/labels\nContent-Type:text/plain\n\nmatch[]=m_total",
            "POST /api/v1/admin/tsdb/delete_series?match[]=m_total&start=0&end=1",
            "PUT /api/v1/admin/tsdb/clean_tombstones",
            "POST /api/v1/admin/tsdb/snapshot?skip_head=true",
        ]
        .map(str::to_owned),
    );
    let mut all: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
    for message in query::remote_read_seeds() {
        let body = snap::raw::Encoder::new().compress_vec(&message).expect("is small");
        let head = b"POST /api/v1/read\nContent-Type:application/x-protobuf\nContent-Encoding:snappy\n\n";
        all.push([&head[..], &body].concat());
    }
    all
}
