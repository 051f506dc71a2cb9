//! `queue_config`: how samples wait, and how they leave.

use std::time::Duration;

use config::{Mapping, Node};

/// `queue_config`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Samples of one destination that may be in memory, on their way out of the queue on disk (default 1,000,000; 32
    /// bytes each). As in Prometheus, `capacity` counts for each of `max_shards` (default 50).
    pub capacity: usize,
    /// Requests that may be under way at once (`max_shards`, default 50): a bound, no target.
    pub max_requests: usize,
    /// Samples of one request (default 5,000).
    pub max_samples_per_send: usize,
    /// How long a sample waits for others (default 1s; Prometheus: 5s).
    pub batch_send_deadline: Duration,
    /// First pause after a failure (default 30ms).
    pub min_backoff: Duration,
    /// Longest pause (default 5s).
    pub max_backoff: Duration,
    /// Samples with a timestamp older than this are dropped instead of sent (`sample_age_limit`).
    pub sample_age_limit: Option<Duration>,
    /// Bytes of the queue on disk (default 10 GiB); the largest of all destinations counts.
    pub max_disk_bytes: u64,
    /// What waits for longer is dropped (default: nothing is); the longest of all destinations counts.
    pub max_age: Option<Duration>,
    /// How fresh the live lane is kept; what is older becomes backlog (default 2s).
    pub live_target: Duration,
    /// Which part of a backlog is sent first.
    pub backfill: Backfill,
    /// Whether new samples overtake a backlog.
    pub lanes: Lanes,
    /// How samples are written.
    pub wire: Wire,
}

/// `backfill`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backfill {
    /// `newest_first` (default): what people look at is complete first.
    #[default]
    NewestFirst,
    /// `oldest_first`
    OldestFirst,
}

/// `lanes`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lanes {
    /// `auto` (default): where the receiver says that it takes samples in any order.
    #[default]
    Auto,
    /// `always`: for other receivers that do, such as Prometheus with an `out_of_order_time_window`.
    Always,
    /// `never`: oldest first, one request at a time.
    Never,
}

/// `wire`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// `auto` (default): the best that the receiver says it understands, 1.0 until it said so.
    #[default]
    Auto,
    /// `1.0`: remote write 1.0 whatever the receiver says.
    One,
    /// `2.0`: remote write 2.0 at best.
    Two,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 1_000_000,
            max_requests: 50,
            max_samples_per_send: 5_000,
            batch_send_deadline: Duration::from_secs(1),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            sample_age_limit: None,
            max_disk_bytes: 10 << 30,
            max_age: None,
            live_target: Duration::from_secs(2),
            backfill: Backfill::default(),
            lanes: Lanes::default(),
            wire: Wire::default(),
        }
    }
}

/// A whole number from 1.
pub(crate) fn count(fields: &Mapping<'_>, key: &'static str, or: usize) -> usize {
    let Some(node) = fields.get(key) else { return or };
    match node.u64() {
        Some(0) => {
            node.problem("must be at least 1");
            or
        }
        Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
        None => or,
    }
}

/// One of a few words; the first where the key is missing.
pub(crate) fn one_of<T: Copy + Default>(fields: &Mapping<'_>, key: &'static str, words: &[(&str, T)]) -> T {
    let Some(node) = fields.get(key) else { return T::default() };
    let found = node.text().and_then(|text| words.iter().find(|(word, _)| *word == text));
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        node.problem(format!("unknown; write one of {}", known.join(", ")));
    }
    found.map(|(_, value)| *value).unwrap_or_default()
}

impl QueueConfig {
    pub(crate) fn decode(node: &Node<'_>) -> Self {
        let default = Self::default();
        let Some(fields) = node.mapping() else { return default };
        let max_requests = count(&fields, "max_shards", default.max_requests);
        let capacity = match fields.get("capacity") {
            Some(_) => count(&fields, "capacity", 1).saturating_mul(max_requests),
            None => default.capacity,
        };
        let positive = |key, or| fields.positive_duration(key).unwrap_or(or);
        // Zero says what leaving it out says, as in Prometheus.
        let limit = |key| fields.duration(key).filter(|limit| !limit.is_zero());
        let out = Self {
            capacity,
            max_requests: max_requests.min(1_000),
            max_samples_per_send: count(&fields, "max_samples_per_send", default.max_samples_per_send).min(50_000),
            batch_send_deadline: positive("batch_send_deadline", default.batch_send_deadline),
            min_backoff: positive("min_backoff", default.min_backoff),
            max_backoff: positive("max_backoff", default.max_backoff),
            sample_age_limit: limit("sample_age_limit"),
            max_disk_bytes: fields.bytes("max_disk_bytes").filter(|b| *b > 0).unwrap_or(default.max_disk_bytes),
            max_age: limit("max_age"),
            live_target: positive("live_target", default.live_target),
            backfill: one_of(
                &fields,
                "backfill",
                &[("newest_first", Backfill::NewestFirst), ("oldest_first", Backfill::OldestFirst)],
            ),
            lanes: one_of(
                &fields,
                "lanes",
                &[("auto", Lanes::Auto), ("always", Lanes::Always), ("never", Lanes::Never)],
            ),
            wire: one_of(&fields, "wire", &[("auto", Wire::Auto), ("1.0", Wire::One), ("2.0", Wire::Two)]),
        };
        // Concurrency finds its own measure, and 429 is always tried again: neither key has anything to set.
        let _ = (fields.u64("min_shards"), fields.bool("retry_on_http_429"));
        fields.finish();
        if out.min_backoff > out.max_backoff {
            node.problem("min_backoff is longer than max_backoff; make it as long or shorter");
        }
        Self { max_samples_per_send: out.max_samples_per_send.min(out.capacity), ..out }
    }
}
