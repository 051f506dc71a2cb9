//! What a store is told when it is opened.

use std::sync::Arc;
use std::time::Duration;

use head::HeadOptions;
use model::TimestampMs;

use crate::OpenError;

/// Where the store gets the time from. Only for refusing what lies too far ahead: retention and windows follow the samples.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// The span of a block as it is sealed: windows of two hours since the epoch.
pub(crate) const WINDOW_MS: i64 = 2 * 3600 * 1000;
/// Compaction joins this many spans of a level into one of the next.
const SPANS_PER_LEVEL: i64 = 3;
/// No block spans more than this.
const MAX_SPAN_MS: i64 = 31 * 24 * 3600 * 1000;

/// What a rollup's resolution may be.
const SHORTEST_RESOLUTION: Duration = Duration::from_secs(1);
const LONGEST_RESOLUTION: Duration = Duration::from_secs(24 * 3600);

/// When the WAL reaches the disk itself, not only the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalSync {
    /// Before a request is answered: nothing acknowledged is lost by a power loss. Requests share a sync.
    Each,
    /// That often: a power loss takes at most this much.
    Interval(Duration),
    /// Whenever the operating system likes.
    Off,
}

/// A coarser copy of old samples: count, sum, smallest, largest and last of every so many milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// How much time one row stands for. Whole milliseconds, at least one second, at most a day.
    pub resolution: Duration,
    /// Samples of this age, counted from the newest, get one.
    pub after: Duration,
    /// How long it is kept; `None` for ever.
    pub retention: Option<Duration>,
}

/// What a store may hold and how it keeps it.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long samples are kept, counted from the newest stored one.
    pub retention: Duration,
    /// When blocks take more than this on disk, the oldest go before their retention is over.
    pub retention_bytes: Option<u64>,
    /// Which coarser copies of old samples are kept.
    pub rollups: Vec<Rollup>,
    /// How durable an acknowledged sample is.
    pub wal_sync: WalSync,
    /// Limits of memory.
    pub head: HeadOptions,
    /// When memory holds more samples than this, they are sealed before their window is over. It bounds what a restart
    /// after a kill has to replay.
    pub max_head_samples: u64,
    /// The longest span of a compacted block; `None`: a tenth of the retention, at most 31 days.
    pub max_block_span: Option<Duration>,
    /// Exemplars that are kept of all series together; none with zero.
    pub max_exemplars: usize,
    /// Look, but change nothing, not even to lock the folder.
    pub read_only: bool,
}

impl Default for StoreOptions {
    /// 15 days, no limit of bytes, no rollups, a sync a second, seals at 64 Mi samples, 100,000 exemplars.
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(15 * 24 * 3600),
            retention_bytes: None,
            rollups: Vec::new(),
            wal_sync: WalSync::Interval(Duration::from_secs(1)),
            head: HeadOptions {
                max_series: 5_000_000,
                max_series_per_source: None,
                source_label: "source".to_owned(),
                max_labels: 64,
                max_label_name_bytes: 1024,
                max_label_value_bytes: 4096,
                max_memory_bytes: None,
            },
            max_head_samples: 64 << 20,
            max_block_span: None,
            max_exemplars: 100_000,
            read_only: false,
        }
    }
}

/// A sample further ahead of the clock than this is refused, as Prometheus' receiver does.
pub(crate) const MAX_AHEAD_MS: i64 = 600_000;

/// Milliseconds of a duration, as far as they fit.
pub(crate) fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl StoreOptions {
    /// # Errors
    /// Names an option that makes no sense.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        for (at, rollup) in self.rollups.iter().enumerate() {
            let resolution = rollup.resolution;
            let whole = resolution.subsec_nanos() % 1_000_000 == 0;
            if !whole || resolution < SHORTEST_RESOLUTION || resolution > LONGEST_RESOLUTION {
                let text = format!("a rollup's resolution is {resolution:?}; it must lie between a second and a day");
                return Err(OpenError::Option(text));
            }
            if self.rollups[..at].iter().any(|other| other.resolution == resolution) {
                return Err(OpenError::Option(format!("there are two rollups of {resolution:?}; remove one")));
            }
        }
        Ok(())
    }

    /// The spans of blocks, ascending: two hours, six, eighteen, ... up to the longest allowed.
    pub(crate) fn spans(&self) -> Vec<i64> {
        let longest = match self.max_block_span {
            Some(span) => as_ms(span),
            None => as_ms(self.retention) / 10,
        };
        let longest = longest.min(MAX_SPAN_MS);
        let mut spans = vec![WINDOW_MS];
        let mut next = WINDOW_MS * SPANS_PER_LEVEL;
        while next <= longest {
            spans.push(next);
            next *= SPANS_PER_LEVEL;
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollup_that_makes_no_sense_is_named() {
        let rollup = |ms| Rollup { resolution: Duration::from_millis(ms), after: Duration::ZERO, retention: None };
        let check = |rollups: &[Rollup]| StoreOptions { rollups: rollups.to_vec(), ..StoreOptions::default() }.check();
        assert!(check(&[rollup(300_000), rollup(3_600_000)]).is_ok());
        for wrong in [vec![rollup(0)], vec![rollup(999)], vec![rollup(86_400_001)], vec![rollup(1000), rollup(1000)]] {
            assert!(matches!(check(&wrong), Err(OpenError::Option(_))), "{wrong:?}");
        }
    }

    #[test]
    fn spans_follow_the_retention() {
        let hours = |retention: u64| -> Vec<i64> {
            let retention = Duration::from_secs(retention * 24 * 3600);
            let options = StoreOptions { retention, ..StoreOptions::default() };
            options.spans().into_iter().map(|ms| ms / 3_600_000).collect()
        };
        assert_eq!(hours(1), [2]);
        assert_eq!(hours(15), [2, 6, 18]);
        assert_eq!(hours(3650), [2, 6, 18, 54, 162, 486]);
    }
}
