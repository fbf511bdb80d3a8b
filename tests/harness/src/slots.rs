//! How many machines run at once.
//!
//! The test runner starts one thread a core and more; a machine under software emulation needs a core of its own. So
//! every machine takes a slot first, and its deadline starts when it has one.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

#[derive(Debug)]
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Slots {
    const fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::new() }
    }

    /// The count is a plain number, so a panic elsewhere cannot have left it half changed.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&'static self) -> Slot {
        let mut free =
            self.freed.wait_while(self.lock(), |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(self)
    }
}

/// The right to run one machine; dropping it gives it back.
#[derive(Debug)]
pub struct Slot(&'static Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

/// Waits until this process runs fewer machines than the host has cores.
pub fn take() -> Slot {
    static SLOTS: OnceLock<Slots> = OnceLock::new();
    SLOTS.get_or_init(|| Slots::new(thread::available_parallelism().map_or(1, usize::from))).take()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_machines_run_than_there_are_slots() {
        static SLOTS: Slots = Slots::new(2);
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let slot = SLOTS.take();
                        assert!(RUNNING.fetch_add(1, Ordering::SeqCst) < 2);
                        thread::yield_now();
                        RUNNING.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
        assert_eq!(*SLOTS.lock(), 2);
    }
}
