//! Which blocks to join next: pure arithmetic over their spans and sizes.

use std::collections::BTreeMap;

/// More parts of one window than this are joined even while the window is still being written, or a big part is among them.
const MAX_PARTS: usize = 4;
/// Samples of a window may arrive this long after its end before the window counts as closed.
const GRACE_MS: i64 = 5 * 60 * 1000;
/// Rewriting a part must bring in at least this fraction of its size.
const WORTH_A_REWRITE: u64 = 10;

/// What matters of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Its first and its last sample.
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) bytes: u64,
}

/// The smallest span that has something to join, as positions in `parts`; the oldest window first.
/// `spans` are ascending, `newest` is the newest sample of the store.
pub(crate) fn next(parts: &[Part], spans: &[i64], newest: i64) -> Option<Vec<usize>> {
    spans.iter().enumerate().find_map(|(level, span)| {
        let mut windows: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, part) in parts.iter().enumerate() {
            let window = part.min.div_euclid(*span);
            if part.max.div_euclid(*span) == window {
                windows.entry(window).or_default().push(at);
            }
        }
        windows
            .into_iter()
            .find(|(window, members)| due(parts, members, *window, *span, level == 0, newest))
            .map(|w| w.1)
    })
}

fn due(parts: &[Part], members: &[usize], window: i64, span: i64, first_level: bool, newest: i64) -> bool {
    if members.len() < 2 {
        return false;
    }
    let end = window.saturating_add(1).saturating_mul(span).saturating_add(GRACE_MS);
    if newest < end {
        return first_level && members.len() > MAX_PARTS;
    }
    let bytes = members.iter().map(|at| parts[*at].bytes);
    let largest = bytes.clone().max().unwrap_or(0);
    let rest = bytes.sum::<u64>() - largest;
    members.len() > MAX_PARTS || rest.saturating_mul(WORTH_A_REWRITE) >= largest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const SPANS: [i64; 3] = [2 * HOUR, 6 * HOUR, 18 * HOUR];

    fn part(from_hour: i64, hours: i64, bytes: u64) -> Part {
        Part { min: from_hour * HOUR, max: (from_hour + hours) * HOUR - 1, bytes }
    }

    #[track_caller]
    fn check(parts: &[Part], newest_hour: i64, want: Option<&[usize]>) {
        assert_eq!(next(parts, &SPANS, newest_hour * HOUR).as_deref(), want);
    }

    #[test]
    fn joins_the_smallest_closed_window() {
        check(&[], 100, None);
        check(&[part(0, 2, 10)], 100, None);
        // Two halves of one window: once the window is over.
        check(&[part(0, 1, 10), part(1, 1, 10)], 2, None);
        check(&[part(0, 1, 10), part(1, 1, 10)], 3, Some(&[0, 1]));
        // Three windows make six hours, but parts of two hours come first.
        let six = [part(0, 2, 10), part(2, 2, 10), part(4, 2, 10)];
        check(&six, 5, None);
        check(&six, 7, Some(&[0, 1, 2]));
        let with_halves = [part(0, 2, 10), part(2, 2, 10), part(4, 1, 10), part(5, 1, 10)];
        check(&with_halves, 7, Some(&[2, 3]));
        // What lies across windows of a span is left to a longer one.
        check(&[part(1, 2, 10), part(4, 2, 10)], 7, Some(&[0, 1]));
    }

    #[test]
    fn many_parts_are_joined_early_and_small_late_ones_late() {
        let parts: Vec<Part> = (0..5).map(|_| part(0, 1, 10)).collect();
        check(&parts, 0, Some(&[0, 1, 2, 3, 4]));
        let late = [part(0, 6, 1000), part(1, 1, 5)];
        check(&late, 100, None);
        check(&[part(0, 6, 1000), part(1, 1, 100)], 100, Some(&[0, 1]));
        let many = [part(0, 6, 1000), part(1, 1, 5), part(3, 1, 5), part(4, 1, 5), part(2, 1, 5)];
        // Small ones are joined with small ones first.
        check(&many, 100, Some(&[2, 4]));
    }

    #[test]
    fn ends_with_nothing_to_do() {
        // Joining whatever is due, again and again, comes to an end with at most one block per longest window.
        let mut parts: Vec<Part> = (0..54).map(|hour| part(hour, 1, 10)).collect();
        for _ in 0..100 {
            let Some(mut due) = next(&parts, &SPANS, 100 * HOUR) else { break };
            let joined = due.iter().map(|at| parts[*at]).reduce(|a, b| Part {
                min: a.min.min(b.min),
                max: a.max.max(b.max),
                bytes: a.bytes + b.bytes,
            });
            due.sort_unstable_by(|a, b| b.cmp(a));
            due.into_iter().for_each(|at| {
                parts.swap_remove(at);
            });
            parts.extend(joined);
        }
        assert_eq!(parts.len(), 3);
        assert!(next(&parts, &SPANS, 100 * HOUR).is_none());
    }
}
