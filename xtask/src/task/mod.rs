//! The tasks, one file each.

pub mod bench;
mod bench_init;
mod bench_mdata;
mod bench_zone;
pub mod boot_real;
pub mod demo;
pub mod fuzz;
pub mod guest;
mod promises;
pub mod setup;
pub mod shim;
pub mod test;
pub mod vm;
