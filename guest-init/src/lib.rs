//! The first boot of a retro guest, and every boot after it.
//!
//! One program takes the place of the platform's setup scripts. SMF starts it under the paths that the platform's
//! services already name, and the name says which *phase* of the boot to run: `fs-joyent` is [storage](phase::storage),
//! `smartdc-config` is [identity](phase::identity), and so on ([`phase::PHASES`] has them all).
//!
//! * A phase is a list of *steps*. A [`engine::Step`] finds out whether its work is done, does it, and looks again. It may
//!   be killed at any instruction, and repeated any number of times.
//! * Steps see the machine through a [`engine::Guest`]: its commands, its metadata, its clock, and what earlier steps and
//!   phases found out ([`state::State`]).
//! * External programs are started in one place, [`command::Commands`]; each has a module of its own below [`command`] that
//!   knows its arguments and reads its output.
//! * Whatever decides (which disk is the key, whether a pool may be created, which rules are loaded) is a function from
//!   facts to a decision. It does nothing, so it can be tried with every fact there is.
//!
//! Two rules outrank everything else. Data is never destroyed to make progress: where anything is in doubt, the guest
//! comes up in *rescue mode*, with network, keys and console but without a pool, and nothing is written to any disk. And
//! a phase never fails in the eyes of SMF, because services that the owner needs to get in depend on it: what went wrong is
//! told on the console, in the log and in the status.

pub mod access;
pub mod arguments;
pub mod boot;
pub mod command;
pub mod engine;
pub mod files;
pub mod help;
pub mod image;
mod kept_log;
mod moment;
pub mod ntp;
pub mod phase;
mod pipe;
pub mod platform;
mod random;
pub mod smbios;
pub mod state;
pub mod status;
pub mod system;
mod wait;
pub mod watch;
pub mod zone;

// What the tests need to start as an illumos executable.
#[cfg(test)]
use guest_rt as _;
