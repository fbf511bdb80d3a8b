//! What the machine's package manager knows: its sources and its candidate versions.
//! Everything here is text in, decision out; [`crate::task::setup`] runs the programs.

pub mod plan;
pub mod policy;
pub mod sources;
