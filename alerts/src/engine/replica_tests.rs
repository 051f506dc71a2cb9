//! Two states that exchange pages come to hold the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, TimestampMs};

use super::*;
use crate::config::Config;
use crate::engine::dedup::GroupState;
use crate::engine::silence::SilenceMatcher;
use crate::engine::state::Limits;

const NOW: TimestampMs = TimestampMs(1_000_000);

fn state() -> State {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("am.yml");
    std::fs::write(&file, "route: {receiver: a}\nreceivers: [{name: a}]\n").expect("writes");
    State::new(Arc::new(Config::load(&file).expect("is valid")), Limits::default(), NOW)
}

fn fill(state: &mut State, count: usize, annotation: &str) {
    for n in 0..count {
        let alert = AlertRecord {
            labels: Labels::from_pairs([("n", n.to_string())]),
            annotations: BTreeMap::from([("text".to_owned(), annotation.to_owned())]),
            starts_at: NOW,
            ends_at: NOW + 60_000,
            updated_at: NOW,
            generator_url: String::new(),
            timeout: false,
        };
        state.receive(alert, NOW).expect("has room");
        let key = LogKey { group_key: n.to_string(), receiver: "a".to_owned(), integration: "w".to_owned(), index: 0 };
        let said = GroupState { firing: vec![n as u64], resolved: vec![] };
        state.log.merge(LogEntry::new(key, said, NOW, Duration::from_secs(60)), NOW);
        let matcher = SilenceMatcher { name: "n".to_owned(), value: n.to_string(), is_regex: false, is_equal: true };
        let silence = SilenceRecord {
            id: format!("{n:04}"),
            matchers: vec![matcher],
            starts_at: NOW,
            ends_at: NOW + 60_000,
            updated_at: NOW,
            created_by: String::new(),
            comment: String::new(),
        };
        state.silences.merge(silence, NOW);
    }
}

fn pull(from: &State, to: &mut State) -> usize {
    let mut pages = 0;
    for first in [PageRequest::Alerts(None), PageRequest::Silences(None), PageRequest::Log(None)] {
        let mut request = Some(first);
        while let Some(this) = request {
            let page = from.page(&this);
            request = this.next(&page);
            pages += 1;
            to.merge(page.records, NOW);
        }
    }
    pages
}

#[test]
fn pages_carry_everything_once() {
    let (mut full, mut empty) = (state(), state());
    fill(&mut full, 2500, "");
    assert_ne!(full.digests(NOW), empty.digests(NOW));
    assert_eq!(pull(&full, &mut empty), 9);
    assert_eq!(full.digests(NOW), empty.digests(NOW));
    let again = full.page(&PageRequest::Alerts(None)).records;
    assert_eq!(empty.merge(again, NOW), 0, "repeating changes nothing");
}

#[test]
fn pages_are_bounded_in_bytes() {
    let mut full = state();
    fill(&mut full, 100, &"x".repeat(60_000));
    let page = full.page(&PageRequest::Alerts(None));
    assert!(page.more && page.records.alerts.len() < 40, "{}", page.records.alerts.len());
}

#[test]
fn rubbish_of_a_peer_is_left_out() {
    let mut full = state();
    fill(&mut full, 1, "");
    let mut records = full.page(&PageRequest::Alerts(None)).records;
    records.alerts[0].labels = Labels::empty();
    assert_eq!(state().merge(records, NOW), 0);
}
