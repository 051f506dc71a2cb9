//! What DingTalk's answer means. Errors come with HTTP 200 and an `errcode`.

use std::time::Duration;

use serde::Deserialize;

use super::BLOCK;
use crate::http::one_line;

/// What to do about an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// It may pass.
    Busy(String),
    /// Nothing more for so long.
    TooFast(Duration, String),
    /// It will not pass; the reason says what to do.
    Refused(String),
}

#[derive(Deserialize)]
struct Answer {
    errcode: Option<i64>,
    #[serde(default)]
    errmsg: String,
}

/// Judges the body of an answer with HTTP status 200.
pub(crate) fn judge(body: &[u8]) -> Verdict {
    let shown = || one_line(&String::from_utf8_lossy(body));
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Verdict::Busy(format!("the answer is not DingTalk's JSON: {}", shown()));
    };
    let Some(code) = answer.errcode else {
        return Verdict::Busy(format!("the answer has no errcode: {}", shown()));
    };
    let said = format!("errcode {code}: {}", one_line(&answer.errmsg));
    let refused = |advice: &str| Verdict::Refused(format!("{said}; {advice}"));
    match code {
        0 => Verdict::Delivered,
        -1 => Verdict::Busy(said),
        130_101 => Verdict::TooFast(BLOCK, said),
        410_100 => Verdict::TooFast(Duration::from_secs(60), said),
        310_000 => refused("check the robot's keywords, secret and allowed addresses, and this machine's clock"),
        300_001 => refused("check access_token"),
        40_035 => refused("a parameter is missing; check title and text, which must not be empty"),
        43_004 => refused("something between here and DingTalk changes the content type"),
        460_101 => refused("the message is too large; shorten the template"),
        400_013 | 400_102 | 400_106 => refused("the robot or its group is gone or switched off; make a new robot"),
        // Unknown ones are tried again: giving up is the worse mistake.
        _ => Verdict::Busy(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_meaning() {
        let kind = |body: &str| match judge(body.as_bytes()) {
            Verdict::Delivered => "delivered",
            Verdict::Busy(_) => "busy",
            Verdict::TooFast(BLOCK, _) => "blocked",
            Verdict::TooFast(..) => "too fast",
            Verdict::Refused(_) => "refused",
        };
        assert_eq!(kind(r#"{"errcode":0,"errmsg":"ok"}"#), "delivered");
        for body in ["", "<html>", "{}", "[]", r#"{"errmsg":"ok"}"#, r#"{"errcode":null}"#, r#"{"errcode":"0"}"#] {
            assert_eq!(kind(body), "busy", "{body}");
        }
        let cases = [
            ("busy", vec![-1, 7]),
            ("blocked", vec![130_101]),
            ("too fast", vec![410_100]),
            ("refused", vec![310_000, 300_001, 40_035, 43_004, 460_101, 400_013, 400_102, 400_106]),
        ];
        for (want, codes) in cases {
            for code in codes {
                assert_eq!(kind(&format!("{{\"errcode\":{code},\"errmsg\":\"x\"}}")), want, "{code}");
            }
        }
    }
}
