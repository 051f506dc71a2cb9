//! The wall clock, read at the edges of the program only.

use std::time::{SystemTime, UNIX_EPOCH};

use model::TimestampMs;

/// Milliseconds since the epoch by this machine's clock; negative where the clock stands before 1970.
pub fn now() -> TimestampMs {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        Err(before) => TimestampMs(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
    }
}
