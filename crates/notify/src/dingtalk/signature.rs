//! The signature of a signed robot.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// base64(HMAC-SHA256(key = secret, message = "MS\nsecret")), not yet URL-encoded.
pub(crate) fn sign(timestamp_ms: i64, secret: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{timestamp_ms}\n{secret}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vector() {
        let url = reqwest::Url::parse_with_params("http://x/", [("sign", sign(1_577_262_236_757, "this is secret"))]);
        let want = "sign=hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D";
        assert_eq!(url.expect("a URL").query(), Some(want));
    }
}
