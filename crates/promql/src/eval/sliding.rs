//! Folds over sliding windows in constant time per sample, without subtraction (which would lose precision and could
//! not forget an infinity): what lies before a cut is folded backwards, what lies behind it forwards.

/// How values are folded.
pub(crate) trait Fold {
    type Acc: Copy;
    fn one(value: f64) -> Self::Acc;
    fn add(acc: Self::Acc, value: f64) -> Self::Acc;
    fn join(left: Self::Acc, right: Self::Acc) -> Self::Acc;
}

/// The fold of the current window. Every window is cut in two at a place that the caller finds in the window alone, so
/// that its fold does not depend on the windows before, not even in the last bit of a sum.
pub(crate) struct Sliding<F: Fold> {
    /// `back[i]` folds the values from `back_start + i` up to `middle`, the last one first.
    back: Vec<F::Acc>,
    back_start: usize,
    middle: usize,
    /// Folds the values from `middle` up to `end`.
    front: Option<F::Acc>,
    end: usize,
}

impl<F: Fold> Sliding<F> {
    pub fn new() -> Self {
        Self { back: Vec::new(), back_start: 0, middle: 0, front: None, end: 0 }
    }

    /// The fold of `values[from..to]`, which must not be empty, cut at `middle`. None of the three may move backwards, and
    /// they are in this order: from, middle, to.
    #[inline]
    pub fn window(&mut self, values: &[f64], from: usize, middle: usize, to: usize) -> Option<F::Acc> {
        if middle != self.middle {
            self.cut(values, from, middle);
        }
        for value in &values[self.end..to] {
            self.front = Some(match self.front {
                Some(acc) => F::add(acc, *value),
                None => F::one(*value),
            });
        }
        self.end = to;
        if from >= middle {
            return self.front;
        }
        let back = self.back[from - self.back_start];
        Some(self.front.map_or(back, |front| F::join(back, front)))
    }

    fn cut(&mut self, values: &[f64], from: usize, middle: usize) {
        self.back.clear();
        let mut acc = None;
        for value in values[from..middle].iter().rev() {
            let next = match acc {
                Some(acc) => F::add(acc, *value),
                None => F::one(*value),
            };
            self.back.push(next);
            acc = Some(next);
        }
        self.back.reverse();
        (self.back_start, self.middle, self.end, self.front) = (from, middle, middle, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Concat;

    // Order matters to this one: it would notice a value folded twice, or not at all.
    impl Fold for Concat {
        type Acc = (f64, usize);
        fn one(value: f64) -> Self::Acc {
            (value, 1)
        }
        fn add(acc: Self::Acc, value: f64) -> Self::Acc {
            (acc.0 + value, acc.1 + 1)
        }
        fn join(left: Self::Acc, right: Self::Acc) -> Self::Acc {
            (left.0 + right.0, left.1 + right.1)
        }
    }

    proptest! {
        #[test]
        fn folds_exactly_the_window(
            values in prop::collection::vec((0u32..1000).prop_map(f64::from), 1..60),
            moves in prop::collection::vec((0usize..6, 0usize..6, 0usize..9), 1..60),
        ) {
            let mut sliding = Sliding::<Concat>::new();
            let (mut from, mut middle, mut to) = (0, 0, 0);
            for (a, b, c) in moves {
                from = (from + a).min(values.len() - 1);
                to = (to + b).max(from + 1).min(values.len());
                middle = (middle + c).clamp(from, to);
                let want = (values[from..to].iter().sum::<f64>(), to - from);
                prop_assert_eq!(sliding.window(&values, from, middle, to), Some(want));
            }
        }
    }
}
