//! Where messages arrive: stand-ins for a DingTalk robot, a mail server and SendSms, as strict as the real ones.

use std::fmt;

use anyhow::{Context, Result};
use runtime::Supervisor;
use serde::Serialize;
use stand_in::{DingTalkOptions, SetOptions, SmsOptions, SmtpOptions, StandIns};

/// What the stand-ins insist on, as files that `deploy/alerts.yml` names with what they hold.
pub const SECRETS: [(&str, &str); 4] = [
    ("secrets/dingtalk-token", DINGTALK_TOKEN),
    ("secrets/dingtalk-secret", DINGTALK_SECRET),
    ("secrets/smtp-password", SMTP_PASSWORD),
    ("secrets/sms-key-secret", SMS_KEY_SECRET),
];

const DINGTALK_TOKEN: &str = "demo-token";
const DINGTALK_SECRET: &str = "SEC-demo-secret";
/// As the real one.
const DINGTALK_PER_MINUTE: usize = 20;
/// The user in `deploy/alerts.yml`.
const SMTP_USER: &str = "highwater";
const SMTP_PASSWORD: &str = "demo-password";
/// The key in `deploy/alerts.yml`.
const SMS_KEY_ID: &str = "LTAI-example";
const SMS_KEY_SECRET: &str = "demo-key-secret";

/// How a message reaches people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    DingTalk,
    Email,
    Sms,
}

impl Channel {
    pub const ALL: [Self; 3] = [Self::DingTalk, Self::Email, Self::Sms];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DingTalk => "dingtalk",
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The addresses of the stand-ins, as configurations write them.
#[derive(Debug, Clone)]
pub struct Channels {
    /// The robot's URL.
    pub dingtalk: String,
    /// `HOST:PORT`.
    pub smtp: String,
    /// The endpoint's URL.
    pub sms: String,
}

/// What a person would have read.
#[derive(Debug, Clone)]
pub struct Message {
    pub received_at_ms: i64,
    pub text: String,
}

/// The stand-ins, which live in the demo's own process.
#[derive(Clone)]
pub struct Messages(StandIns);

impl Messages {
    pub async fn start(supervisor: &Supervisor) -> Result<Self> {
        let options = SetOptions {
            dingtalk: DingTalkOptions {
                access_token: DINGTALK_TOKEN.to_owned(),
                secret: Some(DINGTALK_SECRET.to_owned()),
                per_minute: Some(DINGTALK_PER_MINUTE),
            },
            smtp: SmtpOptions {
                login: Some((SMTP_USER.to_owned(), SMTP_PASSWORD.to_owned())),
                ..SmtpOptions::default()
            },
            sms: SmsOptions { access_key_id: SMS_KEY_ID.to_owned(), access_key_secret: SMS_KEY_SECRET.to_owned() },
            page_address: "127.0.0.1:0".to_owned(),
        };
        Ok(Self(StandIns::start(supervisor, options).await.context("cannot start the stand-ins")?))
    }

    pub fn channels(&self) -> Channels {
        Channels { dingtalk: self.0.dingtalk.url(), smtp: self.0.smtp.address(), sms: self.0.sms.url() }
    }

    /// The certificate that vouches for the mail server's.
    pub fn ca_pem(&self) -> &str {
        self.0.smtp.ca_pem()
    }

    /// The page on which a person reads what arrived.
    pub fn page_url(&self) -> String {
        self.0.page_url()
    }

    /// How many messages arrived on each channel.
    pub fn counts(&self) -> [(Channel, usize); 3] {
        Channel::ALL.map(|channel| (channel, self.of(channel).len()))
    }

    /// Why messages were refused, by channel.
    pub fn refusals(&self, channel: Channel) -> Vec<String> {
        match channel {
            Channel::DingTalk => self.0.dingtalk.inbox.refusals(),
            Channel::Email => self.0.smtp.inbox.refusals(),
            Channel::Sms => self.0.sms.inbox.refusals(),
        }
    }

    /// What arrived on a channel, the first first.
    pub fn of(&self, channel: Channel) -> Vec<Message> {
        let message = |received_at_ms, text| Message { received_at_ms, text };
        match channel {
            Channel::DingTalk => {
                let all = self.0.dingtalk.inbox.messages().into_iter();
                all.map(|m| message(m.received_at_ms, format!("{}\n{}", m.title, m.text))).collect()
            }
            Channel::Email => {
                let all = self.0.smtp.inbox.messages().into_iter();
                let text = |m: &stand_in::Mail| {
                    let bodies = m.parts.iter().map(|part| part.body.as_str());
                    std::iter::once(m.header("subject").unwrap_or_default())
                        .chain(bodies)
                        .collect::<Vec<_>>()
                        .join("\n")
                };
                all.map(|m| message(m.received_at_ms, text(&m))).collect()
            }
            Channel::Sms => {
                let all = self.0.sms.inbox.messages().into_iter();
                all.map(|m| message(m.received_at_ms, m.template_param.to_string())).collect()
            }
        }
    }
}
