//! Answers that are written while they are sent: piece by piece, each on the pool, and only as fast as the client takes
//! them. Between two pieces a slow client holds what is left of the result and one piece, but no thread.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream::unfold;
use runtime::{CpuPool, PoolError};

/// A piece is handed on when it holds this much: the series of a metric and a cluster with all their labels, since each
/// piece costs a change of threads. Answers that fit into one are sent with their length.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// What writes itself piece by piece.
pub(crate) trait Writing: Send + 'static {
    /// Adds to `out` until that holds `enough` bytes or nothing is left. True when nothing is left.
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool;
}

/// The first piece of an answer, and whoever writes the others.
pub(crate) struct Written {
    first: Vec<u8>,
    rest: Option<Box<dyn Writing>>,
}

impl Written {
    /// An answer that is complete.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self { first: bytes, rest: None }
    }

    /// Writes the first piece; call it on the pool.
    pub(crate) fn begin(mut writing: impl Writing) -> Self {
        let mut first = Vec::new();
        let is_whole = writing.write(&mut first, PIECE_BYTES);
        Self { first, rest: if is_whole { None } else { Some(Box::new(writing)) } }
    }

    /// The response; what is left is written on `pool` when the client has taken what came before.
    pub(crate) fn into_response(self, pool: &CpuPool, content_type: &'static str) -> Response {
        let mut response = Response::new(self.into_body(pool));
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    fn into_body(self, pool: &CpuPool) -> Body {
        if self.rest.is_none() {
            return Body::from(self.first);
        }
        let sending = Sending { first: Some(self.first), rest: self.rest, pool: pool.clone() };
        Body::from_stream(unfold(sending, Sending::next))
    }
}

/// An answer on its way. Dropping it, which is what a closed connection does, drops the rest of the result.
struct Sending {
    first: Option<Vec<u8>>,
    rest: Option<Box<dyn Writing>>,
    pool: CpuPool,
}

impl Sending {
    /// The next piece. After an error, which cuts the connection, there is none.
    async fn next(mut self) -> Option<(Result<Bytes, PoolError>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first.into()), self));
        }
        let mut rest = self.rest.take()?;
        let write = move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
            let is_last = rest.write(&mut piece, PIECE_BYTES);
            (Bytes::from(piece), (!is_last).then_some(rest))
        };
        let piece = self.pool.run(write).await.map(|(piece, rest)| {
            self.rest = rest;
            piece
        });
        Some((piece, self))
    }
}

/// Bytes before and after what `inner` writes.
pub(crate) struct Framed<W> {
    pub(crate) before: Vec<u8>,
    pub(crate) inner: W,
    pub(crate) after: Vec<u8>,
}

impl<W: Writing> Writing for Framed<W> {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        out.append(&mut self.before);
        if !self.inner.write(out, enough) {
            return false;
        }
        out.append(&mut self.after);
        true
    }
}

/// Items one after the other, `separator` between them; each is dropped once it is written.
pub(crate) struct List<T, F> {
    items: std::vec::IntoIter<T>,
    separator: &'static [u8],
    is_first: bool,
    item: F,
}

impl<T, F: Fn(&mut Vec<u8>, T)> List<T, F> {
    /// `item` writes one of them.
    pub(crate) fn new(items: Vec<T>, separator: &'static [u8], item: F) -> Self {
        Self { items: items.into_iter(), separator, is_first: true, item }
    }
}

impl<T: Send + 'static, F: Fn(&mut Vec<u8>, T) + Send + 'static> Writing for List<T, F> {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        for item in self.items.by_ref() {
            if !std::mem::take(&mut self.is_first) {
                out.extend_from_slice(self.separator);
            }
            (self.item)(out, item);
            if out.len() >= enough {
                break;
            }
        }
        self.items.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{HttpBody, to_bytes};
    use std::sync::Arc;

    fn numbers(count: usize) -> Framed<impl Writing> {
        let items: Vec<usize> = (0..count).collect();
        let inner = List::new(items, b",", |out, n: usize| out.extend_from_slice(n.to_string().as_bytes()));
        Framed { before: b"[".to_vec(), inner, after: b"]".to_vec() }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_whole() {
        for count in [0, 1, 2, 100] {
            let mut whole = Vec::new();
            assert!(numbers(count).write(&mut whole, usize::MAX));
            let want = format!("[{}]", (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
            assert_eq!(String::from_utf8_lossy(&whole), want);
            for enough in [1, 2, 3, 50] {
                let (mut writing, mut pieces) = (numbers(count), Vec::new());
                loop {
                    let mut piece = Vec::new();
                    let is_last = writing.write(&mut piece, enough);
                    assert!(is_last || piece.len() >= enough);
                    pieces.extend(piece);
                    if is_last {
                        break;
                    }
                }
                assert_eq!(pieces, whole, "{count} items, pieces of {enough}");
            }
        }
    }

    #[tokio::test]
    async fn small_answers_have_a_length_and_large_ones_are_streamed() {
        let pool = CpuPool::new(1, 10);
        let small = Written::begin(numbers(10)).into_response(&pool, "application/json");
        assert_eq!(small.body().size_hint().exact(), Some(21));
        let large = Written::begin(numbers(100_000)).into_response(&pool, "application/json");
        assert_eq!(large.body().size_hint().exact(), None);
        let bytes = to_bytes(large.into_body(), usize::MAX).await.expect("reads");
        let list: Vec<u32> = serde_json::from_slice(&bytes).expect("is JSON");
        assert_eq!((list.len(), list.last()), (100_000, Some(&99_999)));
    }

    #[tokio::test]
    async fn a_dropped_answer_drops_its_result() {
        let kept = Arc::new(());
        let items = vec![kept.clone(); 100_000];
        let list = List::new(items, b"", |out, _: Arc<()>| out.extend_from_slice(b"ten bytes."));
        let response = Written::begin(list).into_response(&CpuPool::new(1, 10), "text/plain");
        assert!(Arc::strong_count(&kept) > 70_000);
        drop(response);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
