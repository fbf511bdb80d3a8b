//! What platforms learnt after 2013. guest-rt stands between a program and these calls, so the platform's own functions are
//! asked here, as the loader finds them.

use std::ffi::CStr;

use nix::libc;

use crate::{Folder, outcome, platform};

/// The platform's function of this name, if it has one.
fn find(name: &CStr) -> Option<*mut libc::c_void> {
    // SAFETY: a terminated string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// A function of the platform that takes three numbers or pointers and returns a number.
fn function(name: &CStr) -> extern "C" fn(usize, usize, usize) -> i32 {
    // SAFETY: the functions asked for have that calling convention.
    unsafe { std::mem::transmute(find(name).expect("the platform always had it")) }
}

#[test]
fn functions_appear_on_their_day() {
    for name in [c"pipe2", c"dup3", c"accept4", c"mkostemp"] {
        assert_eq!(find(name).is_some(), platform() >= 20_130_508, "{name:?}");
    }
    for name in [c"arc4random_buf", c"getrandom", c"flock"] {
        assert_eq!(find(name).is_some(), platform() >= 20_150_200, "{name:?}");
    }
    assert!(find(c"pipe").is_some());
    // What only glibc has is not there on any day.
    assert_eq!(find(c"gnu_get_libc_version"), None);
    assert_eq!(find(c"sendmmsg"), None);
}

#[test]
fn descriptors_are_duplicated_with_the_flag_since_2013() {
    let fcntl = function(c"fcntl");
    let copy = outcome(fcntl(0, libc::F_DUPFD_CLOEXEC as usize, 10));
    if platform() >= 20_130_508 {
        let copy = copy.unwrap();
        assert_eq!(fcntl(copy as usize, libc::F_GETFD as usize, 0), libc::FD_CLOEXEC);
        // SAFETY: a descriptor of this test.
        assert_eq!(unsafe { libc::close(copy) }, 0);
    } else {
        assert_eq!(copy, Err(libc::EINVAL));
    }
}

#[test]
fn folders_can_be_asked_for_since_2020() {
    let folder = Folder::new("eras");
    let file = folder.write("file", b"");
    let open = function(c"open");
    let opened = outcome(open(file.as_ptr().addr(), libc::O_DIRECTORY as usize, 0));
    if platform() >= 20_200_205 {
        assert_eq!(opened, Err(libc::ENOTDIR));
    } else {
        // SAFETY: a descriptor of this test.
        assert_eq!(unsafe { libc::close(opened.unwrap()) }, 0);
    }
}

#[test]
fn sockets_do_not_block_when_asked_since_2013() {
    let (socket, fcntl) = (function(c"__xnet_socket"), function(c"fcntl"));
    let asked = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
    let fd = outcome(socket(libc::AF_INET as usize, asked as usize, 0)).unwrap();
    let flags = fcntl(fd as usize, libc::F_GETFL as usize, 0);
    assert_eq!(flags & libc::O_NONBLOCK != 0, platform() >= 20_130_513);
    // SAFETY: a descriptor of this test.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

#[test]
fn both_ends_of_a_pair_are_closed_on_exec_since_2013() {
    let (pair, fcntl) = (function(c"__xnet_socketpair"), function(c"fcntl"));
    // The fourth argument does not fit the common type.
    // SAFETY: the function takes three numbers and a pointer to two.
    let pair: extern "C" fn(i32, i32, i32, *mut i32) -> i32 = unsafe { std::mem::transmute(pair) };
    let mut ends = [0; 2];
    assert_eq!(pair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()), 0);
    let flags = ends.map(|end| fcntl(end as usize, libc::F_GETFD as usize, 0));
    assert_eq!(flags, [libc::FD_CLOEXEC, if platform() >= 20_130_508 { libc::FD_CLOEXEC } else { 0 }]);
    for end in ends {
        // SAFETY: a descriptor of this test.
        assert_eq!(unsafe { libc::close(end) }, 0);
    }
}
