//! The robot: signature, size, mentions, idempotency, rate, errcodes.

use std::time::Duration;

use notify::Notification;
use stand_in::{DingTalk, DingTalkOptions, Fault};

use crate::{DEADLINE, House, alert, assert_permanent, assert_retry, many, notification, retry_after};

async fn robot(house: &House) -> DingTalk {
    let options =
        DingTalkOptions { access_token: "t0ken/+=".to_owned(), secret: Some("SECabc".to_owned()), per_minute: None };
    DingTalk::start(&house.supervisor, "127.0.0.1:0", options).await.expect("starts")
}

fn yaml(robot: &DingTalk, more: &str) -> String {
    format!("dingtalk_configs:\n  - url: {}\n    access_token: t0ken/+=\n    secret: SECabc\n{more}", robot.url())
}

#[tokio::test]
async fn sends_signed_markdown() {
    let house = House::new();
    let robot = robot(&house).await;
    let integration = house.integration("", &yaml(&robot, ""));
    assert_eq!((integration.kind(), integration.send_resolved()), ("dingtalk", true));
    integration.send(&notification()).await.expect("is taken");
    let message = robot.inbox.wait_for_count(1, DEADLINE).await.expect("arrives").remove(0);
    assert_eq!(message.msg_type, "markdown");
    assert_eq!(message.title, "[FIRING:1] 磁盘满 (c1 page)");
    for part in ["n1: 90% < 100%", "n2: 90% < 100%", "Resolved", "2024-01-02 03:04:05 UTC", "http://am.example:9093/#"]
    {
        assert!(message.text.contains(part), "{part}: {}", message.text);
    }
    assert_eq!(house.template_failures(), "highwater_notify_template_failures_total{integration=\"dingtalk\"} 0");
}

#[tokio::test]
async fn a_wrong_secret_or_token_is_for_good() {
    let house = House::new();
    let robot = robot(&house).await;
    let wrong = yaml(&robot, "").replace("SECabc", "SECxyz");
    assert_permanent(house.integration("", &wrong).send(&notification()).await, "310000: sign not match");
    let wrong = yaml(&robot, "").replace("t0ken", "token");
    assert_permanent(house.integration("", &wrong).send(&notification()).await, "check access_token");
    assert_eq!(robot.inbox.messages().len(), 0);
}

#[tokio::test]
async fn mentions_stand_in_the_text() {
    let house = House::new();
    let robot = robot(&house).await;
    let more = "    msg_type: text\n    text: 'call @138 {{ .Status }}'\n    at: {mobiles: ['138', '139'], user_ids: [u1], all: true}";
    house.integration("", &yaml(&robot, more)).send(&notification()).await.expect("is taken");
    let message = robot.inbox.messages().remove(0);
    assert_eq!(message.text, "call @138 firing\n\n@139 @u1");
    assert_eq!((message.called_mobiles.len(), message.called_user_ids.len(), message.called_all), (2, 1, true));
}

#[tokio::test]
async fn sends_a_card() {
    let house = House::new();
    let robot = robot(&house).await;
    house.integration("", &yaml(&robot, "    msg_type: actionCard")).send(&notification()).await.expect("is taken");
    let message = robot.inbox.messages().remove(0);
    assert_eq!(message.body["actionCard"]["singleURL"], "http://am.example:9093/#/alerts?receiver=team");
}

#[tokio::test]
async fn what_is_too_long_becomes_a_digest() {
    let house = House::new();
    let robot = robot(&house).await;
    let integration = house.integration("", &yaml(&robot, "    at: {mobiles: ['138']}"));
    integration.send(&many(500)).await.expect("is taken");
    let message = robot.inbox.messages().remove(0);
    assert_eq!(message.title, "[FIRING:500] 磁盘满 (c1 page)");
    assert!(message.text.contains(" of 500 alerts are shown (500 firing, 0 resolved)"), "{}", message.text);
    assert!(message.text.contains("node-30"), "{}", message.text);
    assert_eq!(message.called_mobiles, ["138"]);
    let size = message.body.to_string().len();
    assert!((15_000..=20_000).contains(&size), "{size}");
}

#[tokio::test]
async fn even_one_alert_that_is_too_long_arrives() {
    let house = House::new();
    let robot = robot(&house).await;
    let integration = house.integration("", &yaml(&robot, ""));
    let mut one = many(1);
    one.alerts[0].annotations.insert("summary".to_owned(), "满\"".repeat(20_000));
    integration.send(&one).await.expect("is taken");
    let message = robot.inbox.messages().remove(0);
    assert!(message.text.contains("满\"满\"") && message.text.contains("0 of 1 alerts"), "{}", message.text.len());
}

