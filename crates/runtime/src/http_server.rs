//! An HTTP/1.1 server that slow, many or rude clients cannot exhaust, and that drains on stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lenient::Lenient;
use crate::patience::Patient;
use crate::{Stop, Supervisor};

/// How often it is said that there is no room for connections.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// An address nobody can listen on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address:?}: {source}; {advice}")]
pub struct BindError {
    address: String,
    advice: &'static str,
    source: std::io::Error,
}

/// What one server allows its clients.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may leave an answer untouched before the connection is cut.
    pub write_timeout: Duration,
    /// How long running requests get when the server stops.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(5),
        }
    }
}

/// Listens on `HOST:PORT`; `:9090` means every address of the machine, as in Prometheus.
///
/// # Errors
/// When the address is no address, is taken, or is not this machine's; the message says what to do.
pub async fn bind(address: &str) -> Result<TcpListener, BindError> {
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    TcpListener::bind(&full).await.map_err(|source| {
        let advice = match source.kind() {
            std::io::ErrorKind::AddrInUse => "stop what listens there or choose another port",
            std::io::ErrorKind::PermissionDenied => "choose a port above 1023 or grant the right to bind it",
            std::io::ErrorKind::AddrNotAvailable => "use an address of this machine",
            _ => "write HOST:PORT, for example 127.0.0.1:9090",
        };
        BindError { address: address.to_owned(), advice, source }
    })
}

/// Serves `router` on `listener` as a supervised task named `name`, until the supervisor stops.
pub fn serve(supervisor: &Supervisor, name: &str, listener: TcpListener, router: Router, limits: ServerLimits) {
    supervisor.spawn(name.to_owned(), move |stop| accept_loop(listener, router, limits, stop));
}

async fn accept_loop(listener: TcpListener, router: Router, limits: ServerLimits, stop: Stop) {
    let mut slots = Slots::new(limits.max_connections);
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(64 << 10);
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &mut slots) => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.requested() => break,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let service = FromPeer { peer, router: TowerToHyperService::new(router.clone()) };
        let connection =
            builder.serve_connection(TokioIo::new(Lenient::new(Patient::new(stream, limits.write_timeout))), service);
        let watched = graceful.watch(connection);
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = watched.await {
                tracing::debug!(%error, "connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs(), "requests did not end in time; cut");
    }
    connections.shutdown().await;
}

/// Tells every request of a connection where it comes from, as axum's [`ConnectInfo`].
struct FromPeer {
    peer: SocketAddr,
    router: TowerToHyperService<Router>,
}

impl Service<hyper::Request<Incoming>> for FromPeer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<hyper::Request<Incoming>>>::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.router.call(request)
    }
}

/// Room for connections.
struct Slots {
    free: Arc<Semaphore>,
    max: usize,
    told: Option<Instant>,
}

impl Slots {
    fn new(max: usize) -> Self {
        // None would be a server that answers nobody; more than the semaphore counts would panic.
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(max)), max, told: None }
    }

    /// Waits for room. Says so where there is none, for those who wait hear nothing.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(permit);
        }
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(
                connections = self.max,
                "all connections are taken, others wait; raise --web.max-connections"
            );
        }
        // The semaphore is never closed.
        self.free.clone().acquire_owned().await.ok()
    }
}

async fn accept(listener: &TcpListener, slots: &mut Slots) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = slots.take().await?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            // Out of file descriptors, mostly: accepting again at once would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_taken_address_says_what_to_do() {
        let first = bind("127.0.0.1:0").await.expect("binds");
        let address = first.local_addr().expect("has an address").to_string();
        let error = bind(&address).await.expect_err("is taken").to_string();
        assert!(error.contains(&address) && error.contains("choose another port"), "{error}");
        assert!(bind("nonsense").await.is_err());
    }

    #[tokio::test]
    async fn a_running_request_ends_before_the_server_does() {
        let supervisor = Supervisor::new();
        let listener = bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let started = Arc::new(tokio::sync::Notify::new());
        let handler = {
            let started = started.clone();
            move |peer: ConnectInfo<SocketAddr>| async move {
                started.notify_one();
                tokio::task::yield_now().await;
                format!("done for {}", peer.0.ip())
            }
        };
        let router = Router::new().route("/", axum::routing::get(handler));
        serve(&supervisor, "http", listener, router, ServerLimits::default());
        let mut client = TcpStream::connect(address).await.expect("connects");
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("writes");
        started.notified().await;
        supervisor.stop(Duration::from_secs(10)).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("reads to the end");
        assert!(answer.ends_with("done for 127.0.0.1"), "{answer}");
    }
}
