//! Local stand-ins for what notifications are sent to: a DingTalk robot, an SMTP server, Alibaba Cloud's SendSms and a
//! webhook. Tests and the demo send to them and read what a person would have got.
//!
//! They are strict where the real services are: signatures, clock skew, nonces, sizes, STARTTLS and logins are checked
//! by code of their own, not by the code that sends, since tests rely on it. They can be told to fail.
//!
//! Invariants: everything runs under the [`runtime::Supervisor`] handed in; every buffer and list is bounded.

mod dingtalk;
mod inbox;
mod set;
mod sms;
mod smtp;
mod web;
mod webhook;

pub use dingtalk::{DingTalk, DingTalkMessage, DingTalkOptions};
pub use inbox::{Faults, Inbox, TimedOut};
pub use set::{SetOptions, StandIns};
pub use sms::{Sms, SmsMessage, SmsOptions};
pub use smtp::{Mail, MailPart, Smtp, SmtpFault, SmtpOptions, StartError};
pub use web::Fault;
pub use webhook::{Webhook, WebhookMessage};
