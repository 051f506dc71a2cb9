//! Labels by which rows are grouped or matched.

use model::Labels;

use crate::eval::{RowLabels, collect};

/// Labels that decide which series belong together.
#[derive(Debug, Clone)]
pub(crate) struct Grouping {
    /// `by`/`on` when true, `without`/`ignoring` otherwise.
    pub include: bool,
    /// As written; when excluding, with `__name__`.
    pub labels: Vec<String>,
}

impl Grouping {
    /// The names, for [`Grouping::key`].
    pub fn names(&self) -> Vec<&str> {
        self.labels.iter().map(String::as_str).collect()
    }

    /// Whether all rows are of one group, without labels.
    pub fn is_nothing(&self) -> bool {
        self.include && self.labels.is_empty()
    }

    /// What remains of a row's labels, which are not looked at where nothing can remain; `names` are those of
    /// [`Grouping::names`].
    pub fn kept<'p>(
        &self,
        labels: RowLabels<'p>,
        names: &'p [&'p str],
    ) -> impl Iterator<Item = (&'p str, &'p str)> + Clone + use<'p> {
        let include = self.include;
        let asked = !(include && names.is_empty());
        let pairs = asked.then(|| labels.iter()).into_iter().flatten();
        pairs.filter(move |(name, _)| names.contains(name) == include)
    }

    /// The same, one after the other, without building the labels of a stored series.
    pub fn each_kept(&self, labels: RowLabels<'_>, names: &[&str], each: &mut dyn FnMut(&str, &str)) {
        if !self.is_nothing() {
            labels.each(&mut |name, value| {
                if names.contains(&name) == self.include {
                    each(name, value);
                }
            });
        }
    }

    /// The same as a label set.
    pub fn key(&self, labels: RowLabels<'_>, names: &[&str]) -> Labels {
        collect(self.kept(labels, names))
    }
}
