//! The envelope around every successful answer.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::error::ApiError;
use crate::json;

/// More remarks of a kind than this are summed up in one more.
pub(crate) const MAX_REMARKS: usize = 10;

/// An answer being written: `{"status":"success","data":` and then whatever the caller adds to `out`.
pub(crate) struct Answer {
    pub(crate) out: Vec<u8>,
}

impl Answer {
    /// Opens the envelope; the caller writes one JSON value next.
    pub(crate) fn open() -> Self {
        Self { out: b"{\"status\":\"success\",\"data\":".to_vec() }
    }

    /// An answer whose data are what `data` serialises to.
    pub(crate) fn of(data: &impl Serialize) -> Result<Vec<u8>, ApiError> {
        Self::of_with(data, &[])
    }

    /// The same with warnings.
    pub(crate) fn of_with(data: &impl Serialize, warnings: &[String]) -> Result<Vec<u8>, ApiError> {
        let mut answer = Self::open();
        json::value(&mut answer.out, data)?;
        Ok(answer.close(warnings, &[]))
    }

    /// Closes the envelope. Empty lists of remarks are left out.
    pub(crate) fn close(mut self, warnings: &[String], infos: &[String]) -> Vec<u8> {
        self.remarks("warnings", "warning", warnings);
        self.remarks("infos", "info", infos);
        self.out.push(b'}');
        self.out
    }

    fn remarks(&mut self, name: &str, one: &str, remarks: &[String]) {
        if remarks.is_empty() {
            return;
        }
        self.out.push(b',');
        json::string(&mut self.out, name);
        self.out.push(b':');
        let omitted = remarks.len().saturating_sub(MAX_REMARKS);
        let rest = (omitted > 0).then(|| format!("{omitted} more {one} annotations omitted"));
        json::strings(&mut self.out, remarks.iter().take(MAX_REMARKS).chain(&rest));
    }
}

/// The media type of everything below `/api/v1` but the OpenAPI document.
pub(crate) const JSON: &str = "application/json";

/// A response whose body is `json`.
pub(crate) fn json_response(status: StatusCode, json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(warnings: usize, infos: usize) -> String {
        let remarks = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let mut answer = Answer::open();
        answer.out.push(b'1');
        String::from_utf8(answer.close(&remarks(warnings), &remarks(infos))).expect("is UTF-8")
    }

    #[test]
    fn remarks_are_bounded_and_empty_ones_left_out() {
        assert_eq!(closed(0, 0), r#"{"status":"success","data":1}"#);
        assert_eq!(closed(1, 2), r#"{"status":"success","data":1,"warnings":["0"],"infos":["0","1"]}"#);
        let many: serde_json::Value = serde_json::from_str(&closed(25, 10)).expect("is JSON");
        assert_eq!(many["warnings"].as_array().map(Vec::len), Some(11));
        assert_eq!(many["warnings"][10], "15 more warning annotations omitted");
        assert_eq!(many["infos"].as_array().map(Vec::len), Some(10));
        let many: serde_json::Value = serde_json::from_str(&closed(0, 11)).expect("is JSON");
        assert_eq!(many["infos"][10], "1 more info annotations omitted");
    }
}
