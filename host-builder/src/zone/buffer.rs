//! Memory for pieces of contents. Trees have many small files, and fresh memory for each costs more than reading it.

use std::cell::Cell;

/// Bytes that are read at once, at most: the largest block of a file, which stays in the cache of a processor.
pub const CHUNK: usize = 128 << 10;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with memory for so many bytes, at most [`CHUNK`], which hold anything.
pub fn with<T>(bytes: u64, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let length = usize::try_from(bytes).unwrap_or(CHUNK).min(CHUNK);
    // Whoever asks again meanwhile gets memory of its own.
    let mut buffer = KEPT.take();
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let done = work(&mut buffer[..length]);
    KEPT.set(buffer);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_and_never_given_twice_at_once() {
        with(100, |outer| {
            outer.fill(1);
            with(100, |inner| inner.fill(2));
            assert_eq!(outer, [1; 100]);
        });
        with(u64::MAX, |large| assert_eq!(large.len(), CHUNK));
        with(0, |nothing| assert!(nothing.is_empty()));
        let place = with(CHUNK as u64, |buffer| buffer.as_ptr());
        assert_eq!(with(7, |buffer| buffer.as_ptr()), place);
    }
}
