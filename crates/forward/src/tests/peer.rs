//! A receiver that can misbehave, and remembers what it saw.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::post;
use model::{ExemplarRow, Labels};
use parking_lot::Mutex;
use remote_write::{Compression, DecodeLimits, Format, LabelDecoder, Message, Scratch, decode_exemplars, decode_rows};
use runtime::{ServerLimits, Supervisor, bind, serve};

/// A sample as it arrived: series, timestamp, value.
pub(super) type Got = (String, i64, f64);

/// How a receiver behaves.
#[derive(Default)]
pub(super) struct Behaviour {
    /// Answers instead of what would be said, the last one first.
    pub(super) statuses: Vec<StatusCode>,
    /// Answers 503 to everything.
    pub(super) is_down: bool,
    /// Is one of ours: says so, and takes columns, any order, sessions.
    pub(super) is_ours: bool,
    /// As Prometheus without an out-of-order window: refuses requests with a sample older than its series' newest.
    pub(super) is_strict: bool,
    /// Refuses requests with a sample of this value, whole.
    pub(super) poison: Option<f64>,
    /// Refuses larger requests.
    pub(super) most: Option<usize>,
    /// Counts what it has written, as 2.0 asks.
    pub(super) counts: bool,
    /// Never answers.
    pub(super) stalls: bool,
    /// Refuses everything but 1.0.
    pub(super) speaks_1_0_only: bool,
}

/// What a receiver saw of a request.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) form: &'static str,
    pub(super) lane: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) rows: Vec<Got>,
    pub(super) status: StatusCode,
}

#[derive(Clone, Default)]
pub(super) struct Peer {
    pub(super) does: Arc<Mutex<Behaviour>>,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) exemplars: Arc<Mutex<Vec<ExemplarRow>>>,
    /// Requests that got no answer.
    pub(super) stalled: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<Got>>>,
    sessions: Arc<Mutex<HashMap<String, HashMap<u32, Labels>>>>,
}

impl Peer {
    pub(super) async fn start(supervisor: &Supervisor) -> (Self, String) {
        let peer = Self::default();
        let listener = bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/write", listener.local_addr().expect("has an address"));
        let router = Router::new().route("/write", post(accept)).with_state(peer.clone());
        serve(supervisor, "peer", listener, router, ServerLimits::default());
        (peer, url)
    }

    /// What was taken, in the order in which it was.
    pub(super) fn taken(&self) -> Vec<Got> {
        self.taken.lock().clone()
    }

    /// Values of what was taken, in the order in which it was.
    pub(super) fn values(&self) -> Vec<f64> {
        self.taken.lock().iter().map(|(_, _, value)| *value).collect()
    }

