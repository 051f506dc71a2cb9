//! Version 4 of the JSON, byte for byte where it matters.

use serde_json::json;
use stand_in::{Fault, Webhook};

use crate::{DEADLINE, House, assert_permanent, assert_retry, notification};

#[tokio::test]
async fn posts_version_4() {
    let house = House::new();
    let hook = Webhook::start(&house.supervisor, "127.0.0.1:0").await.expect("starts");
    let yaml = format!(
        "webhook_configs:\n  - url: {}?a=b\n    http_config: {{authorization: {{credentials: s3cret}}}}",
        hook.url()
    );
    let integration = house.integration("", &yaml);
    assert_eq!((integration.kind(), integration.index(), integration.send_resolved()), ("webhook", 0, true));
    integration.send(&notification()).await.expect("is taken");
    let message = hook.inbox.wait_for_count(1, DEADLINE).await.expect("arrives").remove(0);
    assert_eq!(message.path, "/hook?a=b");
    assert_eq!(message.authorization.as_deref(), Some("Bearer s3cret"));
    let labels = |node: &str| json!({ "alertname": "磁盘满", "cluster": "c1", "node": node, "severity": "page" });
    let fingerprint = |n: usize| format!("{:016x}", notification().alerts[n].fingerprint());
    let want = json!({
        "receiver": "team",
        "status": "firing",
        "alerts": [
            {
                "status": "firing", "labels": labels("n1"), "annotations": { "summary": "n1: 90% < 100%" },
                "startsAt": "2024-01-02T03:04:05.123Z", "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://central/graph?g0.expr=up", "fingerprint": fingerprint(0),
            },
            {
                "status": "resolved", "labels": labels("n2"), "annotations": { "summary": "n2: 90% < 100%" },
                "startsAt": "2024-01-02T03:04:05.123Z", "endsAt": "2024-01-02T04:04:05Z",
                "generatorURL": "http://central/graph?g0.expr=up", "fingerprint": fingerprint(1),
            },
        ],
        "groupLabels": { "alertname": "磁盘满" },
        "commonLabels": { "alertname": "磁盘满", "cluster": "c1", "severity": "page" },
        "commonAnnotations": {},
        "externalURL": "http://am.example:9093",
        "version": "4",
        "groupKey": "{}:{alertname=\"磁盘满\"}",
        "truncatedAlerts": 0,
    });
    assert_eq!(message.body, want);
}

#[tokio::test]
async fn truncates_and_reads_its_address_from_a_file() {
    let house = House::new();
    let hook = Webhook::start(&house.supervisor, "127.0.0.1:0").await.expect("starts");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    let yaml = format!("webhook_configs:\n  - url_file: {}\n    max_alerts: 1", file.display());
    let integration = house.integration("", &yaml);
    assert_retry(integration.send(&notification()).await, "check the path");
    std::fs::write(&file, "nonsense\n").expect("writes");
    assert_permanent(integration.send(&notification()).await, "not an address");
    std::fs::write(&file, format!("{}\n", hook.url())).expect("writes");
    integration.send(&notification()).await.expect("is taken");
    let body = hook.inbox.messages().remove(0).body;
    assert_eq!((body["alerts"].as_array().map(Vec::len), &body["truncatedAlerts"]), (Some(1), &json!(1)));
    assert_eq!(body["commonLabels"]["node"], "n1");
}

#[tokio::test]
async fn says_what_may_be_tried_again() {
    let house = House::new();
    let hook = Webhook::start(&house.supervisor, "127.0.0.1:0").await.expect("starts");
    let integration = house.integration("", &format!("webhook_configs: [{{url: '{}', timeout: 200ms}}]", hook.url()));
    for status in [500, 503, 429] {
        hook.faults.fail_next(Fault::Status(status));
        assert_retry(integration.send(&notification()).await, &status.to_string());
    }
    for status in [400, 401, 404] {
        hook.faults.fail_next(Fault::Status(status));
        assert_permanent(integration.send(&notification()).await, &status.to_string());
    }
    hook.faults.fail_next(Fault::Hang);
    assert_retry(integration.send(&notification()).await, "no answer in time");
    house.supervisor.stop(DEADLINE).await;
    assert_retry(integration.send(&notification()).await, "");
}
