//! What an illumos program meets on the shim, looked at through the definitions of the libc crate, which were made by
//! others than the shim's: structures, constants, error numbers and behaviour.
//!
//! Run by tests/shim/tests/conformance.rs, on a platform of today and on the oldest. A panic ends the whole run.

#![cfg(target_os = "illumos")]

use guest_rt as _;

mod eras;
mod files;
mod processes;
mod signals;
mod sockets;
mod system;
mod terminals;
mod threads;

use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;

/// The day of the platform, from the version that uname(2) tells.
fn platform() -> u32 {
    let name = nix::sys::utsname::uname().unwrap();
    let version = name.version().to_str().unwrap();
    let stamp = version.strip_prefix("joyent_").unwrap();
    stamp[..8].parse().unwrap()
}

/// What a call returned, and the error if it was -1.
fn outcome<T: nix::errno::ErrnoSentinel + PartialEq>(result: T) -> Result<T, i32> {
    Errno::result(result).map_err(|error| error as i32)
}

/// A new folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("conformance.{name}.{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> std::ffi::CString {
        std::ffi::CString::new(self.0.join(name).into_os_string().into_encoded_bytes()).unwrap()
    }

    fn write(&self, name: &str, content: &[u8]) -> std::ffi::CString {
        std::fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A structure of the platform, all zero.
fn zeroed<T>() -> T {
    // SAFETY: used for C structures only, of which every pattern of bits is a value.
    unsafe { std::mem::zeroed() }
}

/// The numbers that differ from Linux, as the trap that this program is for.
#[test]
fn the_definitions_are_those_of_illumos() {
    assert_eq!((libc::ELOOP, libc::ETIMEDOUT, libc::AF_INET6), (90, 145, 26));
    assert_eq!(size_of::<libc::stat>(), 128);
    assert_eq!(size_of::<libc::sockaddr_in6>(), 32);
}
