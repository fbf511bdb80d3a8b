//! What the system tells only through functions of C.

#[cfg(target_os = "illumos")]
use std::ffi::c_int;
use std::io;

/// Whether this is the global zone.
#[cfg(target_os = "illumos")]
pub fn is_global_zone() -> bool {
    unsafe extern "C" {
        safe fn getzoneid() -> c_int;
    }
    getzoneid() == 0
}

/// Whether this is the global zone: other systems, where this is only tested, have no zones.
#[cfg(not(target_os = "illumos"))]
pub fn is_global_zone() -> bool {
    true
}

/// The memory of the machine, in bytes.
pub fn memory() -> u64 {
    // SAFETY: it takes numbers and gives one.
    let [pages, size] = [libc::_SC_PHYS_PAGES, libc::_SC_PAGESIZE].map(|name| unsafe { libc::sysconf(name) });
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(size).unwrap_or(0))
}

/// Lets the clock gain so many microseconds (or lose them, if negative) by running a little faster for a while. What was left
/// of an earlier correction is given up.
pub fn adjust_clock(microseconds: i64) -> io::Result<()> {
    unsafe extern "C" {
        fn adjtime(delta: *const libc::timeval, left: *mut libc::timeval) -> libc::c_int;
    }
    let delta = libc::timeval {
        tv_sec: microseconds.div_euclid(1_000_000),
        tv_usec: microseconds.rem_euclid(1_000_000),
    };
    // SAFETY: it reads the first argument, and the second may be null.
    if unsafe { adjtime(&raw const delta, std::ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