#[tokio::test]
async fn two_routers_are_heard_once_and_a_new_state_always() {
    let house = House::new();
    let robot = robot(&house).await;
    let (first, second) = (house.integration("", &yaml(&robot, "")), house.integration("", &yaml(&robot, "")));
    let at = |ms| Notification { now: model::TimestampMs(ms), ..notification() };
    first.send(&at(1_704_168_245_000)).await.expect("is taken");
    second.send(&at(1_704_168_259_000)).await.expect("is taken");
    assert_eq!((robot.inbox.messages().len(), robot.inbox.duplicates()), (1, 1));
    let repeated = Notification { repeat: true, ..at(1_704_168_240_000) };
    let later = Notification { repeat: true, ..at(1_704_182_640_000) };
    let mut fired_again = notification();
    fired_again.alerts[0].starts_at = model::TimestampMs(1_704_168_000_000);
    let resolved = Notification { alerts: vec![alert("n1", true), alert("n2", true)], ..notification() };
    let another_group = Notification { group_key: "{}:{}".to_owned(), ..notification() };
    let states = [repeated, later, fired_again, resolved, another_group];
    for state in &states {
        first.send(state).await.expect("is taken");
        second.send(state).await.expect("is taken");
    }
    assert_eq!((robot.inbox.messages().len(), robot.inbox.duplicates()), (6, 6));
}

#[tokio::test]
async fn holds_back_beyond_twenty_a_minute_also_after_a_reload() {
    let house = House::new();
    let options = DingTalkOptions { access_token: "t".to_owned(), secret: None, per_minute: Some(20) };
    let robot = DingTalk::start(&house.supervisor, "127.0.0.1:0", options).await.expect("starts");
    let yaml = format!("dingtalk_configs: [{{url: '{}'}}]", robot.whole_url());
    for n in 0..20 {
        let n = Notification { group_key: format!("{n}"), ..notification() };
        house.integration("", &yaml).send(&n).await.expect("is taken");
    }
    let wait = retry_after(house.integration("", &yaml).send(&notification()).await).expect("says when");
    assert!(wait > Duration::from_secs(1) && wait <= Duration::from_secs(61), "{wait:?}");
    assert_eq!((robot.inbox.messages().len(), robot.inbox.refusals()), (20, Vec::<String>::new()));
}

#[tokio::test]
async fn codes_say_what_to_do() {
    let house = House::new();
    let robot = robot(&house).await;
    let integration = house.integration("", &yaml(&robot, "    timeout: 300ms"));
    for fault in [Fault::Code("-1".to_owned()), Fault::Garbage, Fault::Status(502), Fault::Hang] {
        robot.faults.fail_next(fault);
        assert_retry(integration.send(&notification()).await, "");
    }
    for code in ["310000", "300001", "40035", "43004", "460101", "400013", "400102", "400106"] {
        robot.faults.fail_next(Fault::Code(code.to_owned()));
        assert_permanent(integration.send(&notification()).await, code);
    }
    robot.faults.fail_next(Fault::Code("130101".to_owned()));
    assert_eq!(retry_after(integration.send(&notification()).await), Some(Duration::from_secs(600)));
    let refusals = robot.inbox.refusals().len();
    // The robot is blocked: asking again would only prolong it.
    let wait = retry_after(integration.send(&notification()).await).expect("says when");
    assert!(wait > Duration::from_secs(590), "{wait:?}");
    assert_eq!(robot.inbox.refusals().len(), refusals);
}

#[tokio::test]
async fn a_template_that_fails_loses_nothing() {
    let house = House::new();
    let robot = robot(&house).await;
    let more = "    title: '{{ .Nope }}'\n    text: '{{ index .Alerts 99 }}'";
    house.integration("", &yaml(&robot, more)).send(&notification()).await.expect("is taken");
    let message = robot.inbox.messages().remove(0);
    assert_eq!(message.title, "[FIRING:1] 磁盘满");
    assert!(message.text.contains("[resolved] {alertname=\"磁盘满\", cluster=\"c1\", node=\"n2\""), "{}", message.text);
    assert_eq!(house.template_failures(), "highwater_notify_template_failures_total{integration=\"dingtalk\"} 2");
}
