//! What a receiver understands. The first request is one that everybody does; answers tell the rest
//! (docs/decisions/010, "Three ways to write the same thing").

use crate::answer::Answer;
use crate::config_section::RemoteWriteConfig;
use crate::queue_section::{Lanes, Wire};

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Remote write 1.0.
    One,
    /// Remote write 2.0.
    Two,
    /// Remote write 2.0, compressed with zstd.
    TwoZstd,
    /// Columns.
    Columns,
}

impl Form {
    /// The value of a `wire` label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::One => "1.0",
            Self::Two => "2.0",
            Self::TwoZstd => "2.0+zstd",
            Self::Columns => "columns",
        }
    }
}

/// What is known of one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Negotiation {
    /// What is spoken before anything is known.
    first: Form,
    /// What the configuration allows at best.
    best: Form,
    lanes: Lanes,
    /// What the receiver has shown not to understand, and everything above it.
    misunderstood: Option<Form>,
    /// What it says it accepts.
    accepts: Option<Form>,
    /// Its version, where it is one of ours.
    version: Option<String>,
    has_answered: bool,
    takes_any_order: bool,
}

impl Negotiation {
    pub(crate) fn new(config: &RemoteWriteConfig) -> Self {
        let best = match config.queue.wire {
            Wire::Auto => Form::Columns,
            Wire::One => Form::One,
            Wire::Two => Form::TwoZstd,
        };
        let first = if config.begins_with_2_0 { Form::Two.min(best) } else { Form::One };
        Self {
            first,
            best,
            lanes: config.queue.lanes,
            misunderstood: None,
            accepts: None,
            version: None,
            has_answered: false,
            takes_any_order: false,
        }
    }

    /// How the next request is written.
    pub(crate) fn form(&self) -> Form {
        let wanted = self.accepts.unwrap_or(self.first).min(self.best);
        match self.misunderstood {
            Some(bad) if wanted >= bad => below(bad),
            _ => wanted,
        }
    }

    /// Whether new samples may overtake older ones.
    pub(crate) fn has_lanes(&self) -> bool {
        match self.lanes {
            Lanes::Auto => self.takes_any_order,
            Lanes::Always => true,
            Lanes::Never => false,
        }
    }

    /// Whether the receiver is one of ours, and understands what idle senders say.
    pub(crate) fn is_ours(&self) -> bool {
        self.version.is_some()
    }

    /// Whether it has answered, and is none of ours.
    pub(crate) fn is_stranger(&self) -> bool {
        self.has_answered && self.version.is_none()
    }

    /// Learns from an answer that the receiver itself gave: not from one of a proxy in front of it, which says nothing of
    /// the kind.
    pub(crate) fn learn(&mut self, answer: &Answer) {
        if answer.is_no_say() {
            return;
        }
        if answer.version != self.version {
            // Another program, or another version of it: what the last one did not understand is no matter.
            self.misunderstood = self.misunderstood.filter(|_| answer.version.is_none());
            self.version.clone_from(&answer.version);
        }
        self.has_answered = true;
        self.takes_any_order = answer.lanes;
        self.accepts = match (answer.accepts_zstd, answer.accepts_columns) {
            (_, true) => Some(Form::Columns),
            (true, false) => Some(Form::TwoZstd),
            (false, false) => None,
        };
    }

    /// The receiver did not understand a request of this form.
    pub(crate) fn misunderstood(&mut self, form: Form) {
        self.misunderstood = Some(self.misunderstood.map_or(form, |known| known.min(form)).max(Form::Two));
    }
}

/// What is tried instead. 2.0 with snappy is nothing that a receiver would understand who refuses it with zstd, or the
/// other way round: what they refuse is the message.
fn below(form: Form) -> Form {
    match form {
        Form::Columns => Form::TwoZstd,
        Form::TwoZstd | Form::Two | Form::One => Form::One,
    }
}
