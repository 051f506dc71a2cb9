//! Processes that bear one name: the cascades of a region that was split, or a mistake. Each tells of itself alone, so the
//! source is as complete as the least complete of them.

use model::TimestampMs;

use crate::{Backlog, Behind, Report};

/// Processes of one name that are told apart.
const MAX_TELLERS: usize = 8;
/// What a process said counts for so long after it was last heard of: the others of its name go on without it then.
const COUNTS_FOR_MS: i64 = 2 * 60_000;
/// How far ahead of the clock a watermark may be: as far as samples. Nothing later is stored, so nothing later is complete.
const MAX_AHEAD_MS: i64 = 10 * 60_000;

/// What each of them said last, the one that was heard last at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tellers(Vec<Teller>);

#[derive(Debug, Clone)]
struct Teller {
    process: u64,
    heard: TimestampMs,
    watermark: Option<TimestampMs>,
    backlog: Backlog,
    behind: Vec<Behind>,
}

impl Tellers {
    /// Takes in what one of them says.
    pub(crate) fn hear(&mut self, report: &Report, now: TimestampMs) {
        let process = report.process.unwrap_or_default();
        let told = report.watermark.map(|told| told.min(TimestampMs(now.0.saturating_add(MAX_AHEAD_MS))));
        let known = self.0.iter().position(|teller| teller.process == process).map(|at| self.0.remove(at));
        self.0.retain(|teller| now - teller.heard <= COUNTS_FOR_MS);
        if self.0.len() >= MAX_TELLERS {
            self.0.remove(0);
        }
        self.0.push(Teller {
            process,
            heard: now,
            // Not the greatest: a sender that found, after it was killed, that it owes older samples says so.
            watermark: told.or(known.and_then(|teller| teller.watermark)),
            backlog: report.backlog.unwrap_or_default(),
            behind: report.behind.clone(),
        });
    }

    /// Up to when all of them are complete.
    pub(crate) fn watermark(&self) -> Option<TimestampMs> {
        self.0.iter().filter_map(|teller| teller.watermark).min()
    }

    /// What waits at all of them.
    pub(crate) fn backlog(&self) -> Backlog {
        let samples = self.0.iter().fold(0_u64, |sum, teller| sum.saturating_add(teller.backlog.samples));
        Backlog { samples, oldest: self.0.iter().filter_map(|teller| teller.backlog.oldest).min() }
    }

    /// Who lags below any of them. One that went from one process to the other is as complete as the other says.
    pub(crate) fn behind(&self) -> Vec<Behind> {
        let mut out: Vec<Behind> = Vec::new();
        for told in self.0.iter().flat_map(|teller| &teller.behind) {
            match out.iter_mut().find(|known| known.source == told.source) {
                Some(known) => known.watermark = known.watermark.max(told.watermark),
                None => out.push(told.clone()),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceName;

    fn second(second: i64) -> TimestampMs {
        TimestampMs(second * 1000)
    }

    fn report(process: u64, watermark: i64, behind: &[(&str, i64)]) -> Report {
        let behind = behind.iter().map(|(name, watermark)| Behind {
            source: SourceName::new("edge", name, ""),
            watermark: second(*watermark),
        });
        Report {
            process: Some(process),
            watermark: Some(second(watermark)),
            backlog: Some(Backlog { samples: 2, oldest: Some(second(watermark)) }),
            behind: behind.collect(),
            ..Report::default()
        }
    }

    #[test]
    fn processes_of_one_name_are_as_complete_as_the_least_complete() {
        let mut tellers = Tellers::default();
        tellers.hear(&report(1, 40, &[("a", 1), ("b", 2)]), second(50));
        tellers.hear(&report(2, 49, &[("b", 3)]), second(50));
        for _ in 0..2 {
            assert_eq!(tellers.watermark(), Some(second(40)));
            assert_eq!(tellers.backlog(), Backlog { samples: 4, oldest: Some(second(40)) });
            let behind: Vec<_> = tellers.behind().iter().map(|b| (b.source.name().to_owned(), b.watermark)).collect();
            assert!(behind.contains(&("a".into(), second(1))) && behind.contains(&("b".into(), second(3))));
            assert_eq!(behind.len(), 2);
            tellers.hear(&report(1, 40, &[("a", 1), ("b", 2)]), second(51));
        }
        // One that goes back is believed; one that is silent is waited for, but not for ever.
        tellers.hear(&report(2, 30, &[]), second(52));
        assert_eq!(tellers.watermark(), Some(second(30)));
        tellers.hear(&report(1, 170, &[]), second(171));
        assert_eq!(tellers.watermark(), Some(second(30)));
        tellers.hear(&report(1, 173, &[]), second(174));
        assert_eq!((tellers.watermark(), tellers.0.len()), (Some(second(173)), 1));
        // A clock that is ahead is believed, nonsense is not.
        for (told, want) in [(400, 400), (i64::MAX / 1000, 774)] {
            tellers.hear(&report(1, told, &[]), second(174));
            assert_eq!(tellers.watermark(), Some(second(want)));
        }
    }

    #[test]
    fn they_are_bounded() {
        let mut tellers = Tellers::default();
        (0..100).for_each(|process| tellers.hear(&report(process, 7, &[]), second(9)));
        assert_eq!(tellers.0.len(), MAX_TELLERS);
        tellers.hear(&Report { process: Some(99), ..Report::default() }, second(10));
        assert_eq!((tellers.watermark(), tellers.backlog().samples), (Some(second(7)), 2 * (MAX_TELLERS as u64 - 1)));
    }
}
