//! The channels that the server answers on: sockets, terminals, and the sockets of hypervisors.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::address::{Dial, Listen};
use super::bridge;
use super::claim::Claim;
use crate::report::Hint;

/// How long to wait before a connection is tried again: what hosts do since 2017 (OS-5950).
const AGAIN: Duration = Duration::from_millis(100);

/// A byte stream in both directions that can be waited for.
pub trait Channel: Read + Write + AsFd {}

impl<T: Read + Write + AsFd> Channel for T {}

/// A channel that was opened, without waiting in its reads and writes, and what the log calls its other end.
pub struct Opened {
    /// The channel.
    pub channel: Box<dyn Channel>,
    /// Its other end.
    pub peer: String,
}

/// Where channels come from.
pub enum Endpoint {
    /// A socket that guests connect to.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Its name.
        claim: Claim,
        /// How many came before, as the name of the next.
        count: u64,
    },
    /// A port that guests connect to.
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// Its address, with the port that was picked.
        address: SocketAddr,
    },
    /// A terminal, whose other side is one channel that never ends.
    Pty {
        /// The channel, until it is taken.
        master: Option<File>,
        /// The guest's side, kept open: without anybody on it the master could not be read.
        _slave: File,
        /// Its name.
        name: PathBuf,
        /// The link to it.
        link: Option<Claim>,
    },
    /// One channel at a time, made again when it ended.
    Dial {
        /// Where to.
        dial: Dial,
        /// The channel that was opened to see whether it can be.
        first: Option<UnixStream>,
        /// Whether the channel is in use.
        busy: bool,
        /// When to try next.
        next: Instant,
        /// Whether it was said that nobody is there.
        said: bool,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { claim, .. } => write!(formatter, "unix:{}", claim.path().display()),
            Self::Tcp { address, .. } => write!(formatter, "tcp:{address}"),
            Self::Pty { name, link, .. } => {
                write!(formatter, "{}", link.as_ref().map_or(name.as_path(), Claim::path).display())
            }
            Self::Dial { dial: Dial::Unix(path), .. } => write!(formatter, "unix:{}", path.display()),
            Self::Dial { dial: Dial::Tty(path), .. } => write!(formatter, "{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Begins to listen.
    ///
    /// # Errors
    /// The place is taken, or not ours to take.
    pub fn listen(listen: &Listen) -> Result<Endpoint> {
        match listen {
            Listen::Unix(path) => {
                let mut claim = Claim::take(path)?;
                // Metadata is full of secrets, so the socket is for its owner alone from the first moment.
                let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
                let bound = UnixListener::bind(path);
                rustix::process::umask(before);
                let listener = bound
                    .with_context(|| format!("cannot make the socket {}", path.display()))
                    .hint("a socket's path may have 107 bytes, in a folder that you may write to")?;
                claim.made()?;
                listener.set_nonblocking(true)?;
                Ok(Endpoint::Unix { listener, claim, count: 0 })
            }
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .with_context(|| format!("cannot listen at {address}"))
                    .hint("use an address of this machine and a free port, or port 0 for any")?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                if !address.ip().is_loopback() {
                    tracing::warn!(
                        "whoever reaches {address} over the network can read and change the metadata"
                    );
                }
                Ok(Endpoint::Tcp { address, listener })
            }
            Listen::Pty(link) => open_pty(link.as_deref()),
        }
    }

    /// Begins to connect. A socket may come later; a serial device must be there.
    ///
    /// # Errors
    /// The serial device cannot be opened, or the path can never become a socket.
    pub fn dial(dial: &Dial) -> Result<Endpoint> {
        let first = match dial {
            // What is no socket refuses connections for ever, in the same words as a hypervisor that is not ready.
            Dial::Unix(path) if fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket()) => {
                return Err(anyhow!("{} is no socket", path.display()))
                    .hint("name the socket that the guest's hypervisor listens on");
            }
            Dial::Unix(path) => match connect(path) {
                Ok(stream) => Some(stream),
                Err(error) if may_come(&error) => None,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot connect to {}", path.display()));
                }
            },
            Dial::Tty(path) => Some(bridge::open(path)?),
        };
        Ok(Endpoint::Dial { dial: dial.clone(), first, busy: false, next: Instant::now(), said: false })
    }

    /// What becomes readable when somebody connects.
    pub fn listener(&self) -> Option<&dyn AsFd> {
        match self {
            Self::Unix { listener, .. } => Some(listener),
            Self::Tcp { listener, .. } => Some(listener),
            Self::Pty { .. } | Self::Dial { .. } => None,
        }
    }

    /// How long the server may sleep before it asks [`Endpoint::next`] again.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Dial { busy: false, next, .. } => Some(next.saturating_duration_since(Instant::now())),
            _ => None,
        }
    }

    /// The next channel, if there is one now.
    ///
    /// # Errors
    /// This process or the machine has too many open files, or the like; it may pass.
    pub fn next(&mut self) -> io::Result<Option<Opened>> {
        match self {
            Self::Unix { listener, count, .. } => {
                let Some((stream, _)) = unless_nobody(listener.accept())? else { return Ok(None) };
                stream.set_nonblocking(true)?;
                *count += 1;
                let pid = sockopt::socket_peercred(&stream).map_or(0, |peer| peer.pid.as_raw_nonzero().get());
                Ok(Some(Opened {
                    channel: Box::new(stream),
                    peer: format!("client {count} (process {pid})"),
                }))
            }
            Self::Tcp { listener, .. } => {
                let Some((stream, address)) = unless_nobody(listener.accept())? else { return Ok(None) };
                stream.set_nonblocking(true)?;
                // Answers are small and asked for one at a time: nothing is gained by waiting for more.
                stream.set_nodelay(true)?;
                // A peer whose machine went away says nothing of it.
                sockopt::set_socket_keepalive(&stream, true)?;
                Ok(Some(Opened { channel: Box::new(stream), peer: address.to_string() }))
            }
            Self::Pty { master, name, .. } => {
                let peer = name.display().to_string();
                Ok(master.take().map(|master| Opened { channel: Box::new(master), peer }))
            }
            Self::Dial { dial, first, busy, next, said } => {
                if *busy || Instant::now() < *next {
                    return Ok(None);
                }
                let opened = match (first.take(), &*dial) {
                    (Some(stream), _) => Ok(stream),
                    (None, Dial::Unix(path)) => connect(path),
                    (None, Dial::Tty(path)) => bridge::open(path).map_err(io::Error::other),
                };
                match opened {
                    Ok(stream) => {
                        stream.set_nonblocking(true)?;
                        (*busy, *said) = (true, false);
                        let peer = match dial {
                            Dial::Unix(path) | Dial::Tty(path) => path.display().to_string(),
                        };
                        Ok(Some(Opened { channel: Box::new(stream), peer }))
                    }
                    Err(error) => {
                        if !std::mem::replace(said, true) {
                            tracing::info!("nobody there yet: {error}");
                        }
                        *next = Instant::now() + AGAIN;
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Notes that a channel ended.
    ///
    /// # Errors
    /// There will be no other: somebody hung up the terminal.
    pub fn ended(&mut self) -> Result<()> {
        match self {
            Self::Dial { busy, next, .. } => (*busy, *next) = (false, Instant::now() + AGAIN),
            Self::Pty { name, .. } => bail!("somebody hung up the terminal {}", name.display()),
            Self::Unix { .. } | Self::Tcp { .. } => {}
        }
        Ok(())
    }

    /// Whether one and the same channel serves one guest after the other, so that it outlives any of them.
    pub fn is_line(&self) -> bool {
        matches!(self, Self::Pty { .. } | Self::Dial { .. })
    }
}

fn unless_nobody<T>(accepted: io::Result<T>) -> io::Result<Option<T>> {
    match accepted {
        Ok(accepted) => Ok(Some(accepted)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        // Whoever it was has left already.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Connects to a socket without waiting: one that somebody has and that takes no more connections would hold the server
/// up, deaf to its signals.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// Whether a socket that cannot be connected to now may become one that can.
fn may_come(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, WouldBlock};
    matches!(error.kind(), NotFound | ConnectionRefused | WouldBlock)
}

fn open_pty(link: Option<&Path>) -> Result<Endpoint> {
    let claim = link.map(Claim::take).transpose()?;
    let open = || -> io::Result<_> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(&name)?;
        // Until a guest sets its side, the terminal would echo our answers to us.
        let mut modes = tcgetattr(&slave)?;
        modes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        Ok((File::from(master), slave, name))
    };
    let (master, slave, name) = open().context("cannot make a terminal")?;
    let link = claim
        .map(|mut claim| {
            symlink(&name, claim.path())
                .with_context(|| format!("cannot make the link {}", claim.path().display()))
                .hint("choose a name in a folder that you may write to")?;
            claim.made()?;
            anyhow::Ok(claim)
        })
        .transpose()?;
    let name = fs::canonicalize(&name).unwrap_or(name);
    Ok(Endpoint::Pty { master: Some(master), _slave: slave, name, link })
}
