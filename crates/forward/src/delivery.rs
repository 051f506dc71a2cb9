//! The task of one destination: takes from its cursor what may go now, keeps requests under way, and draws the
//! consequences of how they end.
//!
//! A receiver with lanes gets what is new at once and the backlog beside it, several requests at a time. Any other gets
//! one request at a time, oldest first, so that samples of a series arrive in the order in which they came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::TimestampMs;
use queue::{Cursor, Lane, Order, QueueError, Taken};
use runtime::Stop;
use tokio::task::JoinSet;

use crate::batch::{Batch, Wanted};
use crate::circuit::Circuit;
use crate::core::Core;
use crate::destination::Destination;
use crate::flight::{Flight, Outcome};
use crate::line::{Line, LogLimit};
use crate::outgoing::Outgoing;
use crate::pace::Pace;
use crate::queue_section::Backfill;
use crate::slot::Slot;
use crate::upstreams::Upstreams;

mod consequences;

/// How long a stopping destination goes on, requests under way included.
const DRAIN: Duration = Duration::from_secs(10);
/// How often something is said at least to receivers of ours, so that silence means something.
const BEAT: Duration = Duration::from_secs(1);
/// How long a request waits for samples that come with its first ones.
const GATHER: Duration = Duration::from_millis(100);
/// How often metrics are brought up to date.
const MEASURE: Duration = Duration::from_millis(100);
/// Batches in a row that a receiver may refuse for their order before it counts as one that refuses everything.
const IN_VAIN: u32 = 20;
/// Samples of records that are looked through for one request, for each that it may carry: of a destination that wants
/// one in a hundred, not everything is held until a request is full.
const LOOKED_THROUGH: usize = 10;

/// What the task waits for beside pushes and time.
enum Event {
    Landed { flight: Box<Flight>, outcome: Outcome, upstream: usize, began: Instant },
    Read { read: Result<Vec<Taken>, QueueError>, had_lanes: bool },
    Asked { upstream: usize, works: bool },
    Left { upstream: usize, is_told: bool },
}

/// Requests under way.
#[derive(Default)]
struct Flying {
    live: usize,
    backfill: usize,
    samples: usize,
}

impl Flying {
    fn all(&self) -> usize {
        self.live + self.backfill
    }
}

pub(crate) struct Delivery {
    pub(crate) core: Arc<Core>,
    pub(crate) destination: Arc<Destination>,
    pub(crate) cursor: Arc<Cursor>,
    pub(crate) stop: Stop,
    outgoing: Outgoing,
    lines: Vec<Arc<Line>>,
    upstreams: Upstreams,
    /// Addresses that are not in use and have not been told so, and when they are.
    left: Vec<usize>,
    farewell_at: Instant,
    circuit: Circuit,
    pace: Pace,
    slots: Vec<Slot>,
    events: JoinSet<Event>,
    flying: Flying,
    /// What is gathered for the next request of the live lane; without lanes, for the next one.
    next: Batch,
    /// What of the backlog is ready to be sent.
    backlog: Batch,
    /// Without lanes: what failed, and goes before everything else.
    held: Option<Box<Flight>>,
    had_lanes: bool,
    reading: bool,
    /// Whether there may be more to read.
    unread: bool,
    /// With lanes: whether all that is left of the backlog is under way.
    is_dry: bool,
    /// When that was assumed for no other reason than that time has passed.
    looked: Instant,
    rest_until: Instant,
    last_request: Instant,
    /// When samples were sent that are not of the backlog.
    last_batch: Instant,
    /// When the first sample was gathered for the next request.
    gathering: Instant,
    is_fresh: bool,
    /// Batches in a row of which nothing was taken although they were cut to pieces; from [`IN_VAIN`] on they are not worth it.
    vain: u32,
    give_up: Option<Instant>,
    measured: Instant,
    failures: LogLimit,
}

