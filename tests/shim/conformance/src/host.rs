//! The machine's name and clock.

use std::error::Error;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::libc;

/// Prints the node name in the two ways in which programs ask for it.
pub fn name() -> Result<u8, Box<dyn Error>> {
    let name = nix::sys::utsname::uname()?;
    println!("[{}] [{}]", name.nodename().display(), nix::unistd::gethostname()?.display());
    Ok(0)
}

/// Prints the seconds since 1970.
pub fn now() -> Result<u8, Box<dyn Error>> {
    println!("{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs());
    Ok(0)
}

unsafe extern "C" {
    // usr/src/uts/common/sys/time.h and usr/src/head/unistd.h: the libc crate has neither for illumos.
    fn settimeofday(time: *const libc::timeval, zone: *mut libc::c_void) -> libc::c_int;
    fn adjtime(delta: *const libc::timeval, old: *mut libc::timeval) -> libc::c_int;
    #[cfg(target_os = "illumos")]
    fn stime(time: *const libc::time_t) -> libc::c_int;
}

/// Programs cannot be linked with glibc's since its version 2.31.
#[cfg(not(target_os = "illumos"))]
unsafe fn stime(time: *const libc::time_t) -> libc::c_int {
    // SAFETY: the caller's pointer is good.
    let time = libc::timeval { tv_sec: unsafe { *time }, tv_usec: 0 };
    // SAFETY: a pointer to a live value, and none.
    unsafe { settimeofday(&raw const time, std::ptr::null_mut()) }
}

/// Sets the clock, twice, and prints what it then shows.
pub fn set(seconds: &str) -> Result<u8, Box<dyn Error>> {
    let seconds = seconds.parse()?;
    let time = libc::timeval { tv_sec: seconds, tv_usec: 0 };
    // SAFETY: pointers to live values, or none.
    unsafe {
        Errno::result(stime(&raw const seconds))?;
        now()?;
        Errno::result(settimeofday(&raw const time, std::ptr::null_mut()))?;
    }
    now()
}

/// Lets the clock win `seconds` little by little, and prints what it was still to win before.
pub fn adjust(seconds: &str) -> Result<u8, Box<dyn Error>> {
    let delta = libc::timeval { tv_sec: seconds.parse()?, tv_usec: 0 };
    let mut left = libc::timeval { tv_sec: -1, tv_usec: 0 };
    // SAFETY: pointers to live values.
    Errno::result(unsafe { adjtime(&raw const delta, &raw mut left) })?;
    println!("{}", left.tv_sec);
    Ok(0)
}
