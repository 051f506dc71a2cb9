//! All stand-ins together, and a page on which a person can read what they received.

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Json, Router};
use runtime::Supervisor;
use serde_json::json;

use crate::smtp::StartError;
use crate::{DingTalk, DingTalkOptions, Sms, SmsOptions, Smtp, SmtpOptions, Webhook, web};

/// What the four insist on; all listen on ports of the loopback address that are free.
#[derive(Debug, Clone)]
pub struct SetOptions {
    /// The robot.
    pub dingtalk: DingTalkOptions,
    /// The mail server.
    pub smtp: SmtpOptions,
    /// The short messages.
    pub sms: SmsOptions,
    /// Where the page listens, `HOST:PORT`.
    pub page_address: String,
}

/// The four handles.
#[derive(Debug, Clone)]
pub struct StandIns {
    /// The robot.
    pub dingtalk: DingTalk,
    /// The mail server.
    pub smtp: Smtp,
    /// The short messages.
    pub sms: Sms,
    /// The webhook.
    pub webhook: Webhook,
    page: SocketAddr,
}

impl StandIns {
    /// Starts all of them and the page.
    ///
    /// # Errors
    /// When an address is taken, or the mail server's certificate cannot be made.
    pub async fn start(supervisor: &Supervisor, options: SetOptions) -> Result<Self, StartError> {
        let free = "127.0.0.1:0";
        let dingtalk = DingTalk::start(supervisor, free, options.dingtalk).await?;
        let smtp = Smtp::start(supervisor, free, options.smtp).await?;
        let sms = Sms::start(supervisor, free, options.sms).await?;
        let webhook = Webhook::start(supervisor, free).await?;
        let shown = {
            let (dingtalk, email, sms, webhook) =
                (dingtalk.inbox.clone(), smtp.inbox.clone(), sms.inbox.clone(), webhook.inbox.clone());
            move || async move {
                Json(json!({
                    "dingtalk": dingtalk.to_json(),
                    "email": email.to_json(),
                    "sms": sms.to_json(),
                    "webhook": webhook.to_json(),
                }))
            }
        };
        let router = Router::new().route("/messages", get(shown));
        let page = web::serve(supervisor, "stand-in page", &options.page_address, router).await?;
        Ok(Self { dingtalk, smtp, sms, webhook, page })
    }

    /// The page: all messages as JSON, by channel.
    pub fn page_url(&self) -> String {
        format!("http://{}/messages", self.page)
    }
}
