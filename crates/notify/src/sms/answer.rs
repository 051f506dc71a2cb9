//! What SendSms' answer means. Success is `Code` "OK" and nothing else.

use std::time::Duration;

use serde::Deserialize;

use crate::http::one_line;

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may pass.
    Retry,
    /// Not before so long.
    Throttled(Duration),
    /// A number is wrong or not reachable.
    Recipient,
    /// Key, signature name, template or rights.
    Configuration,
    /// The account has nothing left, for today or at all.
    Quota,
}

impl Class {
    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Retry | Self::Throttled(_) => "it is tried again",
            Self::Recipient => "check phone_numbers",
            Self::Configuration => "check the access key and its rights, sign_name, template_code and template_param",
            Self::Quota => "check the account's balance and its limits",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: String,
    #[serde(default)]
    message: String,
}

/// `None` where the message was taken.
pub(crate) fn judge(status: u16, body: &[u8]) -> Option<(Class, String)> {
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) if answer.code == "OK" => None,
        Ok(answer) => {
            let reason = format!("{}: {}", one_line(&answer.code), one_line(&answer.message));
            Some((classify(&answer.code, status), reason))
        }
        Err(_) => {
            let shown = one_line(&String::from_utf8_lossy(body));
            let class = if (400..500).contains(&status) && status != 429 { Class::Configuration } else { Class::Retry };
            Some((class, format!("the answer ({status}) has no Code: {shown}")))
        }
    }
}

fn classify(code: &str, status: u16) -> Class {
    let minute = Duration::from_secs(60);
    match code {
        // One number may get one message a minute, five an hour and ten a day by default.
        "isv.BUSINESS_LIMIT_CONTROL" => Class::Throttled(minute),
        "isv.DAY_LIMIT_CONTROL"
        | "isv.MONTH_LIMIT_CONTROL"
        | "isv.OUT_OF_SERVICE"
        | "isv.AMOUNT_NOT_ENOUGH"
        | "isv.PRODUCT_UN_SUBSCRIPT"
        | "isv.PRODUCT_UNSUBSCRIBE" => Class::Quota,
        "isv.MOBILE_NUMBER_ILLEGAL"
        | "isv.MOBILE_COUNT_OVER_LIMIT"
        | "isv.BLACK_KEY_CONTROL_LIMIT"
        | "isv.DOMESTIC_NUMBER_NOT_SUPPORTED" => Class::Recipient,
        "isv.SYSTEM_ERROR" | "SignatureNonceUsed" | "InternalError" | "ServiceUnavailable" => Class::Retry,
        // SIGNATURE_..., TEMPLATE_..., PARAM_..., RAM_PERMISSION_DENY and many more.
        _ if code.starts_with("Throttling") => Class::Throttled(minute),
        "isp.RAM_PERMISSION_DENY" => Class::Configuration,
        _ if code.starts_with("isp.") || status >= 500 || status == 429 => Class::Retry,
        _ => Class::Configuration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_class() {
        let minute = Class::Throttled(Duration::from_secs(60));
        let cases = [
            ("isv.BUSINESS_LIMIT_CONTROL", 200, minute),
            ("Throttling.User", 400, minute),
            ("isv.DAY_LIMIT_CONTROL", 200, Class::Quota),
            ("isv.OUT_OF_SERVICE", 200, Class::Quota),
            ("isv.AMOUNT_NOT_ENOUGH", 200, Class::Quota),
            ("isv.MOBILE_NUMBER_ILLEGAL", 200, Class::Recipient),
            ("isv.SMS_SIGNATURE_SCENE_ILLEGAL", 200, Class::Configuration),
            ("SignatureDoesNotMatch", 400, Class::Configuration),
            ("InvalidAccessKeyId.NotFound", 404, Class::Configuration),
            ("isp.SYSTEM_ERROR", 200, Class::Retry),
            ("SomethingNew", 503, Class::Retry),
        ];
        for (code, status, want) in cases {
            let body = format!("{{\"Code\":\"{code}\",\"Message\":\"m\"}}");
            assert_eq!(judge(status, body.as_bytes()).map(|(c, _)| c), Some(want), "{code}");
        }
        assert_eq!(judge(200, br#"{"Code":"OK","BizId":"1"}"#), None);
        for body in ["", "{}", r#"{"Message":"OK"}"#, r#"{"Code":1}"#, "<html>"] {
            assert_eq!(judge(200, body.as_bytes()).map(|(c, _)| c), Some(Class::Retry), "{body}");
        }
        assert_eq!(judge(403, b"no").map(|(c, _)| c), Some(Class::Configuration));
    }
}
