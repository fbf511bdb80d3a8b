//! How many threads work when nobody says.

use std::num::NonZeroUsize;

/// Most threads that are used unasked. Each takes some 3 MiB, and 32 of them keep the whole program below 160 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(32).expect("it is not zero");

/// One thread a processor, but no more than 32.
pub fn default() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MOST)
}
