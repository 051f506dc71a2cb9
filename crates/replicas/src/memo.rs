//! What encoded labels stand for, remembered for as long as they come. Senders encode anew when they start again, so what
//! does not come any more is forgotten: there are two lists, and what is still in use is taken over from the old one.

use head::{Encoded, Key};

/// How often the lists change places, in milliseconds.
const TURN_MS: i64 = 1_800_000;

/// Values by the keys of encoded labels.
#[derive(Debug)]
pub(crate) struct Memo<T> {
    current: List<T>,
    previous: List<T>,
    turned_ms: i64,
}

#[derive(Debug)]
struct List<T> {
    encoded: Encoded,
    /// What the numbers in `encoded` are.
    values: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { encoded: Encoded::default(), values: Vec::new() }
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { current: List::default(), previous: List::default(), turned_ms: i64::MIN }
    }
}

impl<T: Copy> List<T> {
    #[inline]
    fn find(&self, key: Key, guess: &mut usize) -> Option<T> {
        self.values.get(self.encoded.find(key, guess)? as usize).copied()
    }
}

impl<T: Copy> Memo<T> {
    /// What a key stands for. `guess` is where to look first; senders repeat the order of their series.
    #[inline]
    pub(crate) fn find(&mut self, key: Key, guess: &mut usize) -> Option<T> {
        match self.current.find(key, guess) {
            Some(value) => Some(value),
            None => self.find_previous(key),
        }
    }

    #[cold]
    fn find_previous(&mut self, key: Key) -> Option<T> {
        let value = self.previous.find(key, &mut usize::MAX.clone())?;
        self.push(key, value);
        Some(value)
    }

    /// Remembers what a key stands for, instead of what it did before. Of more than `limit` the older ones go.
    pub(crate) fn remember(&mut self, key: Key, value: T, limit: usize) {
        if let Some(number) = self.current.encoded.find(key, &mut usize::MAX.clone()) {
            self.current.values[number as usize] = value;
            return;
        }
        if self.current.values.len() >= limit {
            self.previous = std::mem::take(&mut self.current);
        }
        self.push(key, value);
    }

    fn push(&mut self, key: Key, value: T) {
        let List { encoded, values } = &mut self.current;
        if values.len() == values.capacity() {
            values.reserve_exact(8 + values.len() / 8);
        }
        // Never cleared there: lists end before they are that long.
        encoded.insert(key, values.len() as u32, usize::MAX);
        values.push(value);
    }

    /// Forgets what has not come for a while.
    pub(crate) fn turn(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.turned_ms) >= TURN_MS {
            self.turned_ms = now_ms;
            self.previous = std::mem::take(&mut self.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_remembered_and_what_does_not_is_forgotten() {
        let mut memo = Memo::default();
        let find = |memo: &mut Memo<u8>, key: Key| memo.find(key, &mut 0);
        memo.turn(0);
        for key in 1..=3 {
            memo.remember(key, 10 + key as u8, 100);
        }
        memo.remember(2, 20, 100);
        for turn in 1..4 {
            memo.turn(turn * TURN_MS);
            memo.turn(turn * TURN_MS + 1);
            assert_eq!((find(&mut memo, 2), find(&mut memo, 1)), (Some(20), Some(11)));
        }
        assert_eq!(find(&mut memo, 3), None);
        // The limit holds for each of the lists.
        (4..=6).for_each(|key| memo.remember(key, 0, 3));
        assert_eq!((find(&mut memo, 6), find(&mut memo, 4)), (Some(0), Some(0)));
        assert!(memo.current.values.len() <= 3 + 1 && memo.previous.values.len() <= 3);
    }
}
