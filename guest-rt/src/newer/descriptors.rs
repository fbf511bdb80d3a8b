//! Descriptors that are born with flags: pipe2, dup3, mkostemp and F_DUPFD_CLOEXEC came to SmartOS on 2013-05-08, two
//! days after the oldest platform was built.
//!
//! Where the platform cannot do it in one step, another thread that forks between the two steps passes the descriptor
//! on to its child. Nothing can be done about that from outside the kernel.

use core::ffi::{c_char, c_int};

use super::{fail, last_error, platform};

const EBADF: c_int = 9;
const EINVAL: c_int = 22;
const F_DUPFD: c_int = 0;
const F_SETFD: c_int = 2;
const F_GETFL: c_int = 3;
const F_SETFL: c_int = 4;
const F_DUPFD_CLOEXEC: c_int = 37;
const FD_CLOEXEC: c_int = 1;
const O_NONBLOCK: c_int = 0x80;
const O_CLOEXEC: c_int = 0x80_0000;

unsafe extern "C" {
    fn __real_fcntl(descriptor: c_int, command: c_int, ...) -> c_int;
    fn close(descriptor: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn mkstemp(template: *mut c_char) -> c_int;
    fn pipe(ends: *mut c_int) -> c_int;
}

/// Flags that a new descriptor gets in a second step.
#[derive(Clone, Copy)]
pub struct Flags {
    pub close_on_exec: bool,
    pub nonblocking: bool,
}

impl Flags {
    fn from_open(flags: c_int) -> Self {
        Self { close_on_exec: flags & O_CLOEXEC != 0, nonblocking: flags & O_NONBLOCK != 0 }
    }
}

/// Sets `flags` of `descriptor`; without success closes it. Gives the descriptor, or -1 with `errno` set.
pub fn finish(descriptor: c_int, flags: Flags) -> c_int {
    if set(descriptor, flags) {
        return descriptor;
    }
    let error = last_error();
    discard(descriptor);
    fail(error)
}

fn set(descriptor: c_int, flags: Flags) -> bool {
    // SAFETY: fcntl takes any numbers; these commands read no memory of the caller.
    unsafe {
        if flags.close_on_exec && __real_fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 {
            return false;
        }
        if flags.nonblocking {
            let old = __real_fcntl(descriptor, F_GETFL);
            return old >= 0 && __real_fcntl(descriptor, F_SETFL, old | O_NONBLOCK) >= 0;
        }
    }
    true
}

fn discard(descriptor: c_int) {
    // SAFETY: the descriptor was made here and nobody else has seen its number.
    unsafe { close(descriptor) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_fcntl(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's arguments are passed on as they are.
    let result = unsafe { __real_fcntl(descriptor, command, argument) };
    if result >= 0 || command != F_DUPFD_CLOEXEC || last_error() != EINVAL {
        return result;
    }
    // The same answer also means a number that is out of range; then the older command says so again.
    // SAFETY: fcntl takes any numbers; this command reads no memory of the caller.
    let copy = unsafe { __real_fcntl(descriptor, F_DUPFD, argument) };
    if copy < 0 { copy } else { finish(copy, Flags { close_on_exec: true, nonblocking: false }) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pipe2(ends: *mut c_int, flags: c_int) -> c_int {
    if let Some(function) = platform!(c"pipe2" as unsafe extern "C" fn(*mut c_int, c_int) -> c_int) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(ends, flags) };
    }
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return fail(EINVAL);
    }
    // SAFETY: `ends` has room for two numbers, as the caller of pipe2 promises, and pipe fills both.
    let [read, write] = unsafe {
        if pipe(ends) < 0 {
            return -1;
        }
        [*ends, *ends.add(1)]
    };
    let flags = Flags::from_open(flags);
    if finish(read, flags) < 0 {
        let error = last_error();
        discard(write);
        return fail(error);
    }
    if finish(write, flags) < 0 {
        let error = last_error();
        discard(read);
        return fail(error);
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    if let Some(function) = platform!(c"dup3" as unsafe extern "C" fn(c_int, c_int, c_int) -> c_int) {
        // SAFETY: the function takes any numbers.
        return unsafe { function(from, to, flags) };
    }
    if flags & !O_CLOEXEC != 0 || from == to {
        return fail(EINVAL);
    }
    if to < 0 {
        return fail(EBADF);
    }
    // SAFETY: the function takes any numbers; what it closes the caller wants closed.
    let copy = unsafe { dup2(from, to) };
    if copy < 0 { copy } else { finish(copy, Flags::from_open(flags)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkostemp(template: *mut c_char, flags: c_int) -> c_int {
    if let Some(function) = platform!(c"mkostemp" as unsafe extern "C" fn(*mut c_char, c_int) -> c_int) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(template, flags) };
    }
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return fail(EINVAL);
    }
    // SAFETY: `template` is a writable string, as the caller of mkostemp promises.
    let file = unsafe { mkstemp(template) };
    if file < 0 { file } else { finish(file, Flags::from_open(flags)) }
}
