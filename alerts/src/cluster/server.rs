//! What peers may ask of this router.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};

use super::Cluster;
use super::wire::{HEARTBEAT, Heartbeat, MAX_BODY_BYTES, PULL, PUSH, Push, PushAnswer};
use crate::engine::replica::{Page, PageRequest};

/// The endpoints.
pub fn router(cluster: Arc<Cluster>) -> Router {
    Router::new()
        .route(HEARTBEAT, post(heartbeat))
        .route(PUSH, post(push))
        .route(PULL, post(pull))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(cluster)
}

async fn heartbeat(State(cluster): State<Arc<Cluster>>, Json(theirs): Json<Heartbeat>) -> Json<Heartbeat> {
    cluster.heard(&theirs, &theirs.address);
    Json(cluster.heartbeat(cluster.address()))
}

async fn push(State(cluster): State<Arc<Cluster>>, Json(push): Json<Push>) -> Json<PushAnswer> {
    let now = Instant::now();
    let mut answer = PushAnswer::default();
    {
        let mut claims = cluster.claims.lock();
        let said = push.records.log.iter().map(|entry| &entry.key);
        push.released.iter().chain(said).for_each(|key| claims.release(key, &push.id));
        answer.refused = push.claims.into_iter().filter(|key| !claims.grant(key.clone(), &push.id, now)).collect();
    }
    cluster.core.merge(push.records);
    // After the log was merged: whoever waits for the claim looks there next.
    cluster.claims_changed.notify_waiters();
    Json(answer)
}

async fn pull(State(cluster): State<Arc<Cluster>>, Json(request): Json<PageRequest>) -> Json<Page> {
    Json(cluster.core.state.lock().page(&request))
}
