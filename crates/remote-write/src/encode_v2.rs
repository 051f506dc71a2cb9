//! A batch to the body of a 2.0 request: every text once, in a table that is built while the series are written.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use model::{Exemplar, ExemplarRow, Labels, METRIC_NAME, MetricKind, MetricMetadata, Row};
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::encode::{message_head, number, sample};
use crate::wire::{self, v2};
use crate::{Compression, Encoder};

/// The symbols of one request after another.
#[derive(Default)]
pub(crate) struct SymbolWriter {
    /// The table as fields of the message.
    fields: Vec<u8>,
    /// Start and end of each text in there.
    places: Vec<(usize, usize)>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl SymbolWriter {
    fn clear(&mut self) {
        self.fields.clear();
        self.places.clear();
        self.numbers.clear();
        // What is not said is said by symbol 0.
        self.number("");
    }

    /// The number of a text, which joins the table where it is missing.
    fn number(&mut self, text: &str) -> u64 {
        let Self { fields, places, numbers, hasher } = self;
        let hash = hasher.hash_one(text.as_bytes());
        let is_text = |number: &u32| {
            let place = places.get(*number as usize).copied().unwrap_or_default();
            fields.get(place.0..place.1) == Some(text.as_bytes())
        };
        if let Some(number) = numbers.find(hash, is_text) {
            return u64::from(*number);
        }
        let number = places.len() as u32;
        message_head(v2::SYMBOLS, text.len(), fields);
        places.push((fields.len(), fields.len() + text.len()));
        fields.extend_from_slice(text.as_bytes());
        numbers.insert_unique(hash, number, |number| {
            let (start, end) = places.get(*number as usize).copied().unwrap_or_default();
            hasher.hash_one(fields.get(start..end).unwrap_or_default())
        });
        u64::from(number)
    }
}

/// What is told of families, by name.
struct Families<'a>(HashMap<&'a str, &'a MetricMetadata>);

impl<'a> Families<'a> {
    fn of(&self, metric: &str) -> Option<&'a MetricMetadata> {
        if self.0.is_empty() {
            return None;
        }
        let named =
            |family: &str| self.0.get(family).copied().filter(|told| told.kind.family_of(metric) == told.family);
        let kinds = [MetricKind::Histogram, MetricKind::GaugeHistogram];
        named(metric).or_else(|| kinds.iter().find_map(|kind| named(kind.family_of(metric))))
    }
}

impl Encoder {
    /// The compressed `io.prometheus.write.v2.Request` of these rows and exemplars. Neighbouring rows of one series share its
    /// labels, and the first of them carry its exemplars; exemplars of other series get series of their own.
    ///
    /// A family is told with each of its series: one of which no series is among the rows is not told.
    pub fn encode_v2(
        &mut self,
        rows: &[Row],
        exemplars: &[ExemplarRow],
        metadata: &[MetricMetadata],
        compression: Compression,
    ) -> Vec<u8> {
        self.symbols.clear();
        self.body.clear();
        let families = Families(metadata.iter().map(|told| (told.family.as_str(), told)).collect());
        // Exemplars go with a sample where there is one: receivers may insist on that.
        let (mut first, mut gone) = (HashMap::new(), HashSet::new());
        for run in exemplars.chunk_by(|a, b| a.series == b.series) {
            first.entry(&run[0].series).or_insert(run);
        }
        for run in rows.chunk_by(|a, b| a.labels == b.labels) {
            let labels = &run[0].labels;
            let with = if first.is_empty() { None } else { first.remove(labels) };
            gone.extend(with.map(|_| labels));
            self.series_v2(labels, run, with.unwrap_or_default(), &families);
        }
        for run in exemplars.chunk_by(|a, b| a.series == b.series) {
            let series = &run[0].series;
            if !gone.remove(series) {
                self.series_v2(series, &[], run, &families);
            }
        }
        self.message.clear();
        self.message.extend_from_slice(&self.symbols.fields);
        self.message.extend_from_slice(&self.body);
        self.compress(compression)
    }

    fn series_v2(&mut self, labels: &Labels, rows: &[Row], exemplars: &[ExemplarRow], families: &Families<'_>) {
        self.series.clear();
        self.refs_v2(labels, v2::LABELS_REFS);
        rows.iter().for_each(|row| sample(v2::SAMPLES, row.sample, &mut self.series));
        exemplars.iter().for_each(|row| self.exemplar_v2(&row.exemplar));
        if let Some(told) = labels.get(METRIC_NAME).and_then(|metric| families.of(metric)) {
            let (help, unit) = (self.symbols.number(&told.help), self.symbols.number(&told.unit));
            self.part.clear();
            number(v2::KIND, wire::kind_to_wire(told.kind), &mut self.part);
            number(v2::HELP_REF, help, &mut self.part);
            number(v2::UNIT_REF, unit, &mut self.part);
            message_head(v2::METADATA, self.part.len(), &mut self.series);
            self.series.extend_from_slice(&self.part);
        }
        message_head(v2::TIMESERIES, self.series.len(), &mut self.body);
        self.body.extend_from_slice(&self.series);
    }

    /// References of labels, as a field of the series.
    fn refs_v2(&mut self, labels: &Labels, field: u32) {
        self.part.clear();
        for (name, value) in labels.iter() {
            encode_varint(self.symbols.number(name), &mut self.part);
            encode_varint(self.symbols.number(value), &mut self.part);
        }
        message_head(field, self.part.len(), &mut self.series);
        self.series.extend_from_slice(&self.part);
    }

    fn exemplar_v2(&mut self, exemplar: &Exemplar) {
        // Written behind the series so far, then given the head whose length is known now.
        let start = self.series.len();
        self.refs_v2(&exemplar.labels, v2::LABELS_REFS);
        encode_key(wire::EXEMPLAR_VALUE, WireType::SixtyFourBit, &mut self.series);
        self.series.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        number(wire::EXEMPLAR_TIMESTAMP, exemplar.timestamp.0 as u64, &mut self.series);
        self.part.clear();
        self.part.extend_from_slice(self.series.get(start..).unwrap_or_default());
        self.series.truncate(start);
        message_head(v2::EXEMPLARS, self.part.len(), &mut self.series);
        self.series.extend_from_slice(&self.part);
    }
}
