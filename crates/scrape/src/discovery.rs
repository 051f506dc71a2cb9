//! Addresses with labels in common, and the static lists of them.

use config::{Mapping, Node};
use model::Labels;
use reqwest::Url;

/// Addresses that share labels: one entry of `static_configs`, or of a discovered file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TargetGroup {
    pub(crate) addresses: Vec<String>,
    /// Labels of every target here, `__meta_` ones among them.
    pub(crate) labels: Labels,
}

/// Reads `static_configs`. Where nothing relabels the addresses (`addresses_are_final`), each must be one.
pub(crate) fn decode_static(fields: &Mapping<'_>, key: &'static str, addresses_are_final: bool) -> Vec<TargetGroup> {
    fields.items(key).iter().filter_map(|node| decode_group(node, addresses_are_final)).collect()
}

/// Reads `{targets: [...], labels: {...}}`.
pub(crate) fn decode_group(node: &Node<'_>, addresses_are_final: bool) -> Option<TargetGroup> {
    let fields = node.mapping()?;
    let mut addresses = Vec::new();
    for item in fields.items("targets") {
        let Some(address) = item.text() else { continue };
        match check_address(address) {
            Err(message) if addresses_are_final => item.problem(message),
            _ => addresses.push(address.to_owned()),
        }
    }
    let labels = fields.get("labels").and_then(|n| n.labels(true)).unwrap_or_default();
    fields.finish();
    Some(TargetGroup { addresses, labels })
}

/// Whether a text can be the `host:port` of a URL.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("no address; write host:port".to_owned());
    }
    if address.contains(|c: char| "/?#@\\".contains(c) || c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "{address:?} is not a valid hostname; write host:port, and use scheme and metrics_path for the rest"
        ));
    }
    // What no request could be sent to, such as port 99999, must not wait for the first scrape to be found.
    Url::parse(&format!("http://{address}"))
        .map(|_| ())
        .map_err(|e| format!("{address:?} is not an address: {e}; write host:port, for example 127.0.0.1:9100"))
}
