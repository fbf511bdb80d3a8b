//! Random numbers: arc4random_buf and getrandom came in 2015-02 (getrandom was made public in 2018-12).
//!
//! The two differ in what a failure means. getrandom feeds keys and unguessable names, so without a source it fails, and
//! its caller decides. arc4random_buf cannot report failure; in the programs this crate is for, `std` alone calls it, for
//! the seeds of hash tables. A program that starts very early in the boot, before `/dev/urandom` is there, must not
//! die of that: then the seeds come from the clocks, the process number and an address. That is less than random, and
//! still enough against accidents, and nobody can choose the keys of our tables before the network is up.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{fail, last_error, platform};

const EINTR: c_int = 4;
const EIO: c_int = 5;
const EINVAL: c_int = 22;
const O_CLOEXEC: c_int = 0x80_0000;
const GRND_NONBLOCK: c_uint = 1;
const GRND_RANDOM: c_uint = 2;
const CLOCK_REALTIME: c_int = 3;
const CLOCK_MONOTONIC: c_int = 4;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn __real_open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn close(descriptor: c_int) -> c_int;
    fn getpid() -> c_int;
    fn read(descriptor: c_int, buffer: *mut c_void, len: usize) -> isize;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: c_uint) -> isize {
    type Function = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> isize;
    if let Some(function) = platform!(c"getrandom" as Function) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(buffer, len, flags) };
    }
    if flags & !(GRND_NONBLOCK | GRND_RANDOM) != 0 {
        return fail(EINVAL) as isize;
    }
    if len == 0 {
        return 0;
    }
    // Neither device blocks once the system has a pool, which it has before it starts the first program.
    let path = if flags & GRND_RANDOM == 0 { c"/dev/urandom" } else { c"/dev/random" };
    // SAFETY: the caller of getrandom promises that so many bytes may be written.
    let bytes = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
    match fill_from_device(path.as_ptr(), bytes) {
        Ok(()) => len as isize,
        Err(error) => fail(error) as isize,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn arc4random_buf(buffer: *mut c_void, len: usize) {
    if let Some(function) = platform!(c"arc4random_buf" as unsafe extern "C" fn(*mut c_void, usize)) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(buffer, len) };
    }
    if len == 0 {
        return;
    }
    // SAFETY: the caller of arc4random_buf promises that so many bytes may be written.
    let bytes = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
    if fill_from_device(c"/dev/urandom".as_ptr(), bytes).is_err() {
        fill_from_circumstances(bytes);
    }
}

/// Fills `bytes` from a device, or gives `errno`.
fn fill_from_device(path: *const c_char, bytes: &mut [u8]) -> Result<(), c_int> {
    // SAFETY: the callers pass string literals.
    let device = unsafe { __real_open(path, O_CLOEXEC) };
    if device < 0 {
        return Err(last_error());
    }
    let mut rest = bytes;
    let result = loop {
        if rest.is_empty() {
            break Ok(());
        }
        // SAFETY: the buffer is as long as said.
        match unsafe { read(device, rest.as_mut_ptr().cast(), rest.len()) } {
            0 => break Err(EIO),
            count if count > 0 => rest = &mut rest[count.cast_unsigned()..],
            _ if last_error() == EINTR => {}
            _ => break Err(last_error()),
        }
    };
    // SAFETY: the descriptor was made here and nobody else has seen its number.
    unsafe { close(device) };
    result
}

/// Fills `bytes` with what differs between processes, between boots, and between calls.
fn fill_from_circumstances(bytes: &mut [u8]) {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut state = CALLS.fetch_add(1, Ordering::Relaxed);
    let mut absorb = |value: u64| state = mix(state ^ value);
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC] {
        let mut time = Timespec { seconds: 0, nanoseconds: 0 };
        // SAFETY: the structure is that of the platform. A clock that cannot be read contributes zeros.
        unsafe { clock_gettime(clock, &raw mut time) };
        absorb(time.seconds.cast_unsigned());
        absorb(time.nanoseconds.cast_unsigned());
    }
    // SAFETY: getpid takes nothing and always succeeds.
    absorb(u64::from(unsafe { getpid() }.cast_unsigned()));
    absorb(bytes.as_ptr() as u64);
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&mix(state).to_le_bytes()[..chunk.len()]);
    }
}

/// The finaliser of SplitMix64: every bit of the input changes about half of the bits of the result.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
