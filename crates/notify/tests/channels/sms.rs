//! SendSms: signature, variables, codes.

use std::time::Duration;

use serde_json::json;
use stand_in::{Fault, Sms, SmsOptions};

use crate::{DEADLINE, House, assert_permanent, assert_retry, many, notification, retry_after};

async fn service(house: &House) -> Sms {
    let options = SmsOptions { access_key_id: "LTAI".to_owned(), access_key_secret: "k3y".to_owned() };
    Sms::start(&house.supervisor, "127.0.0.1:0", options).await.expect("starts")
}

fn yaml(service: &Sms) -> String {
    format!(
        "sms_configs:\n  - endpoint: {}\n    access_key_id: LTAI\n    access_key_secret: k3y\n    sign_name: 高水位 *~\n    \
         template_code: SMS_1\n    phone_numbers: ['13800000000', '+8613900000000']\n    timeout: 500ms\n    \
         template_param:\n      name: '{{{{ .GroupLabels.alertname }}}} 100%&='\n      \
         nodes: '{{{{ range .Alerts.Firing }}}}{{{{ .Labels.node }}}} {{{{ end }}}}'\n",
        service.url()
    )
}

#[tokio::test]
async fn sends_signed_messages() {
    let house = House::new();
    let service = service(&house).await;
    let integration = house.integration("", &yaml(&service));
    assert_eq!((integration.kind(), integration.send_resolved()), ("sms", false));
    integration.send(&many(30)).await.expect("is taken");
    integration.send(&notification()).await.expect("another nonce is taken");
    let message = service.inbox.wait_for_count(2, DEADLINE).await.expect("arrives").remove(0);
    assert_eq!(message.phone_numbers, ["13800000000", "+8613900000000"]);
    assert_eq!((message.sign_name.as_str(), message.template_code.as_str()), ("高水位 *~", "SMS_1"));
    let want = json!({ "name": "磁盘满 100%&=", "nodes": "node-0 node-1 node-2 node-3 node-4 " });
    assert_eq!(message.template_param, want);
    assert!(message.out_id.is_some_and(|id| id.len() == 32));
}

#[tokio::test]
async fn a_wrong_key_is_for_good() {
    let house = House::new();
    let service = service(&house).await;
    let wrong = yaml(&service).replace("k3y", "key");
    assert_permanent(house.integration("", &wrong).send(&notification()).await, "SignatureDoesNotMatch");
    let wrong = yaml(&service).replace("LTAI", "LTAX");
    assert_permanent(house.integration("", &wrong).send(&notification()).await, "InvalidAccessKeyId");
    assert_eq!(service.inbox.messages().len(), 0);
}

#[tokio::test]
async fn codes_say_what_to_do() {
    let house = House::new();
    let service = service(&house).await;
    let integration = house.integration("", &yaml(&service));
    for fault in [Fault::Code("isp.SYSTEM_ERROR".to_owned()), Fault::Garbage, Fault::Status(500), Fault::Hang] {
        service.faults.fail_next(fault);
        assert_retry(integration.send(&notification()).await, "");
    }
    service.faults.fail_next(Fault::Code("isv.BUSINESS_LIMIT_CONTROL".to_owned()));
    assert_eq!(retry_after(integration.send(&notification()).await), Some(Duration::from_secs(60)));
    let cases = [
        ("isv.AMOUNT_NOT_ENOUGH", "balance"),
        ("isv.MOBILE_NUMBER_ILLEGAL", "phone_numbers"),
        ("isv.SMS_SIGNATURE_SCENE_ILLEGAL", "sign_name"),
    ];
    for (code, advice) in cases {
        service.faults.fail_next(Fault::Code(code.to_owned()));
        assert_permanent(integration.send(&notification()).await, advice);
    }
}
