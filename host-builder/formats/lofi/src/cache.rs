//! Segments that were decompressed not long ago.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that are kept, unless one segment alone is larger.
const KEPT: usize = 4 << 20;

/// A few segments, those used last in front.
#[derive(Debug)]
pub struct Cache {
    segments: VecDeque<(u32, Arc<[u8]>)>,
    most: usize,
}

impl Cache {
    /// An empty cache for segments of this size in bytes.
    pub fn new(segment: u32) -> Self {
        Self { segments: VecDeque::new(), most: (KEPT / segment as usize).max(1) }
    }

    /// The segment with this number.
    pub fn get(&mut self, number: u32) -> Option<Arc<[u8]>> {
        let place = self.segments.iter().position(|(kept, _)| *kept == number)?;
        let segment = self.segments.remove(place)?;
        self.segments.push_front(segment);
        self.segments.front().map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Keeps a segment, and drops the one that was used longest ago when there are too many.
    pub fn put(&mut self, number: u32, bytes: Arc<[u8]>) {
        self.segments.truncate(self.most - 1);
        self.segments.push_front((number, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut cache = Cache::new(2 << 20);
        let bytes = |byte: u8| Arc::from([byte].as_slice());
        cache.put(1, bytes(1));
        cache.put(2, bytes(2));
        assert_eq!(cache.get(1).unwrap()[..], [1]);
        cache.put(3, bytes(3));
        assert_eq!((cache.get(2), cache.segments.len()), (None, 2));
        assert!(cache.get(1).is_some() && cache.get(3).is_some());

        let mut cache = Cache::new(16 << 20);
        cache.put(1, bytes(1));
        cache.put(2, bytes(2));
        assert!(cache.get(1).is_none() && cache.get(2).is_some());
    }
}
