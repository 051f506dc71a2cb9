//! A DingTalk robot: token, signature, clock, size, rate and idempotency as the real one checks them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use runtime::{BindError, Supervisor};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::Sha256;

use crate::web::{self, Fault};
use crate::{Faults, Inbox};

const MAX_SKEW_MS: i64 = 3_600_000;
const MAX_MESSAGE_BYTES: usize = 20_000;
const MINUTE: Duration = Duration::from_secs(60);
/// As many idempotency keys are remembered.
const MAX_UUIDS: usize = 10_000;

/// What the robot insists on.
#[derive(Debug, Clone)]
pub struct DingTalkOptions {
    /// The token in the address.
    pub access_token: String,
    /// The key of a signed robot.
    pub secret: Option<String>,
    /// How many messages it takes in a minute before it blocks (the real one: 20).
    pub per_minute: Option<usize>,
}

/// One message as the group sees it.
#[derive(Debug, Clone, Serialize)]
pub struct DingTalkMessage {
    /// Milliseconds since the epoch.
    pub received_at_ms: i64,
    /// `text`, `markdown`, `actionCard`, ...
    pub msg_type: String,
    /// Empty for `text`.
    pub title: String,
    /// The text itself.
    pub text: String,
    /// Mobile numbers that are mentioned and stand in the text, so that their owners are really called.
    pub called_mobiles: Vec<String>,
    /// The same for user ids.
    pub called_user_ids: Vec<String>,
    /// Whether everybody is called.
    pub called_all: bool,
    /// The idempotency key.
    pub uuid: Option<String>,
    /// Everything that was sent.
    pub body: Json,
}

/// The stand-in's handle.
#[derive(Debug, Clone)]
pub struct DingTalk {
    address: SocketAddr,
    access_token: String,
    /// What it received.
    pub inbox: Inbox<DingTalkMessage>,
    /// How it fails; codes are numbers, for example "130101".
    pub faults: Faults<Fault>,
}

#[derive(Clone)]
struct Robot {
    options: Arc<DingTalkOptions>,
    inbox: Inbox<DingTalkMessage>,
    faults: Faults<Fault>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    taken_at: VecDeque<Instant>,
    uuids: HashSet<String>,
}

impl DingTalk {
    /// Starts it on `HOST:PORT`.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub async fn start(supervisor: &Supervisor, address: &str, options: DingTalkOptions) -> Result<Self, BindError> {
        let access_token = options.access_token.clone();
        let (inbox, faults) = (Inbox::new(), Faults::new());
        let robot =
            Robot { options: Arc::new(options), inbox: inbox.clone(), faults: faults.clone(), memory: Arc::default() };
        let router = Router::new().route("/robot/send", post(receive)).with_state(robot);
        let address = web::serve(supervisor, "stand-in dingtalk", address, router).await?;
        Ok(Self { address, access_token, inbox, faults })
    }

    /// The robot's address without its token.
    pub fn url(&self) -> String {
        format!("http://{}/robot/send", self.address)
    }

    /// The robot's address as DingTalk shows it to whom makes one.
    pub fn whole_url(&self) -> String {
        format!("{}?access_token={}", self.url(), self.access_token)
    }
}

async fn receive(
    State(robot): State<Robot>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(fault) = robot.faults.take() {
        robot.inbox.refuse(format!("on demand: {fault:?}"));
        return match &fault {
            Fault::Code(code) => answer(code.parse().unwrap_or(-1), "failed on demand"),
            other => web::fail(other).await,
        };
    }
    match robot.check(&query, &headers, &body) {
        Ok(message) => {
            robot.keep(message);
            answer(0, "ok")
        }
        Err((code, reason)) => {
            robot.inbox.refuse(format!("{code}: {reason}"));
            answer(code, &reason)
        }
    }
}

fn answer(errcode: i64, errmsg: &str) -> Response {
    axum::Json(json!({ "errcode": errcode, "errmsg": errmsg })).into_response()
}

impl Robot {
    fn check(
        &self,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<DingTalkMessage, (i64, String)> {
        let refuse = |code: i64, reason: &str| Err((code, reason.to_owned()));
        let json_type = headers.get("content-type").is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
        if !json_type {
            return refuse(43_004, "the content type must be application/json");
        }
        if query.get("access_token") != Some(&self.options.access_token) {
            return refuse(300_001, "token is not exist");
        }
        if let Some(secret) = &self.options.secret {
            verify(query, secret, runtime::now().0).map_err(|reason| (310_000, reason))?;
        }
        if body.len() > MAX_MESSAGE_BYTES {
            return Err((460_101, format!("the message has {} bytes", body.len())));
        }
        let message = read(body).map_err(|reason| (40_035, reason))?;
        let mut memory = self.memory.lock();
        let now = Instant::now();
        while memory.taken_at.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            memory.taken_at.pop_front();
        }
        if self.options.per_minute.is_some_and(|most| memory.taken_at.len() >= most) {
            return refuse(130_101, "send too fast");
        }
        if self.options.per_minute.is_some() {
            memory.taken_at.push_back(now);
        }
        Ok(message)
    }

