//! The calls, one function each.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::thread::JoinHandle;

use crate::apart::apart;
use crate::error::{Action, Error};
use crate::ffi;
use crate::nvlist::{NvList, check};

/// Where the kernel's ZFS is asked.
const DEVICE: &str = "/dev/zfs";

/// While it is open, holds that were taken under it stay. The kernel lets go of them when it closes, as it does when the
/// process ends in whatever way, and at the next import of the pool if the machine stopped before that.
#[derive(Debug)]
pub struct Lease(File);

impl Lease {
    /// Opens a lease.
    ///
    /// # Errors
    /// There is no ZFS on this machine, or the caller may not speak to it.
    pub fn open() -> Result<Self, Error> {
        let device = OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(DEVICE);
        device.map(Self).map_err(|error| Error::new(Action::Open, DEVICE, error))
    }
}

/// The library, ready to be called, from any thread. It may be opened more than once.
#[derive(Debug)]
pub struct Zfs(());

impl Zfs {
    /// Makes the library ready.
    ///
    /// # Errors
    /// There is no ZFS on this machine, or the caller may not speak to it.
    pub fn open() -> Result<Self, Error> {
        // SAFETY: it takes no arguments; the library counts its users under a lock of its own.
        let code = unsafe { ffi::libzfs_core_init() };
        check(code).map_err(|error| Error::new(Action::Open, DEVICE, error))?;
        Ok(Self(()))
    }

    /// Makes the snapshot `dataset@name`.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn snapshot(&self, snapshot: &str) -> Result<(), Error> {
        call(Action::Snapshot, snapshot, |name| {
            let mut snapshots = NvList::new()?;
            snapshots.add_name(name)?;
            // SAFETY: the list is valid and the place for the answer too; no properties are allowed to be null.
            answer(|errors| unsafe { ffi::lzc_snapshot(snapshots.as_ptr(), ptr::null_mut(), errors) })
        })
    }

    /// Keeps a snapshot from being destroyed, under the name `tag`, until it is released or the lease ends.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn hold(&self, snapshot: &str, tag: &str, lease: &Lease) -> Result<(), Error> {
        call(Action::Hold, snapshot, |name| {
            let mut holds = NvList::new()?;
            holds.add_string(name, &CString::new(tag)?)?;
            // SAFETY: the list is valid and the place for the answer too; the lease is open.
            answer(|errors| unsafe { ffi::lzc_hold(holds.as_ptr(), lease.0.as_raw_fd(), errors) })
        })
    }

    /// Lets go of a snapshot that is held under the name `tag`. A hold that is not there is an error.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn release(&self, snapshot: &str, tag: &str) -> Result<(), Error> {
        call(Action::Release, snapshot, |name| {
            let mut tags = NvList::new()?;
            tags.add_name(&CString::new(tag)?)?;
            let mut holds = NvList::new()?;
            holds.add_list(name, &tags)?;
            // SAFETY: the list is valid and the place for the answer too.
            answer(|errors| unsafe { ffi::lzc_release(holds.as_ptr(), errors) })
        })
    }

    /// Destroys a snapshot. One that is not there is no error.
    ///
    /// # Errors
    /// ZFS refuses, as it does while somebody holds the snapshot or has cloned it.
    pub fn destroy(&self, snapshot: &str) -> Result<(), Error> {
        destroy(snapshot, ffi::B_FALSE)
    }

    /// Has a snapshot destroyed by whoever lets go of it last: at once, if nobody holds it or has cloned it.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn destroy_when_released(&self, snapshot: &str) -> Result<(), Error> {
        destroy(snapshot, ffi::B_TRUE)
    }

    /// Starts to send a snapshot, all of it, even of a clone. The stream is what `zfs send` gives without options, which every
    /// receiver takes. Whoever stops reading it ends the sending; the rest of the process must ignore SIGPIPE, as programs in
    /// Rust do.
    ///
    /// # Errors
    /// The system gives no pipe or thread. What ZFS refuses is in [`Sending::end`].
    pub fn send(&self, snapshot: &str) -> Result<(PipeReader, Sending), Error> {
        let refused = |error| Error::new(Action::Send, snapshot, error);
        // It keeps the library ready for the thread.
        let (zfs, name) = (Self::open()?, snapshot.to_owned());
        let (stream, thread) = apart(move |to| {
            let _ready = zfs;
            call(Action::Send, &name, |name| {
                // SAFETY: the name is valid, no origin is allowed to be null, and the descriptor is open; 0 is no flags.
                check(unsafe { ffi::lzc_send(name.as_ptr(), ptr::null(), to.as_raw_fd(), 0) })
            })
        })
        .map_err(refused)?;
        Ok((stream, Sending { snapshot: snapshot.to_owned(), thread }))
    }
}

