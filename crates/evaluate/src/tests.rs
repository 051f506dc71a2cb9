//! Groups on real timers, and alerts over real sockets.

mod configuration;
/// The store that the tests of `rules` use.
#[path = "../../rules/src/memory.rs"]
mod memory;
mod notifications;
mod reloads;
mod watermarks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use config::{Document, Problems};
use memory::Memory;
use model::{Append, Batch, Labels, Sample, TimestampMs};
use parking_lot::Mutex;
use promql::{Engine, EngineOptions};
use rules::{Group, GroupDefaults, RuleFile};
use runtime::{Metrics, ServerLimits, Supervisor};
use serde_json::Value;

use crate::EvaluationConfig;

/// Waits for a condition; the deadline only bounds a failure.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(EngineOptions::default()))
}

fn put(memory: &Memory, at: TimestampMs, name: &str, value: f64) {
    let mut batch = Batch::default();
    batch.push(Labels::from_pairs([("__name__", name)]), Sample { timestamp: at, value });
    assert_eq!(memory.append(&batch).expect("takes samples").refused, []);
}

fn groups(text: &str) -> Vec<Arc<Group>> {
    let file = RuleFile::parse("r.yml".as_ref(), text, &engine(), &GroupDefaults::default()).expect("is valid");
    file.groups.into_iter().map(Arc::new).collect()
}

fn decode(text: &str) -> Result<EvaluationConfig, Problems> {
    let document = Document::parse("c.yml".as_ref(), text)?;
    let fields = document.root().mapping().expect("is a mapping");
    let config = EvaluationConfig::decode(&fields);
    fields.finish();
    document.finish().map(|()| config)
}

/// An alert router that remembers what was posted.
#[derive(Clone, Default)]
struct FakeRouter {
    posted: Arc<Mutex<Vec<Value>>>,
}

impl FakeRouter {
    /// Its address.
    async fn serve(&self, supervisor: &Supervisor) -> String {
        async fn take(State(router): State<FakeRouter>, body: String) {
            let Ok(Value::Array(alerts)) = serde_json::from_str(&body) else { panic!("not a list: {body}") };
            router.posted.lock().extend(alerts);
        }
        let listener = runtime::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address").to_string();
        let routes = Router::new().route("/api/v2/alerts", post(take)).with_state(self.clone());
        runtime::serve(supervisor, "router", listener, routes, ServerLimits::default());
        address
    }

    fn count(&self) -> usize {
        self.posted.lock().len()
    }
}

/// The value of a metric, by its name and labels as rendered.
fn metric(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = String::from_utf8(metrics.render()).expect("is text");
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line[series.len()..].trim().parse().ok()
}

/// What the store holds of one series: `None` for a staleness marker.
fn values(memory: &Memory, shown: &str) -> Vec<Option<f64>> {
    memory.values(shown).into_iter().map(|(_, value)| value).collect()
}
