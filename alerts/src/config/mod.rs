//! alertmanager.yml: strict, every problem with its place.

mod inhibit_section;
mod interval_section;
mod redact;
mod route_section;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Document, Mapping, Node, Problems};
use model::TimestampMs;
use notify::{Delivery, Receiver};

use crate::engine::inhibit::InhibitRule;
use crate::engine::route::{RouteOptions, RouteTree};
use crate::engine::time_interval::TimeInterval;

/// A validated alertmanager.yml with receivers that are ready to send.
#[derive(Clone)]
pub struct Config {
    pub(crate) original: String,
    pub(crate) resolve_timeout: Duration,
    pub(crate) routes: RouteTree,
    pub(crate) receivers: BTreeMap<String, Arc<Receiver>>,
    pub(crate) inhibit_rules: Vec<InhibitRule>,
    pub(crate) time_intervals: BTreeMap<String, Vec<TimeInterval>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("receivers", &self.receivers.keys()).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks a file, for `highwater check alerts`.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Self::load_with(path, &Delivery::default())
    }

    /// The receivers' names, in order.
    pub fn receivers(&self) -> impl Iterator<Item = &str> {
        self.receivers.keys().map(String::as_str)
    }

    /// Reads a file for a router whose receivers share `delivery`.
    pub(crate) fn load_with(path: &Path, delivery: &Delivery) -> Result<Self, Problems> {
        Self::decode(Document::load(path)?, delivery)
    }

    fn decode(document: Document, delivery: &Delivery) -> Result<Self, Problems> {
        let root = document.root();
        if root.is_null() {
            return Err(Problems::of_file(document.path(), "the file is empty; give at least route and receivers"));
        }
        let out = root.mapping().and_then(|fields| decode_root(fields, delivery));
        let original = redact::redact(&root);
        document.finish()?;
        // A decoder that gives up has reported why; this is for the one that did not.
        let Some(mut out) = out else { return Err(Problems::default()) };
        out.original = original;
        Ok(out)
    }
}

fn decode_root(fields: Mapping<'_>, delivery: &Delivery) -> Option<Config> {
    let global = fields.get("global");
    // The receivers' block reads and finishes `global`; only this key is the router's.
    let resolve_timeout = global.as_ref().and_then(|g| g.mapping()?.positive_duration("resolve_timeout"));
    let templates = fields.items("templates");
    let receiver_nodes = fields.items("receivers");
    let receivers = delivery.decode_receivers(global.as_ref(), &templates, &receiver_nodes);
    let names = receiver_names(&receiver_nodes);
    let time_intervals =
        interval_section::decode(&[fields.items("time_intervals"), fields.items("mute_time_intervals")].concat());
    let known = route_section::Known { receivers: &names, time_intervals: &time_intervals };
    let routes = fields.required("route").and_then(|node| route_section::decode(&node, &known));
    let inhibit_rules = fields.items("inhibit_rules").iter().filter_map(inhibit_section::decode).collect();
    fields.unsupported("tracing", "remove it");
    fields.finish();
    Some(Config {
        original: String::new(),
        resolve_timeout: resolve_timeout.unwrap_or(Duration::from_secs(300)),
        routes: routes?,
        receivers: receivers.into_iter().map(|r| (r.name.clone(), Arc::new(r))).collect(),
        inhibit_rules,
        time_intervals,
    })
}

/// The names of all receivers as written; what is wrong with them is the receivers' block to say.
fn receiver_names(nodes: &[Node<'_>]) -> Vec<String> {
    let named = nodes.iter().filter(|n| n.is_mapping()).filter_map(|n| n.mapping()?.get("name"));
    named.filter(|n| !n.is_mapping() && !n.is_sequence()).filter_map(|n| n.string()).collect()
}

impl Config {
    /// The names of the time intervals that keep a route quiet at an instant: those that mute it, or, outside all that
    /// would activate it, the latter.
    pub(crate) fn muted_by(&self, route: &RouteOptions, now: TimestampMs) -> Vec<String> {
        let within = |name: &&String| self.time_intervals.get(*name).is_some_and(|i| i.iter().any(|i| i.contains(now)));
        let muting: Vec<_> = route.mute_time_intervals.iter().filter(within).cloned().collect();
        if muting.is_empty() && !route.active_time_intervals.iter().any(|name| within(&name)) {
            return route.active_time_intervals.clone();
        }
        muting
    }
}