    /// What it holds: every sample once.
    pub(super) fn holds(&self) -> BTreeMap<(String, i64), f64> {
        self.taken.lock().iter().map(|(series, at, value)| ((series.clone(), *at), *value)).collect()
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Forgets what was announced to it.
    pub(super) fn forget_sessions(&self) {
        self.sessions.lock().clear();
    }

    fn answer(&self, rows: &[Got]) -> StatusCode {
        let mut does = self.does.lock();
        if let Some(status) = does.statuses.pop() {
            return status;
        }
        if does.is_down {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        if does.most.is_some_and(|most| rows.len() > most) {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        let is_bad = |value: &f64| does.poison == Some(*value);
        if rows.iter().any(|(_, _, value)| is_bad(value)) || (does.is_strict && self.is_out_of_order(rows)) {
            return StatusCode::BAD_REQUEST;
        }
        StatusCode::NO_CONTENT
    }

    fn is_out_of_order(&self, rows: &[Got]) -> bool {
        let mut newest: HashMap<String, i64> = HashMap::new();
        let taken = self.taken.lock();
        for (series, at, _) in taken.iter() {
            let known = newest.entry(series.clone()).or_insert(*at);
            *known = (*known).max(*at);
        }
        rows.iter().any(|(series, at, _)| {
            let known = newest.entry(series.clone()).or_insert(*at);
            let is_old = *at < *known;
            *known = (*known).max(*at);
            is_old
        })
    }

    /// The rows of a message in columns; `None` when it uses numbers that were not announced.
    fn columns(&self, session: &str, body: &[u8]) -> Option<Vec<Got>> {
        let mut decoder = columns::Decoder::default();
        let decoded = decoder.decode(body, &columns::Limits::default()).expect("decodes");
        let mut sessions = self.sessions.lock();
        let known = sessions.entry(session.to_owned()).or_default();
        known.extend(decoded.definitions.clone().map(|(number, labels)| (number, labels.expect("are valid"))));
        let rows = decoded.numbers.iter().zip(decoded.timestamps).zip(decoded.values);
        rows.map(|((number, at), value)| Some((known.get(number)?.to_string(), *at, *value))).collect()
    }

    fn remote_write(&self, format: Format, body: &[u8]) -> (Vec<Got>, Vec<ExemplarRow>) {
        let (limits, mut scratch) = (DecodeLimits::default(), Scratch::default());
        let request = decode_rows(body, format, &limits, &mut scratch).expect("decodes");
        let decoder = LabelDecoder::new(limits, Labels::empty());
        let shown = |labels: &[u8]| decoder.explain(labels).expect("are valid").to_string();
        let rows = request.rows.iter().map(|r| (shown(r.labels), r.sample.timestamp.0, r.sample.value)).collect();
        (rows, decode_exemplars(&request.exemplars, &decoder).0)
    }
}

fn form_of(headers: &HeaderMap) -> &'static str {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match (text("content-type"), text("content-encoding")) {
        (columns::CONTENT_TYPE, _) => "columns",
        (v2, "zstd") if v2.contains("v2.Request") => "2.0+zstd",
        (v2, _) if v2.contains("v2.Request") => "2.0",
        _ => "1.0",
    }
}

async fn accept(State(peer): State<Peer>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap, &'static str) {
    if peer.does.lock().stalls {
        peer.stalled.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
    let form = form_of(&headers);
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut out = HeaderMap::new();
    let mut say = |name: &'static str, value: &str| {
        out.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("is a value"));
    };
    let (is_ours, counts, only_1_0) = {
        let does = peer.does.lock();
        (does.is_ours, does.counts || does.is_ours, does.speaks_1_0_only)
    };
    if is_ours {
        say("highwater-version", "1");
        say("highwater-accept", "zstd, columns");
        say("highwater-lanes", "1");
    }
    say("retry-after", "0");
    let format = |message, compression| Format { message, compression };
    let (rows, exemplars) = match form {
        _ if only_1_0 && form != "1.0" => (Some(Vec::new()), Vec::new()),
        "columns" => (peer.columns(&text("highwater-session").unwrap_or_default(), &body), Vec::new()),
        "2.0+zstd" => {
            let (rows, exemplars) = peer.remote_write(format(Message::V2, Compression::Zstd), &body);
            (Some(rows), exemplars)
        }
        "2.0" => {
            let (rows, exemplars) = peer.remote_write(format(Message::V2, Compression::Snappy), &body);
            (Some(rows), exemplars)
        }
        _ => {
            let (rows, exemplars) = peer.remote_write(Format::default(), &body);
            (Some(rows), exemplars)
        }
    };
    let status = match &rows {
        _ if only_1_0 && form != "1.0" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        None => {
            say("highwater-session", "unknown");
            StatusCode::CONFLICT
        }
        Some(rows) => peer.answer(rows),
    };
    let rows = rows.unwrap_or_default();
    if status.is_success() {
        if counts {
            say("x-prometheus-remote-write-samples-written", &rows.len().to_string());
        }
        peer.taken.lock().extend(rows.iter().cloned());
        peer.exemplars.lock().extend(exemplars);
    }
    let lane = text("highwater-lane");
    peer.seen.lock().push(Seen { at: Instant::now(), form, lane, headers, rows, status });
    // In the words of Prometheus.
    let is_strict = peer.does.lock().is_strict;
    (status, out, if is_strict && status == StatusCode::BAD_REQUEST { "out of order sample" } else { "" })
}
