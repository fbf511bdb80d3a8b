//! kiln builds SmartOS and Triton images on any machine: no root, no mounts, no ZFS, no SmartOS, and the same bytes
//! from the same inputs.
//!
//! This crate is the porcelain: the command line, the recipes, and every decision about defaults and words. The
//! formats live in crates of their own below it (`formats/ufs`, `formats/zstream`, `formats/bootdisk`,
//! `formats/pgzip`, `imgapi`), which know nothing of each other; here is the only place that joins them.
//!
//! Public are the command line, which is the program, and what reads bytes of unknown origin, which is fuzzed.

#![forbid(unsafe_code)]

mod behind;
mod cat;
mod chunk;
mod civil;
pub mod cli;
mod compression;
pub mod contents;
mod convert;
mod create_base_images;
mod create_image;
mod create_seed;
mod create_smf_repo;
mod custom_archive;
mod dehole;
mod demo;
mod der;
mod diff;
mod digest;
mod direct;
mod help;
mod identity;
mod inspect;
mod install_base;
mod jobs;
mod ls;
mod metadata;
mod native_zfs;
mod overlay;
pub mod ownership;
mod packages;
mod pieces;
mod platform;
mod prefetch;
mod report;
pub mod retro;
mod shell;
mod smf;
mod staging;
mod stamp;
mod stand_in;
pub mod tarball;
mod units;
mod verify;
mod zone;
mod zstream;

pub use packages::archive::probe as probe_package;
pub use zone::{area, owners};