    /// A message with a known idempotency key is taken, but the group does not see it again.
    fn keep(&self, message: DingTalkMessage) {
        let mut memory = self.memory.lock();
        if memory.uuids.len() >= MAX_UUIDS {
            memory.uuids.clear();
        }
        let new = message.uuid.clone().is_none_or(|uuid| memory.uuids.insert(uuid));
        if new { self.inbox.take(message) } else { self.inbox.suppress() }
    }
}

/// Checks `timestamp` and `sign` against the robot's secret.
fn verify(query: &HashMap<String, String>, secret: &str, now_ms: i64) -> Result<(), String> {
    let written = query.get("timestamp").ok_or("timestamp is missing")?;
    let sent_ms: i64 = written.parse().map_err(|_| "timestamp is not a number")?;
    if sent_ms.abs_diff(now_ms) > MAX_SKEW_MS.unsigned_abs() {
        return Err("timestamp is too far from the server's clock".to_owned());
    }
    let sign = query.get("sign").ok_or("sign is missing")?;
    let signature = STANDARD.decode(sign).map_err(|_| "sign is not base64")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| "no key")?;
    for part in [written.as_str(), "\n", secret] {
        mac.update(part.as_bytes());
    }
    mac.verify_slice(&signature).map_err(|_| "sign not match".to_owned())
}

fn read(body: &[u8]) -> Result<DingTalkMessage, String> {
    let body: Json = serde_json::from_slice(body).map_err(|e| format!("not JSON: {e}"))?;
    let text_at = |pointer: &str| body.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
    let msg_type = text_at("/msgtype");
    let (title, text, needed): (_, _, &[&str]) = match msg_type.as_str() {
        "text" => (String::new(), text_at("/text/content"), &["/text/content"]),
        "markdown" => (text_at("/markdown/title"), text_at("/markdown/text"), &["/markdown/title", "/markdown/text"]),
        "actionCard" => {
            let needed = &["/actionCard/title", "/actionCard/text", "/actionCard/singleTitle", "/actionCard/singleURL"];
            (text_at("/actionCard/title"), text_at("/actionCard/text"), needed)
        }
        other => return Err(format!("missing or unknown msgtype {other:?}")),
    };
    if let Some(missing) = needed.iter().find(|pointer| text_at(pointer).trim().is_empty()) {
        return Err(format!("miss param : {missing}"));
    }
    let called = |pointer: &str| -> Vec<String> {
        let names = body.pointer(pointer).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        names.filter(|name| text.contains(&format!("@{name}"))).map(str::to_owned).collect()
    };
    Ok(DingTalkMessage {
        received_at_ms: runtime::now().0,
        called_mobiles: called("/at/atMobiles"),
        called_user_ids: called("/at/atUserIds"),
        called_all: body.pointer("/at/isAtAll").and_then(Json::as_bool).unwrap_or(false),
        uuid: body.get("msgUuid").and_then(Json::as_str).map(str::to_owned),
        msg_type,
        title,
        text,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifies_the_published_vector_and_nothing_else() {
        let query = |ms: &str, sign: &str| {
            HashMap::from([("timestamp".to_owned(), ms.to_owned()), ("sign".to_owned(), sign.to_owned())])
        };
        let sign = "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=";
        let (ms, at) = ("1577262236757", 1_577_262_236_757);
        assert_eq!(verify(&query(ms, sign), "this is secret", at), Ok(()));
        assert!(verify(&query(ms, sign), "another secret", at).is_err());
        assert!(verify(&query("1577262236758", sign), "this is secret", at).is_err());
        assert!(verify(&query(ms, sign), "this is secret", at + MAX_SKEW_MS + 1).is_err());
        assert!(verify(&query(ms, "!"), "this is secret", at).is_err());
        assert!(verify(&HashMap::new(), "this is secret", at).is_err());
    }

    #[test]
    fn reads_who_is_really_called() {
        let body = json!({
            "msgtype": "markdown",
            "markdown": { "title": "t", "text": "look @138 now" },
            "at": { "atMobiles": ["138", "139"], "isAtAll": true },
            "msgUuid": "u",
        });
        let message = read(body.to_string().as_bytes()).expect("reads");
        assert_eq!((message.called_mobiles, message.called_all), (vec!["138".to_owned()], true));
        for body in ["", "{}", r#"{"msgtype":"text"}"#, r#"{"msgtype":"markdown","markdown":{"title":"t"}}"#] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
