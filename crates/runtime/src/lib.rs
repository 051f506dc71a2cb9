//! What every process needs around its blocks: logs, metrics about itself, supervised tasks with an orderly stop, a
//! bounded pool for CPU work, an HTTP server and HTTP clients, signals and reload.
//!
//! Invariants: no task is detached (the [`Supervisor`] owns and drains all of them, in reverse order of start); every
//! pool and connection count is bounded; TLS is rustls with ring, nothing else.
//!
//! Non-goals: it knows nothing of samples, queries or alerts.

mod clock;
mod cpu;
mod http_client;
mod http_server;
mod lenient;
mod logs;
mod metrics;
mod operations;
mod patience;
mod process;
mod supervisor;
mod tls;

pub use clock::now;
pub use cpu::{CpuPool, PoolError};
pub use http_client::{Authentication, HttpClient, HttpClientConfig, HttpClientError, install_tls, user_agent};
pub use http_server::{BindError, ServerLimits, bind, serve};
pub use logs::{LogFormat, LogLevel, init_logging};
pub use metrics::{Metrics, MetricsError};
pub use operations::{Lifecycle, Reload, method_not_allowed, operations_router, quit_router};
pub use process::{hostname, run_until_stopped};
pub use supervisor::{Stop, Supervisor};
pub use tls::TlsError;
