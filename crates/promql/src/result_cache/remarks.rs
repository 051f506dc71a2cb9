//! Warnings and infos of an answer that is made of parts.

use crate::QueryResult;

/// From so many on an evaluation may have left some out.
const TOO_MANY: usize = 16;
/// A remark that sums up what it found at all steps is not the sum of what it says of parts.
const SUMMED_UP: &str = "needed to be fixed for monotonicity";

/// What an evaluation remarked, both lists sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remarks {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Remarks {
    pub(super) fn of(result: &QueryResult) -> Self {
        Self { warnings: result.warnings.clone(), infos: result.infos.clone() }
    }

    /// Whether those of a whole can be told from those of its parts.
    pub(super) fn can_be_kept(&self) -> bool {
        let all = || self.warnings.iter().chain(&self.infos);
        self.warnings.len() < TOO_MANY && self.infos.len() < TOO_MANY && !all().any(|text| text.contains(SUMMED_UP))
    }

    pub(super) fn bytes(&self) -> usize {
        self.warnings.iter().chain(&self.infos).map(|text| text.len() + size_of::<String>()).sum()
    }

    fn holds(&self, other: &Self) -> bool {
        let within = |all: &[String], some: &[String]| some.iter().all(|text| all.contains(text));
        within(&self.warnings, &other.warnings) && within(&self.infos, &other.infos)
    }

    /// Those of an answer made of `kept` steps and evaluated parts. Of the kept steps it is only known that they gave cause
    /// to no more than `kept`, unless they are `all_kept` to which that remark was made.
    ///
    /// `None` where one part has a remark that the others lack, and the other way round: of equal remarks about two places
    /// the whole names one.
    pub(super) fn of_parts(kept: &Self, all_kept: bool, fresh: &[Self]) -> Option<Self> {
        let all = || fresh.iter().chain([kept]);
        if !all().all(Self::can_be_kept) || !(all_kept || fresh.iter().any(|part| part.holds(kept)) || kept.is_empty())
        {
            return None;
        }
        let most = all().max_by_key(|part| part.warnings.len() + part.infos.len())?;
        all().all(|part| most.holds(part)).then(|| most.clone())
    }

    fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.infos.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(warnings: &[&str], infos: &[&str]) -> Remarks {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Remarks { warnings: list(warnings), infos: list(infos) }
    }

    #[test]
    fn what_is_known_of_the_whole() {
        let (none, a, b) = (remarks(&[], &[]), remarks(&["a"], &[]), remarks(&[], &["b"]));
        let ab = remarks(&["a"], &["b"]);
        let cases = [
            (&none, false, vec![], Some(&none)),
            (&none, false, vec![ab.clone()], Some(&ab)),
            (&a, false, vec![ab.clone()], Some(&ab)),
            (&a, false, vec![none.clone(), ab.clone()], Some(&ab)),
            // Nobody knows whether the steps that are left gave cause to it.
            (&ab, false, vec![a.clone()], None),
            (&ab, false, vec![], None),
            (&ab, true, vec![a.clone()], Some(&ab)),
            (&ab, true, vec![], Some(&ab)),
            (&none, false, vec![a.clone(), b.clone()], None),
            (&b, true, vec![a.clone()], None),
        ];
        for (kept, all_kept, fresh, want) in cases {
            assert_eq!(Remarks::of_parts(kept, all_kept, &fresh).as_ref(), want, "{kept:?} {all_kept} {fresh:?}");
        }
        let summed = remarks(&[], &["input to histogram_quantile needed to be fixed for monotonicity, over 3 samples"]);
        assert_eq!(Remarks::of_parts(&none, false, std::slice::from_ref(&summed)), None);
        let many: Vec<String> = (0..TOO_MANY).map(|i| i.to_string()).collect();
        assert!(!Remarks { warnings: many, infos: Vec::new() }.can_be_kept() && !summed.can_be_kept());
    }
}
