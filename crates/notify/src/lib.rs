//! Delivery of one grouped notification to people: webhook, DingTalk, email, SMS.
//!
//! The alert router decides what is sent, to whom and when, and tries again; this block makes one attempt: it renders
//! templates, signs, sends and says whether another attempt can help ([`SendError`]). [`Delivery::decode_receivers`]
//! reads what alertmanager.yml says about receivers.
//!
//! Invariants: every request has a timeout, every answer a size limit; a template that fails never loses the alert (a
//! plain text goes out instead and is counted); whatever a service offers against duplicates is derived from group,
//! receiver and state, so that two routers that both send are heard once; secrets never reach logs or errors.
//!
//! Non-goals: no routing, no grouping, no retry, no state about what was sent.

mod decode;
mod dingtalk;
mod email;
mod http;
mod integration;
mod json;
mod notification;
mod render;
mod sms;
mod template;
mod webhook;

pub use decode::{Delivery, decode_receivers};
pub use integration::{Integration, Receiver, SendError};
pub use notification::{Alert, Notification};
