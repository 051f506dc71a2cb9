//! Names of sources: `tier/name`, or `tier/name/replica`.

use std::fmt;
use std::net::IpAddr;

use model::Labels;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Longer parts are cut.
const MAX_PART_BYTES: usize = 128;
/// A name in its longest form: three parts of which every byte is escaped.
const MAX_TEXT_BYTES: usize = 3 * (3 * MAX_PART_BYTES) + 2;
/// The tier of senders that do not say who they are.
const REMOTE: &str = "remote";
/// The label that tells replicas apart.
const REPLICA: &str = "replica";
/// What cannot stand in a part: it separates parts, names and values, or does not belong into a header.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'/').add(b',').add(b'=').add(b';').add(b'"');

/// The label whose value is the name of a source of this tier: what tells its samples from those of others.
pub fn label_of(tier: &str) -> Option<&'static str> {
    match tier {
        "edge" => Some("metacluster"),
        "cascade" => Some("region"),
        _ => None,
    }
}

/// Who sends. Shown and sent as `tier/name` or `tier/name/replica`, with `%XX` for bytes that a part may not show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName {
    tier: String,
    name: String,
    replica: String,
}

impl SourceName {
    /// A name of these parts; `replica` may be empty. Parts are cut to 128 bytes, empty ones become `-`.
    pub fn new(tier: &str, name: &str, replica: &str) -> Self {
        let part = |text: &str| if text.is_empty() { "-".to_owned() } else { cut(text).to_owned() };
        Self { tier: part(tier), name: part(name), replica: cut(replica).to_owned() }
    }

    /// How a process of this tier calls itself: after the external label that tells it from others ([`label_of`]), and
    /// `otherwise` (the name of the machine) where it has none.
    pub fn of(tier: &str, external_labels: &Labels, otherwise: &str) -> Self {
        let name = label_of(tier).and_then(|label| external_labels.get(label)).unwrap_or(otherwise);
        Self::new(tier, name, external_labels.get(REPLICA).unwrap_or_default())
    }

    /// The name of a sender that did not tell one: where it sends from.
    pub fn derived(address: IpAddr) -> Self {
        Self::new(REMOTE, &address.to_canonical().to_string(), "")
    }

    /// Reads what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let part = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().ok()?;
            (!decoded.is_empty() && decoded.len() <= MAX_PART_BYTES).then(|| decoded.into_owned())
        };
        let mut parts = text.split('/');
        let (tier, name) = (part(parts.next()?)?, part(parts.next()?)?);
        let replica = parts.next().map_or(Some(String::new()), part)?;
        parts.next().is_none().then_some(Self { tier, name, replica })
    }

    /// `edge`, `cascade`, `central`; `remote` for senders that are none of these.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// Its name within the tier.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of several that send the same; empty where there is one.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// Whether the sender told no name.
    pub fn is_derived(&self) -> bool {
        self.tier == REMOTE
    }

    /// The labels that its samples carry and those of others do not.
    pub fn labels(&self) -> Labels {
        let named = label_of(&self.tier).map(|label| (label, self.name.as_str()));
        Labels::from_pairs(named.into_iter().chain([(REPLICA, self.replica.as_str())]))
    }

    /// The same without the replica.
    pub(crate) fn family(&self) -> (&str, &str) {
        (&self.tier, &self.name)
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text| utf8_percent_encode(text, ESCAPED);
        write!(f, "{}/{}", part(&self.tier), part(&self.name))?;
        if self.replica.is_empty() { Ok(()) } else { write!(f, "/{}", part(&self.replica)) }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_PART_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_come_from_labels_or_addresses() {
        let labels = Labels::from_pairs([("metacluster", "cell-7"), ("replica", "a"), ("region", "eu")]);
        for (tier, want) in [("edge", "edge/cell-7/a"), ("cascade", "cascade/eu/a"), ("central", "central/host/a")] {
            assert_eq!(SourceName::of(tier, &labels, "host").to_string(), want);
        }
        let address = |text: &str| SourceName::derived(text.parse().expect("is one")).to_string();
        assert_eq!(address("10.0.0.1"), "remote/10.0.0.1");
        assert_eq!(address("::ffff:10.0.0.1"), "remote/10.0.0.1");
        assert_eq!(SourceName::new("edge", "cell-7", "").labels(), Labels::from_pairs([("metacluster", "cell-7")]));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("edge/{}", "x".repeat(129));
        for text in ["", "edge", "edge/", "/a", "a/b/", "a/b/c/d", "a/b c", "a/ü", "a/%ff", "a/\u{7f}", &long] {
            assert_eq!(SourceName::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_name_are_the_same(tier in "\\PC{1,20}", name in any::<String>(), replica in any::<String>()) {
            let made = SourceName::new(&tier, &name, &replica);
            let text = made.to_string();
            prop_assert!(text.len() <= MAX_TEXT_BYTES && text.bytes().all(|b| b.is_ascii_graphic()), "{}", text);
            prop_assert_eq!(SourceName::parse(&text), Some(made));
        }
    }
}
