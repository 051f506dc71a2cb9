//! Label matchers: `=`, `!=`, `=~`, `!~`.

mod expand;
mod pattern;
mod re2;

use std::fmt;
use std::sync::Arc;

use crate::Labels;

use pattern::Pattern;

pub use pattern::regex_weight_bytes;
pub use re2::rust_regex;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends, `.` matches everything
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A regular expression of a matcher that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct MatcherError {
    /// The expression as written.
    pub pattern: String,
    /// What is wrong with it, in the words of Go's `regexp`: ``missing closing ]: `[` ``.
    pub reason: String,
}

/// One condition on one label. A label that a series does not have counts as empty.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Option<Arc<Pattern>>,
    matches_empty: bool,
}

impl Matcher {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// When `op` is a regular expression and `value` is not one, or is larger than the regex library's limit.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(Pattern::new(&value)?)),
        };
        let mut matcher = Self { name: name.into(), op, value, pattern, matches_empty: false };
        matcher.matches_empty = matcher.matches("");
        Ok(matcher)
    }

    /// The matcher `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        Self { name: name.into(), op: MatchOp::Equal, matches_empty: value.is_empty(), value, pattern: None }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with, as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label value (empty where the label is missing) satisfies it.
    pub fn matches(&self, value: &str) -> bool {
        let taken = match &self.pattern {
            None => self.value == value,
            Some(pattern) => pattern.is_match(value),
        };
        taken != self.is_negated()
    }

    /// Whether it is satisfied by a series without the label.
    pub fn matches_empty(&self) -> bool {
        self.matches_empty
    }

    /// True for `!=` and `!~`.
    pub fn is_negated(&self) -> bool {
        matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex)
    }

    /// True for `=~` and `!~`.
    pub fn is_regex(&self) -> bool {
        self.pattern.is_some()
    }

    /// All values that the comparison picks (before a negation), sorted, where they can be listed: one for `=` and `!=`,
    /// and those of a regular expression that is nothing but a list of words.
    pub fn literals(&self) -> Option<&[String]> {
        self.pattern.as_ref().map_or(Some(std::slice::from_ref(&self.value)), |pattern| pattern.literals())
    }

    /// What every value that the comparison picks (before a negation) begins with.
    pub fn prefix(&self) -> &str {
        self.pattern.as_ref().map_or(&self.value, |pattern| pattern.prefix())
    }

    /// About how much memory its regular expression takes, in bytes; zero where it is compared as text. A short text can
    /// take megabytes (`\pL{100}`): who compiles what strangers send adds them up.
    pub fn weight_bytes(&self) -> usize {
        self.pattern.as_ref().map_or(0, |pattern| pattern.weight_bytes())
    }

    /// Whether the comparison (before a negation) is known to pick every value but perhaps the empty one, as `.*` and `.+`.
    pub fn matches_all_non_empty(&self) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.takes_all_non_empty())
    }

    /// Whether a series satisfies it.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

/// Whether a series satisfies every matcher.
pub fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.matches_labels(labels))
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(op: MatchOp, pattern: &str, yes: &[&str], no: &[&str]) {
        let matcher = Matcher::new(op, "l", pattern).expect("compiles");
        for value in yes {
            assert!(matcher.matches(value), "{matcher} should match {value:?}");
        }
        for value in no {
            assert!(!matcher.matches(value), "{matcher} should not match {value:?}");
        }
    }

    #[test]
    fn compares_as_prometheus() {
        check(MatchOp::Equal, "a", &["a"], &["", "ab"]);
        check(MatchOp::NotEqual, "a", &["", "ab"], &["a"]);
        check(MatchOp::Regex, "a|b", &["a", "b"], &["ab", ""]);
        check(MatchOp::Regex, "a.c", &["abc", "a\nc"], &["xabc"]);
        check(MatchOp::Regex, ".*", &["", "x"], &[]);
        check(MatchOp::NotRegex, "a.*", &["", "b"], &["a", "ab"]);
    }

    #[test]
    fn a_group_cannot_escape_its_anchors() {
        assert!(Matcher::new(MatchOp::Regex, "l", "a)|(b").is_err());
        let error = Matcher::new(MatchOp::Regex, "l", "a[").expect_err("does not compile");
        assert_eq!(error.to_string(), r#"invalid regular expression "a[": missing closing ]: `[`"#);
    }

    #[test]
    fn a_missing_label_is_empty() {
        let labels = Labels::from_pairs([("a", "1")]);
        assert!(Matcher::equal("b", "").matches_labels(&labels));
        assert!(!Matcher::equal("a", "").matches_labels(&labels));
    }
}
