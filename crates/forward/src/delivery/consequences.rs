//! Requests leave, and what follows from how they end.

use std::time::{Duration, Instant};

use model::TimestampMs;
use queue::{Lane, Taken};
use sources::{Backlog, Gap, MAX_GAPS, Report};

use super::{BEAT, Delivery, Event, IN_VAIN};
use crate::batch::Batch;
use crate::destination::Destination;
use crate::flight::{Flight, Outcome};
use crate::line::Line;
use crate::reconcile::MARGIN_MS;
use crate::slot::Slot;

/// How often one of the addresses that are not in use is told so, until all of them have been.
const FAREWELL_EVERY: Duration = Duration::from_secs(10);

impl Delivery {
    /// Sends what was gathered.
    pub(super) fn launch_batch(&mut self, mut batch: Batch, now: Instant) {
        batch.settle();
        if batch.lane == Lane::Live {
            self.last_batch = now;
        }
        let mut metadata = if batch.lane == Lane::Live { self.destination.take_metadata() } else { Vec::new() };
        metadata.retain(|entry| self.outgoing.wants(entry));
        let max = self.destination.config.queue.max_samples_per_send;
        let slot = self.slots.pop().unwrap_or_default();
        let mut flight = Flight::new(batch, metadata, max, self.vain >= IN_VAIN, slot);
        flight.is_in_order = !self.had_lanes;
        self.launch(Box::new(flight), now);
    }

    pub(super) fn launch(&mut self, mut flight: Box<Flight>, now: Instant) {
        let line = self.line().clone();
        (flight.report, flight.gaps) = self.report(&line, flight.batch.lane);
        match flight.batch.lane {
            Lane::Live => self.flying.live += 1,
            Lane::Backlog => self.flying.backfill += 1,
        }
        self.flying.samples += flight.batch.samples();
        self.destination.metrics.in_flight(self.flying.live, self.flying.backfill);
        self.last_request = now;
        let upstream = self.upstreams.current();
        self.events.spawn(async move {
            let outcome = flight.run(&line).await;
            Event::Landed { flight, outcome, upstream, began: now }
        });
    }

    /// An idle sender repeats its watermark to a receiver that understands it, so that silence and "nothing new" differ.
    pub(super) fn beat(&mut self, now: Instant) {
        let is_due = self.flying.all() == 0 && now.duration_since(self.last_request) >= BEAT;
        if is_due && self.give_up.is_none() && self.line().negotiation.lock().is_ours() {
            let slot = self.slots.pop().unwrap_or_default();
            let flight = Flight::new(Batch::new(Lane::Live), Vec::new(), 1, false, slot);
            self.launch(Box::new(flight), now);
        }
    }

