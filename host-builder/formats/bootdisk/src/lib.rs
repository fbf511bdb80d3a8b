#![forbid(unsafe_code)]
//! MBR, FAT32 and boot loaders of SmartOS disk images, planned as extents and never as a whole disk in memory.

pub mod builtin;
pub mod menu;
