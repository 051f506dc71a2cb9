//! Messages in columns, and the queue's records that hold them.

use std::path::Path;
use std::sync::Arc;

use columns::{Decoder, Encoder, ExemplarEntry, Form, Limits, Message};
use disk::{Disk, SimulatedDisk};
use model::{Exemplar, Labels, MetricMetadata, TimestampMs};
use queue::{Options, Order, Queue};
use segment_log::{Log, Record};

use super::series;

pub(super) fn message(data: &[u8]) {
    let limits = Limits { max_decoded_bytes: 1 << 20, max_samples: 1 << 16, ..Limits::default() };
    let mut decoder = Decoder::default();
    let outline = decoder.outline(data, &limits).map(|(numbers, definitions)| (numbers.to_vec(), definitions.count()));
    let Ok(decoded) = decoder.decode(data, &limits) else { return };
    let rows = decoded.numbers.len();
    assert_eq!((rows, rows), (decoded.timestamps.len(), decoded.values.len()));
    assert_eq!(outline, Ok((decoded.numbers.to_vec(), decoded.definitions.clone().count())));
    // What was understood can be said again.
    let definitions: Vec<_> = decoded.definitions.filter_map(|(n, labels)| Some((n, labels.ok()?))).collect();
    let said = Message {
        definitions: &definitions,
        numbers: decoded.numbers,
        timestamps: decoded.timestamps,
        values: decoded.values,
        exemplars: &decoded.exemplars,
        histograms: &decoded.histograms,
        metadata: &decoded.metadata,
    };
    let again = Encoder::default().encode(&said, Form::Stored).to_vec();
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let values = bits(decoded.values);
    let mut decoder = Decoder::default();
    let unbounded = Limits { max_decoded_bytes: 1 << 30, ..Limits::default() };
    assert_eq!(bits(decoder.decode(&again, &unbounded).expect("is sound").values), values);
}

pub(super) fn message_seeds() -> Vec<Vec<u8>> {
    let all = series();
    let definitions: Vec<(u32, Labels)> =
        all.iter().enumerate().map(|(n, (labels, _))| (n as u32, labels.clone())).collect();
    let (mut numbers, mut timestamps, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (n, (_, samples)) in all.iter().enumerate() {
        numbers.extend(samples.timestamps.iter().map(|_| n as u32));
        timestamps.extend(&samples.timestamps);
        values.extend(&samples.values);
    }
    let labels = Labels::from_pairs([("trace_id", "a")]);
    let exemplars = [ExemplarEntry { number: 1, exemplar: Exemplar { labels, value: 0.5, timestamp: TimestampMs(7) } }];
    let metadata = [MetricMetadata { family: "f".into(), help: "h".into(), ..MetricMetadata::default() }];
    let (numbers, timestamps, values, definitions) = (&*numbers, &*timestamps, &*values, &*definitions);
    let message = Message {
        definitions,
        numbers,
        timestamps,
        values,
        exemplars: &exemplars,
        histograms: &[],
        metadata: &metadata,
    };
    [Form::Wire, Form::Stored].map(|form| Encoder::default().encode(&message, form).to_vec()).to_vec()
}

/// The data as a record of a queue whose file of cursors is lost, so that everything in it is taken.
pub(super) fn record(data: &[u8]) {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
    let folder = Path::new("/fuzz");
    let log = Log::create(disk.clone(), folder, segment_log::Options::default()).expect("creates");
    let mut record = Record::new();
    record.extend_from_slice(data);
    log.append(&mut record).expect("appends");
    disk::write_whole(&*disk, &folder.join("cursors"), b"lost").expect("writes");
    let Ok((queue, _)) = Queue::open(disk, folder, Options { max_age_ms: 1, ..Options::default() }, TimestampMs(0))
    else {
        return;
    };
    let cursor = queue.cursor("fuzz");
    while let Ok(Some(taken)) = cursor.next_backlog(Order::OldestFirst) {
        taken.batch.series.iter().for_each(|id| assert!(queue.labels(*id).is_some()));
        cursor.put_back(taken);
        let Ok(Some(again)) = cursor.next_backlog(Order::NewestFirst) else { return };
        cursor.delivered(again.position);
    }
    let _ = queue.maintain(TimestampMs(i64::MAX));
}

pub(super) fn record_seeds() -> Vec<Vec<u8>> {
    let with_header = |message: Vec<u8>| {
        let mut record = vec![1];
        [5i64, 1, 9].iter().for_each(|time| record.extend(time.to_le_bytes()));
        record.extend(3u32.to_le_bytes());
        record.extend(message);
        record
    };
    message_seeds().into_iter().map(with_header).collect()
}