/// A snapshot that is being sent.
#[derive(Debug)]
pub struct Sending {
    snapshot: String,
    thread: JoinHandle<Option<Result<(), Error>>>,
}

impl Sending {
    /// Waits until the sending has ended, which it does when all has been read or nobody reads.
    ///
    /// # Errors
    /// ZFS refused to send, or not all was read.
    pub fn end(self) -> Result<(), Error> {
        let ended = self.thread.join().ok().flatten();
        ended.unwrap_or_else(|| {
            Err(Error::new(Action::Send, &self.snapshot, io::Error::other("its thread has panicked")))
        })
    }
}

impl Drop for Zfs {
    fn drop(&mut self) {
        // SAFETY: the library was made ready when this value was made, and counts its users.
        unsafe { ffi::libzfs_core_fini() }
    }
}

fn destroy(snapshot: &str, deferred: ffi::boolean_t) -> Result<(), Error> {
    call(Action::Destroy, snapshot, |name| {
        let mut snapshots = NvList::new()?;
        snapshots.add_name(name)?;
        // SAFETY: the list is valid and the place for the answer too.
        answer(|errors| unsafe { ffi::lzc_destroy_snaps(snapshots.as_ptr(), deferred, errors) })
    })
}

/// Does `work` with a name, and says of an error what was asked for.
fn call(action: Action, name: &str, work: impl FnOnce(&CStr) -> io::Result<()>) -> Result<(), Error> {
    // A name with a zero byte is an error of the kind InvalidInput, as a bad name is for ZFS.
    let done = CString::new(name).map_err(io::Error::from).and_then(|name| work(&name));
    done.map_err(|error| Error::new(action, name, error))
}

/// Makes a call that answers with a number and, in the place it is given, with a list of numbers, one for each dataset that
/// went wrong. Of one dataset the list knows better; some errors are in it although the call as a whole succeeds.
fn answer(call: impl FnOnce(*mut *mut ffi::nvlist_t) -> i32) -> io::Result<()> {
    let mut errors = ptr::null_mut();
    let code = call(&raw mut errors);
    // SAFETY: the place was null, and calls leave it so or put a list there that the caller has to free.
    let errors = unsafe { NvList::from_raw(errors) };
    check(errors.and_then(|errors| errors.first_number()).unwrap_or(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn the_list_of_errors_knows_better_than_the_number() {
        let listed = |code: i32, listed: Option<i32>| {
            answer(|place| {
                if let Some(number) = listed {
                    // SAFETY: `place` is a valid place for a pointer; the list and the string are valid.
                    unsafe {
                        assert_eq!(ffi::nvlist_alloc(place, ffi::NV_UNIQUE_NAME, 0), 0);
                        assert_eq!(ffi::nvlist_add_int32(*place, c"tank@a".as_ptr(), number), 0);
                    }
                }
                code
            })
            .map_err(|error| error.raw_os_error())
        };
        assert_eq!(listed(0, None), Ok(()));
        assert_eq!(listed(libc::EIO, None), Err(Some(libc::EIO)));
        assert_eq!(listed(libc::EIO, Some(libc::EEXIST)), Err(Some(libc::EEXIST)));
        assert_eq!(listed(0, Some(libc::ENOENT)), Err(Some(libc::ENOENT)));
    }

    #[test]
    fn a_name_with_a_zero_byte_is_a_bad_name() {
        let error = call(Action::Snapshot, "tank\0@a", |_| Ok(())).unwrap_err();
        assert!(matches!(error.reason(), Reason::BadName), "{error:?}");
    }
}
