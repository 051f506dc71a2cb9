//! Alibaba Cloud's SendSms: the V3 signature, the clock, nonces and parameters as the real one checks them.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use runtime::{BindError, Supervisor};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::web::{self, Fault};
use crate::{Faults, Inbox};

/// As many nonces are remembered.
const MAX_NONCES: usize = 10_000;
const MAX_NUMBERS: usize = 1000;
const MAX_VARIABLE_CHARS: usize = 35;

/// The account that may send.
#[derive(Debug, Clone)]
pub struct SmsOptions {
    /// The id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: String,
}

/// One call of SendSms.
#[derive(Debug, Clone, Serialize)]
pub struct SmsMessage {
    /// Milliseconds since the epoch.
    pub received_at_ms: i64,
    /// Who gets it.
    pub phone_numbers: Vec<String>,
    /// The signature name in front of the text.
    pub sign_name: String,
    /// Which approved text.
    pub template_code: String,
    /// The text's variables.
    pub template_param: Json,
    /// The caller's own reference.
    pub out_id: Option<String>,
}

/// The stand-in's handle.
#[derive(Debug, Clone)]
pub struct Sms {
    address: SocketAddr,
    /// What it received.
    pub inbox: Inbox<SmsMessage>,
    /// How it fails; codes are those of SendSms, for example "isv.BUSINESS_LIMIT_CONTROL".
    pub faults: Faults<Fault>,
}

#[derive(Clone)]
struct Service {
    options: Arc<SmsOptions>,
    inbox: Inbox<SmsMessage>,
    faults: Faults<Fault>,
    nonces: Arc<Mutex<HashSet<String>>>,
}

type Refusal = (&'static str, String);

impl Sms {
    /// Starts it on `HOST:PORT`.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub async fn start(supervisor: &Supervisor, address: &str, options: SmsOptions) -> Result<Self, BindError> {
        let (inbox, faults) = (Inbox::new(), Faults::new());
        let service = Service {
            options: Arc::new(options),
            inbox: inbox.clone(),
            faults: faults.clone(),
            nonces: Arc::default(),
        };
        let router = Router::new().fallback(receive).with_state(service);
        let address = web::serve(supervisor, "stand-in sms", address, router).await?;
        Ok(Self { address, inbox, faults })
    }

    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn receive(
    State(service): State<Service>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(fault) = service.faults.take() {
        service.inbox.refuse(format!("on demand: {fault:?}"));
        return match &fault {
            Fault::Code(code) => answer(code, "failed on demand"),
            other => web::fail(other).await,
        };
    }
    match service.check(&method, &uri, &headers, &body) {
        Ok(message) => {
            service.inbox.take(message);
            answer("OK", "OK")
        }
        Err((code, reason)) => {
            service.inbox.refuse(format!("{code}: {reason}"));
            answer(code, &reason)
        }
    }
}

/// Business errors come with status 200, those of the gateway with 400.
fn answer(code: &str, message: &str) -> Response {
    let business = code == "OK" || code.starts_with("isv.") || code.starts_with("isp.");
    let status = if business { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let body = json!({ "Code": code, "Message": message, "BizId": "1^0", "RequestId": "stand-in" });
    (status, axum::Json(body)).into_response()
}

impl Service {
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<SmsMessage, Refusal> {
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        self.verify(method, uri, headers, body)?;
        let (action, version) = (header("x-acs-action"), header("x-acs-version"));
        if (action, version) != ("SendSms", "2017-05-25") {
            return Err(("InvalidAction.NotFound", format!("no action {action:?} of version {version:?}")));
        }
        let nonce = header("x-acs-signature-nonce").to_owned();
        {
            let mut nonces = self.nonces.lock();
            if nonces.len() >= MAX_NONCES {
                nonces.clear();
            }
            if nonce.is_empty() || !nonces.insert(nonce) {
                return Err(("SignatureNonceUsed", "the nonce was used before".to_owned()));
            }
        }
        let mut parameters: BTreeMap<_, _> = pairs(uri.query().unwrap_or_default(), false).into_iter().collect();
        if header("content-type").starts_with("application/x-www-form-urlencoded") {
            parameters.extend(pairs(&String::from_utf8_lossy(body), true));
        }
        message(&parameters)
    }

    fn verify(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().trim();
        let written = text("authorization").strip_prefix("ACS3-HMAC-SHA256 ").unwrap_or_default();
        let fields: BTreeMap<_, _> = written.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        if field("Credential") != self.options.access_key_id {
            return Err(("InvalidAccessKeyId.NotFound", "the access key is not known".to_owned()));
        }
        let names: Vec<_> = field("SignedHeaders").split(';').collect();
        let must = headers.keys().map(|n| n.as_str()).filter(|n| n.starts_with("x-acs-") || *n == "host");
        if let Some(missing) = must.into_iter().find(|name| !names.contains(name)) {
            return Err(("IncompleteSignature", format!("the header {missing} is not signed")));
        }
        check_date(text("x-acs-date"), runtime::now().0)?;
        let body_hash = lower_hex(&Sha256::digest(body));
        if text("x-acs-content-sha256") != body_hash {
            return Err(("SignatureDoesNotMatch", "x-acs-content-sha256 is not that of the body".to_owned()));
        }
        let mut query: Vec<_> = pairs(uri.query().unwrap_or_default(), false)
            .into_iter()
            .map(|(name, value)| format!("{}={}", quote(&name), quote(&value)))
            .collect();
        query.sort();
        let mut canonical = format!("{method}\n{}\n{}\n", uri.path(), query.join("&"));
        for name in &names {
            canonical.push_str(&format!("{name}:{}\n", text(name)));
        }
        canonical.push_str(&format!("\n{}\n{body_hash}", field("SignedHeaders")));
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", lower_hex(&Sha256::digest(canonical.as_bytes())));
        let mac = Hmac::<Sha256>::new_from_slice(self.options.access_key_secret.as_bytes());
        let matches = mac.is_ok_and(|mut mac| {
            mac.update(to_sign.as_bytes());
            from_hex(field("Signature")).is_some_and(|signature| mac.verify_slice(&signature).is_ok())
        });
        if matches { Ok(()) } else { Err(("SignatureDoesNotMatch", format!("the signed string is {to_sign:?}"))) }
    }
}

/// `2023-10-26T10:22:32Z`, within a quarter of an hour.
fn check_date(written: &str, now_ms: i64) -> Result<(), Refusal> {
    let refusal = || ("InvalidTimeStamp.Expired", format!("{written:?} is not the time"));
    let mut numbers = Vec::new();
    for part in written.strip_suffix('Z').ok_or_else(refusal)?.split(['-', 'T', ':']) {
        numbers.push(part.parse::<i64>().map_err(|_| refusal())?);
    }
    let [year, month, day, hour, minute, second] = numbers[..] else { return Err(refusal()) };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return Err(refusal());
    }
    // Days before this month of this year: leap years by Gregory's rule, then the months.
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let years: i64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths.iter().zip(1..month).map(|(days, _)| days).sum();
    let seconds = ((years + months + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    if (seconds * 1000).abs_diff(now_ms) > 15 * 60_000 { Err(refusal()) } else { Ok(()) }
}

fn message(parameters: &BTreeMap<String, String>) -> Result<SmsMessage, Refusal> {
    let required = |name: &str| {
        let value = parameters.get(name).filter(|v| !v.is_empty()).cloned();
        value.ok_or_else(|| ("isv.INVALID_PARAMETERS", format!("{name} is missing")))
    };
    let phone_numbers: Vec<_> = required("PhoneNumbers")?.split(',').map(str::to_owned).collect();
    if phone_numbers.len() > MAX_NUMBERS {
        return Err(("isv.MOBILE_COUNT_OVER_LIMIT", format!("{} numbers", phone_numbers.len())));
    }
    let is_number = |number: &String| {
        let digits = number.strip_prefix('+').unwrap_or(number);
        digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit())
    };
    if let Some(bad) = phone_numbers.iter().find(|number| !is_number(number)) {
        return Err(("isv.MOBILE_NUMBER_ILLEGAL", format!("{bad:?} is no number")));
    }
    let template_param: Json = match parameters.get("TemplateParam") {
        Some(written) => serde_json::from_str(written).map_err(|e| ("isv.INVALID_JSON_PARAM", e.to_string()))?,
        None => json!({}),
    };
    let too_long = |value: &Json| value.as_str().is_some_and(|v| v.chars().count() > MAX_VARIABLE_CHARS);
    if template_param.as_object().is_none_or(|variables| variables.values().any(too_long)) {
        return Err(("isv.PARAM_LENGTH_LIMIT", format!("a variable is no text of 35 characters: {template_param}")));
    }
    Ok(SmsMessage {
        received_at_ms: runtime::now().0,
        phone_numbers,
        sign_name: required("SignName")?,
        template_code: required("TemplateCode")?,
        template_param,
        out_id: parameters.get("OutId").cloned(),
    })
}

/// The decoded pairs of a query; in a form a plus is a space.
fn pairs(query: &str, form: bool) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = if form { text.replace('+', " ") } else { text.to_owned() };
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(n, v)| (decode(n), decode(v))).collect()
}

