//! Asking a peer. What it answers is bounded before it is kept, and checked before it is believed.

use std::collections::{BTreeMap, HashSet};

use bytes::BytesMut;
use model::{Batch, DecodeLabels, Labels};
use remote_write::{DecodeLimits, Format, LabelDecoder, Scratch};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use crate::digest::{Digest, SeriesHash, Shards};
use crate::error::PeerError;
use crate::peer::Peer;
use crate::scope::Scope;
use crate::survey::Span;
use crate::wire::{DIGEST_PATH, Envelope, MAX_SAMPLES, SAMPLES_PATH, ShardDigests, WindowDigests};

/// The longest answer in JSON: 48 windows of a thousand sources are half of it.
const MAX_JSON_BYTES: usize = 16 << 20;
/// The longest answer with samples, as it comes and decompressed.
const MAX_SAMPLES_BYTES: usize = 64 << 20;
/// How much of an error is shown.
const SHOWN_BYTES: usize = 300;

/// Seconds since the epoch, exact to the millisecond.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// Some parts of one source within a span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) source: &'a str,
    pub(crate) span: Span,
    pub(crate) shards: Shards,
    pub(crate) parts: &'a [u16],
}

impl Peer {
    async fn get(&self, path: &str, parameters: &[(&str, String)], limit: usize) -> Result<BytesMut, PeerError> {
        let base = self.config.url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}")).map_err(|e| PeerError::Request(e.to_string()))?;
        let request = self.client.request(Method::GET, url)?.query(parameters).timeout(self.config.timeout);
        let mut response = request.send().await?;
        let status = response.status();
        let limit = if status.is_success() { limit } else { SHOWN_BYTES };
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > limit {
                if status.is_success() {
                    return Err(PeerError::TooLong(limit));
                }
                body.extend_from_slice(chunk.get(..limit - body.len()).unwrap_or_default());
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        Err(PeerError::Status { status: status.as_u16(), text })
    }

    async fn json<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, String)]) -> Result<T, PeerError> {
        let body = self.get(path, parameters, MAX_JSON_BYTES).await?;
        let envelope: Envelope<T> =
            serde_json::from_slice(&body).map_err(|error| PeerError::Malformed(error.to_string()))?;
        Ok(envelope.data)
    }

    /// The digests of the windows of a span.
    pub(crate) async fn windows(&self, span: Span, window_ms: i64) -> Result<WindowDigests, PeerError> {
        let parameters =
            [("start", seconds(span.start_ms)), ("end", seconds(span.end_ms)), ("window", seconds(window_ms))];
        let answer: WindowDigests = self.json(DIGEST_PATH, &parameters).await?;
        let mut last = None;
        for window in &answer.windows {
            let is_asked = span.holds(window.start_ms) && (window.start_ms - span.start_ms) % window_ms == 0;
            if !is_asked || last.is_some_and(|last| last >= window.start_ms) {
                return Err(PeerError::Malformed(format!("the window {} was not asked for", window.start_ms)));
            }
            last = Some(window.start_ms);
        }
        Ok(answer)
    }

    /// The digests of the parts of a source.
    pub(crate) async fn shards(
        &self,
        source: &str,
        span: Span,
        shards: Shards,
    ) -> Result<BTreeMap<u16, Digest>, PeerError> {
        let parameters = [
            ("start", seconds(span.start_ms)),
            ("end", seconds(span.end_ms)),
            ("source", source.to_owned()),
            ("shards", shards.count().to_string()),
        ];
        let answer: ShardDigests = self.json(DIGEST_PATH, &parameters).await?;
        match answer.shards.keys().find(|number| **number >= shards.count()) {
            Some(number) => Err(PeerError::Malformed(format!("there is no shard {number}"))),
            None => Ok(answer.shards),
        }
    }

    /// The samples of a piece, still encoded.
    pub(crate) async fn samples(&self, piece: Piece<'_>) -> Result<BytesMut, PeerError> {
        let parts: Vec<String> = piece.parts.iter().map(u16::to_string).collect();
        let parameters = [
            ("start", seconds(piece.span.start_ms)),
            ("end", seconds(piece.span.end_ms)),
            ("source", piece.source.to_owned()),
            ("shards", piece.shards.count().to_string()),
            ("shard", parts.join(",")),
        ];
        self.get(SAMPLES_PATH, &parameters, MAX_SAMPLES_BYTES).await
    }
}

/// Decodes samples and checks that each of them was asked for. Returns their digest too: whoever knows what to expect
/// compares it before anything is stored, so neither a broken connection nor a change on the way does harm.
///
/// # Errors
/// When it is no message, or holds anything else.
pub(crate) fn accept(body: &[u8], scope: &Scope, piece: Piece<'_>) -> Result<(Batch, Digest), PeerError> {
    let malformed = |text: String| PeerError::Malformed(text);
    let limits = DecodeLimits {
        max_decoded_bytes: MAX_SAMPLES_BYTES,
        // A whole window of one series is the same labels and nearly the same numbers.
        max_ratio: usize::MAX,
        max_samples: MAX_SAMPLES,
        ..DecodeLimits::default()
    };
    let decoder = LabelDecoder::new(limits, Labels::empty());
    let mut scratch = Scratch::default();
    let request = remote_write::decode_rows(body, Format::default(), &limits, &mut scratch)
        .map_err(|e| malformed(e.to_string()))?;
    let (mut batch, mut digest) = (Batch::default(), Digest::default());
    let (mut seen, mut bytes) = (HashSet::new(), Vec::new());
    for run in request.rows.chunk_by(|a, b| a.labels == b.labels) {
        let Some(first) = run.first() else { continue };
        let labels = decoder.decode(first.labels).map_err(|_| malformed("labels that nobody stores".to_owned()))?;
        let hash = SeriesHash::of(&labels, &mut bytes);
        let is_asked = scope.holds(&labels)
            && scope.source_of(&labels) == piece.source
            && piece.parts.contains(&hash.shard(piece.shards));
        let is_ordered = run.windows(2).all(|pair| pair[0].sample.timestamp < pair[1].sample.timestamp);
        let is_within = run.iter().all(|row| piece.span.holds(row.sample.timestamp.0));
        if !(is_asked && is_ordered && is_within && seen.insert(hash)) {
            return Err(malformed(format!("samples of {labels:?} that were not asked for")));
        }
        for row in run {
            digest.add(hash, row.sample.timestamp.0, row.sample.value);
            batch.push(labels.clone(), row.sample);
        }
    }
    Ok((batch, digest))
}
