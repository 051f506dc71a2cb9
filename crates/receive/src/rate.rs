//! How many samples a second each source may send. A source may be in debt: a request is taken while there is none, and
//! the next ones wait until it is paid, so requests of any size get through.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sources::{Lane, SourceName};

/// Sources whose rate is remembered. Those that have been quiet are forgotten first.
const MAX_SOURCES: usize = 20_000;
/// Seconds of the rate that may come at once after a quiet time.
const BURST_SECONDS: f64 = 2.0;

/// The rates of all sources.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: Option<f64>,
    accounts: Mutex<HashMap<SourceName, Account>>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    samples: f64,
    at: Instant,
}

impl Rates {
    pub(crate) fn new(per_second: Option<u32>) -> Self {
        Self { per_second: per_second.map(|rate| f64::from(rate.max(1))), accounts: Mutex::default() }
    }

    /// After how many seconds a source may send again in this lane, if it may not now. A backlog leaves a second's worth to
    /// what is new: who catches up must not be the reason that it stays behind.
    pub(crate) fn wait(&self, source: &SourceName, lane: Lane, now: Instant) -> Option<u64> {
        let rate = self.per_second?;
        let left = match lane {
            Lane::Live => 0.0,
            Lane::Backfill => rate,
        };
        let account = self.accounts.lock().get(source)?.at(now, rate);
        (account.samples < left).then(|| ((left - account.samples) / rate).ceil() as u64)
    }

    /// Counts what a source has sent.
    pub(crate) fn count(&self, source: &SourceName, samples: usize, now: Instant) {
        let Some(rate) = self.per_second else { return };
        let mut accounts = self.accounts.lock();
        if accounts.len() >= MAX_SOURCES && !accounts.contains_key(source) {
            let full = Duration::from_secs_f64(BURST_SECONDS);
            accounts.retain(|_, account| now.saturating_duration_since(account.at) < full);
            if accounts.len() >= MAX_SOURCES {
                return;
            }
        }
        let full = Account { samples: rate * BURST_SECONDS, at: now };
        let account = accounts.entry(source.clone()).or_insert(full);
        *account = account.at(now, rate);
        account.samples -= samples as f64;
    }
}

impl Account {
    /// What it has become by now.
    fn at(&self, now: Instant, rate: f64) -> Self {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        Self { samples: (self.samples + earned).min(rate * BURST_SECONDS), at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_in_debt_waits_and_others_do_not() {
        let (rates, start) = (Rates::new(Some(10)), Instant::now());
        let [a, b] = ["a", "b"].map(|name| SourceName::new("edge", name, ""));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rates.wait(&a, Lane::Live, start), None);
        rates.count(&a, 20, start);
        assert_eq!(rates.wait(&a, Lane::Live, start), None, "two seconds' worth at once");
        rates.count(&a, 95, start);
        assert_eq!((rates.wait(&a, Lane::Live, start), rates.wait(&b, Lane::Live, start)), (Some(10), None));
        assert_eq!((rates.wait(&a, Lane::Live, after(9)), rates.wait(&a, Lane::Live, after(10))), (Some(1), None));
        rates.count(&a, 21, after(100));
        assert_eq!(rates.wait(&a, Lane::Live, after(100)), Some(1), "no more than two seconds are saved");
        let unlimited = Rates::new(None);
        unlimited.count(&a, usize::MAX, start);
        assert_eq!(unlimited.wait(&a, Lane::Live, start), None);
    }

    #[test]
    fn a_backlog_leaves_room_for_what_is_new() {
        let (rates, start) = (Rates::new(Some(10)), Instant::now());
        let a = SourceName::new("edge", "a", "");
        let waits = |lane| rates.wait(&a, lane, start);
        assert_eq!(waits(Lane::Backfill), None);
        rates.count(&a, 10, start);
        assert_eq!(waits(Lane::Backfill), None, "a second's worth is left");
        rates.count(&a, 1, start);
        assert_eq!((waits(Lane::Backfill), waits(Lane::Live)), (Some(1), None));
        rates.count(&a, 19, start);
        assert_eq!((waits(Lane::Backfill), waits(Lane::Live)), (Some(2), Some(1)));
    }
}
