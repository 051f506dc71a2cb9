//! Signals: SIGTERM and SIGINT stop, SIGHUP reloads.

use tokio::signal::unix::{SignalKind, signal};

use crate::Lifecycle;

/// Waits until the process is asked to stop; reloads on SIGHUP meanwhile.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn run_until_stopped(lifecycle: &Lifecycle) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // A failed reload is already in the log and in the metrics.
                let _ = lifecycle.reload().await;
            }
        }
    }
    lifecycle.set_ready(false);
    tracing::info!("stopping");
    Ok(())
}
