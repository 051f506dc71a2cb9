//! A place for one request at a time: what encodes it, and what was announced to the receiver from here. Requests of one
//! place follow one another, so what one announces the next may use.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use columns::Message;
use model::{ExemplarRow, Labels, MetricMetadata, Row, Sample, TimestampMs};

use remote_write::Compression;

use crate::batch::Batch;
use crate::negotiation::Form;

/// A part of a batch that makes one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Samples, then native histograms.
    pub(crate) items: Range<usize>,
    /// Whether exemplars and metadata go with it.
    pub(crate) with_extras: bool,
}

/// A request's body, and the heads that say what it is.
pub(crate) struct Body {
    pub(crate) form: Form,
    pub(crate) bytes: Bytes,
    /// Of columns: the session, and the series that the body announces.
    pub(crate) session: Option<String>,
    announces: Vec<u32>,
    /// Native histograms that the form cannot carry.
    pub(crate) left_out: usize,
}

#[derive(Default)]
pub(crate) struct Slot {
    remote_write: remote_write::Encoder,
    columns: columns::Encoder,
    session: Session,
    numbers: Vec<u32>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

/// What the receiver knows by number.
struct Session {
    id: String,
    /// A bit for every number of the queue.
    announced: Vec<u64>,
}

impl Default for Session {
    fn default() -> Self {
        // Random enough that no two senders ever share one.
        let random = || RandomState::new().hash_one(0u8);
        Self { id: format!("{:016x}{:016x}", random(), random()), announced: Vec::new() }
    }
}

impl Session {
    fn knows(&self, number: u32) -> bool {
        self.announced.get(number as usize / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    fn learn(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.announced.len() <= word {
            self.announced.resize(word + 1, 0);
        }
        self.announced[word] |= 1 << (number % 64);
    }
}

impl Slot {
    /// The body of a request that carries this part of a settled batch.
    pub(crate) fn encode(&mut self, form: Form, batch: &Batch, part: &Part, metadata: &[MetricMetadata]) -> Body {
        match form {
            Form::Columns => self.columns(batch, part, metadata),
            _ => self.remote_write(form, batch, part, metadata),
        }
    }

    /// The receiver has answered for this body: what it announced is known from now on.
    pub(crate) fn announced(&mut self, body: &Body) {
        body.announces.iter().for_each(|number| self.session.learn(*number));
    }

    /// The receiver does not know the session any more.
    pub(crate) fn begin_session(&mut self) {
        self.session = Session::default();
    }

    fn columns(&mut self, batch: &Batch, part: &Part, metadata: &[MetricMetadata]) -> Body {
        let (rows, histograms) = split(batch, part);
        let (rows, histograms) = (&batch.rows[rows], &batch.histograms[histograms]);
        let exemplars = if part.with_extras { &batch.exemplars[..] } else { &[] };
        self.numbers.clear();
        self.timestamps.clear();
        self.values.clear();
        for row in rows {
            self.numbers.push(row.series);
            self.timestamps.push(row.timestamp);
            self.values.push(row.value);
        }
        let used = rows.iter().map(|row| row.series);
        let used = used.chain(histograms.iter().map(|e| e.number)).chain(exemplars.iter().map(|e| e.number));
        let mut announces: Vec<u32> = used.filter(|number| !self.session.knows(*number)).collect();
        announces.sort_unstable();
        announces.dedup();
        let named = |number: &u32| batch.labels(*number).map(|labels| (*number, labels.clone()));
        let mut definitions: Vec<(u32, Labels)> = announces.iter().filter_map(named).collect();
        // Neighbours that share labels share bytes.
        definitions.sort_by(|a, b| a.1.cmp(&b.1));
        let message = Message {
            definitions: &definitions,
            numbers: &self.numbers,
            timestamps: &self.timestamps,
            values: &self.values,
            exemplars,
            histograms,
            metadata: if part.with_extras { metadata } else { &[] },
        };
        let bytes = Bytes::copy_from_slice(self.columns.encode(&message, columns::Form::Wire));
        Body { form: Form::Columns, bytes, session: Some(self.session.id.clone()), announces, left_out: 0 }
    }
}

/// The samples and the histograms of a part.
fn split(batch: &Batch, part: &Part) -> (Range<usize>, Range<usize>) {
    let rows = batch.rows.len();
    let within = |from: usize, to: usize| from.min(to)..to;
    let samples = within(part.items.start, part.items.end.min(rows));
    let histograms = within(part.items.start.saturating_sub(rows), part.items.end.saturating_sub(rows));
    (samples, histograms)
}

impl Slot {
    fn remote_write(&mut self, form: Form, batch: &Batch, part: &Part, metadata: &[MetricMetadata]) -> Body {
        let (rows, histograms) = split(batch, part);
        let mut named = Named { batch, last: None };
        let rows: Vec<Row> = batch.rows[rows]
            .iter()
            .filter_map(|row| {
                let sample = Sample { timestamp: TimestampMs(row.timestamp), value: row.value };
                Some(Row { labels: named.labels(row.series)?, sample })
            })
            .collect();
        let (mut exemplars, mut told): (Vec<ExemplarRow>, &[MetricMetadata]) = (Vec::new(), &[]);
        if part.with_extras {
            told = metadata;
            exemplars.extend(batch.exemplars.iter().filter_map(|entry| {
                Some(ExemplarRow { series: named.labels(entry.number)?, exemplar: entry.exemplar.clone() })
            }));
        }
        let encoder = &mut self.remote_write;
        let bytes = match form {
            Form::Two => encoder.encode_v2(&rows, &exemplars, told, Compression::Snappy),
            Form::TwoZstd => encoder.encode_v2(&rows, &exemplars, told, Compression::Zstd),
            Form::One | Form::Columns => encoder.encode_with_exemplars(&rows, &exemplars, told),
        };
        Body { form, bytes: bytes.into(), session: None, announces: Vec::new(), left_out: histograms.len() }
    }
}

/// The labels of one series after another; those of a run of rows are looked up once.
struct Named<'a> {
    batch: &'a Batch,
    last: Option<(u32, &'a Labels)>,
}

impl Named<'_> {
    fn labels(&mut self, number: u32) -> Option<Labels> {
        if let Some((_, labels)) = self.last.filter(|(last, _)| *last == number) {
            return Some(labels.clone());
        }
        let labels = self.batch.labels(number)?;
        self.last = Some((number, labels));
        Some(labels.clone())
    }
}

impl Body {
    /// `Content-Type`
    pub(crate) fn content_type(&self) -> &'static str {
        match self.form {
            Form::One => remote_write::CONTENT_TYPE,
            Form::Two | Form::TwoZstd => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            Form::Columns => columns::CONTENT_TYPE,
        }
    }

    /// `Content-Encoding`, where the form itself does not compress.
    pub(crate) fn content_encoding(&self) -> Option<&'static str> {
        match self.form {
            Form::One | Form::Two => Some(Compression::Snappy.as_str()),
            Form::TwoZstd => Some(Compression::Zstd.as_str()),
            Form::Columns => None,
        }
    }

    /// `X-Prometheus-Remote-Write-Version`
    pub(crate) fn version(&self) -> Option<&'static str> {
        match self.form {
            Form::One => Some(remote_write::VERSION),
            Form::Two | Form::TwoZstd => Some("2.0.0"),
            Form::Columns => None,
        }
    }
}
