//! The machine, its clocks, accounts and the environment.

use std::env;
use std::ffi::CStr;

use nix::libc;

use crate::{outcome, platform, zeroed};

#[test]
fn the_system_is_illumos() {
    let name = nix::sys::utsname::uname().unwrap();
    assert_eq!((name.sysname().to_str(), name.release().to_str()), (Some("SunOS"), Some("5.11")));
    assert_eq!(name.machine().to_str(), Some("i86pc"));
    assert!(platform() >= 20_130_506);
    let mut buffer = [1_u8; 3];
    // SAFETY: the buffer is as large as said.
    let whole = unsafe { libc::sysinfo(libc::SI_ARCHITECTURE_64, buffer.as_mut_ptr().cast(), 3) };
    // Cut short and ended, and told how long it would have been.
    assert_eq!((whole, &buffer), (6, b"am\0"));
    // SAFETY: calls without pointers.
    unsafe {
        assert_eq!(libc::sysconf(libc::_SC_PAGESIZE), 4096);
        assert!(libc::sysconf(libc::_SC_NPROCESSORS_ONLN) >= 1);
        assert_eq!(libc::sysconf(libc::_SC_CLK_TCK), 100);
        assert!(libc::sysconf(libc::_SC_GETPW_R_SIZE_MAX) > 0);
        assert_eq!(libc::getpagesize(), 4096);
    }
}

#[test]
fn clocks_have_illumos_numbers() {
    let read = |clock| {
        let mut time: libc::timespec = zeroed();
        // SAFETY: a pointer to a live value.
        outcome(unsafe { libc::clock_gettime(clock, &raw mut time) }).map(|_| time)
    };
    let wall = read(libc::CLOCK_REALTIME).unwrap().tv_sec;
    assert!(wall > 1_700_000_000);
    let first = read(libc::CLOCK_MONOTONIC).unwrap();
    let second = read(libc::CLOCK_MONOTONIC).unwrap();
    assert!((second.tv_sec, second.tv_nsec) >= (first.tv_sec, first.tv_nsec));
    assert!(read(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap().tv_sec < 1000);
    assert!(read(99).is_err());
}

#[test]
fn the_environment_is_the_programs_own() {
    // SAFETY: tests run one after the other, in this thread.
    unsafe {
        env::set_var("CONFORMANCE", "one");
        env::set_var("CONFORMANCE", "two");
        assert_eq!(CStr::from_ptr(libc::getenv(c"CONFORMANCE".as_ptr())), c"two");
    }
    assert_eq!(env::vars().filter(|(name, _)| name == "CONFORMANCE").count(), 1);
    let output = std::process::Command::new("sh").args(["-c", "echo $CONFORMANCE"]).output().unwrap();
    assert_eq!(output.stdout, b"two\n");
    // SAFETY: as above.
    unsafe { env::remove_var("CONFORMANCE") };
    assert_eq!(env::var_os("CONFORMANCE"), None);
    assert!(env::vars().all(|(name, _)| !name.starts_with("ABI_SHIM_")));
}

#[test]
fn the_program_knows_its_path() {
    // SAFETY: the string stays where it is.
    let path = unsafe { CStr::from_ptr(libc::getexecname()) }.to_str().unwrap();
    assert!(path.starts_with('/'));
    assert_eq!(env::current_exe().unwrap().to_str(), Some(path));
    assert!(std::fs::read(path).unwrap().starts_with(b"\x7fELF\x02\x01\x01\x06"));
}

#[test]
fn accounts_are_read() {
    let root = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(0)).unwrap().unwrap();
    assert_eq!(root.name, "root");
    assert_eq!(nix::unistd::User::from_name("root").unwrap().unwrap().uid, root.uid);
    assert_eq!(nix::unistd::User::from_name("nobody-of-this-name").unwrap(), None);
    assert_eq!(nix::unistd::Group::from_gid(root.gid).unwrap().unwrap().gid, root.gid);
}
