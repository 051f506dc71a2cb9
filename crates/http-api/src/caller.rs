//! Who asks: that decides whose turn it is, and stands in the query log.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use promql::QueryOrigin;
use query_gate::Caller;

/// What Grafana says of its requests, all of which come from its own address.
const NAMES: [&str; 2] = ["x-grafana-user", "x-dashboard-uid"];
/// Longer names are cut: they are kept while a query waits.
const MAX_NAME_CHARS: usize = 100;

tokio::task_local! {
    /// The request that the present task serves.
    static ASKING: Asking;
}

/// A request, as far as it matters who sent it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking {
    pub(crate) caller: Caller,
    pub(crate) origin: QueryOrigin,
}

/// Lets every handler know who asks.
pub(crate) async fn identify(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|peer| peer.0.ip().to_canonical().to_string()).unwrap_or_default();
    let origin = QueryOrigin::Request {
        client: address.clone(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
    };
    let caller = Caller { address, name: name(request.headers()) };
    ASKING.scope(Asking { caller, origin }, next.run(request)).await
}

/// Who sent the request that is being served.
pub(crate) fn asking() -> Asking {
    ASKING.try_with(Clone::clone).unwrap_or_default()
}

fn name(headers: &HeaderMap) -> String {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    NAMES.map(|name| value(name).chars().take(MAX_NAME_CHARS).collect::<String>()).join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn asked(peer: Option<&str>, headers: &[(&str, &str)]) -> String {
        let router = Router::new().route("/q", get(|| async { format!("{:?}", asking()) })).layer(from_fn(identify));
        let mut request = Request::builder().uri("/q?query=secret");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).expect("is a request");
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().expect("is an address")));
        }
        let response = router.oneshot(request).await.expect("is answered");
        let body = to_bytes(response.into_body(), 10_000).await.expect("is read");
        String::from_utf8_lossy(&body).into_owned()
    }

    #[tokio::test]
    async fn callers_are_told_apart_by_address_and_by_what_grafana_says() {
        let long = "x".repeat(1000);
        for (peer, headers, address, name) in [
            (
                Some("[::ffff:10.0.0.7]:80"),
                &[("X-Grafana-User", "ann"), ("X-Dashboard-Uid", "d1")][..],
                "10.0.0.7",
                "ann/d1",
            ),
            (Some("[::1]:80"), &[("x-dashboard-uid", "d1")], "::1", "/d1"),
            (None, &[("x-grafana-user", long.as_str())], "", &format!("{}/", &long[..MAX_NAME_CHARS])),
        ] {
            let shown = asked(peer, headers).await;
            let caller = Caller { address: address.to_owned(), name: name.to_owned() };
            let (client, method, path) = (address.to_owned(), "GET".to_owned(), "/q".to_owned());
            let origin = QueryOrigin::Request { client, method, path };
            assert_eq!(shown, format!("{:?}", Asking { caller, origin }));
        }
        assert_eq!(asking().caller, Caller::default(), "outside of a request");
    }
}
