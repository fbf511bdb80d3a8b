#![forbid(unsafe_code)]
//! MBR, FAT32 and boot loaders of SmartOS disk images, planned as extents and never as a whole disk in
//! memory.

pub mod builtin;
pub mod detect;
pub mod disk;
mod error;
pub mod extent;
pub mod fat32;
pub mod grub_legacy;
pub mod mbr;
pub mod menu;
pub mod template;

pub use error::PlanError;