fn quote(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.map(|d| d.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_checked() {
        let at = 1_698_315_752_000;
        assert!(check_date("2023-10-26T10:22:32Z", at).is_ok());
        assert!(check_date("2023-10-26T10:22:32Z", at + 14 * 60_000).is_ok());
        assert!(check_date("2024-02-29T00:00:00Z", 1_709_164_800_000).is_ok());
        for bad in ["", "2023-10-26T10:22:32", "2023-10-26T11:22:32Z", "2023-13-26T10:22:32Z", "x"] {
            assert!(check_date(bad, at).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_are_checked() {
        let check = |query: &str| message(&pairs(query, false).into_iter().collect()).map_err(|(code, _)| code);
        let good = "PhoneNumbers=13800000000&SignName=s&TemplateCode=t&TemplateParam=%7B%22a%22%3A%22b%22%7D";
        assert_eq!(check(good).map(|m| m.template_param), Ok(json!({ "a": "b" })));
        let cases = [
            ("SignName=s&TemplateCode=t", "isv.INVALID_PARAMETERS"),
            ("PhoneNumbers=1a&SignName=s&TemplateCode=t", "isv.MOBILE_NUMBER_ILLEGAL"),
            ("PhoneNumbers=13800000000&TemplateCode=t", "isv.INVALID_PARAMETERS"),
            ("PhoneNumbers=13800000000&SignName=s&TemplateCode=t&TemplateParam=x", "isv.INVALID_JSON_PARAM"),
        ];
        for (query, want) in cases {
            assert_eq!(check(query).err(), Some(want), "{query}");
        }
        let long = format!("{}&TemplateParam=%7B%22a%22%3A%22{}%22%7D", "PhoneNumbers=13800000000", "x".repeat(36));
        assert_eq!(check(&long).err(), Some("isv.PARAM_LENGTH_LIMIT"));
    }
}