impl Delivery {
    pub(crate) fn new(
        core: Arc<Core>,
        destination: Arc<Destination>,
        cursor: Arc<Cursor>,
        lines: Vec<Arc<Line>>,
        upstreams: Upstreams,
        stop: Stop,
    ) -> Self {
        let (queue, now) = (destination.config.queue, Instant::now());
        let wake = destination.wake.clone();
        cursor.wake_with(Arc::new(move || wake.notify_one()));
        Self {
            outgoing: Outgoing::new(destination.selector.clone()),
            // An earlier process may have used them.
            left: (0..upstreams.len()).collect(),
            farewell_at: now,
            circuit: Circuit::new(queue.min_backoff, queue.max_backoff),
            pace: Pace::new(queue.max_requests),
            slots: Vec::new(),
            events: JoinSet::new(),
            flying: Flying::default(),
            next: Batch::new(Lane::Live),
            backlog: Batch::new(Lane::Backlog),
            held: None,
            had_lanes: false,
            reading: false,
            unread: true,
            is_dry: false,
            looked: now,
            rest_until: now,
            last_request: now,
            last_batch: now,
            gathering: now,
            is_fresh: true,
            vain: 0,
            give_up: None,
            measured: now,
            failures: LogLimit::default(),
            core,
            destination,
            cursor,
            lines,
            upstreams,
            stop,
        }
    }

