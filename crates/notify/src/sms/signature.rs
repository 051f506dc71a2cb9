//! Alibaba Cloud's signature V3, ACS3-HMAC-SHA256 ("V3 request body and signature mechanism").

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, Mac};
use model::TimestampMs;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::notification::hex;
use crate::template::rfc3339;

/// RFC 3986: everything but letters, digits and `-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// A request before it is signed.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Scheme, host and path; the query is added.
    pub(crate) endpoint: &'a Url,
    pub(crate) query: &'a [(&'a str, String)],
    pub(crate) action: &'a str,
    pub(crate) version: &'a str,
    /// [`iso_date`].
    pub(crate) date: &'a str,
    /// Never the same twice.
    pub(crate) nonce: &'a str,
    pub(crate) body: &'a [u8],
}

/// What to send: where to, and with which headers (the host follows from the address).
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Request<'_> {
    /// Signs it. A pure function: time and nonce are part of the request.
    pub(crate) fn sign(&self, key_id: &str, secret: &str) -> Signed {
        let mut pairs: Vec<_> = self.query.iter().map(|(n, v)| (encode(n), encode(v))).collect();
        pairs.sort();
        let query = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        let host = match (self.endpoint.host_str().unwrap_or_default(), self.endpoint.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let body_hash = hex(&Sha256::digest(self.body));
        // In order of names, as the signature wants them.
        let headers = [
            ("host", host),
            ("x-acs-action", self.action.to_owned()),
            ("x-acs-content-sha256", body_hash.clone()),
            ("x-acs-date", self.date.to_owned()),
            ("x-acs-signature-nonce", self.nonce.to_owned()),
            ("x-acs-version", self.version.to_owned()),
        ];
        let signed_names = headers.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(";");
        let header_lines: String = headers.iter().map(|(n, v)| format!("{n}:{}\n", v.trim())).collect();
        let canonical =
            [self.method, self.endpoint.path(), &query, &header_lines, &signed_names, &body_hash].join("\n");
        let to_sign = format!("{ALGORITHM}\n{}", hex(&Sha256::digest(canonical)));
        let signature = hmac_hex(secret, &to_sign);
        let authorization =
            format!("{ALGORITHM} Credential={key_id},SignedHeaders={signed_names},Signature={signature}");
        let mut url = self.endpoint.clone();
        url.set_query(Some(&query));
        let mut headers: Vec<_> = headers.into_iter().skip(1).collect();
        headers.push(("authorization", authorization));
        Signed { url, headers }
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn hmac_hex(key: &str, message: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(message.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// `2023-10-26T10:22:32Z`.
pub(crate) fn iso_date(at: TimestampMs) -> String {
    rfc3339(TimestampMs(at.0.div_euclid(1000) * 1000))
}

/// 32 hexadecimal digits that do not come again: random keys of this process' hashers, and a counter.
pub(crate) fn nonce() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let half = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(COUNTER.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature was computed with Python's hmac, hashlib and urllib.parse.quote from the published description.
    #[test]
    fn agrees_with_an_independent_computation() {
        let query = [
            ("PhoneNumbers", "13800000000,+8613900000001".to_owned()),
            ("SignName", "阿里云 测试*~".to_owned()),
            ("TemplateCode", "SMS_123".to_owned()),
            ("TemplateParam", r#"{"name":"磁盘 100%","n":"a+b/c"}"#.to_owned()),
        ];
        let endpoint = Url::parse("https://dysmsapi.aliyuncs.com").expect("a URL");
        let request = Request {
            method: "POST",
            endpoint: &endpoint,
            query: &query,
            action: "SendSms",
            version: "2017-05-25",
            date: "2023-10-26T10:22:32Z",
            nonce: "3156853299f313e23d1673dc12e1703d",
            body: b"",
        };
        let signed = request.sign("YourAccessKeyId", "YourAccessKeySecret");
        assert_eq!(signed.url.query(), Some(QUERY));
        let authorization = signed.headers.iter().find(|(n, _)| *n == "authorization").map(|(_, v)| v.as_str());
        assert_eq!(authorization, Some(AUTHORIZATION));
    }

    /// The example of Alibaba Cloud's own description.
    #[test]
    fn agrees_with_the_published_example() {
        let endpoint = Url::parse("https://ecs.cn-shanghai.aliyuncs.com/").expect("a URL");
        let query = [
            ("RegionId", "cn-shanghai".to_owned()),
            ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd".to_owned()),
        ];
        let request = Request {
            method: "POST",
            endpoint: &endpoint,
            query: &query,
            action: "RunInstances",
            version: "2014-05-26",
            date: "2023-10-26T10:22:32Z",
            nonce: "3156853299f313e23d1673dc12e1703d",
            body: b"",
        };
        let signed = request.sign("YourAccessKeyId", "YourAccessKeySecret");
        let signature = "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0";
        assert!(signed.headers.iter().any(|(_, v)| v.ends_with(signature)), "{signed:?}");
    }

    const QUERY: &str = "PhoneNumbers=13800000000%2C%2B8613900000001&SignName=%E9%98%BF%E9%87%8C%E4%BA%91%20%E6%B5%8B%E8%AF%95%2A~&TemplateCode=SMS_123&TemplateParam=%7B%22name%22%3A%22%E7%A3%81%E7%9B%98%20100%25%22%2C%22n%22%3A%22a%2Bb%2Fc%22%7D";
    const AUTHORIZATION: &str = "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=7871cf7a600f345b6501bf10374e107b0bd499530b88f225a6e2bd4afb1731d0";

    #[test]
    fn dates_and_nonces() {
        assert_eq!(iso_date(TimestampMs(1_698_315_752_999)), "2023-10-26T10:22:32Z");
        let (a, b) = (nonce(), nonce());
        assert!(a != b && a.len() == 32);
    }
}
