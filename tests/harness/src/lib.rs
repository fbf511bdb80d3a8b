//! Machines and foreign tools for kiln's tests.
//!
//! * [`guest`]: a Debian guest with real OpenZFS, UFS and FAT drivers that runs one script.
//! * [`session`]: that guest, told what to do while it runs.
//! * [`qemu_boot`]: a machine that boots a disk image, driven over its serial port.
//! * [`tools`]: foreign programs that may be missing on a user's machine.
//! * [`imgmanifest`]: the image server's own judge of manifests.
//! * [`account`]: whose account a program runs under.
//! * [`fixtures`]: the authentic images and streams below `tests/fixtures`.
//! * [`scratch`]: folders for the files of a test.
//! * [`process`]: running a program with a deadline.
//! * [`unpacked`]: Debian packages that are not installed: [`cloud_init`], and an SSH server for guests, [`ssh_server`].
//!
//! Four environment variables matter: `KILN_REQUIRE_TOOLS` turns every loud skip into a failure, `KILN_BIN` and
//! `KILN_XTASK_BIN` name the executables that command-line tests run, and `KILN_LONG_TESTS` asks property tests that choose
//! their own number of cases for many more of them. `cargo xtask test` sets the first three, and with `--long` the fourth.

#![forbid(unsafe_code)]

pub mod account;
pub mod cloud_init;
pub mod fixtures;
pub mod guest;
pub mod imgmanifest;
pub mod process;
pub mod qemu_boot;
pub mod recipe;
pub mod scratch;
pub mod session;
pub mod slots;
pub mod ssh_server;
pub mod tools;
pub mod unpacked;