    /// What the headers of a request say of us, to receivers that may be ours; and the gaps among that.
    fn report(&self, line: &Line, lane: Lane) -> (Vec<(&'static str, String)>, Vec<queue::Gap>) {
        if line.negotiation.lock().is_stranger() {
            return Default::default();
        }
        // The tier's watermark is asked first: whatever it covers was queued before.
        let report = self.core.report();
        let oldest = self.cursor.oldest_undelivered_timestamp();
        let before = |time: TimestampMs, by: i64| TimestampMs(time.0.saturating_sub(by));
        // What is stored and could not be queued is not under way either.
        let unqueued = self.core.unqueued_since().map(|since| before(since, MARGIN_MS + 1));
        let watermark = report.watermark.map(|tier| {
            oldest.map(|oldest| before(oldest, 1)).into_iter().chain(unqueued).fold(tier, TimestampMs::min)
        });
        if let Some(watermark) = watermark {
            self.destination.metrics.watermark.set(watermark.as_seconds());
        }
        let waiting = self.cursor.waiting();
        let mut gaps = self.cursor.gaps();
        gaps.truncate(MAX_GAPS);
        let told = |gap: &queue::Gap| Gap { from: gap.from, to: gap.to, samples: gap.samples };
        let lane = match lane {
            Lane::Live => sources::Lane::Live,
            Lane::Backlog => sources::Lane::Backfill,
        };
        let backlog = Backlog { samples: waiting.live.samples + waiting.backlog.samples, oldest };
        let gaps_told = gaps.iter().map(told).collect();
        let report = Report { watermark, lane: Some(lane), backlog: Some(backlog), gaps: gaps_told, ..report };
        (report.to_headers(), gaps)
    }

    /// Asks a better address whether it works again.
    pub(super) fn ask_better(&mut self, now: Instant) {
        let Some(upstream) = self.upstreams.due_to_ask(now) else { return };
        let line = self.lines[upstream].clone();
        self.events.spawn(async move {
            let mut nothing = Flight::new(Batch::new(Lane::Live), Vec::new(), 1, false, Slot::default());
            let works = matches!(nothing.run(&line).await, Outcome::Arrived(_)) && !nothing.is_unwelcome();
            Event::Asked { upstream, works }
        });
    }

    /// Tells an address that was in use that it is not any more: what sends there is not silent, but elsewhere.
    pub(super) fn say_farewell(&mut self, now: Instant) {
        if now < self.farewell_at || self.give_up.is_some() {
            return;
        }
        self.farewell_at = now + FAREWELL_EVERY;
        let current = self.upstreams.current();
        let Some(at) = self.left.iter().position(|upstream| *upstream != current) else { return };
        let upstream = self.left.remove(at);
        let line = self.lines[upstream].clone();
        let own = &self.destination.config.name;
        let is_used = |other: &Destination| other.config.name != *own && other.config.urls.contains(&line.url);
        if line.negotiation.lock().is_stranger() || self.core.destinations().iter().any(|other| is_used(other)) {
            return;
        }
        let Report { source, process, version, .. } = self.core.report();
        let report = Report { source, process, version, is_elsewhere: true, ..Report::default() }.to_headers();
        self.events.spawn(async move {
            let mut nothing = Flight::new(Batch::new(Lane::Live), Vec::new(), 1, false, Slot::default());
            nothing.report = report;
            let is_told = matches!(nothing.run(&line).await, Outcome::Arrived(_));
            Event::Left { upstream, is_told }
        });
    }

    pub(super) fn happened(&mut self, event: Event) {
        match event {
            // It is away; it will be told when it is back.
            Event::Left { upstream, is_told: false } if !self.left.contains(&upstream) => self.left.push(upstream),
            Event::Left { .. } => {}
            Event::Landed { flight, outcome, upstream, began } => self.landed(flight, outcome, upstream, began),
            Event::Read { read, had_lanes } => self.was_read(read, had_lanes),
            Event::Asked { upstream, works } => {
                if self.upstreams.answered(upstream, works) {
                    self.moved("the better address works again");
                }
            }
        }
    }

    fn was_read(&mut self, read: Result<Vec<Taken>, queue::QueueError>, had_lanes: bool) {
        self.reading = false;
        match read {
            // What was read for lanes is in no order for who has none.
            Ok(all) if had_lanes != self.had_lanes => {
                (self.unread, self.is_dry) = (true, false);
                all.into_iter().for_each(|taken| self.cursor.put_back(taken));
                if !self.had_lanes {
                    self.cursor.put_in_order();
                }
            }
            // Without lanes both are gathered together, in the order in which they were read.
            Ok(all) if self.had_lanes => {
                self.is_dry = all.is_empty();
                all.into_iter().for_each(|taken| match taken.lane {
                    Lane::Live => self.cursor.put_back(taken),
                    Lane::Backlog => self.add(taken, Lane::Backlog),
                });
                self.skip_empty(Lane::Backlog);
            }
            Ok(all) => {
                self.unread |= !all.is_empty();
                all.into_iter().for_each(|taken| self.add(taken, Lane::Live));
                self.skip_empty(Lane::Live);
            }
            Err(error) => self.unreadable(&error),
        }
    }

    fn landed(&mut self, mut flight: Box<Flight>, outcome: Outcome, upstream: usize, began: Instant) {
        let was_busy = self.flying.all() >= self.pace.limit();
        match flight.batch.lane {
            Lane::Live => self.flying.live -= 1,
            Lane::Backlog => self.flying.backfill -= 1,
        }
        self.flying.samples -= flight.batch.samples();
        self.destination.metrics.in_flight(self.flying.live, self.flying.backfill);
        let is_here = upstream == self.upstreams.current();
        match outcome {
            Outcome::Arrived(took) => {
                self.pace.answered(took, was_busy, Instant::now());
                if is_here {
                    self.circuit.works();
                    self.upstreams.works();
                    self.slots.push(std::mem::take(&mut flight.slot));
                }
                self.arrived(&flight, began.elapsed());
            }
            Outcome::Failed { reason, asked, is_busy } => {
                self.pace.slow_down(Instant::now());
                if is_here {
                    self.failed(&reason, asked, is_busy);
                }
                self.destination.say_again(&flight.metadata);
                flight.metadata.clear();
                if self.had_lanes || !flight.is_in_order {
                    self.give_back(flight.batch);
                    self.put_back();
                    if !self.had_lanes {
                        self.cursor.put_in_order();
                    }
                } else if !flight.batch.taken.is_empty() {
                    if upstream != self.upstreams.current() {
                        flight.slot = Slot::default();
                    }
                    self.held = Some(flight);
                }
            }
        }
        self.measure();
    }

    fn arrived(&mut self, flight: &Flight, took: Duration) {
        let (batch, now) = (&flight.batch, Instant::now());
        batch.taken.iter().for_each(|taken| self.cursor.delivered(taken.position));
        // Others do not read what we say of ourselves, and who does may still come.
        if !flight.is_unwelcome() && self.line().negotiation.lock().is_ours() {
            self.cursor.told(&flight.gaps);
        }
        self.destination.metrics.dropped("too_old", batch.too_old);
        if batch.samples() > 0 {
            self.vain = match flight.was_in_vain() {
                (false, _) => 0,
                (true, minds_order) => self.vain.saturating_add(if minds_order { 1 } else { IN_VAIN }),
            };
        }
        if let Some(newest) = batch.newest() {
            self.destination.metrics.newest_sent.set(newest.as_seconds());
        }
        let Some(arrived) = batch.arrived else { return };
        match batch.lane {
            Lane::Live => {
                let after = u64::try_from(runtime::now().0 - arrived.0).unwrap_or(0);
                let (after, target) = (Duration::from_millis(after), self.destination.config.queue.live_target);
                self.destination.metrics.freshness.observe(after.as_secs_f64());
                self.is_fresh = after <= target;
                self.pace.live_arrived(after, target, now);
            }
            Lane::Backlog => {
                if self.is_fresh {
                    self.pace.backlog_arrived();
                }
                self.rest_until = now + self.pace.rest(took);
            }
        }
    }

    fn failed(&mut self, reason: &str, asked: Option<Duration>, is_busy: bool) {
        let (now, metrics) = (Instant::now(), &self.destination.metrics);
        metrics.up.set(0);
        metrics.retries.inc();
        if self.failures.is_due() {
            let waiting = self.cursor.waiting();
            let waiting = waiting.live.samples + waiting.backlog.samples;
            let (destination, url) = (&self.destination.config.name, self.line().url.as_str());
            tracing::warn!(destination, url, reason, waiting, "cannot send; will try again");
        }
        let is_news = self.circuit.failed(now, asked);
        // Who is busy works; somebody else need not be troubled.
        if is_news && !is_busy && self.upstreams.failed() {
            self.circuit.elsewhere(now);
            self.moved("the address does not work");
        }
    }

    /// Another address is used from now on. What was announced to the one before means nothing to it.
    fn moved(&mut self, reason: &str) {
        self.slots.clear();
        self.left = (0..self.upstreams.len()).collect();
        // When nothing is under way to them any more.
        self.farewell_at = Instant::now() + self.destination.config.timeout;
        if let Some(held) = &mut self.held {
            held.slot = Slot::default();
        }
        let (destination, url) = (&self.destination.config.name, self.line().url.as_str());
        tracing::warn!(destination, url, reason, "sending to another address from now on");
    }

    /// Records that are in hand, but not under way, go back.
    pub(super) fn put_back(&mut self) {
        let next = std::mem::replace(&mut self.next, Batch::new(Lane::Live));
        let backlog = std::mem::replace(&mut self.backlog, Batch::new(Lane::Backlog));
        self.give_back(next);
        self.give_back(backlog);
    }

    pub(super) fn give_back(&mut self, batch: Batch) {
        self.unread |= !batch.taken.is_empty();
        self.is_dry &= batch.taken.is_empty();
        batch.taken.into_iter().for_each(|taken| self.cursor.put_back(taken));
    }

    /// Brings metrics up to date.
    pub(super) fn measure(&mut self) {
        let (now, waiting, metrics) = (Instant::now(), self.cursor.waiting(), &self.destination.metrics);
        self.measured = now;
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.queued.set(whole(waiting.live.samples + waiting.backlog.samples));
        metrics.backlog.set(whole(waiting.backlog.samples));
        metrics.backlog_bytes.set(whole(waiting.backlog.bytes));
        metrics.backlog_oldest.set(waiting.backlog_oldest.map_or(0.0, TimestampMs::as_seconds));
        metrics.circuit.set(self.circuit.state(now));
        let oldest = waiting.backlog_oldest.into_iter().chain(self.cursor.oldest_live_arrival()).min();
        let age = oldest.map_or(0.0, |at| (runtime::now().0 - at.0).max(0) as f64 / 1000.0);
        metrics.oldest.set(age);
    }
}
