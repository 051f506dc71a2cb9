//! The regular expressions of matchers, looked at once: most of those that people write are a list of words, or words with
//! `.*` around them, and need no regular expression at all.

use memchr::memmem::Finder;
use regex::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::MatcherError;
use super::expand::{Alternative, expand};
use super::re2::rust_regex;

/// With more alternatives that contain wildcards than this, one regular expression is faster than trying each.
const MAX_GLOBS: usize = 16;

/// What a regular expression matches, as whole strings.
#[derive(Debug)]
pub(super) enum Pattern {
    /// These strings and those that fit one of the globs.
    Plain {
        /// Sorted, distinct.
        literals: Vec<String>,
        globs: Vec<Glob>,
        /// What all of them begin with.
        prefix: String,
    },
    /// What only a regular expression can say.
    Regex {
        /// What every match begins with.
        prefix: String,
        regex: Regex,
        /// About how much memory it takes.
        weight_bytes: usize,
    },
}

impl Pattern {
    /// Compiles `pattern` as Prometheus does: anchored at both ends, `.` matches newlines too.
    pub(super) fn new(pattern: &str) -> Result<Self, MatcherError> {
        // Translated and parsed alone: "a)(b" would become valid inside the group that anchors it.
        let translated = rust_regex(pattern)?;
        let hir = parse(&translated).map_err(|error| refusal(pattern, &error.to_string()))?;
        if let Some(plain) = plain(&hir, pattern.len()) {
            return Ok(plain);
        }
        let regex =
            Regex::new(&format!("^(?s:{translated})$")).map_err(|error| refusal(pattern, &error.to_string()))?;
        let mut prefix = Vec::new();
        leading_text(&hir, &mut prefix);
        let valid = prefix.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Ok(Self::Regex { prefix: valid.to_owned(), regex, weight_bytes: weight_bytes(&hir) })
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        match self {
            Self::Plain { literals, globs, prefix } => {
                strip_start(value, prefix).is_some()
                    && (literals.binary_search_by(|l| l.as_str().cmp(value)).is_ok()
                        || globs.iter().any(|glob| glob.is_match(value)))
            }
            Self::Regex { prefix, regex, .. } => strip_start(value, prefix).is_some() && regex.is_match(value),
        }
    }

    /// Everything it matches, where that can be listed.
    pub(super) fn literals(&self) -> Option<&[String]> {
        match self {
            Self::Plain { literals, globs, .. } if globs.is_empty() => Some(literals),
            _ => None,
        }
    }

    /// What everything it matches begins with.
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Plain { prefix, .. } | Self::Regex { prefix, .. } => prefix,
        }
    }

    /// About how much memory it takes; what is compared as text is not counted.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::Plain { .. } => 0,
            Self::Regex { weight_bytes, .. } => *weight_bytes,
        }
    }

    /// Whether it is known to match every string but perhaps the empty one.
    pub(super) fn takes_all_non_empty(&self) -> bool {
        match self {
            Self::Plain { globs, .. } => globs.iter().any(Glob::takes_all_non_empty),
            Self::Regex { .. } => false,
        }
    }
}

/// About how much memory a regular expression of Go takes when it is compiled, in bytes; nothing where it cannot be. For
/// expressions that are compiled as they are, whatever they say: [`super::Matcher::weight_bytes`] knows of those that need
/// not be.
pub fn regex_weight_bytes(pattern: &str) -> usize {
    let hir = rust_regex(pattern).ok().and_then(|translated| parse(&translated).ok());
    hir.map_or(0, |hir| weight_bytes(&hir))
}

fn parse(translated: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    ParserBuilder::new().dot_matches_new_line(true).build().parse(translated).map_err(Box::new)
}

fn refusal(pattern: &str, reason: &str) -> MatcherError {
    let last = reason.lines().last().unwrap_or_default();
    MatcherError { pattern: pattern.to_owned(), reason: last.trim_start_matches("error: ").to_owned() }
}

