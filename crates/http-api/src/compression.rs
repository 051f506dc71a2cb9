//! Compresses answers as the client accepts it: zstd, gzip or deflate, on the pool, while they are sent.

use std::io::{self, Write};

use axum::body::{Body, BodyDataStream, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use runtime::CpuPool;

/// Answers up to this are compressed in one go, without a change of threads.
const AT_ONCE_BYTES: usize = 64 << 10;
/// Compressed bytes are handed on when there are this many.
const ENOUGH_BYTES: usize = 16 << 10;
/// These answers are read once, and mostly over a network that is faster than the best compression.
const ZSTD_LEVEL: i32 = 1;

/// How an answer is compressed, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Zstd,
    Gzip,
    Deflate,
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Deflate];

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The one that the client likes best; `None` sends the answer as it is (RFC 9110, section 12.5.3).
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let offers: Vec<(String, f32)> = lists.flat_map(|list| list.split(',')).map(offer).collect();
        let weight = |name: &str| offers.iter().find(|(offered, _)| offered == name).map(|(_, weight)| *weight);
        let weigh = |encoding: &Self| {
            // Whoever accepts anything mostly means what everybody knows.
            let any = (*encoding == Self::Gzip).then(|| weight("*")).flatten();
            weight(encoding.name()).or(any).unwrap_or(0.0)
        };
        let mut best: Option<(Self, f32)> = None;
        for encoding in Self::ALL {
            let weight = weigh(&encoding);
            if weight > best.map_or(0.0, |(_, best)| best) {
                best = Some((encoding, weight));
            }
        }
        best.map(|(encoding, _)| encoding)
    }
}

/// `gzip;q=0.5` as a name and its weight.
fn offer(text: &str) -> (String, f32) {
    let mut parts = text.split(';');
    let name = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    let weight = parts.find_map(|p| p.trim().strip_prefix("q=")?.trim().parse().ok()).unwrap_or(1.0);
    (name, weight)
}

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(encoding: Encoding) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match encoding {
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?),
            Encoding::Gzip => Self::Gzip(GzEncoder::new(out, Compression::fast())),
            Encoding::Deflate => Self::Deflate(ZlibEncoder::new(out, Compression::fast())),
        })
    }

    /// Takes bytes in; what is compressed already comes out.
    fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let out = match self {
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Self::Deflate(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out))
    }

    /// What is left.
    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
        }
    }
}

/// Compresses whatever has a body and is not compressed yet.
pub(crate) async fn compress(State(pool): State<CpuPool>, request: Request, next: Next) -> Response {
    let encoding = Encoding::accepted(request.headers());
    let mut response = next.run(request).await;
    if response.body().is_end_stream() || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(encoding) = encoding else { return response };
    let (mut parts, body) = response.into_parts();
    let is_small = body.size_hint().exact().is_some_and(|bytes| bytes <= AT_ONCE_BYTES as u64);
    let body = if is_small { at_once(encoding, body).await } else { Ok(streamed(encoding, body, pool)) };
    let body = body.unwrap_or_else(|error| {
        // Cannot happen to bytes in memory; the client must not take a cut answer for a whole one.
        tracing::error!(%error, "an answer could not be compressed");
        Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(error)]))
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    Response::from_parts(parts, body)
}

async fn at_once(encoding: Encoding, body: Body) -> io::Result<Body> {
    let bytes = to_bytes(body, AT_ONCE_BYTES).await.map_err(io::Error::other)?;
    let mut encoder = Encoder::new(encoding)?;
    let mut out = encoder.encode(&bytes)?;
    out.append(&mut encoder.finish()?);
    Ok(Body::from(out))
}

/// A body being compressed.
struct Compressing {
    from: BodyDataStream,
    /// `None` when all is said.
    encoder: Option<Encoder>,
    pool: CpuPool,
}

fn streamed(encoding: Encoding, body: Body, pool: CpuPool) -> Body {
    let start = move || -> io::Result<Compressing> {
        Ok(Compressing { from: body.into_data_stream(), encoder: Some(Encoder::new(encoding)?), pool })
    };
    match start() {
        Ok(compressing) => Body::from_stream(unfold(compressing, Compressing::next)),
        Err(error) => Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(error)])),
    }
}

impl Compressing {
    /// The next piece; after an error, which cuts the connection, there is none.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let encoder = self.encoder.take()?;
        let piece = self.piece(encoder).await;
        Some((piece.map(Bytes::from), self))
    }

    async fn piece(&mut self, mut encoder: Encoder) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let Some(bytes) = self.from.next().await.transpose().map_err(io::Error::other)? else {
                let finish = move || encoder.finish();
                out.append(&mut self.pool.run(finish).await.map_err(io::Error::other)??);
                return Ok(out);
            };
            let encode = move || encoder.encode(&bytes).map(|compressed| (compressed, encoder));
            let mut compressed;
            (compressed, encoder) = self.pool.run(encode).await.map_err(io::Error::other)??;
            out.append(&mut compressed);
            if out.len() >= ENOUGH_BYTES {
                self.encoder = Some(encoder);
                return Ok(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses() {
        use Encoding::{Deflate, Gzip, Zstd};
        for (header, want) in [
            ("", None),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("deflate", Some(Deflate)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip;q=1.0, zstd;q=0.5", Some(Gzip)),
            ("zstd;q=0, deflate;q=0.1, identity", Some(Deflate)),
            ("br", None),
            ("*", Some(Gzip)),
            ("*;q=0", None),
            ("gzip;q=0, *", None),
            ("gzip; q=0.2, zstd ;q=x", Some(Zstd)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(Encoding::accepted(&headers), want, "{header}");
        }
        assert_eq!(Encoding::accepted(&HeaderMap::new()), None);
    }
}
