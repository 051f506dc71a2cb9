//! Request lines as people type them. `curl -g 'http://HOST/api/v1/query?query=up{job="x"}>0'` sends quotes and angle
//! brackets as they are; Go's servers take them, hyper's URI refuses them before any handler could say why. They are
//! percent-encoded on the way in, in request lines only.
//!
//! After a request with a body everything passes untouched: where the next request line begins is then hyper's to know.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Long enough for the names that announce a body.
const NAME_BYTES: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    RequestLine,
    Headers,
    Untouched,
}

/// Follows the heads of requests and encodes what URIs must not hold.
#[derive(Debug)]
struct Encoder {
    place: Place,
    /// Bytes of the present line, its end not counted.
    line_bytes: usize,
    /// The beginning of the present header line, in lower case.
    name: Vec<u8>,
    has_body: bool,
}

impl Encoder {
    fn new() -> Self {
        Self { place: Place::RequestLine, line_bytes: 0, name: Vec::with_capacity(NAME_BYTES), has_body: false }
    }

    fn encode(&mut self, read: &[u8], out: &mut Vec<u8>) {
        for (at, byte) in read.iter().enumerate() {
            match (self.place, byte) {
                (Place::Untouched, _) => return out.extend_from_slice(&read[at..]),
                (Place::RequestLine, b'"') => out.extend_from_slice(b"%22"),
                (Place::RequestLine, b'<') => out.extend_from_slice(b"%3C"),
                (Place::RequestLine, b'>') => out.extend_from_slice(b"%3E"),
                _ => out.push(*byte),
            }
            self.follow(*byte);
        }
    }

    fn follow(&mut self, byte: u8) {
        match byte {
            b'\r' => {}
            b'\n' => self.end_line(),
            _ => {
                self.line_bytes += 1;
                if self.place == Place::Headers && self.name.len() < NAME_BYTES {
                    self.name.push(byte.to_ascii_lowercase());
                }
            }
        }
    }

    fn end_line(&mut self) {
        let empty = self.line_bytes == 0;
        self.place = match self.place {
            // Empty lines before a request are allowed.
            Place::RequestLine if empty => Place::RequestLine,
            Place::RequestLine => Place::Headers,
            Place::Headers if empty && self.has_body => Place::Untouched,
            Place::Headers if empty => Place::RequestLine,
            other => other,
        };
        let announces = [&b"content-length:"[..], b"transfer-encoding:", b"upgrade:"];
        self.has_body |= announces.iter().any(|name| self.name.starts_with(name));
        self.line_bytes = 0;
        self.name.clear();
    }
}

/// A connection whose request lines are encoded.
pub(crate) struct Lenient<S> {
    inner: S,
    encoder: Encoder,
    /// Encoded and not yet handed on: at most three times what one read brings.
    ready: Vec<u8>,
    handed_on: usize,
}

impl<S> Lenient<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, encoder: Encoder::new(), ready: Vec::new(), handed_on: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.handed_on == this.ready.len() {
            if this.encoder.place == Place::Untouched {
                return Pin::new(&mut this.inner).poll_read(cx, buf);
            }
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
            this.ready.clear();
            this.handed_on = 0;
            this.encoder.encode(read.filled(), &mut this.ready);
        }
        let waiting = &this.ready[this.handed_on..];
        let part = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..part]);
        this.handed_on += part;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// What comes out, whatever the pieces in which it came.
    async fn check(sent: &str, want: &str) {
        for piece in [1, 2, 7, sent.len()] {
            let mut encoder = Encoder::new();
            let mut out = Vec::new();
            sent.as_bytes().chunks(piece).for_each(|part| encoder.encode(part, &mut out));
            assert_eq!(String::from_utf8_lossy(&out), want, "in pieces of {piece}");
        }
        let mut out = String::new();
        Lenient::new(sent.as_bytes()).read_to_string(&mut out).await.expect("reads");
        assert_eq!(out, want);
    }

    #[tokio::test]
    async fn encodes_request_lines_and_nothing_else() {
        check("GET /?q=\"<>\" HTTP/1.1\r\nA: \"<>\"\r\n\r\n", "GET /?q=%22%3C%3E%22 HTTP/1.1\r\nA: \"<>\"\r\n\r\n")
            .await;
        check("\r\nGET /\" HTTP/1.1\n\nGET /\" HTTP/1.1\n\n", "\r\nGET /%22 HTTP/1.1\n\nGET /%22 HTTP/1.1\n\n").await;
    }

    #[tokio::test]
    async fn leaves_bodies_alone() {
        let post = "POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\n\"<>GET /\" HTTP/1.1\r\n\r\n";
        check(post, post).await;
        let long = format!("GET / HTTP/1.1\r\nA: {}\"\r\n\r\n", "x".repeat(10_000));
        check(&long, &long).await;
    }
}
