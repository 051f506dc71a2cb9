//! A request's parameters: from the query string and, on POST and PUT, from a form in the body, which wins.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use model::{Matcher, TimestampMs};
use percent_encoding::percent_decode_str;

use crate::error::ApiError;
use crate::{language, numbers, time};

/// Larger forms are refused (Go's limit for forms, so Prometheus' too).
const MAX_FORM_BYTES: usize = 10 << 20;
/// How long a client may take to send one.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);
/// More selectors in one request are refused: each may hold compiled regular expressions.
const MAX_SELECTORS: usize = 1000;

const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The parameters by name, each value decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let mut params = Self::default();
        if matches!(parts.method, Method::POST | Method::PUT) {
            let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
            let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
            if media_type == FORM_TYPE {
                let read = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, MAX_FORM_BYTES)).await;
                let bytes = read
                    .map_err(|_| ApiError::bad_data(format!("the form did not arrive within {FORM_TIMEOUT:?}")))?
                    .map_err(|e| {
                        ApiError::bad_data(format!("cannot read the form (limit {MAX_FORM_BYTES} bytes): {e}"))
                    })?;
                let form = std::str::from_utf8(&bytes).map_err(|_| ApiError::bad_data("the form is not UTF-8"))?;
                params.add(form)?;
            } else if media_type.starts_with("multipart/") {
                return Err(ApiError::bad_data(format!("unsupported content type {media_type:?}; send {FORM_TYPE}")));
            }
        }
        params.add(parts.uri.query().unwrap_or(""))?;
        Ok(params)
    }
}

impl Params {
    /// Adds what one encoded list holds.
    fn add(&mut self, encoded: &str) -> Result<(), ApiError> {
        for pair in encoded.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.pairs.push((decode(name)?, decode(value)?));
        }
        Ok(())
    }

    /// The first value of a parameter; empty where it is missing, which Prometheus does not tell apart.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A moment that must be given.
    pub(crate) fn required_time(&self, name: &str) -> Result<TimestampMs, ApiError> {
        time::parse_time(self.get(name)).map_err(|e| ApiError::parameter(name, e))
    }

    /// A moment that need not be given.
    pub(crate) fn time(&self, name: &str, default: TimestampMs) -> Result<TimestampMs, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => time::parse_time(text)
                .map_err(|e| ApiError::parameter(name, format_args!("invalid time value for '{name}': {e}"))),
        }
    }

    /// A span of time in nanoseconds; `None` where it is not given.
    pub(crate) fn duration_ns(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => time::parse_duration_ns(text).map(Some).map_err(|e| ApiError::parameter(name, e)),
        }
    }

    /// How many items the caller wants at most; `None` is all of them.
    pub(crate) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let limit = match self.get("limit") {
            "" => 0,
            text => numbers::whole(text).map_err(|e| ApiError::parameter("limit", e))?,
        };
        let limit = usize::try_from(limit).map_err(|_| ApiError::parameter("limit", "limit must be non-negative"))?;
        Ok((limit > 0).then_some(limit))
    }

    /// A list's length that need not be given; zero is a length, a negative number is none.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => match numbers::whole(text) {
                Ok(count) => Ok(usize::try_from(count).ok()),
                Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
            },
        }
    }

    /// The selectors in `match[]`. Endpoints differ in whether a refusal names the parameter.
    pub(crate) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.selectors_by(language::selector)
    }

    /// The same, where a refusal names the parameter.
    pub(crate) fn named_selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.selectors().map_err(|error| ApiError::parameter("match[]", error))
    }

    /// The same, where every series may be meant.
    pub(crate) fn any_selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.selectors_by(language::any_selector)
    }

    fn selectors_by(&self, parse: fn(&str) -> Result<Vec<Matcher>, String>) -> Result<Vec<Vec<Matcher>>, ApiError> {
        if self.all("match[]").nth(MAX_SELECTORS).is_some() {
            return Err(ApiError::bad_data(format!("more than {MAX_SELECTORS} selectors; send several requests")));
        }
        self.all("match[]").map(|text| parse(text).map_err(ApiError::bad_data)).collect()
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(ApiError::bad_data(format!("the parameter {text:?} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn read(method: &str, uri: &str, content_type: &str, body: &str) -> Result<Params, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body.to_owned()))
            .expect("is a request");
        Params::from_request(request, &()).await
    }

    #[tokio::test]
    async fn the_form_wins_over_the_query_string() {
        let params = read("POST", "/?a=1&b=2&b=4", FORM_TYPE, "a=3%2B+x&c").await.expect("reads");
        assert_eq!((params.get("a"), params.get("b"), params.get("c"), params.get("d")), ("3+ x", "2", "", ""));
        assert_eq!(params.all("b").collect::<Vec<_>>(), ["2", "4"]);
        let with_charset = format!("{}; charset=utf-8", FORM_TYPE.to_uppercase());
        assert_eq!(read("POST", "/", &with_charset, "a=1").await.expect("reads").get("a"), "1");
    }

    #[tokio::test]
    async fn only_post_and_put_have_a_form() {
        assert_eq!(read("PUT", "/", FORM_TYPE, "a=1").await.expect("reads").get("a"), "1");
        assert_eq!(read("GET", "/", FORM_TYPE, "a=1").await.expect("reads").get("a"), "");
        assert_eq!(read("POST", "/", "text/plain", "a=1").await.expect("reads").get("a"), "");
        let error = read("POST", "/", "multipart/form-data; boundary=x", "").await.expect_err("is refused");
        assert!(error.message.contains(FORM_TYPE), "{error}");
    }

    #[tokio::test]
    async fn refuses_what_is_too_large_or_no_text() {
        let large = "a".repeat(MAX_FORM_BYTES + 1);
        assert!(read("POST", "/", FORM_TYPE, &large).await.expect_err("is refused").message.contains("limit"));
        assert!(read("GET", "/?a=%ff", "", "").await.is_err());
        assert_eq!(read("GET", "/?a=%zz", "", "").await.expect("reads").get("a"), "%zz");
        let many = "match[]=up&".repeat(MAX_SELECTORS + 1);
        let params = read("POST", "/", FORM_TYPE, &many).await.expect("reads");
        assert!(params.selectors().expect_err("is refused").message.contains("more than"));
    }

    #[tokio::test]
    async fn limits() {
        for (text, want) in [("", None), ("limit=0", None), ("limit=7", Some(7))] {
            assert_eq!(read("GET", &format!("/?{text}"), "", "").await.expect("reads").limit(), Ok(want));
        }
        for text in ["limit=-1", "limit=x", "limit=1.5", "limit=99999999999999999999"] {
            assert!(read("GET", &format!("/?{text}"), "", "").await.expect("reads").limit().is_err(), "{text}");
        }
    }
}
