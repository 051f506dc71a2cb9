//! The memory that all queries of an engine share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::PromqlError;

/// How many bytes all queries together hold, and may.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Memory {
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Adds to what is used. What was added is to be given back even where this fails.
    pub fn take(&self, bytes: usize) -> Result<(), PromqlError> {
        let used = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if used > self.limit { Err(PromqlError::TooMuchMemoryInAll { limit: self.limit }) } else { Ok(()) }
    }

    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// The bytes of an answer, which its query held: they count until the last copy of it is dropped.
#[derive(Debug, Clone, Default)]
pub struct AnswerMemory {
    _taken: Option<Arc<Taken>>,
}

#[derive(Debug)]
struct Taken {
    memory: Arc<Memory>,
    bytes: usize,
}

impl AnswerMemory {
    /// Goes on accounting for `bytes`, which the query has claimed before and gives back with its budget.
    pub(crate) fn keep(memory: &Arc<Memory>, bytes: usize) -> Self {
        memory.used.fetch_add(bytes, Relaxed);
        Self { _taken: Some(Arc::new(Taken { memory: memory.clone(), bytes })) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_until_its_last_copy_is_gone() {
        let memory = Arc::new(Memory::new(100));
        let answer = AnswerMemory::keep(&memory, 60);
        let copy = answer.clone();
        drop(answer);
        assert_eq!(memory.used(), 60);
        assert_eq!(memory.take(50), Err(PromqlError::TooMuchMemoryInAll { limit: 100 }));
        memory.give_back(50);
        drop(copy);
        assert_eq!(memory.used(), 0);
    }
}
