//! A dataset as it is now, sent by the kernel through libzfs_core.
//!
//! # The snapshot
//! Only snapshots can be sent, so one is made, `DATASET@kiln`, and it must be gone afterwards, whatever happens. The program
//! cannot promise that for itself, but the kernel can. The snapshot is held under a lease, which ends with the process, and
//! then destroyed "when released". From there on the kernel destroys it when kiln lets go of it: at the end of the stream, at
//! an error, and when kiln is interrupted, panics, or is killed; and when the pool is imported again after a power cut.
//!
//! Between the making of the snapshot and that promise lie two transactions of the pool. SIGINT, SIGTERM and SIGHUP wait for
//! them; SIGKILL in that moment leaves the snapshot behind, and the next run says so.
//!
//! A snapshot `@final` is left alone: such a one belongs to an image that is installed, or to imgadm.

use std::io::{self, BufRead, BufReader, PipeReader, Read};

use anyhow::{Result, anyhow};
use kiln_zfs_sys::{Action, Error, Lease, Reason, Sending, Zfs};

use crate::report::{Hint, with_hint};
use crate::staging::interrupt;

/// The snapshot's name, after the `@`. Always the same, so that two kilns do not work on one dataset at once, and that what
/// SIGKILL left behind is found.
const SNAPSHOT: &str = "kiln";

/// What the hold is called.
const TAG: &str = "kiln";

/// How much of the stream is taken from the kernel at once, in bytes: a pipe of Linux holds no more.
const BUFFER: usize = 64 << 10;

/// The stream of a dataset, while the kernel sends it. It ends only if ZFS says that all has been sent, and fails otherwise.
#[derive(Debug)]
pub struct Stream {
    /// None after the end.
    pipe: Option<BufReader<PipeReader>>,
    /// None after the end.
    sender: Option<Sending>,
    /// None after the end. The last field, so that the sending has ended when it goes.
    snapshot: Option<Passing>,
    /// Whether the end was no good one.
    failed: bool,
}

/// The stream of `dataset` as it is now, whole even if it is a clone.
///
/// # Errors
/// There is no ZFS or no such dataset, or the user may not do that; the error says it as `zfs` does.
pub fn open(dataset: &str) -> Result<Stream> {
    if dataset.contains(['@', '#']) {
        return Err(anyhow!("'{dataset}' is no dataset but a snapshot or bookmark of one")).misuse(format!(
            "give the dataset alone, of which kiln takes a snapshot; or send that snapshot yourself, as in: zfs send \
             {dataset} | kiln create-image NAME-VERSION --stream -"
        ));
    }
    let snapshot = Passing::take(dataset)?;
    let (reader, sender) = snapshot.zfs.send(&snapshot.name).map_err(explained)?;
    let pipe = Some(BufReader::with_capacity(BUFFER, reader));
    let mut stream = Stream { pipe, sender: Some(sender), snapshot: Some(snapshot), failed: false };
    // What ZFS refuses, it refuses before the first byte, and then the refusal is worth more than an empty stream.
    if stream.pipe.as_mut().map(BufReader::fill_buf).transpose()?.is_none_or(<[u8]>::is_empty) {
        stream.finish()?;
        return Err(anyhow!("ZFS sent nothing of '{dataset}'"));
    }
    Ok(stream)
}

impl Stream {
    /// Waits for the kernel to end the sending, and sees to the snapshot.
    fn finish(&mut self) -> Result<()> {
        self.failed = true;
        drop(self.pipe.take());
        if let Some(sender) = self.sender.take() {
            sender.end().map_err(explained)?;
        }
        if let Some(snapshot) = self.snapshot.take() {
            snapshot.remove()?;
        }
        self.failed = false;
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("the stream has failed before"));
        }
        let Some(pipe) = &mut self.pipe else { return Ok(0) };
        let count = pipe.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            // The causes in one line: whoever wraps this error keeps its message alone.
            self.finish().map_err(|error| io::Error::other(format!("{error:#}")))?;
        }
        Ok(count)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The kernel gives up a sending that nobody reads; until it has, the snapshot is busy.
        drop(self.pipe.take());
        if let Some(sender) = self.sender.take() {
            let _ = sender.end();
        }
        if let Some(snapshot) = self.snapshot.take() {
            let _ = snapshot.remove();
        }
    }
}

/// A snapshot that goes when this value goes, or the process.
#[derive(Debug)]
struct Passing {
    name: String,
    zfs: Zfs,
    _lease: Lease,
}

impl Passing {
    fn take(dataset: &str) -> Result<Self> {
        let zfs = Zfs::open().map_err(explained)?;
        let lease = Lease::open().map_err(explained)?;
        let name = format!("{dataset}@{SNAPSHOT}");
        let _uninterrupted = interrupt::defer();
        zfs.snapshot(&name).map_err(explained)?;
        let promised = zfs.hold(&name, TAG, &lease).and_then(|()| zfs.destroy_when_released(&name));
        let Err(error) = promised else { return Ok(Self { name, zfs, _lease: lease }) };
        // The lease goes first: what is held cannot be destroyed.
        drop(lease);
        match zfs.destroy(&name) {
            Ok(()) => Err(explained(error)),
            Err(left) => {
                let error = anyhow!(left).context(format!("{:#}; and it stays behind", explained(error)));
                Err(with_hint(error, format!("destroy it: zfs destroy {name}; {}", what_is_needed(dataset))))
            }
        }
    }

    /// Has the snapshot destroyed now, and says if that fails.
    fn remove(self) -> Result<()> {
        match self.zfs.release(&self.name, TAG) {
            // Somebody has released and so destroyed it by hand.
            Err(error) if matches!(error.reason(), Reason::Missing) => Ok(()),
            done => done.map_err(explained),
        }
    }
}

/// An error of ZFS with what to do about it.
fn explained(error: Error) -> anyhow::Error {
    let name = error.name();
    let dataset = name.split('@').next().unwrap_or(name);
    let hint = match (error.reason(), error.action()) {
        (Reason::NotLoaded, _) => {
            "run kiln where the pool is imported and /dev/zfs can be opened; on Linux, `modprobe zfs` loads ZFS".to_owned()
        }
        (Reason::Missing, _) => "`zfs list` shows the datasets, as POOL/NAME".to_owned(),
        (Reason::Exists, _) => format!(
            "another kiln may be at work on this dataset; if none is, one was killed: zfs destroy {name}"
        ),
        (Reason::Permission, _) => what_is_needed(dataset),
        (Reason::Locked, _) => format!("load the key of the encrypted dataset: zfs load-key {dataset}"),
        (Reason::Busy, Action::Release) => format!(
            "something uses the snapshot, such as a shell in .zfs/snapshot; afterwards this destroys it: \
             zfs release {TAG} {name}"
        ),
        (Reason::Busy, _) => "try again when nobody receives, renames or rolls back this dataset".to_owned(),
        (Reason::NoSpace, _) => {
            "even a snapshot needs a little room: free some in the pool, or raise the quota".to_owned()
        }
        (Reason::ReadOnly, _) => format!(
            "send a snapshot that is there already: zfs send {dataset}@NAME | kiln create-image NAME-VERSION --stream -"
        ),
        (Reason::BadName, _) => "name the dataset as `zfs list` does, as POOL/NAME".to_owned(),
        (Reason::NoReader | Reason::Other(_), _) => return anyhow!(error),
    };
    with_hint(error, hint)
}

/// How users get the rights that kiln uses.
fn what_is_needed(dataset: &str) -> String {
    format!(
        "run kiln as root, or let root run: zfs allow -u USER destroy,hold,mount,release,send,snapshot {dataset}"
    )
}
