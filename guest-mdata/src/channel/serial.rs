//! The second serial port of a virtual machine, shared with every other process of the guest.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector, SpecialCodeIndex,
    Termios, tcflush, tcgetattr, tcsetattr,
};

use super::descriptor::{EmptyRead, exchange};
use super::{Channel, Exchanged, Link, OpenError};
use crate::error::Unusable;

/// A serial port.
#[derive(Debug)]
pub struct Serial {
    path: PathBuf,
}

impl Serial {
    /// The port with this device path. Locks are kept by the path's node, so use the same one as others do:
    /// `/dev/term/b` on illumos, `/dev/ttyS1` on Linux.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Channel for Serial {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn open(&mut self) -> Result<Box<dyn Link>, OpenError> {
        let port = open_port(&self.path)?;
        lock(&port)?;
        // Only now: another client's answer may be on its way until the lock is ours.
        let settings =
            tcgetattr(&port).map_err(|error| never("cannot read the terminal's settings", error))?;
        // At once, rather than after the output has drained, which on a stalled line would be never.
        tcsetattr(&port, OptionalActions::Now, &raw(settings))
            .map_err(|error| never("cannot set the terminal to raw mode", error))?;
        Ok(Box::new(Port { port }))
    }
}

/// Opens without waiting for a carrier and without becoming the process's terminal.
fn open_port(path: &Path) -> Result<OwnedFd, OpenError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::AGAIN | Errno::BUSY | Errno::INTR => OpenError::Later(error.into()),
        _ => never("cannot open it", error),
    })
}

/// Takes the record lock of the whole port that the original client, cloud-init and Ignition take too. It goes with
/// the descriptor.
fn lock(port: &OwnedFd) -> Result<(), OpenError> {
    match fcntl_lock(port, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let holder = fcntl_getlk(port, &Flock::from(FlockType::WriteLock)).ok().flatten();
            Err(OpenError::Held(holder.and_then(|lock| lock.pid).map(Pid::as_raw_pid)))
        }
        Err(Errno::INTR) => Err(OpenError::Later(Errno::INTR.into())),
        Err(error) => Err(never("cannot lock it", error)),
    }
}

fn never(doing: &'static str, error: Errno) -> OpenError {
    OpenError::Never(Unusable { doing, source: io::Error::from(error) })
}

/// The settings for a line that carries bytes as they are. The speed stays: emulated ports have none, and on a real
/// one whoever set it knew why.
fn raw(mut settings: Termios) -> Termios {
    settings.input_modes.remove(
        InputModes::BRKINT
            | InputModes::ICRNL
            | InputModes::IGNCR
            | InputModes::INLCR
            | InputModes::INPCK
            | InputModes::ISTRIP
            | InputModes::IXON
            | InputModes::IXOFF
            | InputModes::IXANY
            | InputModes::PARMRK,
    );
    settings.output_modes.remove(OutputModes::OPOST);
    settings.local_modes.remove(
        LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG,
    );
    // No flow control by lines that bhyve's port does not have (CRTSCTS), no modem (CLOCAL), and no hang-up when the
    // last process closes it.
    settings.control_modes.remove(
        ControlModes::CSIZE
            | ControlModes::CSTOPB
            | ControlModes::PARENB
            | ControlModes::HUPCL
            | ControlModes::CRTSCTS,
    );
    settings.control_modes.insert(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL);
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    settings
}

/// An open and locked port.
struct Port {
    port: OwnedFd,
}

impl Link for Port {
    fn exchange(&mut self, output: &[u8], input: &mut [u8], wait: Duration) -> io::Result<Exchanged> {
        exchange(&self.port, EmptyRead::NothingYet, output, input, wait)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Whatever the host has not taken yet belongs to a request that was given up; closing would wait for it, up to
        // half a minute. There is nothing to do about a failure.
        let _ = tcflush(&self.port, QueueSelector::OFlush);
    }
}
