//! A stand-in for illumos around the guest's first-boot program: its commands, storage, services and network, with state.
//!
//! One Linux program lies under the names of illumos' commands in a root folder (`/usr/sbin/zpool`, `/usr/sbin/dladm`, ...)
//! and keeps what they change in files. It follows what is known of each platform: the arguments that its release knows, the
//! texts it prints, the exit codes. It is unforgiving: an argument that the era does not know, or that nothing known covers,
//! ends it with status 250 and a line in the machine's `complaints.log`, which fails the test.
//!
//! * [`World`] is a machine's state as a command sees it; [`commands`] has a module for each command.
//! * [`Hardware`] is what the machine is made of, [`Era`] which platform it runs.
//! * `Machine` (on the host) makes machines, switches them on and tells what happened.
//!
//! What real illumos does is known up to April 2022. What a later platform does is taken to be the same: [`Era::is_guess`] tells
//! which those are, and complaints about them say so. Where a comment names a source and no release, it was the same in what is
//! played here from the first platform (release-20130502 of illumos-joyent, smartos-live of that day) to then.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
// Texts are put together piece by piece as upstream prints them, and they are short.
#![allow(clippy::format_push_string, clippy::format_collect)]

#[cfg(target_env = "gnu")]
mod boot;
pub mod commands;
mod era;
#[cfg(target_env = "gnu")]
mod fat;
mod faults;
mod hardware;
#[cfg(target_env = "gnu")]
mod machine;
pub mod network;
pub mod program;
mod real;
mod reply;
pub mod services;
#[cfg(target_env = "gnu")]
mod skeleton;
pub mod storage;
mod world;

pub use era::Era;
pub use faults::{Action, Fault};
pub use hardware::{Disk, Hardware, Nic};
#[cfg(target_env = "gnu")]
pub use machine::{Boot, BootOptions, Machine, Method, Output, Programs, real_machine, static_program};
pub use reply::Reply;
pub use world::{Host, Runtime, World};
