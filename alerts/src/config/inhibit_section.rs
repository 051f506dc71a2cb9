//! `inhibit_rules`.

use config::Node;

use super::route_section::decode_matchers;
use crate::engine::inhibit::InhibitRule;

/// Decodes one rule.
pub fn decode(node: &Node<'_>) -> Option<InhibitRule> {
    let fields = node.mapping()?;
    let source = decode_matchers(&fields, ["source_matchers", "source_match", "source_match_re"]);
    let target = decode_matchers(&fields, ["target_matchers", "target_match", "target_match_re"]);
    let equal = fields.strings("equal");
    fields.string("name");
    fields.finish();
    Some(InhibitRule { source, target, equal })
}
