//! The house as it is drawn: which block may use which (ARCHITECTURE.md, "The house").

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every allowed arrow. A block that is missing here may use nothing of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    // L0 and L1: words and formats
    ("model", &[]),
    ("config", &["model"]),
    ("exposition", &["model"]),
    ("remote-write", &["model"]),
    ("columns", &["model"]),
    ("relabel", &["model", "config"]),
    ("disk", &[]),
    ("segment-log", &["disk"]),
    ("postings", &["model"]),
    ("prometheus-block", &["model"]),
    ("promql-syntax", &["model"]),
    // L2: synchronous engines
    ("block", &["model", "disk", "postings"]),
    ("head", &["model", "postings"]),
    ("tsdb", &["model", "disk", "segment-log", "postings", "block", "head"]),
    ("queue", &["model", "columns", "disk", "segment-log"]),
    ("promql", &["model", "promql-syntax"]),
    ("rules", &["model", "config", "promql"]),
    ("sources", &["model", "disk"]),
    ("replicas", &["model", "head", "sources"]),
    // L3: sockets, timers, tasks
    ("runtime", &["model", "config"]),
    ("query-gate", &["model", "promql", "runtime"]),
    ("scrape", &["model", "config", "exposition", "promql-syntax", "relabel", "sources", "runtime"]),
    (
        "forward",
        &["model", "config", "columns", "disk", "promql", "queue", "relabel", "remote-write", "runtime", "sources"],
    ),
    ("peers", &["model", "config", "promql", "remote-write", "runtime"]),
    ("receive", &["model", "columns", "remote-write", "sources", "runtime"]),
    (
        "http-api",
        &[
            "model",
            "config",
            "exposition",
            "prometheus-block",
            "promql-syntax",
            "promql",
            "query-gate",
            "remote-write",
            "rules",
            "sources",
            "runtime",
        ],
    ),
    ("evaluate", &["model", "config", "promql", "query-gate", "relabel", "rules", "sources", "runtime"]),
    ("notify", &["model", "config", "runtime"]),
    ("fleet-sim", &["model"]),
    ("stand-in", &["model", "runtime"]),
    // The frame of the three tiers
    (
        "tier",
        &[
            "model",
            "config",
            "remote-write",
            "promql",
            "rules",
            "sources",
            "disk",
            "tsdb",
            "runtime",
            "query-gate",
            "scrape",
            "forward",
            "peers",
            "receive",
            "http-api",
            "evaluate",
            "replicas",
        ],
    ),
    // Roles: thin, and strangers to one another
    ("edge", &["tier"]),
    ("cascade", &["tier"]),
    ("central", &["tier"]),
    ("alerts", &["model", "config", "runtime", "notify"]),
    (
        "highwater",
        &[
            "model",
            "config",
            "exposition",
            "disk",
            "segment-log",
            "prometheus-block",
            "block",
            "promql",
            "rules",
            "runtime",
            "tsdb",
            "tier",
            "edge",
            "cascade",
            "central",
            "alerts",
            "fleet-sim",
            "stand-in",
        ],
    ),
    ("tests", &[]),
];

/// Blocks that must stay free of an asynchronous runtime.
const SYNCHRONOUS: &[&str] = &[
    "model",
    "config",
    "exposition",
    "remote-write",
    "columns",
    "relabel",
    "disk",
    "segment-log",
    "postings",
    "prometheus-block",
    "promql-syntax",
    "block",
    "head",
    "tsdb",
    "replicas",
    "queue",
    "promql",
    "rules",
    "sources",
];

/// Normal dependencies of every package of the workspace, by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata answers JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let normal = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), normal(package))).collect()
}

#[test]
fn arrows_only_point_down() {
    let all = dependencies();
    let ours: BTreeSet<&String> = all.keys().collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (package, used) in &all {
        let Some(may) = allowed.get(package.as_str()) else {
            wrong.push(format!("{package} is not in the list"));
            continue;
        };
        for other in used.iter().filter(|name| ours.contains(name)) {
            if !may.contains(&other.as_str()) {
                wrong.push(format!("{package} uses {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the list does not allow: {wrong:#?}");
}

#[test]
fn the_list_itself_only_points_down() {
    let order: Vec<&str> = ALLOWED.iter().map(|(package, _)| *package).collect();
    for (at, (package, uses)) in ALLOWED.iter().enumerate() {
        for used in *uses {
            let position = order.iter().position(|p| p == used);
            assert!(position.is_some_and(|p| p < at), "{package} may use {used}, which does not stand above it");
        }
    }
}

#[test]
fn synchronous_blocks_know_no_tokio() {
    let all = dependencies();
    for block in SYNCHRONOUS {
        let asynchronous = ["tokio", "axum", "hyper", "reqwest"];
        assert!(!all[*block].iter().any(|d| asynchronous.contains(&d.as_str())), "{block} is synchronous");
    }
}

#[test]
fn there_is_one_tls_stack() {
    let lock = include_str!("../../Cargo.lock");
    for other in ["openssl", "native-tls", "aws-lc-rs", "boring"] {
        assert!(!lock.contains(&format!("name = \"{other}\"")), "{other} is in Cargo.lock");
    }
}
