//! A mail as it came, and as a person reads it: decoded headers and parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// Parts within parts are read this deep.
const MAX_DEPTH: usize = 4;

/// One mail.
#[derive(Debug, Clone, Serialize)]
pub struct Mail {
    /// Milliseconds since the epoch.
    pub received_at_ms: i64,
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Whether it came through TLS.
    pub tls: bool,
    /// Who had logged in.
    pub user: Option<String>,
    /// Unfolded and decoded, in order.
    pub headers: Vec<(String, String)>,
    /// Decoded; those of a multipart in its order.
    pub parts: Vec<MailPart>,
    /// Every byte.
    pub raw: String,
}

/// A part of a mail that is no multipart itself.
#[derive(Debug, Clone, Serialize)]
pub struct MailPart {
    /// For example `text/html; charset=utf-8`.
    pub content_type: String,
    /// Decoded.
    pub body: String,
}

impl Mail {
    pub(crate) fn new(from: String, to: Vec<String>, tls: bool, user: Option<String>, raw: String) -> Self {
        let (headers, body) = split(&raw);
        let mut parts = Vec::new();
        collect(&headers, body, MAX_DEPTH, &mut parts);
        let headers = headers.into_iter().map(|(n, v)| (n, decode_words(&v))).collect();
        Self { received_at_ms: runtime::now().0, from, to, tls, user, headers, parts, raw }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body of the first part of that type, for example `text/html`.
    pub fn part(&self, content_type: &str) -> Option<&str> {
        self.parts.iter().find(|p| p.content_type.starts_with(content_type)).map(|p| p.body.as_str())
    }
}

type Headers = Vec<(String, String)>;

fn split(raw: &str) -> (Headers, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((raw, ""));
    let mut headers: Headers = Vec::new();
    for line in head.split("\r\n") {
        match (line.strip_prefix([' ', '\t']), headers.last_mut()) {
            (Some(folded), Some((_, value))) => {
                value.push(' ');
                value.push_str(folded.trim());
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    headers.push((name.to_owned(), value.trim().to_owned()));
                }
            }
        }
    }
    (headers, body)
}

fn value<'a>(headers: &'a Headers, name: &str) -> &'a str {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).unwrap_or_default()
}

fn collect(headers: &Headers, body: &str, depth: usize, parts: &mut Vec<MailPart>) {
    let content_type = value(headers, "content-type");
    let boundary =
        content_type.split(';').find_map(|p| p.trim().strip_prefix("boundary=")).map(|b| b.trim_matches('"'));
    match boundary {
        Some(boundary) if depth > 0 && content_type.starts_with("multipart/") => {
            let delimiter = format!("--{boundary}");
            for part in body.split(&delimiter).skip(1).take_while(|part| !part.starts_with("--")) {
                let (headers, body) = split(part.strip_prefix("\r\n").unwrap_or(part));
                collect(&headers, body.strip_suffix("\r\n").unwrap_or(body), depth - 1, parts);
            }
        }
        _ => {
            let body = match value(headers, "content-transfer-encoding").to_ascii_lowercase().as_str() {
                "base64" => from_base64(&body.replace(['\r', '\n'], "")),
                "quoted-printable" => from_quoted_printable(body, false),
                _ => body.to_owned(),
            };
            parts.push(MailPart { content_type: content_type.to_owned(), body });
        }
    }
}

fn from_base64(written: &str) -> String {
    STANDARD.decode(written.trim()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// RFC 2045, or with `header` its variant for headers, where an underscore is a space.
fn from_quoted_printable(written: &str, header: bool) -> String {
    let joined = written.replace("=\r\n", "");
    let (mut out, mut rest) = (Vec::new(), joined.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code =
            after.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        rest = match (first, code) {
            (b'=', Some(byte)) => {
                out.push(byte);
                &after[2..]
            }
            (b'_', _) if header => {
                out.push(b' ');
                after
            }
            _ => {
                out.push(*first);
                after
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 2047: `=?utf-8?b?...?=`; white space between two such words does not count.
fn decode_words(value: &str) -> String {
    let (mut out, mut after_word) = (String::new(), false);
    for word in value.split(' ') {
        let decoded = word.strip_prefix("=?").and_then(|w| w.strip_suffix("?=")).and_then(|w| {
            let mut fields = w.splitn(3, '?').skip(1);
            let (encoding, text) = (fields.next()?, fields.next()?);
            match encoding {
                "b" | "B" => Some(from_base64(text)),
                "q" | "Q" => Some(from_quoted_printable(text, true)),
                _ => None,
            }
        });
        let joined = after_word && decoded.is_some();
        if !out.is_empty() && !joined {
            out.push(' ');
        }
        after_word = decoded.is_some();
        out.push_str(decoded.as_deref().unwrap_or(word));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_multipart() {
        let raw = "Subject: =?utf-8?b?w6Q=?= =?utf-8?q?_b=3D?= c\r\n  d\r\nContent-Type: multipart/alternative;\r\n \
                   boundary=\"x\"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nplain\r\n--x\r\nContent-Type: \
                   text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n--x--\r\n";
        let mail = Mail::new(String::new(), Vec::new(), false, None, raw.to_owned());
        assert_eq!(mail.header("subject"), Some("ä b= c d"));
        assert_eq!((mail.part("text/plain"), mail.part("text/html")), (Some("plain"), Some("a=bc")));
        assert_eq!(mail.parts.len(), 2);
    }

    #[test]
    fn odd_mails_do_not_panic() {
        for raw in ["", "x", ": \r\n\r\n=", "Content-Type: multipart/mixed; boundary=\r\n\r\n----", " folded\r\n"] {
            let _ = Mail::new(String::new(), Vec::new(), false, None, raw.to_owned());
        }
        assert_eq!(from_quoted_printable("=ü=4", false), "=ü=4");
    }
}
