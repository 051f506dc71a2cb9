//! What an index of label values must offer so that matchers can be evaluated over it.

use std::borrow::Cow;

/// A series' number within one index: dense, from 0, in the order that the index keeps its series.
pub type SeriesOrdinal = u32;

/// An index from label values to series.
///
/// A value id is whatever the index likes, as long as one value of one label has one id (the number of a label pair in
/// the head, of a symbol in a block). No label has an empty value: a label without one is missing.
///
/// An index may grow while it is asked, but only in this way: a series gets the next ordinal, and counts
/// ([`LabelIndex::series_count`]) once each of its labels can be found by every other method. No method is called from within a callback of another, so an implementation may hold a
/// lock during each call.
pub trait LabelIndex {
    /// How many series there are. Lists may already hold ordinals from there on; they are not looked at.
    fn series_count(&self) -> usize;

    /// Appends all series, ascending.
    fn all(&self, into: &mut Vec<SeriesOrdinal>);

    /// The id of a label's value; `None` where no series has it.
    fn value_id(&self, name: &str, value: &str) -> Option<u32>;

    /// Appends the series that have a value, ascending; nothing for an id that is not one of this label.
    fn postings(&self, name: &str, value_id: u32, into: &mut Vec<SeriesOrdinal>);

    /// How many series have a value, roughly: it decides in which order sets are looked at, never the result.
    fn postings_len(&self, name: &str, value_id: u32) -> usize;

    /// Calls `each` with the id and the text of every value of a label, in any order, until it returns false.
    /// Values that do not begin with `prefix` may be left out, or not.
    fn values(&self, name: &str, prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool);

    /// The value of one label of one series; `None` where it has none. For checking few series one by one.
    fn value_of(&self, series: SeriesOrdinal, name: &str) -> Option<(u32, Cow<'_, str>)>;

    /// What cached results of a label are kept under: the identity of the index, which nothing else ever had in this
    /// process, and how many values of the label it has.
    fn cache_key(&self, name: &str) -> (u64, u32);

    /// As [`LabelIndex::values`], but only those that came after the first `seen`, in order of arrival, so that a cached
    /// result can be extended. Returns false, and calls nothing, where the index does not know the order: all values
    /// are then looked at again. An index that never grows is never asked.
    fn values_after(&self, _name: &str, _seen: u32, _each: &mut dyn FnMut(u32, &str) -> bool) -> bool {
        false
    }

    /// Whether every series is known to have this label (as `__name__`), which spares the union of all its values.
    fn on_every_series(&self, _name: &str) -> bool {
        false
    }
}
