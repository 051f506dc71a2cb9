//! What the head of a request says: which message, how compressed, whose.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use remote_write::{CHECKSUM_HEADER, Checksum, Compression, Format, Message};
use sources::{Lane, Report, SourceName};

use crate::answer::Outcome;

/// The session of a request in columns: 128 random bits that the sender has drawn, in hexadecimal.
pub(crate) const SESSION_HEADER: &str = "highwater-session";

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RemoteWrite(Format),
    Columns { session: u128 },
}

impl Kind {
    /// The values of the labels `message` and `encoding`.
    pub(crate) fn as_strs(self) -> (&'static str, &'static str) {
        match self {
            Self::RemoteWrite(Format { message: Message::V1, compression }) => ("1.0", compression.as_str()),
            Self::RemoteWrite(Format { message: Message::V2, compression }) => ("2.0", compression.as_str()),
            Self::Columns { .. } => ("columns", "none"),
        }
    }
}

/// The head of a request that we speak.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Of the body, where the sender tells it.
    pub(crate) checksum: Option<Checksum>,
    pub(crate) report: Report,
    pub(crate) address: IpAddr,
    pub(crate) source: SourceName,
}

impl Head {
    /// Reads it. What we do not speak is 415, so that the sender can fall back.
    pub(crate) fn read(parts: &Parts) -> Result<Self, Outcome> {
        let kind = kind(&parts.headers)?;
        let checksum = parts.headers.get(CHECKSUM_HEADER).and_then(|value| Checksum::parse(value.to_str().ok()?));
        let report = Report::from_headers(|name| parts.headers.get(name)?.to_str().ok());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let source = report.source_or(address);
        Ok(Self { kind, checksum, report, address, source })
    }

    pub(crate) fn lane(&self) -> &'static str {
        self.report.lane.map_or("none", Lane::as_str)
    }

    /// Whether it speaks for a sender of ours, which may have nothing to send.
    pub(crate) fn is_ours(&self) -> bool {
        self.report.source.is_some()
    }
}

fn kind(headers: &HeaderMap) -> Result<Kind, Outcome> {
    let encoding = text(headers, header::CONTENT_ENCODING);
    let content_type = text(headers, header::CONTENT_TYPE).unwrap_or(remote_write::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if media.eq_ignore_ascii_case(columns::CONTENT_TYPE) {
        return match encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            None => Ok(Kind::Columns { session: session(headers)? }),
            Some(other) => {
                let message = format!("content encoding {other:?} is not supported; columns are compressed inside");
                Err(unsupported(message))
            }
        };
    }
    if !media.eq_ignore_ascii_case(remote_write::CONTENT_TYPE) {
        let known = remote_write::CONTENT_TYPE;
        return Err(unsupported(format!("content type {media:?} is not supported; send {known}")));
    }
    let message = match parts.find_map(proto) {
        None => Message::V1,
        Some(name) => *Message::ALL.iter().find(|message| message.as_str() == name).ok_or_else(|| {
            let known = Message::ALL.map(Message::as_str).join(" or ");
            unsupported(format!("message {name:?} is not supported; send {known}"))
        })?,
    };
    let compression = match encoding {
        None => Compression::Snappy,
        Some(name) => {
            *Compression::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
                let known = Compression::ALL.map(Compression::as_str).join(" or ");
                unsupported(format!("content encoding {name:?} is not supported; send {known}"))
            })?
        }
    };
    Ok(Kind::RemoteWrite(Format { message, compression }))
}

/// The value of a `proto` parameter, which may stand in quotes (RFC 9110, section 5.6.6).
fn proto(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
}

fn session(headers: &HeaderMap) -> Result<u128, Outcome> {
    let text = text(headers, HeaderName::from_static(SESSION_HEADER)).unwrap_or_default();
    let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| is_hex).ok_or_else(|| {
        let message = "columns need a session; send 32 hexadecimal digits as Highwater-Session";
        Outcome::refused(StatusCode::BAD_REQUEST, message)
    })
}

/// The value of a header; one that is empty says no more than one that is missing.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?").trim()).filter(|text| !text.is_empty())
}

fn unsupported(message: String) -> Outcome {
    Outcome::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}
