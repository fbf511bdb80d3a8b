//! Functions that the oldest platform lacks: there, guest-rt does their work.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::libc;

use crate::{Seen, ensure};

unsafe extern "C" {
    // Missing in the libc crate's illumos.
    fn mkostemp(template: *mut libc::c_char, flags: libc::c_int) -> libc::c_int;
}

/// The descriptor that a call made, or its error.
fn made(descriptor: libc::c_int) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the callers pass what a call has just made for them.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether `descriptor` closes on exec, and whether it does not block.
fn flags(descriptor: &OwnedFd) -> std::io::Result<(bool, bool)> {
    // SAFETY: these commands of fcntl read no memory.
    let (of_descriptor, of_file) = unsafe {
        let raw = descriptor.as_raw_fd();
        (libc::fcntl(raw, libc::F_GETFD), libc::fcntl(raw, libc::F_GETFL))
    };
    if of_descriptor < 0 || of_file < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok((of_descriptor & libc::FD_CLOEXEC != 0, of_file & libc::O_NONBLOCK != 0))
}

fn ensure_flags(descriptor: &OwnedFd, expected: (bool, bool), what: &str) -> Result<(), Box<dyn Error>> {
    ensure(flags(descriptor)? == expected, &format!("the flags of {what} are wrong"))
}

/// Descriptors that are born with flags.
pub fn born_with_flags() -> Seen {
    for (flag, expected) in [
        (0, (false, false)),
        (libc::O_CLOEXEC, (true, false)),
        (libc::O_CLOEXEC | libc::O_NONBLOCK, (true, true)),
    ] {
        let mut ends = [-1; 2];
        // SAFETY: there is room for two descriptors.
        let result = unsafe { libc::pipe2(ends.as_mut_ptr(), flag) };
        ensure(result == 0, "pipe2 fails")?;
        for end in ends {
            ensure_flags(&made(end)?, expected, "a pipe")?;
        }
    }

    let file = File::open("/")?;
    let target = file.try_clone()?.into_raw_fd();
    // SAFETY: both are descriptors of this function.
    let copy = made(unsafe { libc::dup3(file.as_raw_fd(), target, libc::O_CLOEXEC) })?;
    ensure(copy.as_raw_fd() == target, "dup3 makes another descriptor")?;
    ensure_flags(&copy, (true, false), "a duplicate")?;
    // SAFETY: as above; it is to fail.
    let same = unsafe { libc::dup3(target, target, 0) };
    ensure(same == -1, "dup3 onto itself succeeds")?;

    let mut template = std::env::temp_dir().join("kiln-probe-XXXXXX").into_os_string().into_vec();
    template.push(0);
    // SAFETY: the template is writable and ends with a zero.
    let file = made(unsafe { mkostemp(template.as_mut_ptr().cast(), libc::O_CLOEXEC) })?;
    template.pop();
    fs::remove_file(OsString::from_vec(template))?;
    ensure_flags(&file, (true, false), "a temporary file")?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let none = std::ptr::null_mut();
    let flag = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: without room for an address none is written.
    let server = made(unsafe { libc::accept4(listener.as_raw_fd(), none, none.cast(), flag) })?;
    ensure_flags(&server, (true, true), "a connection")?;
    drop(client);

    let mut pair = [-1; 2];
    // SAFETY: there is room for two descriptors.
    let result = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | flag, 0, pair.as_mut_ptr()) };
    ensure(result == 0, "socketpair fails")?;
    for end in pair {
        ensure_flags(&made(end)?, (true, true), "a pair of sockets")?;
    }
    // SAFETY: the function takes numbers only.
    let socket = made(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) })?;
    ensure_flags(&socket, (false, true), "a socket")?;
    Ok("pipes, duplicates, temporary files, connections, sockets".to_owned())
}

/// Reading and writing several pieces at a place.
pub fn pieces() -> Seen {
    let path = std::env::temp_dir().join(format!("kiln-probe-{}-pieces", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    let pieces = [b"".as_slice(), b"abc", b"defg"].map(IoSlice::new);
    let mut written = 0;
    // A call may write less than all: then the rest is for another one, as every program has to do it.
    while written < 7 {
        let mut copy = pieces;
        let mut rest = &mut copy[..];
        IoSlice::advance_slices(&mut rest, written);
        written += nix::sys::uio::pwritev(&file, rest, 5 + written as libc::off_t)?;
    }
    let (mut first, mut second) = ([0; 2], [0; 5]);
    let mut count = 0;
    while count < 7 {
        let mut rest = [&mut first[count.min(2)..], &mut second[count.max(2) - 2..]].map(IoSliceMut::new);
        let more = nix::sys::uio::preadv(&file, &mut rest, 5 + count as libc::off_t)?;
        ensure(more > 0, "the file ends early")?;
        count += more;
    }
    ensure(&first == b"ab" && &second == b"cdefg", "other pieces come back")?;
    Ok("written and read".to_owned())
}

/// Locks of the open file: granted, or refused in the way that programs expect.
pub fn whole_file_lock() -> Seen {
    let path = std::env::temp_dir().join(format!("kiln-probe-{}-lock", std::process::id()));
    let file = File::create(&path)?;
    fs::remove_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok("granted".to_owned()),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
            Ok("refused: the platform has none".to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

/// Random numbers, from a platform that has a source of them.
pub fn random() -> Seen {
    let mut numbers = [[0_u8; 32]; 2];
    for number in &mut numbers {
        // SAFETY: the buffer is as long as said.
        let count = unsafe { libc::getrandom(number.as_mut_ptr().cast(), number.len(), 0) };
        if count < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        ensure(count == 32, "getrandom gives less than asked for")?;
    }
    ensure(numbers[0] != numbers[1] && numbers[0] != [0; 32], "the numbers are not random")?;
    // SAFETY: nothing is written: there is no such flag.
    let refused = unsafe { libc::getrandom(numbers[0].as_mut_ptr().cast(), 1, 0x8000) };
    ensure(refused == -1, "getrandom takes an unknown flag")?;
    Ok("different each time".to_owned())
}
