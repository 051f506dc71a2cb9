//! What a person reads who wrote something wrong.

use config::Document;
use notify::decode_receivers;

fn problems(file: &str) -> Vec<String> {
    let document = Document::parse("am.yml".as_ref(), file).expect("is YAML");
    let fields = document.root().mapping().expect("is a mapping");
    let global = fields.get("global");
    decode_receivers(global.as_ref(), &fields.items("templates"), &fields.items("receivers"));
    document.finish().err().map(|p| p.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn of_receiver(section: &str) -> Vec<String> {
    problems(&format!("receivers:\n- name: r\n  {}\n", section.replace('\n', "\n  ")))
}

#[test]
fn every_problem_stands_where_it_is() {
    let cases = [
        ("slack_configs: [{}]", "am.yml:3:3: slack_configs is not supported yet; use webhook_configs"),
        ("webhok_configs: []", r#"unknown key "webhok_configs"; did you mean "webhook_configs"?"#),
        ("webhook_configs: [{}]", "url is missing; give url or url_file"),
        ("webhook_configs: [{url: ftp://x}]", "am.yml:3:27: not an http or https address"),
        ("webhook_configs: [{url: 'http://x', url_file: y}]", "at most one of url and url_file"),
        ("webhook_configs: [{url: 'http://x', timeout: 0s}]", "must be longer than 0"),
        ("webhook_configs: [{url: 'http://x', http_config: {bearer: x}}]", "unknown key \"bearer\""),
        ("dingtalk_configs: [{}]", "access_token is missing"),
        ("dingtalk_configs: [{url: 'https://x/robot/send'}]", "the address holds no access_token"),
        ("dingtalk_configs: [{access_token: t, msg_type: feedCard}]", "use markdown, text or actionCard"),
        ("dingtalk_configs: [{access_token: t, text: '{{ .A '}]", "am.yml:3:46: 1:7: unclosed action"),
        ("dingtalk_configs: [{access_token: t, title: '{{ template \"x\" . }}'}]", "template \"x\" is not defined"),
        ("dingtalk_configs: [{access_token: t, msg_type: actionCard, at: {all: true}}]", "mentions nobody"),
        ("dingtalk_configs: [{access_token: t, at: {mobile: ['1']}}]", "did you mean \"mobiles\""),
        ("email_configs: [{to: a@b.c, from: a@b.c}]", "smarthost is missing"),
        ("email_configs: [{to: a@b.c, smarthost: 'h:25'}]", "from is missing"),
        ("email_configs: [{to: a b, from: a@b.c, smarthost: 'h:25'}]", "is not a list of mail addresses"),
        ("email_configs: [{to: a@b.c, from: a@b.c, smarthost: h}]", "is not HOST:PORT"),
        (
            "email_configs: [{to: a@b.c, from: a@b.c, smarthost: 'h:25', html: '<a href=\"{{ .Status }}'}]",
            "non-text context",
        ),
        ("email_configs: [{to: a@b.c, from: a@b.c, smarthost: 'h:25', html: '', text: ''}]", "both empty"),
        ("email_configs: [{to: a@b.c, from: a@b.c, smarthost: 'h:25', headers: {A: b, a: c}}]", "given twice"),
        ("email_configs: [{to: a@b.c, from: a@b.c, smarthost: 'h:25', headers: {'A b': b}}]", "not a mail header"),
        (
            "email_configs: [{to: a@b.c, from: a@b.c, smarthost: 'h:25', tls_config: {ca_file: no.pem}}]",
            "cannot read no.pem",
        ),
        ("email_configs: [{to: a@b.c, from: a@b.c, smarthost: 'h:25', auth_secret: x}]", "CRAM-MD5 is obsolete"),
        ("sms_configs: [{}]", "phone_numbers is missing"),
        ("sms_configs: [{provider: twilio}]", "this provider is not supported yet"),
        ("sms_configs: [{phone_numbers: [1380000000a]}]", "am.yml:3:34: \"1380000000a\" is not a phone number"),
        ("sms_configs: [{template_param: {a: '{{ nope }}'}}]", "function \"nope\" is not defined"),
    ];
    for (section, want) in cases {
        let found = of_receiver(section);
        assert!(found.iter().any(|p| p.contains(want)), "{section}: {found:#?}");
    }
}

#[test]
fn global_and_names() {
    let found = problems(
        "global: {resolve_timeout: 5m, smtp_smarthost: x, slack_api_url: y, smtp_require_tl: false}\nreceivers:\n- name: a\n- name: a\n- {}\n",
    );
    for want in [
        "is not HOST:PORT",
        "slack_api_url is not supported yet",
        "did you mean \"smtp_require_tls\"",
        "defined twice",
        "name is missing",
    ] {
        assert!(found.iter().any(|p| p.contains(want)), "{want}: {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn a_whole_file_is_fine_and_hides_its_secrets() {
    let file = "global:\n  resolve_timeout: 5m\n  smtp_smarthost: smtp.example.com:587\n  smtp_from: a@example.com\n  smtp_auth_username: u\n  smtp_auth_password: s3cret\nreceivers:\n- name: 'null'\n- name: all\n  webhook_configs: [{url: 'http://127.0.0.1:1/s3cret'}, {url: 'http://127.0.0.1:1/'}]\n  email_configs: [{to: b@example.com}]\n  dingtalk_configs: [{access_token: s3cret, secret: s3cret}]\n  sms_configs: [{access_key_id: i, access_key_secret: s3cret, sign_name: s, template_code: t, phone_numbers: ['13800000000']}]\n";
    let document = Document::parse("am.yml".as_ref(), file).expect("is YAML");
    let fields = document.root().mapping().expect("is a mapping");
    let receivers = decode_receivers(fields.get("global").as_ref(), &[], &fields.items("receivers"));
    document.finish().expect("no problems");
    let shown = format!("{receivers:?}");
    assert!(shown.contains("webhook[1]") && shown.contains("sms[0]") && !shown.contains("s3cret"), "{shown}");
    assert_eq!((receivers.len(), receivers[0].integrations.len(), receivers[1].integrations.len()), (2, 0, 5));
}

#[test]
fn no_receiver_panics() {
    let values = ["~", "1", "[]", "{}", "[1]", "[{}]", "[[]]", "'{{'", "[{a: b}]"];
    for key in ["webhook_configs", "email_configs", "dingtalk_configs", "sms_configs", "name", "other"] {
        for value in values {
            let _ = problems(&format!("global: {value}\ntemplates: {value}\nreceivers: [{{{key}: {value}}}]\n"));
        }
    }
}
