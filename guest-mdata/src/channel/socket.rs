//! The socket of a zone, and for tests a connection over the network.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::descriptor::{EmptyRead, exchange};
use super::{Channel, Exchanged, Link, OpenError};
use crate::error::Unusable;

/// A Unix socket, at the first of several places where there is one.
#[derive(Debug)]
pub struct Unix {
    paths: Vec<PathBuf>,
    /// Whether a lack of permission is taken for one that passes, as it may while a host sets a zone up.
    patient: bool,
}

impl Unix {
    /// The socket at the first of `paths` that is one. `superuser` says that the process may do anything, so that a
    /// lack of permission must be a passing one.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>, superuser: bool) -> Self {
        Self { paths: paths.into_iter().map(Into::into).collect(), patient: superuser }
    }

    fn open_error(&self, doing: &'static str, error: io::Error) -> OpenError {
        match error.kind() {
            io::ErrorKind::PermissionDenied if !self.patient => {
                OpenError::Never(Unusable { doing, source: error })
            }
            _ => OpenError::Later(error),
        }
    }

    fn find(&self) -> Result<&Path, OpenError> {
        let mut denied = None;
        let mut what = "there is no such socket";
        for path in &self.paths {
            match fs::metadata(path) {
                Ok(metadata) if metadata.file_type().is_socket() => return Ok(path),
                Ok(_) => what = "what is there is no socket",
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
                Err(_) => {}
            }
        }
        let missing = denied.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, what));
        Err(self.open_error("cannot look for it", missing))
    }
}

impl Channel for Unix {
    fn name(&self) -> String {
        let place = self.find().ok().or(self.paths.first().map(PathBuf::as_path)).unwrap_or(Path::new(""));
        format!("unix:{}", place.display())
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn open(&mut self) -> Result<Box<dyn Link>, OpenError> {
        let path = self.find()?;
        let address = SocketAddrUnix::new(path).map_err(|error| {
            OpenError::Never(Unusable { doing: "cannot use its path", source: error.into() })
        })?;
        let socket = open_socket(AddressFamily::UNIX, &address)
            .map_err(|error| self.open_error("cannot connect to it", error.into()))?;
        Ok(Box::new(Connection { socket }))
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct Tcp {
    address: SocketAddr,
}

impl Tcp {
    /// The server at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }
}

impl Channel for Tcp {
    fn name(&self) -> String {
        format!("tcp:{}", self.address)
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn open(&mut self) -> Result<Box<dyn Link>, OpenError> {
        let family = if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = open_socket(family, &self.address).map_err(|error| OpenError::Later(error.into()))?;
        // Requests are small and each waits for its answer. Without this they are only slower.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        Ok(Box::new(Connection { socket }))
    }
}

/// A socket that is connected, or will be when it can be written to. It does not block from the beginning, so that a
/// server that does not accept holds nobody up; the flag is set after the fact because SmartOS ignored it in
/// `socket` until May 2013 (OS-2220).
fn open_socket(family: AddressFamily, address: &impl SocketAddrArg) -> Result<OwnedFd, Errno> {
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    match connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// An open connection.
struct Connection {
    socket: OwnedFd,
}

impl Link for Connection {
    fn exchange(&mut self, output: &[u8], input: &mut [u8], wait: Duration) -> io::Result<Exchanged> {
        exchange(&self.socket, EmptyRead::End, output, input, wait)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::{Channel, OpenError, Unix};

    #[test]
    fn case_39_a_lack_of_permission_is_final_but_for_root() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let unix = |superuser| Unix::new(["/socket"], superuser);
        assert!(matches!(unix(false).open_error("cannot connect to it", denied()), OpenError::Never(_)));
        assert!(matches!(unix(true).open_error("cannot connect to it", denied()), OpenError::Later(_)));
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        assert!(matches!(unix(false).open_error("cannot look for it", missing()), OpenError::Later(_)));
    }

    #[test]
    fn case_44_the_first_path_that_is_a_socket_is_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "").expect("written");
        let mut channel = Unix::new([path("missing"), path("file"), path("socket")], true);
        let said = |channel: &mut Unix| match channel.open() {
            Err(OpenError::Later(error)) => error.to_string(),
            _ => panic!("it must be waited for"),
        };
        assert_eq!(said(&mut channel), "what is there is no socket");
        assert_eq!(said(&mut Unix::new([path("missing")], true)), "there is no such socket");
        let _listener = UnixListener::bind(path("socket")).expect("a socket");
        assert!(channel.open().is_ok());
        assert_eq!(channel.name(), format!("unix:{}", path("socket").display()));
        symlink(path("socket"), path("link")).expect("a link");
        assert!(Unix::new([path("link")], true).open().is_ok());
        let long = format!("/{}", "x".repeat(200));
        assert!(matches!(Unix::new([long], true).open(), Err(OpenError::Later(_))), "there is none");
    }
}
