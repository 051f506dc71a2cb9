//! The OpenAPI document against the router: each knows what the other knows.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use super::fixture::{app, get, options, sample_store, send};
use crate::endpoints::{Methods, endpoints};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

/// The document as Debian's and everybody's YAML parsers see it: paths, methods, names of parameters.
async fn described() -> Vec<(String, String, Vec<String>)> {
    let reply = get(&app(options(sample_store())), "/api/v1/openapi.yaml").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/yaml"));
    let text = reply.text();
    assert!(text.starts_with("openapi: \"3.1.0\"\n"), "{text}");
    let document = config::Document::parse(std::path::Path::new("openapi.yaml"), &text).expect("is YAML");
    let root = document.root();
    let paths = entry(root.mapping().expect("is a mapping").entries(), "paths");
    let mut found = Vec::new();
    for (path, _, methods) in paths.mapping().expect("is a mapping").entries() {
        for (method, _, operation) in methods.mapping().expect("is a mapping").entries() {
            let operation: Vec<_> = operation.mapping().expect("is a mapping").entries().collect();
            let parameters = operation.iter().find(|(key, _, _)| *key == "parameters");
            let items = parameters.map(|(_, _, list)| list.items()).unwrap_or_default();
            let name = |item: &config::Node<'_>| {
                let name = entry(item.mapping().expect("is a mapping").entries(), "name");
                name.text().expect("is text").to_owned()
            };
            found.push((path.to_owned(), method.to_uppercase(), items.iter().map(name).collect()));
        }
    }
    found
}

fn entry<'a, K: AsRef<str>, P>(
    mut entries: impl Iterator<Item = (K, P, config::Node<'a>)>,
    key: &str,
) -> config::Node<'a> {
    entries.find(|(k, _, _)| k.as_ref() == key).map(|(_, _, node)| node).expect("is there")
}

#[tokio::test]
async fn the_document_names_every_route_and_no_other() {
    let described = described().await;
    let app = app(options(sample_store()));
    for endpoint in endpoints() {
        let path = endpoint.path.replace("{name}", "job");
        for method in METHODS {
            let request = Request::builder().method(method).uri(&path).body(Body::empty()).expect("is a request");
            let is_served = ![404, 405].contains(&send(&app, request).await.status.as_u16());
            let is_described = described.iter().any(|(p, m, _)| p == endpoint.path && m == method);
            assert_eq!(is_served, is_described, "{method} {path}");
        }
    }
    let operations: usize = crate::endpoints::described().map(|endpoint| endpoint.methods.names().len()).sum();
    assert_eq!(described.len(), operations);
}

#[tokio::test]
async fn what_is_described_is_understood() {
    let app = app(options(sample_store()));
    for (path, method, parameters) in described().await {
        if !endpoints().any(|endpoint| endpoint.path == path) {
            continue;
        }
        // Each parameter is refused, heard, or needs another one: never ignored where it cannot be right.
        for name in
            parameters.iter().filter(|name| ["start", "end", "time", "limit", "match[]"].contains(&name.as_str()))
        {
            if method != "GET" || path.contains("admin") {
                continue;
            }
            let mut asked = format!("{}?{name}=%7Bx", path.replace("{name}", "job"));
            for other in parameters.iter().filter(|other| *other != name) {
                asked += &match other.as_str() {
                    "query" | "match[]" => format!("&{other}=up"),
                    "start" | "end" | "step" => format!("&{other}=1"),
                    _ => String::new(),
                };
            }
            let reply = get(&app, &asked).await;
            let answer: Value = serde_json::from_slice(&reply.body).expect("is JSON");
            assert_eq!((reply.status.as_u16(), &answer["errorType"]), (400, &"bad_data".into()), "{asked}");
        }
    }
}

#[test]
fn the_documentation_names_every_endpoint() {
    let text = include_str!("../../../../docs/http-api.md");
    for endpoint in crate::endpoints::described() {
        assert!(text.contains(&format!("`{}`", endpoint.path)), "docs/http-api.md lacks {}", endpoint.path);
    }
}

#[test]
fn only_what_reads_many_parameters_takes_forms() {
    let forms: Vec<_> = endpoints().filter(|endpoint| endpoint.methods == Methods::GetAndPost).collect();
    assert!(forms.len() >= 6 && forms.iter().all(|endpoint| !endpoint.parameters.is_empty()));
}
