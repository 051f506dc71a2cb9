//! `dingtalk_configs`: a custom robot of a DingTalk group, signed or not.

mod answer;
mod message;
mod robots;
mod signature;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use config::{Mapping, Node, SecretSource};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use crate::decode::Context;
use crate::http::Client;
use crate::webhook::parse_url;
use crate::{Integration, Notification, SendError};
use answer::Verdict;
use message::Composer;

pub(crate) use robots::Robots;

const DEFAULT_URL: &str = "https://oapi.dingtalk.com/robot/send";

pub(crate) struct DingTalk {
    index: usize,
    send_resolved: bool,
    /// May hold the access token, so it is treated like a secret.
    url: SecretSource,
    access_token: Option<SecretSource>,
    secret: Option<SecretSource>,
    composer: Composer,
    client: Client,
    robots: Robots,
}

impl DingTalk {
    pub(crate) fn decode(node: &Node<'_>, index: usize, context: &Context<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let send_resolved = fields.bool("send_resolved").unwrap_or(true);
        let (url, access_token) = decode_address(&fields);
        let secret = SecretSource::decode(&fields, "secret", "secret_file");
        let composer = Composer::decode(&fields, index, context);
        let client = Client::decode(&fields, context.http);
        fields.finish();
        Some(Self {
            index,
            send_resolved,
            url,
            access_token,
            secret,
            composer: composer?,
            client: client?,
            robots: context.robots.clone(),
        })
    }

    /// The robot's address, and the token that says which robot it is.
    fn address(&self) -> Result<(Url, String), SendError> {
        let mut url = parse_url(&self.url.read()?).map_err(SendError::permanent)?;
        let token = match &self.access_token {
            Some(source) => {
                let token = source.read()?;
                let others: Vec<_> = url.query_pairs().into_owned().filter(|(n, _)| n != TOKEN).collect();
                url.query_pairs_mut().clear().extend_pairs(others).append_pair(TOKEN, &token);
                token
            }
            None => token_of(&url).unwrap_or_default(),
        };
        if let Some(secret) = &self.secret {
            let now_ms = runtime::now().0;
            // The signature is URL-encoded once, here, together with the other parameters.
            let sign = signature::sign(now_ms, &secret.read()?);
            url.query_pairs_mut().append_pair("timestamp", &now_ms.to_string()).append_pair("sign", &sign);
        }
        Ok((url, token))
    }
}

const TOKEN: &str = "access_token";

fn token_of(url: &Url) -> Option<String> {
    url.query_pairs().find(|(name, value)| name == TOKEN && !value.is_empty()).map(|(_, value)| value.into_owned())
}

fn decode_address(fields: &Mapping<'_>) -> (SecretSource, Option<SecretSource>) {
    let access_token = SecretSource::decode(fields, TOKEN, "access_token_file");
    let url = fields.get("url").and_then(|node| {
        let url = node.parse(parse_url)?;
        if access_token.is_none() && token_of(&url).is_none() {
            node.problem("the address holds no access_token; add access_token=... or give access_token");
        }
        node.secret()
    });
    if url.is_none() && fields.get("url").is_none() && access_token.is_none() {
        fields.node().problem("access_token is missing; give access_token, access_token_file or the robot's whole url");
    }
    (SecretSource::Inline(url.unwrap_or_else(|| config::Secret::new(DEFAULT_URL))), access_token)
}

#[async_trait]
impl Integration for DingTalk {
    fn kind(&self) -> &'static str {
        "dingtalk"
    }

    fn index(&self) -> usize {
        self.index
    }

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        let (url, token) = self.address()?;
        let body = self.composer.body(notification);
        // Asked last, so that only what is really sent counts.
        self.robots.admit(&token, Instant::now()).map_err(|wait| {
            SendError::retry_after(wait, "the robot has sent as much as DingTalk allows it in a minute; held back")
        })?;
        let answer = self.client.post(url, |r| r.header(CONTENT_TYPE, "application/json").body(body)).await?;
        if !answer.status.is_success() {
            return Err(answer.refused());
        }
        match answer::judge(&answer.body) {
            Verdict::Delivered => Ok(()),
            Verdict::Busy(reason) => Err(SendError::retry(reason)),
            Verdict::TooFast(wait, reason) => {
                self.robots.block(&token, Instant::now() + wait);
                Err(SendError::retry_after(wait, reason))
            }
            Verdict::Refused(reason) => Err(SendError::permanent(reason)),
        }
    }
}

/// How long DingTalk blocks a robot that sent too much.
const BLOCK: Duration = Duration::from_secs(600);
