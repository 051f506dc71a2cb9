//! `/status` and `/receivers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::alerts::ShownReceiver;
use super::{Api, time};
use crate::metrics::CONTRACT_VERSION;

/// Who this router is, what it was told and whom it sees. The version is that of the contract it keeps, since clients
/// choose their behaviour by it; the revision is Highwater's.
pub(super) async fn status(State(api): State<Arc<Api>>) -> Json<Value> {
    let mut cluster = json!({ "status": "disabled", "peers": [] });
    if api.cluster.is_enabled() {
        let own = (api.cluster.id().to_owned(), api.cluster.address());
        let all = std::iter::once(own).chain(api.cluster.peers());
        let peers: Vec<_> = all.map(|(name, address)| json!({ "name": name, "address": address })).collect();
        let status = if api.cluster.is_settled() { "ready" } else { "settling" };
        cluster = json!({ "name": api.cluster.id(), "status": status, "peers": peers });
    }
    Json(json!({
        "cluster": cluster,
        "config": { "original": api.core.state.lock().config.original },
        "uptime": time::format(api.started_at),
        "versionInfo": {
            "branch": "highwater",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "rust",
            "revision": concat!("highwater-", env!("CARGO_PKG_VERSION")),
            "version": CONTRACT_VERSION,
        },
    }))
}

/// The names of all receivers.
pub(super) async fn receivers(State(api): State<Arc<Api>>) -> Json<Vec<ShownReceiver>> {
    let config = api.core.state.lock().config.clone();
    Json(config.receivers.keys().map(|name| ShownReceiver { name: name.clone() }).collect())
}
