//! Applying rules to a label set.

use md5::{Digest, Md5};
use model::LabelsBuilder;

use crate::pattern::join;
use crate::rule::{Action, RelabelRule};

/// Applies the rules in order. False as soon as one of them drops the label set, which is then left as it stands.
pub fn apply(rules: &[RelabelRule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| apply_one(rule, labels))
}

fn apply_one(rule: &RelabelRule, labels: &mut LabelsBuilder) -> bool {
    let joined = || join(labels, &rule.source_labels, &rule.separator);
    let target = rule.target_label.written.as_str();
    match rule.action {
        Action::Keep => return rule.regex.matches(&joined()),
        Action::Drop => return !rule.regex.matches(&joined()),
        Action::KeepEqual => return labels.get(target).unwrap_or("") == joined(),
        Action::DropEqual => return labels.get(target).unwrap_or("") != joined(),
        Action::Replace => replace(rule, labels),
        Action::HashMod => {
            let bucket = low_half_of_md5(&joined()) % rule.modulus.max(1);
            labels.set(target, &bucket.to_string());
        }
        Action::Lowercase => {
            let value = joined().to_lowercase();
            labels.set(target, &value);
        }
        Action::Uppercase => {
            let value = joined().to_uppercase();
            labels.set(target, &value);
        }
        Action::LabelMap => label_map(rule, labels),
        Action::LabelDrop => {
            labels.retain(|name, _| !rule.regex.matches(name));
        }
        Action::LabelKeep => {
            labels.retain(|name, _| rule.regex.matches(name));
        }
    }
    true
}

fn replace(rule: &RelabelRule, labels: &mut LabelsBuilder) {
    let joined = join(labels, &rule.source_labels, &rule.separator);
    let Some(captures) = rule.regex.captures(&joined) else { return };
    let target = rule.target_label.expand(&captures);
    if !target.is_empty() {
        labels.set(&target, &rule.replacement.expand(&captures));
    }
}

/// Every label is looked at as it was before the rule.
fn label_map(rule: &RelabelRule, labels: &mut LabelsBuilder) {
    let mut renamed = Vec::new();
    for (name, value) in labels.iter() {
        if let Some(captures) = rule.regex.captures(name) {
            renamed.push((rule.replacement.expand(&captures), value.to_owned()));
        }
    }
    for (name, value) in renamed.iter().filter(|(name, _)| !name.is_empty()) {
        labels.set(name, value);
    }
}

/// The last eight bytes of the MD5 sum, big-endian, as Prometheus takes them; the shards of both agree.
fn low_half_of_md5(text: &str) -> u64 {
    let digest: [u8; 16] = Md5::digest(text.as_bytes()).into();
    u128::from_be_bytes(digest) as u64
}
