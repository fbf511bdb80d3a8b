//! What a program that uses `std` needs to be an illumos executable when it is linked on Linux, with no illumos system,
//! C compiler or assembler at hand, and to start on platforms as old as SmartOS 20130506T233003Z:
//!
//! * the entry point and the variables that every executable supplies to libc (the role of `crt1.o` and `values-*.o`),
//! * stand-ins for the unwinder, which a program that aborts on panic never enters,
//! * functions that `std` and common crates call but that platforms of May 2013 lack, or have with a fault.
//!
//! The build script writes the libraries to link with, from `symbols.txt`; the linker is `illumos-ld`. A program asks
//! for all of this with one line in its main file:
//!
//! ```
//! use guest_rt as _;
//! ```
//!
//! For every other target this crate is empty, so the line does no harm there, but for one thing: static programs for
//! Linux that abort on panic take the stand-ins for the unwinder, too. `docs/illumos.md` has the whole story.

#![no_std]

#[cfg(target_os = "illumos")]
mod newer;
#[cfg(target_os = "illumos")]
mod start;
// Static programs for Linux could have the real unwinder, but with what it calls it would be more than half of them.
#[cfg(any(target_os = "illumos", all(target_env = "musl", panic = "abort")))]
mod unwind;
