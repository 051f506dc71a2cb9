//! The tier's store: opened before anything runs, kept in order while it does, closed when all else has ended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::RealDisk;
use runtime::{Metrics, Stop, Supervisor};
use tsdb::{Store, StoreOptions};

use crate::BuildError;
use crate::store_metrics::StoreMetrics;

/// How often the store looks for something to do: seal, compact, drop what is too old.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Opens the store, and keeps it in order until the supervisor stops, which closes it. To be called before any other
/// task is spawned: what is started first is stopped last.
///
/// # Errors
/// When the folder is somebody else's, from a newer version or not readable, or when metrics are registered already.
pub(crate) async fn open(
    folder: &Path,
    options: StoreOptions,
    supervisor: &Supervisor,
    metrics: &Metrics,
) -> Result<Arc<Store>, BuildError> {
    let folder = folder.to_owned();
    let opening = move || Store::open(Arc::new(RealDisk), &folder, options, Arc::new(runtime::now));
    let opened = tokio::task::spawn_blocking(opening).await;
    let store = opened.map_err(|_| BuildError::Internal("opening the store panicked; look into the log"))??;
    metrics.collector(Box::new(StoreMetrics::new(store.clone())?))?;
    let kept = store.clone();
    supervisor.spawn("store", move |stop| keep(kept, stop));
    Ok(store)
}

/// The store's own work runs beside the asynchronous threads. It is never waited for when the process stops: closing
/// interrupts it.
async fn keep(store: Arc<Store>, stop: Stop) {
    while !stop.is_requested() {
        let working = store.clone();
        let round = tokio::task::spawn_blocking(move || working.maintain());
        tokio::select! {
            // A panic in there is in the log; the next round tries again.
            _ = round => {}
            () = stop.requested() => break,
        }
        stop.sleep(UPKEEP_EVERY).await;
    }
    let closing = tokio::task::spawn_blocking(move || store.close());
    match closing.await {
        Ok(Ok(())) => tracing::info!("store closed"),
        Ok(Err(error)) => tracing::error!(%error, "the store did not close well; its log will be replayed"),
        Err(_) => tracing::error!("closing the store panicked; its log will be replayed"),
    }
}
