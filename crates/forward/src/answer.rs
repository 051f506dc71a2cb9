//! What a receiver answers, and what that means for the samples of the request.

use std::time::Duration;

use model::TimestampMs;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::negotiation::Form;

/// Bytes of an error answer that are read and logged.
const MAX_ANSWER_BYTES: usize = 1024;

/// The parts of an answer that matter.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Samples and native histograms that it says are stored, where it says so.
    pub(crate) written: Option<usize>,
    pub(crate) retry_after: Option<Duration>,
    /// `Highwater-Version`
    pub(crate) version: Option<String>,
    /// `Highwater-Lanes: 1`
    pub(crate) lanes: bool,
    /// Words of `Highwater-Accept`.
    pub(crate) accepts_zstd: bool,
    pub(crate) accepts_columns: bool,
    /// `Highwater-Session: unknown`
    pub(crate) forgot_session: bool,
    /// Its words, shortened.
    pub(crate) text: String,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every sample is stored.
    Taken,
    /// So many samples are stored; the rest never will be.
    TakenInPart(usize),
    /// Refused whole, and perhaps for the sake of one sample.
    Spoiled,
    /// Refused whole, whatever is in it.
    Refused,
    /// Worth another try as it is, later.
    Later,
    /// The form of the request is not understood; the same samples in another form may be.
    NotUnderstood,
    /// The receiver knows nothing of what was announced to it.
    SessionLost,
}

impl Answer {
    /// Reads an answer: its head, and of its body as much as is worth showing.
    pub(crate) async fn read(mut response: Response) -> Self {
        let mut text = Vec::new();
        if !response.status().is_success() {
            while let Ok(Some(chunk)) = response.chunk().await {
                text.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - text.len())]);
                if text.len() >= MAX_ANSWER_BYTES {
                    break;
                }
            }
        }
        Self::of(response.status(), response.headers(), String::from_utf8_lossy(&text).trim().to_owned())
    }

    fn of(status: StatusCode, headers: &HeaderMap, text: String) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let accept = header("highwater-accept").unwrap_or_default();
        let accepts = |word: &str| accept.split(',').any(|one| one.trim().eq_ignore_ascii_case(word));
        let number = |name: &str| header(name).and_then(|text| text.parse::<usize>().ok());
        let histograms = number(remote_write::HISTOGRAMS_WRITTEN_HEADER).unwrap_or(0);
        let written = number(remote_write::SAMPLES_WRITTEN_HEADER).map(|samples| samples.saturating_add(histograms));
        Self {
            status,
            written,
            retry_after: header(RETRY_AFTER.as_str()).and_then(|text| pause(text, runtime::now())),
            version: header(sources::VERSION_HEADER).map(str::to_owned),
            lanes: header("highwater-lanes") == Some("1"),
            accepts_zstd: accepts("zstd"),
            accepts_columns: accepts("columns"),
            forgot_session: header("highwater-session").is_some_and(|text| text.eq_ignore_ascii_case("unknown")),
            text,
        }
    }

    /// Whether this tells nothing of who the receiver is: gateways in front of it answer so in its place, and a receiver
    /// that is short of everything may say no more than that.
    pub(crate) fn is_no_say(&self) -> bool {
        self.version.is_none()
            && (self.status.is_server_error() || matches!(self.status.as_u16(), 401 | 403 | 404 | 408 | 429))
    }

    /// The specification's rules, and ours for forms that it does not know.
    pub(crate) fn verdict(&self, form: Form) -> Verdict {
        let status = self.status;
        let is_stranger = self.version.is_none();
        match status.as_u16() {
            409 if self.forgot_session => Verdict::SessionLost,
            // Who knows 2.0 counts; who does not has taken the body for something else.
            200..=299 if form != Form::One && self.written.is_none() => Verdict::NotUnderstood,
            200..=299 => Verdict::Taken,
            429 => Verdict::Later,
            415 if form != Form::One => Verdict::NotUnderstood,
            401 | 403..=405 | 407 | 408 => Verdict::Refused,
            400..=499 => match self.written {
                // One that counts and takes nothing of 1.0 may have undone what it took.
                Some(0) if form == Form::One && is_stranger && !matches!(status.as_u16(), 409 | 415) => {
                    Verdict::Spoiled
                }
                Some(written) if status != StatusCode::PAYLOAD_TOO_LARGE => Verdict::TakenInPart(written),
                None if form != Form::One && is_stranger && status != StatusCode::PAYLOAD_TOO_LARGE => {
                    Verdict::NotUnderstood
                }
                _ if matches!(status.as_u16(), 409 | 415) => Verdict::Refused,
                _ => Verdict::Spoiled,
            },
            500..=599 => Verdict::Later,
            _ => Verdict::Refused,
        }
    }

    /// Whether it minds that samples are older than what it has: in the words of Prometheus, Mimir and Thanos.
    pub(crate) fn is_about_order(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        ["out of order", "out-of-order", "out of bounds", "too old", "duplicate sample"]
            .iter()
            .any(|w| text.contains(w))
    }

    /// For the log.
    pub(crate) fn reason(&self) -> String {
        format!("{}: {}", self.status, self.text)
    }
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3).
fn pause(text: &str, now: TimestampMs) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::from_millis(u64::try_from(until.as_millisecond().saturating_sub(now.0)).unwrap_or(0)))
}

