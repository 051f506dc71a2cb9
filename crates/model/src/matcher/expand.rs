//! The alternatives of a regular expression, each written out as text with gaps, where they are few.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Combining alternatives with alternatives stops here: `[0-9]{3}` is written out, `[0-9]{4}` is not. A plain list of words
/// may be longer.
const MAX_COMBINATIONS: usize = 1024;
/// Character classes of more characters are not written out.
const MAX_CLASS: u32 = 64;
/// Bytes that may be written, at least; long patterns may have more, in proportion.
const MIN_BUDGET_BYTES: usize = 64 * 1024;

/// A text, and further texts each after a gap.
#[derive(Debug, Clone, Default)]
pub(super) struct Alternative {
    pub(super) head: Vec<u8>,
    /// No text is empty but perhaps the last.
    pub(super) gaps: Vec<Gap>,
}

/// A place where anything fits in, and the text after it.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    /// Whether it is at least one character (`.+`), or may be nothing (`.*`).
    pub(super) filled: bool,
    pub(super) text: Vec<u8>,
}

impl Alternative {
    fn of_gap(filled: bool) -> Self {
        Self { head: Vec::new(), gaps: vec![Gap { filled, text: Vec::new() }] }
    }

    /// Puts another behind; `None` where the gap between them would need two characters.
    fn append(&mut self, other: &Self) -> Option<()> {
        self.gaps.last_mut().map_or(&mut self.head, |gap| &mut gap.text).extend_from_slice(&other.head);
        for gap in &other.gaps {
            match self.gaps.last_mut() {
                Some(last) if last.text.is_empty() => {
                    if last.filled && gap.filled {
                        return None;
                    }
                    last.filled |= gap.filled;
                    last.text.extend_from_slice(&gap.text);
                }
                _ => self.gaps.push(gap.clone()),
            }
        }
        Some(())
    }

    fn size_bytes(&self) -> usize {
        1 + self.head.len() + self.gaps.iter().map(|gap| 1 + gap.text.len()).sum::<usize>()
    }
}

/// Writes out what an expression of `pattern_bytes` bytes matches as a whole; `None` where it is more than texts with
/// gaps, or too many of them.
pub(super) fn expand(hir: &Hir, pattern_bytes: usize) -> Option<Vec<Alternative>> {
    let budget_bytes = MIN_BUDGET_BYTES.saturating_add(pattern_bytes.saturating_mul(8));
    Expander { budget_bytes }.expand(hir, true, true)
}

struct Expander {
    budget_bytes: usize,
}

impl Expander {
    /// `at_start` and `at_end` say whether the expression stands at the ends of the value, where anchors say nothing new.
    fn expand(&mut self, hir: &Hir, at_start: bool, at_end: bool) -> Option<Vec<Alternative>> {
        match hir.kind() {
            HirKind::Empty => Some(vec![Alternative::default()]),
            HirKind::Literal(literal) => {
                self.pay(literal.0.len())?;
                Some(vec![Alternative { head: literal.0.to_vec(), gaps: Vec::new() }])
            }
            HirKind::Class(class) => self.class(class),
            HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) if at_start => {
                Some(vec![Alternative::default()])
            }
            HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) if at_end => Some(vec![Alternative::default()]),
            HirKind::Look(_) => None,
            HirKind::Repetition(repetition) => self.repetition(repetition),
            HirKind::Capture(capture) => self.expand(&capture.sub, at_start, at_end),
            HirKind::Concat(parts) => self.concat(parts, at_start, at_end),
            HirKind::Alternation(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    out.append(&mut self.expand(part, at_start, at_end)?);
                }
                Some(out)
            }
        }
    }

    fn class(&mut self, class: &Class) -> Option<Vec<Alternative>> {
        let Class::Unicode(class) = class else { return None };
        let count =
            class.ranges().iter().map(|range| u32::from(range.end()) - u32::from(range.start()) + 1).sum::<u32>();
        if count > MAX_CLASS {
            return None;
        }
        self.pay(count as usize)?;
        let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end());
        Some(chars.map(|c| Alternative { head: c.to_string().into_bytes(), gaps: Vec::new() }).collect())
    }

    fn repetition(&mut self, repetition: &Repetition) -> Option<Vec<Alternative>> {
        let Some(max) = repetition.max else {
            let gap = repetition.min <= 1 && is_any_character(&repetition.sub);
            return gap.then(|| vec![Alternative::of_gap(repetition.min == 1)]);
        };
        let once = self.expand(&repetition.sub, false, false)?;
        let (mut out, mut times) = (Vec::new(), vec![Alternative::default()]);
        for count in 0..=max {
            self.pay(1)?;
            if count > 0 {
                times = self.combine(times, &once)?;
            }
            if count >= repetition.min {
                self.pay(times.iter().map(Alternative::size_bytes).sum())?;
                out.extend_from_slice(&times);
            }
            if out.len() > MAX_COMBINATIONS {
                return None;
            }
        }
        Some(out)
    }

    fn concat(&mut self, parts: &[Hir], at_start: bool, at_end: bool) -> Option<Vec<Alternative>> {
        let is_text = |part: &Hir| !matches!(part.kind(), HirKind::Look(_));
        let first = parts.iter().position(is_text).unwrap_or(parts.len());
        let last = parts.iter().rposition(is_text).unwrap_or(0);
        let mut out = vec![Alternative::default()];
        for (at, part) in parts.iter().enumerate() {
            let next = self.expand(part, at_start && at <= first, at_end && at >= last)?;
            out = self.combine(out, &next)?;
        }
        Some(out)
    }

    /// Each of `left` followed by each of `right`.
    fn combine(&mut self, mut left: Vec<Alternative>, right: &[Alternative]) -> Option<Vec<Alternative>> {
        if let [only] = right {
            self.pay(only.size_bytes().saturating_mul(left.len()))?;
            left.iter_mut().try_for_each(|l| l.append(only))?;
            return Some(left);
        }
        if left.len() > 1 && left.len().saturating_mul(right.len()) > MAX_COMBINATIONS {
            return None;
        }
        let mut out = Vec::new();
        for l in &left {
            for r in right {
                self.pay(l.size_bytes() + r.size_bytes())?;
                let mut both = l.clone();
                both.append(r)?;
                out.push(both);
            }
        }
        Some(out)
    }

    fn pay(&mut self, bytes: usize) -> Option<()> {
        self.budget_bytes = self.budget_bytes.checked_sub(bytes)?;
        Some(())
    }
}

/// `.` where it matches newlines too.
fn is_any_character(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            matches!(class.ranges(), [all] if all.start() == '\0' && all.end() == char::MAX)
        }
        HirKind::Capture(capture) => is_any_character(&capture.sub),
        _ => false,
    }
}
