//! A mail server: STARTTLS or implicit TLS with a certificate of its own, logins, size limits.

mod mail;
mod session;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::{BindError, Stop, Supervisor};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::{Faults, Inbox};
pub use mail::{Mail, MailPart};
use session::{End, Session};

/// A stand-in that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody can listen there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

/// What the server offers and insists on.
#[derive(Debug, Clone, Default)]
pub struct SmtpOptions {
    /// User and password; without them anybody may send.
    pub login: Option<(String, String)>,
    /// TLS from the first byte, as on port 465.
    pub implicit_tls: bool,
    /// Does not offer STARTTLS.
    pub no_starttls: bool,
    /// Offers only `AUTH LOGIN`.
    pub login_mechanism_only: bool,
}

/// How the server fails on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpFault {
    /// This reply to MAIL, for example 451.
    Sender(u16),
    /// This reply to RCPT, for example 550.
    Recipient(u16),
    /// This reply to the mail itself.
    Mail(u16),
    /// Hangs up after the mail, without a reply.
    HangUp,
}

/// The stand-in's handle.
#[derive(Debug, Clone)]
pub struct Smtp {
    address: SocketAddr,
    ca_pem: Arc<str>,
    /// What it received.
    pub inbox: Inbox<Mail>,
    /// How it fails.
    pub faults: Faults<SmtpFault>,
}

const MAX_CONNECTIONS: usize = 64;
/// A conversation that takes longer is cut.
const MAX_CONVERSATION: Duration = Duration::from_secs(120);

#[derive(Clone)]
struct Server {
    options: Arc<SmtpOptions>,
    acceptor: TlsAcceptor,
    inbox: Inbox<Mail>,
    faults: Faults<SmtpFault>,
}

impl Smtp {
    /// Starts it on `HOST:PORT`.
    ///
    /// # Errors
    /// When nobody can listen there, or the certificate cannot be made.
    pub async fn start(supervisor: &Supervisor, address: &str, options: SmtpOptions) -> Result<Self, StartError> {
        let listener = runtime::bind(address).await?;
        let address = listener.local_addr().map_err(|e| StartError::Certificate(e.to_string()))?;
        let identity = tls::Identity::new().map_err(StartError::Certificate)?;
        let (inbox, faults) = (Inbox::new(), Faults::new());
        let server = Server {
            options: Arc::new(options),
            acceptor: identity.acceptor,
            inbox: inbox.clone(),
            faults: faults.clone(),
        };
        supervisor.spawn("stand-in smtp", move |stop| server.accept(listener, stop));
        Ok(Self { address, ca_pem: identity.ca_pem.into(), inbox, faults })
    }

    /// `HOST:PORT`, as a smarthost is written.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The authority that signed the server's certificate (for `localhost` and 127.0.0.1), in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

impl Server {
    async fn accept(self, listener: TcpListener, stop: Stop) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = stop.requested() => break,
            };
            match (accepted, slots.clone().try_acquire_owned()) {
                (Ok((stream, _)), Ok(permit)) => {
                    let server = self.clone();
                    connections.spawn(async move {
                        let _permit = permit;
                        let _ = tokio::time::timeout(MAX_CONVERSATION, server.converse(stream)).await;
                    });
                }
                // Too many at once: the connection is closed.
                (Ok(_), Err(_)) => self.inbox.refuse("too many connections"),
                (Err(error), _) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    stop.sleep(Duration::from_millis(50)).await;
                }
            }
        }
        connections.shutdown().await;
    }

    async fn converse(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let outcome = if self.options.implicit_tls {
            self.secured(stream, true).await
        } else {
            match Session::new(self, stream, false).run(true).await {
                Ok(End::StartTls(stream)) => self.secured(stream, false).await,
                Ok(End::Done) => Ok(()),
                Err(error) => Err(error),
            }
        };
        if let Err(error) = outcome {
            self.inbox.refuse(format!("the conversation broke off: {error}"));
        }
    }

    async fn secured(&self, stream: TcpStream, greet: bool) -> std::io::Result<()> {
        let stream = self.acceptor.accept(stream).await?;
        Session::new(self, stream, true).run(greet).await.map(|_| ())
    }
}
