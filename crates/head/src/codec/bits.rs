//! Bits packed into 64-bit words, the lowest bit first.

/// The lowest `count` bits (at most 63) set.
#[inline]
pub(super) fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}

/// Appends bits. Whole words are in `words`; the rest waits in `open`, below a one that marks where it ends.
#[derive(Debug)]
pub(super) struct BitWriter {
    words: Vec<u64>,
    open: u64,
}

impl Default for BitWriter {
    fn default() -> Self {
        Self { words: Vec::new(), open: 1 }
    }
}

impl BitWriter {
    /// Appends the lowest `count` (at most 64) bits of `bits`; those above are zero.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        // Never zero, because of the mark.
        let used = 63 - self.open.leading_zeros();
        let total = used + count;
        let open = self.open ^ (1 << used) | bits << used;
        if total < 64 {
            self.open = open | 1 << total;
            return;
        }
        self.push_word(open);
        // Two shifts, because one by 64 is not allowed.
        self.open = (bits >> 1) >> (63 - used) | 1 << (total - 64);
    }

    fn push_word(&mut self, word: u64) {
        if self.words.len() == self.words.capacity() {
            // Small steps: there are as many of these as there are series, and doubling leaves much unused.
            self.words.reserve_exact(4.max(self.words.len() / 3));
        }
        self.words.push(word);
    }

    /// All words, the last one filled up with zeros.
    pub(super) fn words(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        let whole = self.words.len();
        let rest = self.open ^ (1 << (63 - self.open.leading_zeros()));
        (0..whole + 1).map(move |at| if at < whole { self.words[at] } else { rest })
    }

    /// Forgets the bits, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.open = 1;
    }

    /// How many words there are room for.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.words.capacity()
    }
}

/// Reads bits back. Beyond the end there are zeros.
pub(super) struct BitReader<'a> {
    words: &'a [u64],
    /// In bits.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(words: &'a [u64]) -> Self {
        Self { words, at: 0 }
    }

    /// The next 64 bits.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        let (word, offset) = (self.at / 64, self.at % 64);
        let low = self.words.get(word).copied().unwrap_or(0);
        let high = self.words.get(word + 1).copied().unwrap_or(0);
        (low >> offset) | ((high << 1) << (63 - offset))
    }

    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// The next `count` bits (at most 64).
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let bits = self.peek();
        self.skip(count);
        if count < 64 { bits & low_bits(count) } else { bits }
    }
}