/// An error with what caused it: reqwest keeps "connection refused" three levels down.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
        source = cause.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use Form::{Columns, One, Two, TwoZstd};
    use Verdict::{Later, NotUnderstood, Refused, SessionLost, Spoiled, Taken, TakenInPart};

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let status = StatusCode::from_u16(status).expect("is a status");
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.insert(*name, value.parse().expect("is a value"));
        });
        Answer::of(status, &map, String::new())
    }

    #[test]
    fn every_answer_has_a_meaning() {
        let counted = ("x-prometheus-remote-write-samples-written", "3");
        let ours = ("highwater-version", "1");
        let lost = ("highwater-session", "unknown");
        type Case<'a> = (u16, &'a [(&'static str, &'a str)], Form, Verdict);
        let cases: &[Case<'_>] = &[
            (204, &[], One, Taken),
            (200, &[counted], Two, Taken),
            (204, &[], Two, NotUnderstood),
            (204, &[], Columns, NotUnderstood),
            (400, &[counted], One, TakenInPart(3)),
            (400, &[counted], Two, TakenInPart(3)),
            (400, &[], One, Spoiled),
            (400, &[("x-prometheus-remote-write-samples-written", "0")], One, Spoiled),
            (400, &[], Two, NotUnderstood),
            (400, &[ours], Columns, Spoiled),
            (422, &[], One, Spoiled),
            (413, &[counted], One, Spoiled),
            (413, &[], Columns, Spoiled),
            (415, &[counted], TwoZstd, NotUnderstood),
            (415, &[], One, Refused),
            (409, &[lost, ours], Columns, SessionLost),
            (409, &[], One, Refused),
            (408, &[], One, Refused),
            (429, &[counted], One, Later),
            (500, &[], One, Later),
            (503, &[counted], Columns, Later),
            (401, &[], One, Refused),
            (404, &[], Two, Refused),
            (302, &[], One, Refused),
        ];
        for (status, headers, form, want) in cases {
            assert_eq!(answer(*status, headers).verdict(*form), *want, "{status} {headers:?} {form:?}");
        }
        let ours =
            answer(204, &[("highwater-accept", "zstd, Columns"), ("highwater-lanes", "1"), ("retry-after", "7")]);
        assert!(ours.accepts_zstd && ours.accepts_columns && ours.lanes);
        assert_eq!(ours.retry_after, Some(Duration::from_secs(7)));
        let now = TimestampMs(784_111_777_000);
        let cases = [
            ("90", Some(90)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ];
        for (text, want) in cases {
            assert_eq!(pause(text, now), want.map(Duration::from_secs), "{text}");
        }
    }

    /// What a receiver of this configuration is spoken to after these answers to the form it was spoken to.
    #[test]
    fn the_form_follows_the_answers() {
        let config = |text: &str| crate::tests::configs(text).expect("is valid").remove(0);
        let ours = |accept: &'static str| answer(204, &[("highwater-version", "1"), ("highwater-accept", accept)]);
        let mut n = crate::negotiation::Negotiation::new(&config("[{url: 'http://a/'}]"));
        assert_eq!((n.form(), n.has_lanes(), n.is_ours()), (One, false, false));
        n.learn(&ours("zstd, columns"));
        assert_eq!((n.form(), n.is_ours()), (Columns, true));
        n.learn(&answer(502, &[]));
        assert_eq!(n.form(), Columns, "a gateway knows nothing");
        n.misunderstood(Columns);
        assert_eq!(n.form(), TwoZstd);
        n.learn(&ours("zstd, columns"));
        n.misunderstood(TwoZstd);
        assert_eq!(n.form(), One);
        // Restarted as a newer version; then as somebody else.
        n.learn(&answer(
            204,
            &[("highwater-version", "2"), ("highwater-accept", "zstd,columns"), ("highwater-lanes", "1")],
        ));
        assert_eq!((n.form(), n.has_lanes()), (Columns, true));
        n.learn(&answer(204, &[]));
        assert_eq!((n.form(), n.has_lanes(), n.is_ours()), (One, false, false));

        let mut two = crate::negotiation::Negotiation::new(&config(
            "[{url: 'http://a/', protobuf_message: io.prometheus.write.v2.Request, queue_config: {lanes: always}}]",
        ));
        assert_eq!((two.form(), two.has_lanes()), (Two, true));
        two.misunderstood(Two);
        two.learn(&answer(204, &[]));
        assert_eq!(two.form(), One, "for good");
        for (wire, best) in [("'1.0'", One), ("'2.0'", TwoZstd)] {
            let mut n = crate::negotiation::Negotiation::new(&config(&format!(
                "[{{url: 'http://a/', queue_config: {{wire: {wire}}}}}]"
            )));
            n.learn(&ours("zstd, columns"));
            assert_eq!(n.form(), best);
        }
    }
}
