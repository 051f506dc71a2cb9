//! `POST /api/v1/read`: series and their samples for another Prometheus, as one compressed message or as a stream of
//! chunks (docs/formats/remote-read.md).
//!
//! Everything that reads or computes runs on the pool. A stream is written while it is sent: between two pieces a slow client holds
//! its place among those that are answered at once and what is left to read, but no thread.

mod chunks;
mod selected;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use futures_util::stream::{iter, unfold};
use model::{Labels, Queryable, SampleBuffer, SelectError};
use prometheus::IntGauge;
use remote_write::{ReadError, ReadRequest, ReadResponseType, SamplesAnswer};
use runtime::{CpuPool, Metrics, MetricsError, PoolError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{LeftFlag, plain_refusal};
use chunks::Chunks;
use selected::{Source, is_left};

/// Larger requests are refused, before and after decompression.
const MAX_REQUEST_BYTES: usize = 32 << 20;
/// How long a client may take to send one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What readers may ask for. Zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteReadLimits {
    /// Samples of one query that is not answered in chunks.
    pub max_samples: usize,
    /// Requests that are answered at once; others wait.
    pub concurrency: usize,
    /// Bytes of a frame of chunks.
    pub max_frame_bytes: usize,
}

impl Default for RemoteReadLimits {
    /// Those of Prometheus.
    fn default() -> Self {
        Self { max_samples: 50_000_000, concurrency: 10, max_frame_bytes: 1 << 20 }
    }
}

/// What remote read is made of.
pub struct RemoteReadOptions {
    /// Where samples are.
    pub storage: Arc<dyn Queryable>,
    /// The external labels in force.
    pub external_labels: Arc<dyn Fn() -> Labels + Send + Sync>,
    /// What readers may ask for.
    pub limits: RemoteReadLimits,
    /// Where answers are made.
    pub pool: CpuPool,
}

struct RemoteRead {
    options: RemoteReadOptions,
    gate: Arc<Semaphore>,
    queries: IntGauge,
}

/// `POST /api/v1/read`.
///
/// # Errors
/// When its metric is registered already.
pub fn remote_read_router(options: RemoteReadOptions, metrics: &Metrics) -> Result<Router, MetricsError> {
    let help = "Remote reads that are being answered or wait for their turn.";
    let queries = metrics.int_gauge("prometheus_api_remote_read_queries", help)?;
    let concurrency = match options.limits.concurrency {
        0 => Semaphore::MAX_PERMITS,
        limit => limit.min(Semaphore::MAX_PERMITS),
    };
    let state = Arc::new(RemoteRead { options, gate: Arc::new(Semaphore::new(concurrency)), queries });
    Ok(Router::new().route("/api/v1/read", post(read)).with_state(state))
}

