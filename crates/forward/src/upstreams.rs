//! Which of several addresses a destination is sent to.

use std::time::{Duration, Instant};

use model::Labels;
use reqwest::Url;
use xxhash_rust::xxh3::xxh3_64;

use crate::config_section::Choose;

/// The label that `choose: hash` goes by.
const HASHED: &str = "metacluster";
/// Failures in a row after which the next address is tried.
const FAILURES: usize = 2;
/// How often a better address is asked whether it works again, and how often in a row it must say so.
const ASK_EVERY: Duration = Duration::from_secs(10);
const GOOD_ANSWERS: usize = 3;

pub(crate) struct Upstreams {
    /// The best first.
    urls: Vec<Url>,
    current: usize,
    /// Failures of the current one, in a row.
    failures: usize,
    asked: Option<Instant>,
    /// Which better one answered how often in a row.
    good: (usize, usize),
}

impl Upstreams {
    /// The addresses in their order of preference.
    pub(crate) fn new(urls: &[Url], choose: Choose, external_labels: &Labels) -> Self {
        let mut urls = urls.to_vec();
        if choose == Choose::Hash {
            let key = external_labels.get(HASHED).map_or_else(|| external_labels.to_string(), str::to_owned);
            urls.sort_by_cached_key(|url| std::cmp::Reverse(xxh3_64(format!("{key}\0{url}").as_bytes())));
        }
        Self { urls, current: 0, failures: 0, asked: None, good: (0, 0) }
    }

    /// Which address is in use.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// An address.
    pub(crate) fn url(&self, index: usize) -> &Url {
        &self.urls[index % self.urls.len()]
    }

    pub(crate) fn len(&self) -> usize {
        self.urls.len()
    }

    /// A request to the current address arrived.
    pub(crate) fn works(&mut self) {
        self.failures = 0;
    }

    /// A request to the current address failed. Returns whether another one is used from now on.
    pub(crate) fn failed(&mut self) -> bool {
        self.failures += 1;
        if self.urls.len() < 2 || self.failures < FAILURES {
            return false;
        }
        self.current = (self.current + 1) % self.urls.len();
        self.failures = 0;
        self.good = (0, 0);
        true
    }

    /// The better address that should be asked now whether it works again.
    pub(crate) fn due_to_ask(&mut self, now: Instant) -> Option<usize> {
        let due = self.current > 0 && self.asked.is_none_or(|at| now.duration_since(at) >= ASK_EVERY);
        if !due {
            return None;
        }
        self.asked = Some(now);
        // After a bad answer the next better one has its turn.
        Some(self.good.0 % self.current)
    }

    /// What the address that was asked said. Returns whether it is used from now on.
    pub(crate) fn answered(&mut self, index: usize, works: bool) -> bool {
        if index >= self.current {
            return false;
        }
        self.good = match (works, self.good) {
            (true, (same, times)) if same == index => (index, times + 1),
            (true, _) => (index, 1),
            (false, _) => (index + 1, 0),
        };
        let back = self.good == (index, GOOD_ANSWERS);
        if back {
            (self.current, self.failures, self.good) = (index, 0, (0, 0));
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(count: usize) -> Vec<Url> {
        (0..count).map(|i| Url::parse(&format!("http://cascade-{i}/")).expect("a URL")).collect()
    }

    #[test]
    fn the_next_is_tried_after_failures_and_the_first_again_after_good_answers() {
        let (mut up, mut now) = (Upstreams::new(&urls(2), Choose::Order, &Labels::empty()), Instant::now());
        assert_eq!((up.current(), up.due_to_ask(now)), (0, None));
        assert!(!up.failed());
        up.works();
        assert!(!up.failed() && up.failed());
        assert_eq!((up.current(), up.due_to_ask(now), up.due_to_ask(now)), (1, Some(0), None));
        for works in [true, true, false, true, true, true] {
            assert_eq!(up.current(), 1);
            let back = up.answered(0, works);
            assert_eq!(back, up.current() == 0);
            now += ASK_EVERY;
            assert_eq!(up.due_to_ask(now), (!back).then_some(0));
        }
        assert_eq!(up.current(), 0);
        let mut alone = Upstreams::new(&urls(1), Choose::Order, &Labels::empty());
        assert!(!alone.failed() && !alone.failed() && !alone.failed());
    }

    #[test]
    fn one_more_cascade_moves_its_share_only() {
        let place = |count: usize, cell: usize| {
            let labels = Labels::from_pairs([(HASHED, format!("cell-{cell}").as_str()), ("replica", "a")]);
            let other = labels.with_overrides(&Labels::from_pairs([("replica", "b")]));
            let of = |labels| Upstreams::new(&urls(count), Choose::Hash, labels).url(0).clone();
            assert_eq!(of(&labels), of(&other), "replicas go the same way");
            of(&labels)
        };
        let moved: Vec<_> = (0..1_000).filter(|cell| place(3, *cell) != place(4, *cell)).collect();
        assert!((200..300).contains(&moved.len()), "{}", moved.len());
        assert!(moved.iter().all(|cell| place(4, *cell) == urls(4)[3]));
    }
}
