//! The `builtin` loader: kiln's own boot loader, which starts a Multiboot 1 kernel from lists of disk blocks.
//!
//! The loader itself (the crate in `loader/`, compiled by the build script) knows no file system. Whoever
//! lays out the disk knows where each file lies; [`BootTable::plan`] turns a menu and those places into
//! addresses in memory, [`BootTable::encode`] into the bytes of the boot area, and [`read`] back again. The
//! boot area is:
//!
//! | LBA | bytes | content |
//! |---|---|---|
//! | 0 | 0..440 | code of the first sector; the rest of the sector is the partition table's |
//! | 1..=33 | | code of the second stage |
//! | 34..=65 | | the table (`layout`) with a digest of the code, written as far as it is used |
//!
//! Address in memory = 0x7C00 + place on the disk, so the table lies at 0xC000 when the loader and the kernel
//! read it.

mod encode;
mod error;
mod header;
mod layout;
mod plan;
mod read;
#[cfg(test)]
mod tests;

pub use error::BuiltinError;
pub use header::{HEADER_SEARCH_BYTES, KernelHeader, parse_multiboot_header};
pub use plan::{BootTable, FileOnDisk, Load, Module, TableEntry};
pub use read::{Code, Found, read};

/// Sectors from LBA 0 that belong to the loader: no partition may begin below this LBA.
pub const AREA_SECTORS: u32 = layout::TABLE_LBA + layout::TABLE_SECTORS;

/// Bytes of LBA 0 that are code. The disk signature and the partition table follow.
pub const MBR_CODE_BYTES: usize = 440;

/// The flat binary of the loader: LBA 0 and what follows, without a table.
static CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/loader.bin"));

// The linker script guarantees it; a table in front of the end of the code would overwrite it.
const _: () = assert!(CODE.len() > 512 && CODE.len() <= layout::TABLE_LBA as usize * 512);