/// A request that has no answer.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<SelectError> for Refusal {
    fn from(error: SelectError) -> Self {
        tracing::error!(%error, "a remote read failed");
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<PoolError> for Refusal {
    fn from(error: PoolError) -> Self {
        let status = match error {
            PoolError::Full => StatusCode::SERVICE_UNAVAILABLE,
            PoolError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

/// A request's place among those that are answered at once, and in the metric.
struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    queries: IntGauge,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        self.queries.dec();
    }
}

async fn read(State(reader): State<Arc<RemoteRead>>, request: Request) -> Response {
    match reader.answer(request).await {
        Ok(response) => response,
        Err(Refusal(status, text)) => plain_refusal(status, format!("{text}\n")),
    }
}

/// An answer as far as it is made before its head is sent.
enum Begun {
    Samples(Vec<Vec<u8>>),
    Chunks(Vec<u8>, Box<Chunks>),
}

impl RemoteRead {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Response, Refusal> {
        self.queries.inc();
        let mut turn = Turn { permit: None, queries: self.queries.clone() };
        // Never closed, so there is always one in the end.
        turn.permit = self.gate.clone().acquire_owned().await.ok();
        let body = read_body(request.into_body()).await?;
        let left = LeftFlag::default();
        let (worker, flag, pool) = (self.clone(), left.0.clone(), self.options.pool.clone());
        match pool.run(move || worker.begin(&body, flag)).await?? {
            Begun::Samples(pieces) => Ok(samples_response(pieces, turn)),
            Begun::Chunks(first, rest) => Ok(chunks_response(first, *rest, pool, turn)),
        }
    }

    /// Runs on the pool.
    fn begin(&self, body: &[u8], left: Arc<AtomicBool>) -> Result<Begun, Refusal> {
        let request = remote_write::decode_read_request(body, MAX_REQUEST_BYTES)?;
        let source = Source::new(self.options.storage.clone(), (self.options.external_labels)());
        match request.response_type()? {
            ReadResponseType::Samples => self.samples(&source, &request, &left).map(Begun::Samples),
            ReadResponseType::StreamedXorChunks => {
                let mut chunks = Chunks::new(source, request.queries, self.options.limits.max_frame_bytes);
                let first = chunks.piece(&left)?;
                Ok(Begun::Chunks(first, Box::new(chunks)))
            }
        }
    }

    fn samples(&self, source: &Source, request: &ReadRequest, left: &AtomicBool) -> Result<Vec<Vec<u8>>, Refusal> {
        let limit = self.options.limits.max_samples;
        let (mut answer, mut buffer) = (SamplesAnswer::default(), SampleBuffer::default());
        for query in &request.queries {
            answer.result(|answer| {
                let mut count = 0;
                for (labels, series) in source.select(query)? {
                    buffer.clear();
                    if is_left(left) {
                        break;
                    }
                    if !query.labels_only {
                        series.read(query.range, &mut buffer)?;
                        if buffer.is_empty() {
                            continue;
                        }
                    }
                    count += buffer.len();
                    if limit > 0 && count > limit {
                        return Err(Refusal(StatusCode::BAD_REQUEST, format!("exceeded sample limit ({limit})")));
                    }
                    answer.series(&labels, &buffer);
                }
                Ok(())
            })?;
        }
        answer.finish().ok_or_else(|| {
            let text = "the answer would be larger than 4 GiB; ask for less, or accept STREAMED_XOR_CHUNKS";
            Refusal(StatusCode::BAD_REQUEST, text.to_owned())
        })
    }
}

async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    let refusal = |text| Refusal(StatusCode::BAD_REQUEST, text);
    tokio::time::timeout(REQUEST_TIMEOUT, to_bytes(body, MAX_REQUEST_BYTES))
        .await
        .map_err(|_| refusal(format!("the request did not arrive within {REQUEST_TIMEOUT:?}")))?
        .map_err(|error| refusal(format!("cannot read the request (limit {MAX_REQUEST_BYTES} bytes): {error}")))
}

fn response(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Each piece is dropped once it is sent.
fn samples_response(pieces: Vec<Vec<u8>>, turn: Turn) -> Response {
    let length: usize = pieces.iter().map(Vec::len).sum();
    let sent = pieces.into_iter().map(move |piece| {
        let _until_the_end = &turn;
        Ok::<_, Infallible>(Bytes::from(piece))
    });
    let mut response = response(remote_write::SAMPLES_TYPE, Body::from_stream(iter(sent)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(remote_write::CONTENT_ENCODING));
    headers.insert(header::CONTENT_LENGTH, length.into());
    response
}

/// What is not made yet is made when the client has taken what came before. A failure cuts the connection.
fn chunks_response(first: Vec<u8>, rest: Chunks, pool: CpuPool, turn: Turn) -> Response {
    struct Sending {
        first: Option<Vec<u8>>,
        rest: Option<Chunks>,
        pool: CpuPool,
        _turn: Turn,
    }
    let sending = Sending { first: Some(first), rest: Some(rest), pool, _turn: turn };
    let next = |mut sending: Sending| async move {
        if let Some(first) = sending.first.take() {
            return Some((Ok(Bytes::from(first)), sending));
        }
        let mut rest = sending.rest.take().filter(|rest| !rest.is_done())?;
        let left = LeftFlag::default();
        let flag = left.0.clone();
        let made = sending.pool.run(move || rest.piece(&flag).map(|piece| (piece, rest))).await;
        let piece = match made.map_err(Refusal::from).and_then(|made| made.map_err(Refusal::from)) {
            Ok((piece, rest)) => {
                sending.rest = Some(rest);
                Ok(Bytes::from(piece))
            }
            Err(Refusal(_, text)) => Err(text),
        };
        Some((piece, sending))
    };
    response(remote_write::CHUNKS_TYPE, Body::from_stream(unfold(sending, next)))
}
