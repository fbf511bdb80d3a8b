//! Sockets that are born with flags: accept4 and socketpair came right on 2013-05-08, and SOCK_NONBLOCK in socket() on
//! 2013-05-13 (OS-2220). The names are those of the standard's behaviour, which the `libc` crate asks for.

use core::ffi::{c_int, c_void};

use super::descriptors::{Flags, finish};
use super::{fail, last_error, platform};

const EINVAL: c_int = 22;
const SOCK_CLOEXEC: c_int = 0x08_0000;
const SOCK_NONBLOCK: c_int = 0x10_0000;

unsafe extern "C" {
    fn __real___xnet_socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn __real___xnet_socketpair(family: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int;
    fn accept(socket: c_int, address: *mut c_void, len: *mut u32) -> c_int;
    fn close(descriptor: c_int) -> c_int;
}

/// The flags in the type of a socket, and the type without the one that old platforms get wrong.
fn flags_of(kind: c_int) -> (Flags, c_int) {
    let flags = Flags { close_on_exec: kind & SOCK_CLOEXEC != 0, nonblocking: kind & SOCK_NONBLOCK != 0 };
    (flags, kind & !SOCK_NONBLOCK)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept4(socket: c_int, address: *mut c_void, len: *mut u32, flags: c_int) -> c_int {
    type Function = unsafe extern "C" fn(c_int, *mut c_void, *mut u32, c_int) -> c_int;
    if let Some(function) = platform!(c"accept4" as Function) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(socket, address, len, flags) };
    }
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return fail(EINVAL);
    }
    // SAFETY: the caller of accept4 promises the same of address and length as that of accept.
    let connection = unsafe { accept(socket, address, len) };
    if connection < 0 { connection } else { finish(connection, flags_of(flags).0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap___xnet_socket(family: c_int, kind: c_int, protocol: c_int) -> c_int {
    let (flags, plain) = flags_of(kind);
    // SAFETY: the function takes any numbers.
    let socket = unsafe { __real___xnet_socket(family, plain, protocol) };
    // SOCK_CLOEXEC works in 2013.
    if socket < 0 { socket } else { finish(socket, Flags { close_on_exec: false, ..flags }) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap___xnet_socketpair(
    family: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut c_int,
) -> c_int {
    let (flags, plain) = flags_of(kind);
    // SAFETY: `pair` has room for two numbers, as the caller of socketpair promises, and the function fills both.
    let ends = unsafe {
        if __real___xnet_socketpair(family, plain, protocol, pair) < 0 {
            return -1;
        }
        [*pair, *pair.add(1)]
    };
    // In 2013 one of the two ends loses SOCK_CLOEXEC.
    for (end, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
        if finish(end, flags) < 0 {
            let error = last_error();
            // SAFETY: the descriptor was made here and the caller, who gets an error, does not use it.
            unsafe { close(other) };
            return fail(error);
        }
    }
    0
}