    /// Delivers until the end is asked for, then what is new within [`DRAIN`].
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            if self.has_ended(now) {
                break;
            }
            self.step(now);
            let pause = self.pause(Instant::now());
            let (is_ending, stop) = (self.give_up.is_some(), self.stop.clone());
            tokio::select! {
                event = self.events.join_next(), if !self.events.is_empty() => {
                    if let Some(Ok(event)) = event {
                        self.happened(event);
                    }
                }
                () = self.destination.wake.notified() => self.unread = true,
                () = tokio::time::sleep(pause) => {}
                () = stop.requested(), if !is_ending => {}
                () = self.destination.closing.cancelled(), if !is_ending => {}
            }
        }
        self.events.shutdown().await;
        self.leave();
    }

    /// What is in hand goes back; of a destination that is gone, the rest is lost.
    fn leave(&mut self) {
        self.put_back();
        if let Some(flight) = self.held.take() {
            self.give_back(flight.batch);
        }
        self.measure();
        let is_gone = self.destination.closing.is_cancelled() && !self.destination.is_handed_over();
        let waiting = self.cursor.waiting();
        let lost = waiting.live.samples + waiting.backlog.samples;
        let name = &self.destination.config.name;
        if is_gone && lost > 0 {
            self.destination.metrics.dropped("removed", usize::try_from(lost).unwrap_or(usize::MAX));
            tracing::warn!(destination = %name, samples = lost, "removed before everything was sent; these samples are lost");
        } else if lost > 0 {
            tracing::info!(destination = %name, samples = lost, "stopped; what is not sent stays in the queue");
        }
    }

    /// Whether there is nothing more to do. Notes when the end was asked for.
    fn has_ended(&mut self, now: Instant) -> bool {
        let is_closing = self.destination.closing.is_cancelled();
        if !is_closing && !self.stop.is_requested() {
            return false;
        }
        let give_up = *self.give_up.get_or_insert_with(|| {
            // There may be something that nobody has looked at.
            self.unread = true;
            now + DRAIN
        });
        if now >= give_up {
            return true;
        }
        if self.destination.is_handed_over() {
            return self.flying.all() == 0;
        }
        let is_hopeless = self.circuit.is_probing() && !is_closing;
        let is_behind = is_closing && self.cursor.waiting().backlog.samples > 0;
        let has_more = self.unread || self.reading || self.held.is_some() || !self.next.taken.is_empty() || is_behind;
        self.flying.all() == 0 && (is_hopeless || !has_more)
    }

    fn has_lanes(&self) -> bool {
        self.line().negotiation.lock().has_lanes()
    }

    fn line(&self) -> &Arc<Line> {
        // There is a line for every address, and one address at least.
        &self.lines[self.upstreams.current()]
    }

    /// Does what may be done now.
    fn step(&mut self, now: Instant) {
        if now.duration_since(self.measured) >= MEASURE {
            self.measure();
            self.outgoing.forget_old(now);
        }
        if now.duration_since(self.looked) >= BEAT {
            // What could not be read is tried again.
            (self.looked, self.unread, self.is_dry) = (now, true, false);
        }
        if self.give_up.is_some() && self.destination.is_handed_over() {
            return;
        }
        let has_lanes = self.has_lanes();
        if has_lanes != self.had_lanes {
            self.had_lanes = has_lanes;
            self.unread = true;
            self.put_back();
            if let Some(flight) = self.held.take() {
                self.give_back(flight.batch);
            }
            if !has_lanes {
                self.cursor.put_in_order();
            }
        }
        self.ask_better(now);
        self.say_farewell(now);
        let is_open = !self.circuit.pause(now).is_zero();
        let is_busy_probing = self.circuit.is_probing() && self.flying.all() > 0;
        if is_open || is_busy_probing {
            return;
        }
        if has_lanes {
            self.step_lanes(now);
        } else {
            self.step_in_order(now);
        }
        self.beat(now);
    }

    /// One request at a time, oldest first.
    fn step_in_order(&mut self, now: Instant) {
        if self.flying.all() > 0 {
            return;
        }
        if let Some(flight) = self.held.take() {
            return self.launch(flight, now);
        }
        let max = self.destination.config.queue.max_samples_per_send;
        let is_full = self.next.samples() >= max || self.looked_through(&self.next);
        if !self.next.is_empty() && (is_full || self.is_due(now) || (self.give_up.is_some() && !self.unread)) {
            let batch = std::mem::replace(&mut self.next, Batch::new(Lane::Live));
            self.launch_batch(batch, now);
        } else if !is_full && self.unread && !self.reading {
            self.unread = false;
            self.read(|cursor| match cursor.next_backlog(Order::OldestFirst)? {
                Some(taken) => Ok(Some(taken)),
                None => cursor.next_live(),
            });
        }
    }

    /// What is new first, and beside it the backlog.
    fn step_lanes(&mut self, now: Instant) {
        let queue = self.destination.config.queue;
        let target = i64::try_from(queue.live_target.as_millis()).unwrap_or(i64::MAX);
        self.is_dry &= self.cursor.fall_behind(TimestampMs(runtime::now().0.saturating_sub(target))) == 0;
        let is_probing = self.circuit.is_probing();
        let room = if is_probing { 1 } else { self.pace.limit() };
        while self.flying.live < room {
            self.gather_live();
            let is_full = self.next.samples() >= queue.max_samples_per_send || self.looked_through(&self.next);
            let is_due = is_full || self.is_due(now) || is_probing || self.give_up.is_some();
            if self.next.is_empty() || !is_due {
                break;
            }
            let batch = std::mem::replace(&mut self.next, Batch::new(Lane::Live));
            self.launch_batch(batch, now);
        }
        let may_follow = self.flying.backfill < self.pace.backfill() && now >= self.rest_until;
        let is_wanted = if is_probing { self.flying.all() == 0 } else { self.give_up.is_none() || self.is_removed() };
        if !may_follow || !is_wanted || self.flying.samples > queue.capacity {
            return;
        }
        if !self.backlog.is_empty() {
            let batch = std::mem::replace(&mut self.backlog, Batch::new(Lane::Backlog));
            self.launch_batch(batch, now);
        }
        if self.backlog.is_empty() && !self.reading && !self.is_dry && self.cursor.waiting().backlog.samples > 0 {
            let order = match queue.backfill {
                Backfill::NewestFirst => Order::NewestFirst,
                Backfill::OldestFirst => Order::OldestFirst,
            };
            self.read(move |cursor| cursor.next_backlog(order));
        }
    }

    fn is_removed(&self) -> bool {
        self.destination.closing.is_cancelled()
    }

    /// Takes what is new. It is in memory, so this does not wait for the disk.
    fn gather_live(&mut self) {
        let max = self.destination.config.queue.max_samples_per_send;
        while self.unread && self.next.samples() < max && !self.looked_through(&self.next) {
            match self.cursor.next_live() {
                Ok(Some(taken)) => self.add(taken, Lane::Live),
                Ok(None) => self.unread = false,
                Err(error) => return self.unreadable(&error),
            }
        }
        self.skip_empty(Lane::Live);
    }

    fn looked_through(&self, batch: &Batch) -> bool {
        batch.looked_at >= self.destination.config.queue.max_samples_per_send.saturating_mul(LOOKED_THROUGH)
    }

    /// Has records read by a thread that may wait for the disk, as many as make a request.
    fn read(&mut self, next: impl Fn(&Cursor) -> Result<Option<Taken>, QueueError> + Send + 'static) {
        self.reading = true;
        let (cursor, max) = (self.cursor.clone(), self.destination.config.queue.max_samples_per_send);
        let had_lanes = self.had_lanes;
        self.events.spawn_blocking(move || {
            let (mut all, mut samples) = (Vec::new(), 0);
            while samples < max {
                match next(&cursor) {
                    Ok(Some(taken)) => {
                        samples += taken.batch.samples().max(1);
                        all.push(taken);
                    }
                    Ok(None) => break,
                    Err(error) if all.is_empty() => return Event::Read { read: Err(error), had_lanes },
                    // What was read so far is worth sending; the next reader hears of it again.
                    Err(_) => break,
                }
            }
            Event::Read { read: Ok(all), had_lanes }
        });
    }

    fn add(&mut self, taken: Taken, to: Lane) {
        let config = &self.destination.config;
        let age = config
            .queue
            .sample_age_limit
            .map_or(i64::MAX, |limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
        let oldest = TimestampMs(runtime::now().0.saturating_sub(age));
        let wanted = Wanted { exemplars: config.exemplars, oldest };
        let batch = if to == Lane::Backlog { &mut self.backlog } else { &mut self.next };
        if to == Lane::Live && batch.is_empty() {
            self.gathering = Instant::now();
        }
        let queue = &self.core.queue;
        batch.add(taken, &mut self.outgoing, |number| queue.labels(queue::SeriesId(number)), wanted);
    }

    /// Records of which the destination wants nothing are done with.
    fn skip_empty(&mut self, lane: Lane) {
        let batch = if lane == Lane::Backlog { &mut self.backlog } else { &mut self.next };
        if batch.is_empty() {
            self.destination.metrics.dropped("too_old", batch.too_old);
            batch.taken.iter().for_each(|taken| self.cursor.delivered(taken.position));
            *batch = Batch::new(lane);
        }
    }

    fn unreadable(&mut self, error: &QueueError) {
        // It is tried again with the next push, or when the next second is over.
        self.unread = false;
        self.rest_until = Instant::now() + BEAT;
        if self.failures.is_due() {
            tracing::error!(destination = %self.destination.config.name, %error, "cannot read the queue; will try again");
        }
    }

    /// Whether what was gathered has waited long enough for more.
    fn is_due(&self, now: Instant) -> bool {
        self.due_in(now).is_some_and(|left| left.is_zero())
    }

    /// At most one request goes per deadline, unless it is full. So what comes after a silence waits for the rest of its
    /// scrape only, and through tiers that pass on what comes once a second a sample waits once.
    fn due_in(&self, now: Instant) -> Option<Duration> {
        if self.next.is_empty() {
            return None;
        }
        let queue = &self.destination.config.queue;
        let deadline = if self.had_lanes {
            queue.batch_send_deadline.min(queue.live_target / 2)
        } else {
            queue.batch_send_deadline
        };
        let rest = GATHER.min(deadline).saturating_sub(now.duration_since(self.gathering));
        let turn = deadline.saturating_sub(now.duration_since(self.last_batch));
        Some(rest.max(turn))
    }

    /// How long there is nothing to do unless something happens.
    fn pause(&self, now: Instant) -> Duration {
        if self.unread
            && !self.had_lanes
            && !self.reading
            && self.flying.all() == 0
            && self.circuit.pause(now).is_zero()
        {
            return Duration::ZERO;
        }
        let mut pause = BEAT;
        for other in [self.circuit.pause(now), self.rest_until.saturating_duration_since(now)] {
            if !other.is_zero() {
                pause = pause.min(other);
            }
        }
        if let Some(left) = self.due_in(now).filter(|left| !left.is_zero()) {
            pause = pause.min(left);
        }
        pause.max(Duration::from_millis(1))
    }
}
