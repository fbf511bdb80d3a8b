//! How large swap and dump device become.

/// Sizes in bytes; none for what is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The swap device, and how much of it is reserved.
    pub swap: Option<(u64, u64)>,
    /// The dump device.
    pub dump: Option<u64>,
}

const MIB: u64 = 1 << 20;

/// Smaller devices are not worth their trouble.
const LEAST: u64 = 64 * MIB;

/// The most of the swap device that is reserved: enough for what a guest swaps on a bad day.
const MOST_RESERVED: u64 = 2048 * MIB;

/// What suits a machine with that much memory and a pool of that size, both in bytes. A small disk makes them smaller and is
/// no reason to go without a pool.
pub fn of(memory: u64, pool: u64) -> Sizes {
    let whole = |bytes: u64| Some(bytes / MIB * MIB).filter(|&bytes| bytes >= LEAST);
    let swap = whole(memory.min(pool / 4));
    Sizes {
        swap: swap.map(|bytes| (bytes, bytes.min(MOST_RESERVED).min(pool / 20 / MIB * MIB))),
        dump: whole((memory / 2).min(pool / 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn hazard_14_a_small_disk_shrinks_them() {
        assert_eq!(of(4 * GIB, 100 * GIB), Sizes { swap: Some((4 * GIB, 2 * GIB)), dump: Some(2 * GIB) });
        // A disk smaller than twice the memory.
        let sizes = of(16 * GIB, 10 * GIB);
        assert_eq!(sizes, Sizes { swap: Some((2560 * MIB, 512 * MIB)), dump: Some(GIB) });
        assert_eq!(of(GIB, 200 * MIB), Sizes { swap: None, dump: None });
        assert_eq!(of(0, 100 * GIB), Sizes { swap: None, dump: None });
    }

    #[test]
    fn hazard_14_they_never_take_half_of_the_pool() {
        for memory in [0, GIB, 64 * GIB, u64::MAX] {
            for pool in [0, GIB, 3 * GIB + 12345, 50 * GIB, 1 << 50] {
                let sizes = of(memory, pool);
                let (swap, reserved) = sizes.swap.unwrap_or_default();
                assert!(swap + sizes.dump.unwrap_or_default() <= pool / 2);
                assert!(reserved <= swap && swap % MIB == 0 && reserved % MIB == 0);
            }
        }
    }
}
