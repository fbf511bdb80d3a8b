//! Block volumes (zvols) as send streams.
//!
//! A volume has two objects: 1 is the disk, whose block size is the volume's, and 2 a name table whose entry `size` is
//! the volume's size in bytes (illumos `zvol.c`). ZFS receives a volume that breaks the rules below and panics when it
//! is listed or probed, so both directions insist on them: object 2 and its `size` are there, the block size is a power
//! of two, the size a multiple of it.

mod check;
mod reader;
mod sink;
mod writer;

pub use check::VolumeCheck;
pub use reader::{Base, ExtractOptions, VolumeInfo, extract};
pub use sink::VolumeSink;
pub use writer::{Summary, VolumeOptions, VolumeWriter};

/// The block size of illumos and SmartOS unless told otherwise, in bytes.
pub const DEFAULT_BLOCK_SIZE: u32 = 8192;

/// The object that is the disk (`ZVOL_OBJ`).
const DISK: u64 = 1;

/// The object with the properties (`ZVOL_ZAP_OBJ`).
const PROPERTIES: u64 = 2;

/// The name of the entry with the size.
const SIZE_NAME: &str = "size";

/// What is wrong with the geometry of a volume, in words.
fn check_geometry(size: u64, block_size: u32) -> Result<(), String> {
    if !block_size.is_power_of_two() || block_size < 512 {
        return Err(format!("the block size of a volume is a power of two from 512, not {block_size}"));
    }
    if size == 0 || !size.is_multiple_of(u64::from(block_size)) {
        return Err(format!(
            "the size of a volume, {size} bytes, is not a positive multiple of its block size, {block_size}"
        ));
    }
    if i64::try_from(size).is_err() {
        return Err(format!("no volume has {size} bytes"));
    }
    Ok(())
}
