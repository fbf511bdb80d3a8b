//! One process at a time.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_mdata::Clock;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

/// How long a lock is waited for at a time.
const PAUSE: Duration = Duration::from_millis(200);

/// A lock that this process holds. The system takes it away when the process ends, however that happens.
///
/// It is a POSIX lock, since platforms before 2015 have no other. Such a lock is lost as soon as the process closes *any*
/// descriptor of the file; so nothing else opens these files.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this name in `folder`, which is made if need be. Waits at most so long for another process.
    ///
    /// # Errors
    /// When the other process still has it, or the file cannot be made.
    pub fn take(folder: &Path, name: &str, clock: &dyn Clock, patience: Duration) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{name}.lock"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let end = clock.now().saturating_add(patience);
        loop {
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::ACCESS | Errno::AGAIN) if clock.now() < end => clock.sleep(PAUSE),
                Err(Errno::ACCESS | Errno::AGAIN) => bail!("another process has {} locked", path.display()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
            }
        }
    }
}