/// The pattern as words and globs, if it is nothing else.
fn plain(hir: &Hir, pattern_bytes: usize) -> Option<Pattern> {
    let (mut literals, mut globs) = (Vec::new(), Vec::new());
    for alternative in expand(hir, pattern_bytes)? {
        if alternative.gaps.is_empty() {
            literals.push(String::from_utf8(alternative.head).ok()?);
        } else if globs.len() < MAX_GLOBS {
            globs.push(Glob::new(alternative)?);
        } else {
            return None;
        }
    }
    literals.sort_unstable();
    literals.dedup();
    let mut heads = literals.iter().chain(globs.iter().map(|glob| &glob.prefix));
    let first = heads.next().cloned().unwrap_or_default();
    let prefix = heads.fold(first, |prefix, head| common_prefix(&prefix, head).to_owned());
    Some(Pattern::Plain { literals, globs, prefix })
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y);
    &a[..same.map(|(c, _)| c.len_utf8()).sum()]
}

/// The bytes that every match begins with. Returns whether they are the whole match, so that more may follow.
fn leading_text(hir: &Hir, into: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            into.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => leading_text(&capture.sub, into),
        HirKind::Concat(parts) => parts.iter().all(|part| leading_text(part, into)),
        HirKind::Class(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => false,
    }
}

/// About how many bytes an expression has when it is compiled. A class beyond ASCII becomes a tree of bytes: 1 KiB for `[^a]`,
/// 50 KiB for `\pL`.
fn weight_bytes(hir: &Hir) -> usize {
    let sum = |parts: &[Hir]| parts.iter().map(weight_bytes).fold(16, usize::saturating_add);
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 16,
        HirKind::Literal(literal) => 16 * literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => 16 + 16 * class.ranges().len(),
        HirKind::Class(Class::Unicode(class)) if class.is_ascii() => 16 + 16 * class.ranges().len(),
        HirKind::Class(Class::Unicode(class)) => 64 * (16 + class.ranges().len()),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1);
            weight_bytes(&repetition.sub).saturating_mul(times as usize)
        }
        HirKind::Capture(capture) => weight_bytes(&capture.sub).saturating_add(32),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

/// `strip_prefix`, but quick when there is nothing to strip: an empty `String` points nowhere, and on CPUs with AVX-512
/// the C library's `memcmp` of no bytes there is a masked load whose fault costs more than a hundred nanoseconds.
#[inline]
fn strip_start<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() { Some(value) } else { value.strip_prefix(prefix) }
}

/// `strip_suffix`, with the same reason.
#[inline]
fn strip_end<'a>(value: &'a str, suffix: &str) -> Option<&'a str> {
    if suffix.is_empty() { Some(value) } else { value.strip_suffix(suffix) }
}

/// A text with gaps in it that anything fits into: `a.*b.+c`.
#[derive(Debug)]
pub(super) struct Glob {
    /// The text before the first gap.
    prefix: String,
    /// The texts between two gaps, each with whether the gap before it is at least one character.
    middle: Vec<(bool, Finder<'static>)>,
    /// Whether the last gap is at least one character.
    last_filled: bool,
    /// The text after the last gap.
    suffix: String,
}

impl Glob {
    /// `None` where there is no gap, or a text is not UTF-8.
    fn new(alternative: Alternative) -> Option<Self> {
        let mut gaps = alternative.gaps;
        let last = gaps.pop()?;
        let mut middle = Vec::with_capacity(gaps.len());
        for gap in gaps {
            middle.push((gap.filled, Finder::new(std::str::from_utf8(&gap.text).ok()?).into_owned()));
        }
        Some(Self {
            prefix: String::from_utf8(alternative.head).ok()?,
            middle,
            last_filled: last.filled,
            suffix: String::from_utf8(last.text).ok()?,
        })
    }

    /// All texts are whole characters, so that searching bytes finds only whole characters.
    fn is_match(&self, value: &str) -> bool {
        let inner = strip_start(value, &self.prefix).and_then(|rest| strip_end(rest, &self.suffix));
        let Some(mut rest) = inner.map(str::as_bytes) else { return false };
        // The earliest place for each text leaves the most room for those after it.
        for (filled, text) in &self.middle {
            let from = usize::from(*filled);
            let Some(at) = rest.get(from..).and_then(|rest| text.find(rest)) else { return false };
            rest = &rest[from + at + text.needle().len()..];
        }
        !(self.last_filled && rest.is_empty())
    }

    fn takes_all_non_empty(&self) -> bool {
        self.prefix.is_empty() && self.middle.is_empty() && self.suffix.is_empty()
    }
}

#[cfg(test)]
mod tests;
