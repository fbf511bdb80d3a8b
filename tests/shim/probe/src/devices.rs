//! Steps about sockets, terminals and accounts.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::pty::{grantpt, posix_openpt, ptsname, unlockpt};
use nix::sys::termios::{self, BaudRate, SetArg};
use nix::unistd::{Group, Uid, User, pipe};

use crate::{Seen, ensure};

pub fn tcp() -> Seen {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut connection, _) = listener.accept()?;
        connection.write_all(b"hello")
    });
    let mut client = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.set_nodelay(true)?;
    let mut text = String::new();
    client.read_to_string(&mut text)?;
    server.join().map_err(|_| "the server panicked")??;
    ensure(text == "hello", "another text arrived")?;
    Ok(format!("connected to {}", address.ip()))
}

pub fn unix_socket() -> Seen {
    let (mut here, mut there) = UnixStream::pair()?;
    here.write_all(b"pair")?;
    drop(here);
    let mut text = String::new();
    there.read_to_string(&mut text)?;
    ensure(text == "pair", "another text arrived")?;
    let path = std::env::temp_dir().join(format!("kiln-probe-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path)?;
    let client = UnixStream::connect(&path);
    std::fs::remove_file(&path)?;
    client?.set_nonblocking(true)?;
    listener.accept()?;
    Ok("a pair, and a connection by path".to_owned())
}

pub fn poll() -> Seen {
    let (reader, writer) = pipe()?;
    let mut wait = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    ensure(nix::poll::poll(&mut wait, PollTimeout::from(10_u8))? == 0, "an empty pipe is readable")?;
    nix::unistd::write(&writer, b"x")?;
    ensure(nix::poll::poll(&mut wait, PollTimeout::NONE)? == 1, "a full pipe is not readable")?;
    drop(writer);
    Ok("waits, and wakes".to_owned())
}

/// The speed at which a terminal sends. Not asked through nix: what it reads from illumos has lost the speed, because its
/// control flags have no name for those bits there.
fn speed(terminal: &impl AsRawFd) -> nix::Result<libc::speed_t> {
    let mut settings = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the structure is the platform's own and is filled in when the call succeeds.
    unsafe {
        Errno::result(libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()))?;
        Ok(libc::cfgetospeed(settings.as_ptr()))
    }
}

/// A pseudo terminal set up as the metadata channel's serial port is.
pub fn terminal() -> Seen {
    let main = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY)?;
    grantpt(&main)?;
    unlockpt(&main)?;
    // SAFETY: no other thread of this program asks for the name of a terminal.
    let name = unsafe { ptsname(&main)? };
    let terminal = std::fs::OpenOptions::new().read(true).write(true).open(&name)?;
    let mut settings = termios::tcgetattr(&terminal)?;
    termios::cfmakeraw(&mut settings);
    termios::cfsetspeed(&mut settings, BaudRate::B38400)?;
    termios::tcsetattr(&terminal, SetArg::TCSANOW, &settings)?;
    ensure(speed(&terminal)? == libc::B38400, "the speed is wrong")?;
    let settings = termios::tcgetattr(&terminal)?;
    ensure(!settings.local_flags.contains(termios::LocalFlags::ECHO), "the terminal echoes")?;
    nix::unistd::write(&main, b"a\r\n")?;
    let mut bytes = [0; 3];
    (&terminal).read_exact(&mut bytes)?;
    ensure(&bytes == b"a\r\n", "the terminal changed what went through it")?;
    termios::tcflush(&terminal, termios::FlushArg::TCIOFLUSH)?;
    Ok(format!("raw, {name}"))
}

pub fn passwd() -> Seen {
    let root = User::from_uid(Uid::from_raw(0))?.ok_or("nobody has the number 0")?;
    ensure(User::from_name(&root.name)?.is_some_and(|user| user.uid.is_root()), "the name is another's")?;
    let group = Group::from_gid(root.gid)?.ok_or("the group of number 0 is unknown")?;
    ensure(User::from_name("nobody-of-this-name")?.is_none(), "an unknown name is known")?;
    Ok(format!("{} in {}, shell {}", root.name, group.name, root.shell.display()))
}
