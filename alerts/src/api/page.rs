//! The page at `/`: what a person wants to know first, without a script.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;

use super::{Api, time};
use crate::engine::silence::SilenceState;

/// Counts, peers and where to go on.
pub(super) async fn page(State(api): State<Arc<Api>>) -> Html<String> {
    let now = runtime::now();
    let (firing, groups, silences) = {
        let state = api.core.state.lock();
        let firing = state.alerts.iter().filter(|a| !a.resolved_at(now)).count();
        let silences = state.silences.iter().filter(|s| s.state(now) == SilenceState::Active).count();
        (firing, state.group_count(), silences)
    };
    let peers: String =
        api.cluster.peers().iter().map(|(_, address)| format!("<li>{}</li>", escape(address))).collect();
    let peers = if peers.is_empty() { "<li>none</li>".to_owned() } else { peers };
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Highwater alert router</title></head>\
         <body><h1>Highwater alert router</h1>\
         <p>Version {version}, running since {since}.</p>\
         <p>{firing} alerts fire in {groups} groups; {silences} silences are active.</p>\
         <h2>Peers</h2><ul>{peers}</ul>\
         <h2>More</h2><ul><li><a href=\"api/v2/alerts/groups\">alerts by group</a></li>\
         <li><a href=\"api/v2/silences\">silences</a></li><li><a href=\"api/v2/status\">status</a></li>\
         <li><a href=\"metrics\">metrics</a></li></ul>\
         <p>People use Grafana, karma or <code>amtool --alertmanager.url</code> with this address.</p></body></html>",
        version = env!("CARGO_PKG_VERSION"),
        since = time::format(api.started_at),
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
