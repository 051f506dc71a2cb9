//! What is done with a whole body, on the pool: decode it, stamp it, hand it to the store, say what became of it.

use std::sync::Arc;

use axum::http::StatusCode;
use columns::{Decoded, ExemplarEntry, HistogramEntry};
use model::{
    Append, AppendReport, Commit, EncodedBatch, EncodedRow, ExemplarRefusalReason, ExemplarRow, HistogramRow, Labels,
    RefusalReason, Sample, TimestampMs,
};
use remote_write::{DecodeLimits, EncodedExemplar, Format, LabelDecoder};
use sources::SourceName;

use crate::answer::{Outcome, Written};
use crate::head::Kind;
use crate::metrics::ReceiveMetrics;
use crate::receiver::{ReceiverLimits, Stamp};
use crate::refusals::Refusals;
use crate::scratches::{Scratch, Scratches};
use crate::sessions::{NumberDecoder, Sessions, Unknown};

/// Exemplars that are read before they are stored.
const EXEMPLARS_AT_ONCE: usize = 256;

/// Stores requests.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) sink: Arc<dyn Append>,
    pub(crate) sessions: Arc<Sessions>,
    stamp: Stamp,
    limits: DecodeLimits,
    scratches: Scratches,
    metrics: ReceiveMetrics,
}

/// A request that the store has taken, as far as it could.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) outcome: Outcome,
    /// What must be durable before the sender hears of it.
    pub(crate) commit: Commit,
    /// Samples and histograms in it, stored or not.
    pub(crate) samples: usize,
    /// The timestamp of its newest sample.
    pub(crate) newest: Option<TimestampMs>,
}

/// How labels are read again, for a sender's eyes.
type Explain<'a> = &'a dyn Fn(&[u8]) -> Result<Labels, String>;

impl Writer {
    pub(crate) fn new(sink: Arc<dyn Append>, stamp: Stamp, limits: &ReceiverLimits, metrics: ReceiveMetrics) -> Self {
        let sessions = Arc::new(Sessions::new(limits.max_session_bytes));
        Self { sink, sessions, stamp, limits: limits.decode, scratches: Scratches::default(), metrics }
    }

    /// Stores one request.
    pub(crate) fn store(&self, kind: Kind, source: &SourceName, body: &[u8]) -> Result<Stored, Outcome> {
        let mut scratch = self.scratches.take();
        match kind {
            Kind::RemoteWrite(format) => self.remote_write(format, body, &mut scratch),
            Kind::Columns { session } => self.columns((source, session), body, &mut scratch),
        }
    }

