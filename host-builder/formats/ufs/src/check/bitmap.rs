//! A set of small numbers, one bit each.

/// A set of numbers below a fixed length.
#[derive(Debug)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    len: u32,
}

impl Bitmap {
    /// The empty set of numbers below `len`.
    pub(super) fn new(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len }
    }

    /// Whether `index` is in the set; numbers out of range are not.
    pub(super) fn contains(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }

    /// Adds `index`, which must be in range; false when it was there already.
    pub(super) fn insert(&mut self, index: u32) -> bool {
        debug_assert!(index < self.len);
        let Some(word) = self.words.get_mut(index as usize / 64) else { return false };
        let bit = 1 << (index % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Adds a range.
    pub(super) fn insert_range(&mut self, range: std::ops::Range<u32>) {
        for index in range {
            self.insert(index);
        }
    }

    /// How many numbers are in the set.
    pub(super) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}
