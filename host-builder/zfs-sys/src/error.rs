//! What ZFS refused, and why.

use std::fmt;
use std::io;

/// What ZFS was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open its device.
    Open,
    /// Make a snapshot.
    Snapshot,
    /// Hold a snapshot.
    Hold,
    /// Let go of a snapshot.
    Release,
    /// Destroy a snapshot, now or when nobody holds it any more.
    Destroy,
    /// Send a snapshot.
    Send,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Open => "open",
            Action::Snapshot => "create snapshot",
            Action::Hold => "hold snapshot",
            Action::Release => "release snapshot",
            Action::Destroy => "destroy snapshot",
            Action::Send => "send",
        })
    }
}

/// Why ZFS refused. The words are those of the command `zfs` where it has any.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// There is no ZFS on this machine, or not for this process.
    #[error("the ZFS modules are not loaded")]
    NotLoaded,
    /// Nothing has that name, or nothing that the caller may see.
    #[error("dataset does not exist")]
    Missing,
    /// Something has that name already.
    #[error("dataset already exists")]
    Exists,
    /// The caller may not do that.
    #[error("permission denied")]
    Permission,
    /// The dataset is encrypted and its key is not loaded.
    #[error("dataset key must be loaded")]
    Locked,
    /// Somebody uses it.
    #[error("dataset is busy")]
    Busy,
    /// The pool is full, or the dataset has reached its quota.
    #[error("out of space")]
    NoSpace,
    /// The pool or the dataset may not be changed.
    #[error("pool or dataset is read-only")]
    ReadOnly,
    /// ZFS knows no such names, or takes none so long.
    #[error("invalid name")]
    BadName,
    /// Whoever read the stream has closed it.
    #[error("the stream has lost its reader")]
    NoReader,
    /// Anything else, in the words of the system.
    #[error(transparent)]
    Other(io::Error),
}

/// An error of ZFS.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} '{name}'")]
pub struct Error {
    action: Action,
    name: String,
    #[source]
    reason: Reason,
}

impl Error {
    /// What is wrong with `name` when ZFS answers `action` with `error`.
    pub(crate) fn new(action: Action, name: &str, error: io::Error) -> Self {
        let code = error.raw_os_error();
        let reason = match error.kind() {
            io::ErrorKind::NotFound if action == Action::Open => Reason::NotLoaded,
            io::ErrorKind::NotFound => Reason::Missing,
            io::ErrorKind::AlreadyExists => Reason::Exists,
            // The one thing about a send that ZFS answers so, rather than with EPERM.
            io::ErrorKind::PermissionDenied if action == Action::Send && code == Some(libc::EACCES) => {
                Reason::Locked
            }
            io::ErrorKind::PermissionDenied => Reason::Permission,
            io::ErrorKind::ResourceBusy => Reason::Busy,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => Reason::ReadOnly,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Reason::BadName,
            io::ErrorKind::BrokenPipe => Reason::NoReader,
            _ => Reason::Other(error),
        };
        Self { action, name: name.to_owned(), reason }
    }

    /// What ZFS was asked to do.
    pub fn action(&self) -> Action {
        self.action
    }

    /// What it was asked to do that to: a snapshot, or ZFS' device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it refused.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn numbers_become_the_words_of_zfs() {
        let cases = [
            (Action::Open, libc::ENOENT, "the ZFS modules are not loaded"),
            (Action::Snapshot, libc::ENOENT, "dataset does not exist"),
            (Action::Snapshot, libc::EEXIST, "dataset already exists"),
            (Action::Snapshot, libc::EPERM, "permission denied"),
            (Action::Open, libc::EACCES, "permission denied"),
            (Action::Send, libc::EACCES, "dataset key must be loaded"),
            (Action::Send, libc::EPERM, "permission denied"),
            (Action::Release, libc::EBUSY, "dataset is busy"),
            (Action::Snapshot, libc::ENOSPC, "out of space"),
            (Action::Snapshot, libc::EDQUOT, "out of space"),
            (Action::Snapshot, libc::EROFS, "pool or dataset is read-only"),
            (Action::Snapshot, libc::EINVAL, "invalid name"),
            (Action::Snapshot, libc::ENAMETOOLONG, "invalid name"),
            (Action::Send, libc::EPIPE, "the stream has lost its reader"),
            (Action::Send, libc::EIO, "Input/output error (os error 5)"),
        ];
        for (action, code, words) in cases {
            let error = Error::new(action, "tank/a", io::Error::from_raw_os_error(code));
            assert_eq!(error.to_string(), format!("cannot {action} 'tank/a'"));
            assert_eq!(error.source().unwrap().to_string(), words, "{action:?} {code}");
        }
    }
}
