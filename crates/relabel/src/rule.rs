//! One rule: what it holds, and how it is read from a configuration file.

use config::{Mapping, Node};

use crate::pattern::{Pattern, Template};

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";
const DEFAULT_SEPARATOR: &str = ";";

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Where the regex matches, sets the target label to the replacement.
    #[default]
    Replace,
    /// Drops what the regex does not match.
    Keep,
    /// Drops what the regex matches.
    Drop,
    /// Drops where the joined source labels differ from the target label.
    KeepEqual,
    /// Drops where the joined source labels equal the target label.
    DropEqual,
    /// Sets the target label to a hash of the joined source labels, modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to the name that the replacement gives.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the joined source labels in lower case.
    Lowercase,
    /// Sets the target label to the joined source labels in upper case.
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl Action {
    fn name(self) -> &'static str {
        ACTIONS.iter().find(|(_, a)| *a == self).map_or("", |(name, _)| name)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        ACTIONS.iter().find(|(name, _)| *name == lower).map(|(_, action)| *action).ok_or_else(|| {
            let known: Vec<_> = ACTIONS.iter().map(|(name, _)| *name).collect();
            format!("unknown relabel action {text:?}; use one of {}", known.join(", "))
        })
    }

    fn needs_target(self) -> bool {
        use Action::{DropEqual, HashMod, KeepEqual, Lowercase, Replace, Uppercase};
        matches!(self, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual)
    }
}

/// One entry of `relabel_configs`, `metric_relabel_configs`, `write_relabel_configs` or `alert_relabel_configs`.
#[derive(Debug, Clone, PartialEq)]
pub struct RelabelRule {
    pub(crate) action: Action,
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: Pattern,
    pub(crate) modulus: u64,
    pub(crate) target_label: Template,
    pub(crate) replacement: Template,
}

impl RelabelRule {
    /// Reads and validates one entry; what Prometheus refuses is refused here.
    pub fn decode(node: &Node<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let action = match fields.get("action") {
            Some(n) => n.parse(Action::parse),
            None => Some(Action::default()),
        };
        let source_labels = source_labels(&fields);
        let separator = text(&fields, "separator", DEFAULT_SEPARATOR);
        let regex = match fields.get("regex") {
            Some(n) => n.parse(Pattern::new),
            // A constant that compiles.
            None => Pattern::new(DEFAULT_REGEX).ok(),
        };
        let modulus = fields.u64("modulus").unwrap_or(0);
        let target_label = text(&fields, "target_label", "");
        let replacement = text(&fields, "replacement", DEFAULT_REPLACEMENT);
        fields.finish();
        let rule = Self {
            action: action?,
            source_labels,
            separator,
            regex: regex?,
            modulus,
            target_label: Template::new(&target_label),
            replacement: Template::new(&replacement),
        };
        match rule.check() {
            Ok(()) => Some(rule),
            Err(message) => {
                node.problem(message);
                None
            }
        }
    }

    /// Reads a list of entries; those with a problem are left out after it was reported.
    pub fn decode_list(fields: &Mapping<'_>, key: &'static str) -> Vec<Self> {
        fields.items(key).iter().filter_map(Self::decode).collect()
    }

    fn check(&self) -> Result<(), String> {
        let name = self.action.name();
        let has_default_replacement = self.replacement.written == DEFAULT_REPLACEMENT;
        let has_default_separator = self.separator == DEFAULT_SEPARATOR;
        if self.action == Action::HashMod && self.modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus; add modulus".to_owned());
        }
        if self.action.needs_target() && self.target_label.written.is_empty() {
            return Err(format!("relabel configuration for {name} action requires 'target_label' value; add it"));
        }
        if matches!(self.action, Action::Lowercase | Action::Uppercase) && !has_default_replacement {
            return Err(format!("'replacement' can not be set for {name} action; remove it"));
        }
        if self.action == Action::LabelMap && self.replacement.written.is_empty() {
            return Err(format!("\"\" is invalid 'replacement' for {name} action; write a label name, for example $1"));
        }
        let only_equal = self.regex.written == DEFAULT_REGEX
            && self.modulus == 0
            && has_default_separator
            && has_default_replacement;
        if matches!(self.action, Action::KeepEqual | Action::DropEqual) && !only_equal {
            return Err(format!(
                "{name} action requires only 'source_labels' and 'target_label', and no other fields; remove the others"
            ));
        }
        let only_regex = self.source_labels.is_empty()
            && self.target_label.written.is_empty()
            && self.modulus == 0
            && has_default_separator
            && has_default_replacement;
        if matches!(self.action, Action::LabelDrop | Action::LabelKeep) && !only_regex {
            return Err(format!("{name} action requires only 'regex', and no other fields; remove the others"));
        }
        Ok(())
    }
}

fn source_labels(fields: &Mapping<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for item in fields.items("source_labels") {
        match item.text() {
            Some("") => item.problem("\"\" is not a valid label name; remove it"),
            Some(name) => names.push(name.to_owned()),
            None => {}
        }
    }
    names
}

/// Unlike elsewhere an empty text is a value: `replacement: ""` deletes.
fn text(fields: &Mapping<'_>, key: &'static str, default: &str) -> String {
    fields.string(key).unwrap_or_else(|| default.to_owned())
}
