//! The status page: what this process is, how it is, and where everything else stands. No scripts.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use rules::status::{AlertState, RuleStatus};

use crate::api::{Api, Shared, text_response};
use crate::sources::TargetHealth;
use crate::time::rfc3339;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;\
color:#1c2733;background:#fff}h1{font-size:1.4rem}th{text-align:left;padding-right:2rem;font-weight:500}\
a{color:#0b62a4}form{margin:1.5rem 0;display:flex;gap:.5rem}input{flex:1;font:inherit;padding:.3rem .5rem}\
button{font:inherit}ul{columns:2;padding-left:1.2rem}\
@media(prefers-color-scheme:dark){body{color:#dbe4ee;background:#12181f}a{color:#7cc0f5}}";

/// Relative, so that they hold behind a proxy's prefix too.
const LINKS: [(&str, &str); 15] = [
    ("api/v1/targets", "targets"),
    ("api/v1/rules", "rules"),
    ("api/v1/alerts", "alerts"),
    ("api/v1/alertmanagers", "alert routers"),
    ("api/v1/labels", "label names"),
    ("api/v1/label/__name__/values", "metric names"),
    ("api/v1/metadata", "metadata"),
    ("api/v1/status/config", "configuration"),
    ("api/v1/status/flags", "flags"),
    ("api/v1/status/runtimeinfo", "runtime"),
    ("api/v1/status/tsdb", "cardinality"),
    ("api/v1/status/buildinfo", "build"),
    ("metrics", "metrics of this process"),
    ("-/healthy", "health"),
    ("-/ready", "readiness"),
];

/// `/`, and `/graph?g0.expr=...`, where the links in alerts lead: the expression stands ready to be asked.
pub(crate) async fn page(State(api): Shared, Query(asked): Query<HashMap<String, String>>) -> Response {
    let expression = asked.get("g0.expr").map_or("", String::as_str);
    let mut response = text_response(StatusCode::OK, "text/html; charset=utf-8", html(&api, expression));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn html(api: &Api, expression: &str) -> String {
    let options = &api.options;
    let mut rows = vec![
        ("role", options.role.clone()),
        ("version", options.version.clone()),
        ("running since", rfc3339(options.started)),
    ];
    let external_labels = (options.external_labels)();
    if !external_labels.is_empty() {
        rows.push(("external labels", external_labels.to_string()));
    }
    let targets = options.targets.active();
    if !targets.is_empty() {
        let up = targets.iter().filter(|t| t.health == TargetHealth::Up).count();
        rows.push(("targets up", format!("{up} of {}", targets.len())));
    }
    let groups = options.rules.groups();
    if !groups.is_empty() {
        let rules = || groups.iter().flat_map(|g| &g.rules);
        let firing = rules()
            .filter_map(|rule| match rule {
                RuleStatus::Alerting(alerting) => Some(&alerting.alerts),
                RuleStatus::Recording(_) => None,
            })
            .flatten()
            .filter(|alert| alert.state == AlertState::Firing)
            .count();
        rows.push(("rules", rules().count().to_string()));
        rows.push(("alerts firing", firing.to_string()));
    }
    let rows: String =
        rows.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value))).collect();
    let links: String = LINKS.iter().map(|(path, name)| format!("<li><a href=\"{path}\">{name}</a></li>\n")).collect();
    let role = escaped(&options.role);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Highwater {role}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n\
         <body><h1>Highwater {role}</h1>\n<table>\n{rows}</table>\n\
         <form action=\"api/v1/query\"><input name=\"query\" placeholder=\"PromQL\" aria-label=\"PromQL\" value=\"{}\" required>\
         <button>Query</button></form>\n<ul>\n{links}</ul></body></html>\n",
        escaped(expression)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
