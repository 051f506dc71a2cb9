//! Damage that was found: counted, and named in the log once, whoever meets it.

use std::collections::BTreeSet;

use block::{BlockError, ErrorClass};
use parking_lot::Mutex;

use crate::statistics::Counter;

/// So much damage is told apart.
const MAX_NAMED: usize = 10_000;

/// What was found since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    pub(crate) count: Counter,
    /// What was named already: it is met again and again.
    named: Mutex<BTreeSet<String>>,
}

impl Damages {
    /// Counts and names damage that was met while a block was read, once.
    pub(crate) fn name(&self, error: &BlockError) {
        if error.class() != ErrorClass::Corrupt {
            tracing::warn!(%error, "a block cannot be read");
            return;
        }
        let mut named = self.named.lock();
        if named.len() < MAX_NAMED && named.insert(error.to_string()) {
            self.count.add(1);
            tracing::error!(%error, "a block is damaged");
        }
    }
}