    fn remote_write(&self, format: Format, body: &[u8], scratch: &mut Scratch) -> Result<Stored, Outcome> {
        let decoder = LabelDecoder::new(self.limits, self.stamp.get());
        let request = remote_write::decode_rows(body, format, &self.limits, &mut scratch.remote_write)
            .map_err(|error| Outcome::refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let starts = request.start_timestamps as u64;
        self.metrics.unsupported.with_label_values(&["start_timestamp"]).inc_by(starts);
        let (histograms, invalid) = remote_write::decode_histograms(&request.histograms, &decoder);
        let explain = |labels: &[u8]| decoder.explain(labels);
        let mut stored = self.take(&request.batch(&decoder), &histograms, invalid, &explain)?;
        for some in request.exemplars.chunks(EXEMPLARS_AT_ONCE) {
            stored.outcome.written.exemplars += self.keep_encoded_exemplars(some, &decoder)?;
        }
        Ok(stored)
    }

    fn columns(
        &self,
        (source, id): (&SourceName, u128),
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Result<Stored, Outcome> {
        let DecodeLimits { max_decoded_bytes, max_labels, max_name_bytes, max_value_bytes, max_samples, .. } =
            self.limits;
        let limits = columns::Limits { max_decoded_bytes, max_labels, max_name_bytes, max_value_bytes, max_samples };
        let Scratch { columns, numbers: encoded, .. } = scratch;
        let decoded = columns
            .decode(body, &limits)
            .map_err(|error| Outcome::refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let Decoded { numbers, timestamps, values, exemplars, histograms, metadata, definitions } = decoded;
        let others = exemplars.iter().map(|e| e.number).chain(histograms.iter().map(|h| h.number));
        let named: Vec<u32> = others.collect();
        let session = self
            .sessions
            .announce(source, id, definitions, &[numbers, &named])
            .map_err(|Unknown| Outcome::unknown_session())?;
        let decoder = NumberDecoder::new(session, self.stamp.get());
        encoded.clear();
        encoded.extend(numbers.iter().map(|number| number.to_le_bytes()));
        let samples = timestamps.iter().zip(values);
        let rows: Vec<EncodedRow<'_>> = encoded
            .iter()
            .zip(samples)
            .map(|(labels, (at, value))| EncodedRow {
                labels,
                sample: Sample { timestamp: TimestampMs(*at), value: *value },
            })
            .collect();
        let batch = EncodedBatch { rows: &rows, context: decoder.context(), decoder: &decoder, metadata: &metadata };
        let all_histograms = histograms.len();
        let histograms: Vec<_> = histograms.into_iter().filter_map(|entry| histogram(entry, &decoder)).collect();
        let explain = |labels: &[u8]| decoder.explain(labels);
        let mut stored = self.take(&batch, &histograms, all_histograms - histograms.len(), &explain)?;
        let all_exemplars = exemplars.len();
        let exemplars: Vec<_> = exemplars.into_iter().filter_map(|entry| exemplar(entry, &decoder)).collect();
        stored.outcome.written.exemplars = self.keep_exemplars(&exemplars, all_exemplars - exemplars.len())?;
        Ok(stored)
    }

    /// Hands samples and histograms to the store. `invalid` counts histograms that nobody can store.
    fn take(
        &self,
        batch: &EncodedBatch<'_>,
        histograms: &[HistogramRow],
        invalid: usize,
        explain: Explain<'_>,
    ) -> Result<Stored, Outcome> {
        let report = self.sink.append_encoded(batch).map_err(Outcome::unavailable)?;
        let of_histograms = match histograms {
            [] => AppendReport::default(),
            some => self.sink.append_histograms(some).map_err(Outcome::unavailable)?,
        };
        let mut refusals = Refusals::of(&report, batch.rows, explain);
        refusals.add(RefusalReason::InvalidLabels, invalid);
        of_histograms.refused.iter().for_each(|refusal| refusals.add(refusal.reason, 1));
        for (reason, count) in refusals.counts() {
            self.metrics.refused.with_label_values(&[reason.as_str()]).inc_by(count as u64);
        }
        self.metrics.appended.inc_by(report.appended as u64);
        self.metrics.histograms.inc_by(of_histograms.appended as u64);
        self.metrics.duplicates.inc_by((report.duplicates + of_histograms.duplicates) as u64);
        let newest = batch.rows.iter().map(|row| row.sample.timestamp);
        let newest = newest.chain(histograms.iter().map(|row| row.timestamp)).max();
        let written = Written {
            samples: report.appended + report.duplicates,
            histograms: of_histograms.appended + of_histograms.duplicates,
            exemplars: 0,
        };
        let message = refusals.to_string();
        let status = if message.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST };
        if !message.is_empty() {
            let problem = message.replace('\n', "; ");
            tracing::debug!(written = written.samples, %problem, "a remote-write request was stored in part");
        }
        Ok(Stored {
            outcome: Outcome { status, written, message, ..Outcome::default() },
            commit: report.commit.max(of_histograms.commit),
            samples: batch.rows.len() + histograms.len() + invalid,
            newest,
        })
    }

    fn keep_encoded_exemplars(
        &self,
        encoded: &[EncodedExemplar<'_>],
        decoder: &LabelDecoder,
    ) -> Result<usize, Outcome> {
        let (rows, invalid) = remote_write::decode_exemplars(encoded, decoder);
        self.keep_exemplars(&rows, invalid)
    }

    /// Stores exemplars, behind the samples that they belong to. Returns how many are stored; what is not is counted and
    /// fails nothing, as in Prometheus.
    fn keep_exemplars(&self, rows: &[ExemplarRow], invalid: usize) -> Result<usize, Outcome> {
        let refused = |reason: ExemplarRefusalReason, count: usize| {
            self.metrics.exemplars_refused.with_label_values(&[reason.as_str()]).inc_by(count as u64);
        };
        refused(ExemplarRefusalReason::InvalidLabels, invalid);
        if rows.is_empty() {
            return Ok(0);
        }
        let report = self.sink.append_exemplars(rows).map_err(Outcome::unavailable)?;
        self.metrics.exemplars.inc_by(report.appended as u64);
        report.refused.iter().for_each(|refusal| refused(refusal.reason, 1));
        Ok(report.appended + report.duplicates)
    }
}

fn histogram(entry: HistogramEntry, decoder: &NumberDecoder) -> Option<HistogramRow> {
    let HistogramEntry { number, timestamp, histogram } = entry;
    let labels = decoder.labels(number).ok()?;
    Some(HistogramRow { labels, timestamp: TimestampMs(timestamp), histogram })
}

fn exemplar(entry: ExemplarEntry, decoder: &NumberDecoder) -> Option<ExemplarRow> {
    let series = decoder.labels(entry.number).ok()?;
    Some(ExemplarRow { series, exemplar: entry.exemplar })
}
