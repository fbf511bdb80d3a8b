//! kiln builds SmartOS and Triton images on any machine: no root, no mounts, no ZFS, no SmartOS, and the same bytes
//! from the same inputs.
//!
//! This crate is the porcelain: the command line, the recipes, and every decision about defaults and words. The
//! formats live in crates of their own below it (`formats/ufs`, `formats/zstream`, `formats/bootdisk`,
//! `formats/pgzip`, `imgapi`), which know nothing of each other; here is the only place that joins them.

#![forbid(unsafe_code)]

pub mod cat;
pub mod civil;
pub mod cli;
pub mod contents;
pub mod convert;
pub mod custom_archive;
pub mod demo;
pub mod diff;
pub mod digest;
pub mod inspect;
pub mod jobs;
pub mod ls;
pub mod metadata;
pub mod overlay;
pub mod ownership;
pub mod pieces;
pub mod platform;
pub mod prefetch;
pub mod report;
pub mod retro;
pub mod staging;
pub mod stamp;
pub mod stand_in;
pub mod tarball;
pub mod units;
pub mod verify;
