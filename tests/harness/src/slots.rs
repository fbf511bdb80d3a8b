//! How many machines run at once.
//!
//! The test runner starts one thread a core and more, and `cargo xtask test` runs several test programs at once; a machine under
//! software emulation needs a core of its own. So every machine takes a slot first, and its deadline starts when it has one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::scratch;

/// How often the slots are looked at while all are taken.
const POLL: Duration = Duration::from_millis(50);

/// The right to run one machine; dropping it gives it back. It is the lock of a file, so that the system gives back the slot of a
/// test that was killed.
#[derive(Debug)]
pub struct Slot {
    _lock: File,
}

/// Waits until fewer machines run than the host has cores: those of all processes that share cargo's target folder count.
///
/// # Panics
/// When the files of the slots, which are in cargo's target folder, cannot be made or locked.
pub fn take() -> Slot {
    let folder = scratch::target_folder().join("tmp/slots");
    let count = thread::available_parallelism().map_or(1, usize::from);
    take_of(&folder, count)
        .unwrap_or_else(|error| panic!("cannot take a slot of {}: {error}", folder.display()))
}

fn take_of(folder: &Path, count: usize) -> io::Result<Slot> {
    fs::create_dir_all(folder)?;
    let places: Vec<PathBuf> = (0..count).map(|number| folder.join(number.to_string())).collect();
    loop {
        for place in &places {
            let file = File::options().create(true).append(true).open(place)?;
            match file.try_lock() {
                Ok(()) => return Ok(Slot { _lock: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_machines_run_than_there_are_slots() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let folder = scratch::folder("slots");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        let slot = take_of(folder.path(), 2).unwrap();
                        assert!(RUNNING.fetch_add(1, Ordering::SeqCst) < 2);
                        thread::yield_now();
                        RUNNING.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
        let both = [take_of(folder.path(), 2).unwrap(), take_of(folder.path(), 2).unwrap()];
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(both);
    }
}
