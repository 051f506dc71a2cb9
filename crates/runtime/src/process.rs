//! Signals: SIGTERM and SIGINT stop, SIGHUP reloads.

use tokio::signal::unix::{SignalKind, signal};

use crate::Lifecycle;

/// The name of this machine.
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// Waits until the process is asked to stop, by a signal or by `/-/quit`; reloads on SIGHUP meanwhile.
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
            () = lifecycle.quit_requested() => break,
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
