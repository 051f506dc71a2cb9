//! A batch on its way: sent, and sent again in another form or in smaller parts, until the receiver has all of it that it
//! will ever take, or cannot be reached.

use std::time::Duration;

use model::MetricMetadata;
use queue::Gap;
use reqwest::StatusCode;

use crate::answer::{Answer, Verdict};
use crate::batch::Batch;
use crate::line::Line;
use crate::pieces::{Pieces, Refused};
use crate::slot::{Body, Part, Slot};

/// Requests without progress: for other forms, for other sessions.
const MAX_DETOURS: usize = 5;
/// Bytes of a series' name in the log.
const MAX_NAME_BYTES: usize = 1_000;

/// What goes with the first request of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extras {
    /// They go with the next request.
    Along,
    /// The request that they went with was refused: they go alone, last.
    Last,
    Done,
}

pub(crate) struct Flight {
    pub(crate) batch: Batch,
    pub(crate) metadata: Vec<MetricMetadata>,
    pub(crate) slot: Slot,
    /// What the headers say of us, and the gaps among that.
    pub(crate) report: Vec<(&'static str, String)>,
    pub(crate) gaps: Vec<Gap>,
    /// Whether nothing else is under way, and nothing newer may leave before all of this has arrived.
    pub(crate) is_in_order: bool,
    pieces: Pieces,
    extras: Extras,
    minds_order: bool,
    is_unwelcome: bool,
}

/// How a flight ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The receiver has everything that it will ever take. Carries how long its last answer took.
    Arrived(Duration),
    /// Something is left to be sent later.
    Failed {
        reason: String,
        /// The pause that the receiver asks for.
        asked: Option<Duration>,
        /// Whether it works, and has too much to do.
        is_busy: bool,
    },
}

impl Flight {
    /// `in_vain`: the last batch that was refused was cut to pieces for nothing.
    pub(crate) fn new(batch: Batch, metadata: Vec<MetricMetadata>, max: usize, in_vain: bool, slot: Slot) -> Self {
        let pieces = Pieces::of(batch.samples(), max, in_vain);
        Self {
            batch,
            metadata,
            slot,
            report: Vec::new(),
            gaps: Vec::new(),
            is_in_order: false,
            pieces,
            extras: Extras::Along,
            minds_order: false,
            is_unwelcome: false,
        }
    }

    /// Whether nothing of the batch was taken although it was cut to pieces; and whether that was for the sake of order: who
    /// has it already may take the next.
    pub(crate) fn was_in_vain(&self) -> (bool, bool) {
        (self.pieces.in_vain(), self.minds_order)
    }

    /// Whether a request was refused whatever is in it.
    pub(crate) fn is_unwelcome(&self) -> bool {
        self.is_unwelcome
    }

    /// Sends what is left. May be called again after it failed.
    pub(crate) async fn run(&mut self, line: &Line) -> Outcome {
        let (mut detours, mut last) = (0, Duration::ZERO);
        while let Some(part) = self.next_part() {
            let form = line.negotiation.lock().form();
            let body = self.slot.encode(form, &self.batch, &part, &self.metadata);
            let (answer, took) = match line.send(&body, &self.report).await {
                Ok(answered) => answered,
                Err(reason) => return Outcome::Failed { reason, asked: None, is_busy: false },
            };
            last = took;
            let verdict = answer.verdict(form);
            let is_detour = self.settle(line, &part, &body, &answer, verdict);
            detours = if is_detour { detours + 1 } else { 0 };
            if verdict == Verdict::Later || detours > MAX_DETOURS {
                let is_busy = answer.status == StatusCode::TOO_MANY_REQUESTS;
                return Outcome::Failed { reason: answer.reason(), asked: answer.retry_after, is_busy };
            }
        }
        Outcome::Arrived(last)
    }

    fn next_part(&mut self) -> Option<Part> {
        if let Some(items) = self.pieces.first() {
            return Some(Part { items, with_extras: self.extras == Extras::Along });
        }
        let is_alone = self.batch.samples() == 0;
        let has_some = !self.batch.exemplars.is_empty() || !self.metadata.is_empty();
        let wanted = match self.extras {
            // Without anything at all it is a request all the same: it says that we are here.
            Extras::Along => is_alone || has_some,
            Extras::Last => has_some,
            Extras::Done => false,
        };
        wanted.then_some(Part { items: 0..0, with_extras: true })
    }

