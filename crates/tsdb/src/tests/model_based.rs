//! The store against a map, through kills, power losses, full disks, seals, compaction, retention and deletes.
//!
//! Of every sample the model knows whether it must be there (`Sure`) or may be (`Maybe`: it was refused as a whole with
//! its batch, was not flushed when the power went, or is so old that retention may take it). Nothing else may be there,
//! and nothing twice: `everything` checks that times ascend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use disk::Fault;
use model::{Matcher, RefusalReason};
use proptest::prelude::*;

use super::support::{Content, HOUR, MINUTE, NOW, World, append, everything, range, recovered, select};
use crate::{Store, WalSync};

const RETENTION_HOURS: i64 = 40;

/// What the model knows of one series at one time.
#[derive(Debug, Clone, Default)]
struct Cell {
    /// The value that was acknowledged.
    sure: Option<u64>,
    /// Whether it also survives a power loss.
    durable: bool,
    /// Values that may be there instead.
    maybe: BTreeSet<u64>,
}

type Model = BTreeMap<(String, i64), Cell>;

#[derive(Debug, Clone)]
enum Step {
    /// Series, minutes after the present, value.
    Append(Vec<(u8, i64, u8)>),
    /// The present moves on.
    Advance(i64),
    Sync,
    Maintain,
    Kill,
    PowerLoss,
    Stop,
    Full(u64),
    FailSync,
    Heal,
    Delete(u8, i64, i64),
    CleanTombstones,
}

fn any_step() -> impl Strategy<Value = Step> {
    let recent = (0u8..4, -30i64..30, 0u8..3);
    let old = (0u8..4, (-20 * 60i64..0).prop_map(|m| m / 7 * 7), 0u8..3);
    prop_oneof![
        10 => prop::collection::vec(recent, 1..12).prop_map(Step::Append),
        3 => prop::collection::vec(old, 1..6).prop_map(Step::Append),
        5 => (1i64..150).prop_map(Step::Advance),
        3 => Just(Step::Sync),
        8 => Just(Step::Maintain),
        2 => Just(Step::Kill),
        2 => Just(Step::PowerLoss),
        1 => Just(Step::Stop),
        1 => (0u64..3000).prop_map(Step::Full),
        1 => Just(Step::FailSync),
        3 => Just(Step::Heal),
        1 => (0u8..4, -300i64..0, 0i64..200).prop_map(|(s, from, length)| Step::Delete(s, from, from + length)),
        1 => Just(Step::CleanTombstones),
    ]
}

struct Run {
    world: World,
    store: Arc<Store>,
    model: Model,
    now: i64,
    newest: i64,
}

impl Run {
    fn new(seed: u64, max_head_samples: u64) -> Self {
        let mut world = World::seeded(seed);
        world.options.retention = Duration::from_secs(RETENTION_HOURS as u64 * 3600);
        world.options.max_block_span = Some(Duration::from_secs(18 * 3600));
        world.options.max_head_samples = max_head_samples;
        world.options.wal_sync = WalSync::Off;
        let store = world.open();
        Self { world, store, model: Model::new(), now: NOW, newest: i64::MIN }
    }

    fn cutoff(&self) -> i64 {
        self.newest.saturating_sub(RETENTION_HOURS * HOUR)
    }

    fn append(&mut self, rows: &[(u8, i64, u8)]) {
        let mut rows: Vec<(String, i64, f64)> =
            rows.iter().map(|(s, minute, v)| (format!("s{s}"), self.now + minute * MINUTE, f64::from(*v))).collect();
        rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let borrowed: Vec<_> = rows.iter().map(|(s, t, v)| (s.as_str(), *t, *v)).collect();
        let outcome = append(&self.store, &borrowed);
        let refused: BTreeMap<usize, RefusalReason> = match &outcome {
            Ok(report) => report.refused.iter().map(|r| (r.row, r.reason)).collect(),
            Err(_) => BTreeMap::new(),
        };
        for (row, (series, at, value)) in rows.iter().enumerate() {
            if outcome.is_err() {
                // It may be in memory, so retention may count from it.
                self.newest = self.newest.max(*at);
                self.model.entry((series.clone(), *at)).or_default().maybe.insert(value.to_bits());
                continue;
            }
            let cell = self.model.entry((series.clone(), *at)).or_default();
            match refused.get(&row) {
                None => {
                    let bits = value.to_bits();
                    assert!(cell.sure.is_none_or(|sure| sure == bits), "{series} {at}: stored beside another value");
                    cell.sure = Some(bits);
                    cell.maybe.clear();
                    self.newest = self.newest.max(*at);
                }
                Some(RefusalReason::DuplicateTimestamp) => {
                    let known: Vec<u64> = cell.sure.iter().chain(&cell.maybe).copied().collect();
                    assert!(known.iter().any(|v| *v != value.to_bits()), "{series} {at}: refused for nothing");
                }
                Some(RefusalReason::TooFarInFuture) => assert!(*at > self.now + 10 * MINUTE),
                Some(RefusalReason::OutOfBounds) => {}
                Some(other) => panic!("{other}"),
            }
        }
    }

    /// Compares what is there with the model, and lets the model forget what turned out not to be there.
    fn compare(&mut self) {
        self.compare_with(&everything(&self.store));
    }

