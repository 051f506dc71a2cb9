//! What makes samples in this process, and up to when all of it has been stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TimestampMs;
use parking_lot::Mutex;

/// The producers of this process (scrapes, rule groups), each with the earliest timestamp that it will still write.
/// Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// How many producers will write at this timestamp, or later, next.
    running: Arc<Mutex<BTreeMap<TimestampMs, usize>>>,
}

impl Inputs {
    /// Registers a producer whose next samples have this timestamp or a later one. Whoever works to a schedule registers
    /// its next time before it waits for it: then no watermark has passed the timestamp when it comes. Keep the guard
    /// until the samples are stored.
    #[must_use = "the watermark passes the timestamp as soon as the guard is dropped"]
    pub fn begin(&self, timestamp: TimestampMs) -> InputGuard {
        *self.running.lock().entry(timestamp).or_default() += 1;
        InputGuard { inputs: self.clone(), timestamp }
    }

    /// Everything with a timestamp up to this has been stored: a millisecond before the earliest producer, else a
    /// millisecond before `now`, since who registers in this very millisecond may still write at it.
    pub fn watermark(&self, now: TimestampMs) -> TimestampMs {
        let earliest = self.running.lock().first_key_value().map_or(now, |(timestamp, _)| *timestamp);
        earliest.min(now) - 1
    }

    /// How many producers are registered.
    pub fn registered(&self) -> usize {
        self.running.lock().values().sum()
    }
}

/// A registered producer; it is done when this is dropped.
#[derive(Debug)]
pub struct InputGuard {
    inputs: Inputs,
    timestamp: TimestampMs,
}

impl InputGuard {
    /// The earliest timestamp that its producer will still write.
    pub fn timestamp(&self) -> TimestampMs {
        self.timestamp
    }
}

impl Drop for InputGuard {
    fn drop(&mut self) {
        let mut running = self.inputs.running.lock();
        if let Some(count) = running.get_mut(&self.timestamp) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.timestamp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_producer_holds_the_watermark() {
        let inputs = Inputs::default();
        let at = |ms| inputs.watermark(TimestampMs(ms)).0;
        assert_eq!(at(100), 99);
        let (first, again, second) =
            (inputs.begin(TimestampMs(50)), inputs.begin(TimestampMs(50)), inputs.begin(TimestampMs(70)));
        assert_eq!((at(100), at(40), inputs.registered()), (49, 39, 3), "one that is due later holds nothing yet");
        drop(first);
        assert_eq!(at(100), 49);
        drop(again);
        assert_eq!(at(100), 69);
        drop(second);
        assert_eq!((at(100), inputs.registered()), (99, 0));
    }
}
