//! Alerts over real sockets.

use super::*;
use crate::queue::{BATCH, CAPACITY};
use crate::{AlertingConfig, Notifier};
use rules::AlertToSend;
use serde_json::json;

fn alert(name: &str) -> AlertToSend {
    AlertToSend {
        labels: Labels::from_pairs([("alertname", name), ("replica", "1"), ("region", "own")]),
        annotations: Labels::from_pairs([("summary", "it \"is\" down")]),
        starts_at: TimestampMs(1_700_000_000_000),
        ends_at: TimestampMs(1_700_000_240_500),
        generator_url: "http://h/graph".into(),
    }
}

fn alerting(addresses: &[&str], timeout: &str) -> AlertingConfig {
    let targets: Vec<String> = addresses.iter().map(|a| format!("'{a}'")).collect();
    let text = format!(
        "alerting:\n  alert_relabel_configs: [{{action: labeldrop, regex: replica}}, \
         {{source_labels: [alertname], regex: Drop.*, action: drop}}]\n  alertmanagers:\n  - timeout: {timeout}\n    \
         static_configs: [{{targets: [{}]}}]\n",
        targets.join(", ")
    );
    decode(&text).expect("is valid").alerting
}

struct World {
    supervisor: Supervisor,
    metrics: Metrics,
    router: FakeRouter,
    address: String,
}

impl World {
    async fn new() -> Self {
        let (supervisor, router) = (Supervisor::new(), FakeRouter::default());
        let address = router.serve(&supervisor).await;
        Self { supervisor, metrics: Metrics::new("test").expect("is new"), router, address }
    }

    fn notifier(&self, config: AlertingConfig) -> Notifier {
        let external = Labels::from_pairs([("region", "eu"), ("tier", "central")]);
        Notifier::start(&self.supervisor, &self.metrics, external, config).expect("starts")
    }

    fn count(&self, name: &str, address: &str) -> Option<f64> {
        metric(
            &self.metrics,
            &format!("prometheus_notifications_{name}{{alertmanager=\"http://{address}/api/v2/alerts\"}}"),
        )
    }
}

#[tokio::test]
async fn posts_what_alertmanager_takes() {
    let world = World::new().await;
    let notifier = world.notifier(alerting(&[&world.address], "10s"));
    notifier.send(&[alert("Down"), alert("DropMe")]);
    eventually("the alert arrives", || world.router.count() > 0).await;
    let want = json!([{
        "labels": {"alertname": "Down", "region": "own", "tier": "central"},
        "annotations": {"summary": "it \"is\" down"},
        "startsAt": "2023-11-14T22:13:20Z",
        "endsAt": "2023-11-14T22:17:20.5Z",
        "generatorURL": "http://h/graph",
    }]);
    assert_eq!(Value::Array(world.router.posted.lock().clone()), want);
    eventually("it is counted", || world.count("sent_total", &world.address) == Some(1.0)).await;
    assert_eq!(metric(&world.metrics, "prometheus_notifications_alertmanagers_discovered"), Some(1.0));
    world.supervisor.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_router_that_hangs_or_is_gone_delays_no_other() {
    let world = World::new().await;
    // Connections are accepted by the kernel and never answered.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let hanging = (hanging.local_addr().expect("has an address").to_string(), hanging);
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.local_addr().expect("has an address").to_string()
    };
    let notifier = world.notifier(alerting(&[&hanging.0, &gone, &world.address], "1h"));
    for _ in 0..3 {
        let before = world.router.count();
        notifier.send(&[alert("Down")]);
        eventually("the healthy router has it", || world.router.count() > before).await;
    }
    eventually("the refusals are counted", || world.count("errors_total", &gone) == Some(3.0)).await;
    assert_eq!(world.count("errors_total", &hanging.0), Some(0.0));
    notifier.update(Labels::empty(), alerting(&[&world.address], "1h")).expect("updates");
    assert_eq!(world.count("errors_total", &gone), None, "its series went with it");
    assert_eq!(notifier.alertmanagers().active, [format!("http://{}/api/v2/alerts", world.address)]);
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts_them() {
    let world = World::new().await;
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = hanging.local_addr().expect("has an address").to_string();
    let notifier = world.notifier(alerting(&[&address], "1h"));
    let many: Vec<_> = (0..BATCH).map(|i| alert(&format!("a{i}"))).collect();
    notifier.send(&many);
    eventually("the first batch is on its way", || world.count("queue_length", &address) == Some(0.0)).await;
    for _ in 0..CAPACITY / BATCH + 2 {
        notifier.send(&many);
    }
    assert_eq!(world.count("queue_length", &address), Some(CAPACITY as f64));
    let dropped = (CAPACITY / BATCH + 2) * BATCH - CAPACITY;
    assert_eq!(world.count("dropped_total", &address), Some(dropped as f64));
}

#[tokio::test]
async fn a_stop_sends_what_waits() {
    let world = World::new().await;
    let senders = Supervisor::new();
    let notifier =
        Notifier::start(&senders, &world.metrics, Labels::empty(), alerting(&[&world.address], "10s")).expect("starts");
    let many: Vec<_> = (0..5 * BATCH + 1).map(|i| alert(&format!("a{i}"))).collect();
    notifier.send(&many);
    senders.stop(Duration::from_secs(30)).await;
    assert_eq!(world.router.count(), many.len());
    world.supervisor.stop(Duration::from_secs(10)).await;
}