    fn compare_with(&mut self, found: &Content) {
        let cutoff = self.cutoff();
        for (series, samples) in found {
            for (at, value) in samples {
                let cell = self.model.get(&(series.clone(), *at));
                let known = cell.is_some_and(|c| c.sure == Some(*value) || c.maybe.contains(value));
                assert!(known, "{series} at {at} has {value}, the model has {cell:?}");
            }
        }
        for ((series, at), cell) in &mut self.model {
            let there = found.get(series).and_then(|samples| samples.get(at));
            if there.is_none() && *at >= cutoff {
                assert!(cell.sure.is_none(), "{series} at {at} is missing: {cell:?}");
            }
            match there {
                Some(value) => (cell.sure, cell.maybe) = (Some(*value), BTreeSet::new()),
                None => *cell = Cell::default(),
            }
        }
        self.model.retain(|_, cell| cell.sure.is_some());
    }

    fn durable(&mut self) {
        self.model.values_mut().for_each(|cell| cell.durable = cell.sure.is_some());
    }

    /// What was not flushed may be gone.
    fn power_fails(&mut self) {
        for cell in self.model.values_mut().filter(|cell| !cell.durable) {
            cell.maybe.extend(cell.sure.take());
        }
    }

    fn reopen(&mut self) {
        self.world.disk.clear_faults();
        self.store = self.world.open();
        recovered(&self.store);
        self.compare();
        // The log of the last run was sealed into blocks, which are flushed.
        self.durable();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(rows) => self.append(rows),
            Step::Advance(minutes) => {
                self.now += minutes * MINUTE;
                self.world.at(self.now);
            }
            Step::Sync => {
                if self.store.sync().is_ok() {
                    self.durable();
                }
            }
            Step::Maintain => self.store.maintain(),
            Step::Kill => {
                self.world.disk.kill();
                self.reopen();
            }
            Step::PowerLoss => {
                self.power_fails();
                self.world.disk.power_loss();
                self.reopen();
            }
            Step::Stop => {
                let stopped = self.store.close();
                self.world.disk.kill();
                if stopped.is_ok() {
                    self.durable();
                }
                self.reopen();
            }
            Step::Full(after_bytes) => self.world.disk.set_fault(Fault::Full { after_bytes: *after_bytes }),
            Step::FailSync => self.world.disk.set_fault(Fault::FailSync),
            Step::Heal => self.world.disk.clear_faults(),
            Step::Delete(series, from, to) => self.delete(*series, self.now + from * MINUTE, self.now + to * MINUTE),
            Step::CleanTombstones => {
                // A disk that fails leaves the tombstones, which hide as much.
                let _ = self.store.clean_tombstones();
            }
        }
    }

    fn delete(&mut self, series: u8, from: i64, to: i64) {
        let name = format!("s{series}");
        let matchers = vec![Matcher::equal("series", &*name)];
        let outcome = self.store.delete_series(&[matchers], range(from, to));
        for (_, cell) in self.model.range_mut((name.clone(), from)..=(name, to)) {
            if outcome.is_err() {
                // Some of it may have been deleted.
                cell.maybe.extend(cell.sure.take());
            } else {
                *cell = Cell::default();
            }
        }
        self.model.retain(|_, cell| cell.sure.is_some() || !cell.maybe.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]
    #[test]
    fn holds_what_was_acknowledged(
        steps in prop::collection::vec(any_step(), 1..60),
        seed in any::<u64>(),
        max_head_samples in prop::sample::select(vec![10u64, 40, 100_000]),
    ) {
        let mut run = Run::new(seed, max_head_samples);
        for step in &steps {
            run.step(step);
            if !matches!(step, Step::Append(_) | Step::Advance(_)) {
                let found = everything(&run.store);
                run.compare_running(&found);
            }
        }
        run.world.disk.clear_faults();
        for _ in 0..20 {
            run.store.maintain();
        }
        run.compare();
        // A part of it, by matchers and time.
        let matchers = [Matcher::equal("series", "s1")];
        let part = range(run.now - 3 * HOUR, run.now);
        let mut want = everything(&run.store);
        want.retain(|series, samples| {
            samples.retain(|at, _| (part.start.0..=part.end.0).contains(at));
            series == "s1" && !samples.is_empty()
        });
        prop_assert_eq!(select(&run.store, &matchers, part, model::Hints::default()), want);
    }
}

impl Run {
    /// As [`Run::compare`], while the store goes on: what may be there may still come.
    fn compare_running(&mut self, found: &Content) {
        let cutoff = self.cutoff();
        for ((series, at), cell) in &self.model {
            let there = found.get(series).and_then(|samples| samples.get(at));
            if let (Some(sure), true) = (cell.sure, *at >= cutoff) {
                assert_eq!(there, Some(&sure), "{series} at {at}");
            }
        }
        for (series, samples) in found {
            for (at, value) in samples {
                let cell = self.model.get(&(series.clone(), *at));
                let known = cell.is_some_and(|c| c.sure == Some(*value) || c.maybe.contains(value));
                assert!(known, "{series} at {at} has {value}, the model has {cell:?}");
            }
        }
    }
}