    /// Notes what an answer means for its part. True when the part is to be sent again as it is, in other words.
    fn settle(&mut self, line: &Line, part: &Part, body: &Body, answer: &Answer, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Later => return false,
            Verdict::NotUnderstood => {
                line.negotiation.lock().misunderstood(body.form);
                return true;
            }
            Verdict::SessionLost => {
                self.slot.begin_session();
                return true;
            }
            Verdict::Taken => self.arrived(line, part, body, part.items.len() - body.left_out),
            Verdict::TakenInPart(written) => {
                let sent = part.items.len() - body.left_out;
                let written = written.min(sent);
                self.arrived(line, part, body, written);
                self.lost(line, part, answer, sent - written);
            }
            Verdict::Refused => {
                self.is_unwelcome = true;
                self.pieces.taken();
                self.lost(line, part, answer, part.items.len());
                self.extras_refused(line, part);
            }
            Verdict::Spoiled => self.spoiled(line, part, answer),
        }
        false
    }

    fn arrived(&mut self, line: &Line, part: &Part, body: &Body, samples: usize) {
        self.slot.announced(body);
        self.pieces.taken();
        line.metrics.up.set(1);
        line.metrics.sent.inc_by(samples as u64);
        line.metrics.dropped("histogram", body.left_out);
        line.metrics.bytes.inc_by(body.bytes.len() as u64);
        if part.with_extras {
            self.extras = Extras::Done;
            line.metrics.exemplars.inc_by(self.batch.exemplars.len() as u64);
        }
    }

    /// The part was refused whole, which may be for the sake of one sample.
    fn spoiled(&mut self, line: &Line, part: &Part, answer: &Answer) {
        line.metrics.up.set(1);
        let had_extras = part.with_extras && self.has_extras();
        if part.items.is_empty() {
            return self.extras_refused(line, part);
        }
        if had_extras {
            // It may be for the sake of what went along: the same without it comes first.
            self.extras = Extras::Last;
            return;
        }
        if answer.is_about_order() {
            self.minds_order = true;
            self.pieces.mind_order();
        }
        let Self { pieces, batch, .. } = self;
        batch.settle_by_record(part.items.clone());
        if pieces.refused(|at| batch.place(at)) == Refused::Lost {
            if part.items.len() == 1 {
                line.metrics.poison.inc();
            }
            self.lost(line, part, answer, part.items.len());
        }
    }

    fn has_extras(&self) -> bool {
        !self.batch.exemplars.is_empty() || !self.metadata.is_empty()
    }

    fn extras_refused(&mut self, line: &Line, part: &Part) {
        if part.with_extras {
            self.extras = Extras::Done;
            line.metrics.exemplars_dropped.inc_by(self.batch.exemplars.len() as u64);
        }
    }

    /// Some samples of a part will never arrive.
    fn lost(&self, line: &Line, part: &Part, answer: &Answer, samples: usize) {
        line.metrics.up.set(1);
        line.metrics.dropped("refused", samples);
        if samples > 0 && line.refusals.is_due() {
            let first = self.named(part.items.start);
            let (destination, reason) = (&line.destination, answer.reason());
            if part.items.len() == 1 {
                tracing::warn!(destination, sample = first, reason, "the destination refused a sample; not sent again");
            } else {
                let among = part.items.len();
                tracing::warn!(
                    destination,
                    samples,
                    among,
                    first,
                    reason,
                    "the destination refused samples; not sent again"
                );
            }
        }
    }

    /// A sample or histogram, for people.
    fn named(&self, item: usize) -> String {
        let at = |series: u32, timestamp: i64| {
            let mut name = self.batch.labels(series).map(ToString::to_string).unwrap_or_default();
            let end = (0..=name.len().min(MAX_NAME_BYTES)).rev().find(|at| name.is_char_boundary(*at));
            name.truncate(end.unwrap_or(0));
            format!("{name} at {timestamp} ms")
        };
        match self.batch.rows.get(item) {
            Some(row) => at(row.series, row.timestamp),
            None => {
                let entry = self.batch.histograms.get(item - self.batch.rows.len());
                entry.map(|entry| at(entry.number, entry.timestamp)).unwrap_or_default()
            }
        }
    }
}
