//! Rows of a rollup: what a window of samples amounts to.

use model::Column;

/// How many columns a rollup has.
pub(crate) const COLUMNS: usize = 5;

/// Rows of a rollup as columns of equal length, in strictly ascending order of time.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct RollupBuffer {
    /// Where each window ends, milliseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// How many samples it had.
    pub count: Vec<f64>,
    /// Their sum.
    pub sum: Vec<f64>,
    /// The smallest.
    pub min: Vec<f64>,
    /// The largest.
    pub max: Vec<f64>,
    /// The last sample, with the resets of counters inside the window made up for.
    pub last: Vec<f64>,
}

impl RollupBuffer {
    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        for column in [&mut self.count, &mut self.sum, &mut self.min, &mut self.max, &mut self.last] {
            column.clear();
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The columns in the order of the file.
    pub(crate) fn columns(&self) -> [&Vec<f64>; COLUMNS] {
        [&self.last, &self.count, &self.sum, &self.min, &self.max]
    }

    pub(crate) fn columns_mut(&mut self) -> [&mut Vec<f64>; COLUMNS] {
        [&mut self.last, &mut self.count, &mut self.sum, &mut self.min, &mut self.max]
    }
}

/// Which column of the file a column of the query is; an average is read from two.
pub(crate) fn stored_column(column: Column) -> usize {
    match column {
        Column::Last => 0,
        Column::Count => 1,
        Column::Sum | Column::Average => 2,
        Column::Min => 3,
        Column::Max => 4,
    }
}
