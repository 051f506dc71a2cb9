//! `sms_configs`: short messages through Alibaba Cloud's SendSms.
//!
//! A provider is three things: sign, send, classify. There is one provider so far; the texts come from a template that
//! the provider has approved, so a notification fills variables only.

mod answer;
mod signature;

use async_trait::async_trait;
use config::{Mapping, Node, SecretSource};
use reqwest::Url;
use serde_json::{Map, Value as Json};

use crate::decode::Context;
use crate::http::Client;
use crate::render::Renderer;
use crate::template::{Text, data};
use crate::webhook::parse_url;
use crate::{Integration, Notification, SendError};
use answer::Class;
use signature::Request;

const DEFAULT_ENDPOINT: &str = "https://dysmsapi.aliyuncs.com";
/// SendSms takes no more recipients at once.
const MAX_RECIPIENTS: usize = 1000;
/// A template's variable may not be longer.
const MAX_VARIABLE_CHARS: usize = 35;

pub(crate) struct Sms {
    index: usize,
    send_resolved: bool,
    endpoint: Url,
    region: Option<String>,
    access_key_id: String,
    access_key_secret: SecretSource,
    sign_name: String,
    template_code: String,
    template_param: Vec<(String, Text)>,
    phone_numbers: Vec<String>,
    client: Client,
    renderer: Renderer,
}

impl Sms {
    pub(crate) fn decode(node: &Node<'_>, index: usize, context: &Context<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        if let Some(node) = fields.get("provider")
            && node.text().is_some_and(|provider| provider != "aliyun")
        {
            node.problem("this provider is not supported yet; use aliyun");
        }
        let endpoint = fields.get("endpoint").map(|n| n.parse(parse_url));
        let required = |key| fields.required(key).and_then(|n| n.string());
        let (key_id, sign_name, template_code) =
            (required("access_key_id"), required("sign_name"), required("template_code"));
        let secret = SecretSource::required(&fields, "access_key_secret", "access_key_secret_file");
        let template_param = variables(&fields, context);
        let phone_numbers = phone_numbers(&fields);
        let send_resolved = fields.bool("send_resolved").unwrap_or(false);
        let region = fields.string("region");
        let client = Client::decode(&fields, context.http);
        fields.finish();
        Some(Self {
            index,
            send_resolved,
            endpoint: endpoint.unwrap_or_else(|| Url::parse(DEFAULT_ENDPOINT).ok())?,
            region,
            access_key_id: key_id?,
            access_key_secret: secret?,
            sign_name: sign_name?,
            template_code: template_code?,
            template_param,
            phone_numbers: phone_numbers?,
            client: client?,
            renderer: context.renderer("sms"),
        })
    }

    fn query(&self, notification: &Notification) -> Vec<(&'static str, String)> {
        let data = data(notification, notification.alerts.len());
        let mut variables = Map::new();
        for (name, text) in &self.template_param {
            let filled = self.renderer.fill(text, &data, || notification.plain_title());
            let shortened: String = filled.trim().chars().take(MAX_VARIABLE_CHARS).collect();
            variables.insert(name.clone(), Json::String(shortened));
        }
        let mut query = vec![
            ("PhoneNumbers", self.phone_numbers.join(",")),
            ("SignName", self.sign_name.clone()),
            ("TemplateCode", self.template_code.clone()),
            ("OutId", notification.identity(&format!("sms/{}", self.index))),
        ];
        if !variables.is_empty() {
            query.push(("TemplateParam", Json::Object(variables).to_string()));
        }
        query.extend(self.region.clone().map(|region| ("RegionId", region)));
        query
    }
}

fn variables(fields: &Mapping<'_>, context: &Context<'_>) -> Vec<(String, Text)> {
    let Some(section) = fields.get("template_param").and_then(|n| n.mapping()) else { return Vec::new() };
    section.entries().filter_map(|(name, _, value)| Some((name.to_owned(), context.text_of(&value)?))).collect()
}

fn phone_numbers(fields: &Mapping<'_>) -> Option<Vec<String>> {
    let section = fields.required("phone_numbers")?;
    let mut out = Vec::new();
    for node in section.items() {
        let Some(written) = node.text() else { continue };
        let digits = written.strip_prefix('+').unwrap_or(written);
        if (5..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            out.push(written.to_owned());
        } else {
            node.problem(format!("{written:?} is not a phone number; write digits only, for example 13800000000"));
        }
    }
    if out.len() > MAX_RECIPIENTS {
        section.problem(format!("more than {MAX_RECIPIENTS} phone numbers; split them over several entries"));
    }
    if out.is_empty() {
        section.problem("there is no phone number; add one");
        return None;
    }
    Some(out)
}

#[async_trait]
impl Integration for Sms {
    fn kind(&self) -> &'static str {
        "sms"
    }

    fn index(&self) -> usize {
        self.index
    }

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        let query = self.query(notification);
        let request = Request {
            method: "POST",
            endpoint: &self.endpoint,
            query: &query,
            action: "SendSms",
            version: "2017-05-25",
            date: &signature::iso_date(runtime::now()),
            nonce: &signature::nonce(),
            body: b"",
        };
        let signed = request.sign(&self.access_key_id, &self.access_key_secret.read()?);
        let sent = self.client.post(signed.url, |builder| {
            signed.headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value))
        });
        let answer = sent.await?;
        match answer::judge(answer.status.as_u16(), &answer.body) {
            None => Ok(()),
            Some((Class::Retry, reason)) => Err(SendError::retry(reason)),
            Some((Class::Throttled(wait), reason)) => Err(SendError::retry_after(wait, reason)),
            Some((class, reason)) => Err(SendError::permanent(format!("{reason}; {}", class.advice()))),
        }
    }
}
