//! Which web pages of other origins may read the answers.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::rust_regex;
use regex::Regex;

/// A pattern for origins that is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern for origins {pattern:?}: {reason}; write for example https?://(grafana|wall)\\.example\\.com")]
pub struct CorsError {
    pattern: String,
    reason: String,
}

/// The origins that `--web.cors.origin` admits.
#[derive(Debug, Clone)]
pub struct CorsOrigins {
    /// `None` admits every origin.
    pattern: Option<Regex>,
}

impl Default for CorsOrigins {
    /// Every origin, as in Prometheus.
    fn default() -> Self {
        Self { pattern: None }
    }
}

impl CorsOrigins {
    /// Compiles a pattern that an origin must match as a whole.
    ///
    /// # Errors
    /// When it is no regular expression.
    pub fn parse(pattern: &str) -> Result<Self, CorsError> {
        if pattern == ".*" {
            return Ok(Self::default());
        }
        let refuse = |reason: String| CorsError { pattern: pattern.to_owned(), reason };
        let translated = rust_regex(pattern).map_err(|e| refuse(e.reason))?;
        let regex = Regex::new(&format!("^(?s:{translated})$")).map_err(|e| {
            refuse(e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        })?;
        Ok(Self { pattern: Some(regex) })
    }

    /// The value of `Access-Control-Allow-Origin` for a page of this origin.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match &self.pattern {
            None => Some(HeaderValue::from_static("*")),
            Some(regex) => origin.to_str().is_ok_and(|o| regex.is_match(o)).then(|| origin.clone()),
        }
    }
}

/// Answers OPTIONS itself and adds the headers that let an admitted page read the answer.
pub(crate) async fn cors(State(origins): State<CorsOrigins>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let Some(origin) = origin else { return response };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(allowed) = origins.allow(&origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let methods = HeaderValue::from_static("GET, POST, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let allowed_headers = HeaderValue::from_static("Accept, Authorization, Content-Type, Origin");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_admits_whole_origins() {
        let origins = CorsOrigins::parse("https?://a\\.example").expect("compiles");
        let allow = |origin: &'static str| origins.allow(&HeaderValue::from_static(origin));
        assert_eq!(allow("https://a.example"), Some(HeaderValue::from_static("https://a.example")));
        assert_eq!(allow("https://a.example.evil"), None);
        assert_eq!(allow("https://axexample"), None);
        assert_eq!(CorsOrigins::default().allow(&HeaderValue::from_static("x")), Some(HeaderValue::from_static("*")));
        assert!(CorsOrigins::parse(r"\Qhttps://a.example\E").is_ok(), "it is Go's syntax");
        let error = CorsOrigins::parse("a)|(b").expect_err("is refused").to_string();
        assert!(error.contains("write for example"), "{error}");
    }
}
