//! Tells which boot loader a disk carries.

use std::{fmt, io};

use positioned_io::ReadAt;

use crate::builtin::{self, BuiltinError};
use crate::grub_legacy::{contains, stage1, stage2, version_at};
use crate::mbr::{CODE_BYTES, KEY_VERSION, Mbr, SECTOR};

/// A boot loader, as far as its first sectors tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loader {
    /// kiln's own block-list loader.
    Builtin {
        /// Whether its table cannot be read.
        damaged: bool,
    },
    /// GRUB legacy.
    GrubLegacy {
        /// What it says its version is, such as `0.97`; may be empty.
        version: String,
        /// Whether stage 2 is found by its name in a file system (stage 1.5) rather than by a list of
        /// sectors, so that it may be moved.
        by_name: bool,
    },
    /// GRUB 2.
    Grub2,
    /// SYSLINUX.
    Syslinux,
    /// The illumos loader, of SmartOS images since 2019.
    IllumosLoader,
    /// There is code, but of no kind known here.
    Unknown,
    /// There is no code at all.
    None,
}

/// In words, as they stand behind "boot loader: ".
impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loader::Builtin { damaged: false } => "kiln's built-in loader",
            Loader::Builtin { damaged: true } => "kiln's built-in loader, with a damaged boot table",
            Loader::GrubLegacy { version, by_name } => {
                let version = if version.is_empty() { "of unknown version" } else { version };
                let way =
                    if *by_name { "finds stage 2 by name" } else { "finds stage 2 by a list of sectors" };
                return write!(f, "GRUB legacy {version} ({way})");
            }
            Loader::Grub2 => "GRUB 2",
            Loader::Syslinux => "SYSLINUX",
            Loader::IllumosLoader => "the illumos loader",
            Loader::Unknown => "unknown boot code",
            Loader::None => "none",
        })
    }
}

/// Looks at the start of a disk, and at the boot record of its first partition.
pub fn detect(disk: &dyn ReadAt) -> io::Result<Loader> {
    let mut sector = [0; SECTOR as usize];
    disk.read_exact_at(0, &mut sector)?;
    match builtin::read(&disk) {
        Ok(None) => {}
        Ok(Some(_)) => return Ok(Loader::Builtin { damaged: false }),
        Err(BuiltinError::Io { source, .. }) if source.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(source);
        }
        Err(_) => return Ok(Loader::Builtin { damaged: true }),
    }
    let u16_at = |at: usize| u16::from_le_bytes([sector[at], sector[at + 1]]);
    if contains(&sector, stage1::MESSAGE) {
        if sector[KEY_VERSION.0..KEY_VERSION.0 + 2] == KEY_VERSION.1 {
            let by_name = u16_at(stage1::ADDRESS) == stage1::STAGE1_5_ADDRESS;
            let version = grub_version(disk, &sector)?;
            return Ok(Loader::GrubLegacy { version, by_name });
        }
        // The address GRUB 2's boot.img jumps to (grub-core/boot/i386/pc/boot.S, "kernel_address").
        if u16_at(0x5A) == 0x8000 {
            return Ok(Loader::Grub2);
        }
    }
    // illumos' pmbr: parameter block cleared, version 2.0 at FA, then the size and place of stage 2
    // (smartos-live, tools/format_image/format_image.c).
    let stage2_lba: [u8; 8] = *sector[0xFE..].first_chunk().expect("eight bytes follow byte FE of a sector");
    if sector[3..0x3E].iter().all(|&b| b == 0)
        && sector[0xFA..0xFC] == [2, 0]
        && u16_at(0xFC) != 0
        && u64::from_le_bytes(stage2_lba) != 0
    {
        return Ok(Loader::IllumosLoader);
    }
    if is_syslinux(disk)? {
        return Ok(Loader::Syslinux);
    }
    let empty = sector[..CODE_BYTES].iter().enumerate().all(|(at, &b)| {
        // The mark for platforms is not code.
        b == 0 || (KEY_VERSION.0..KEY_VERSION.0 + 2).contains(&at)
    });
    Ok(if empty { Loader::None } else { Loader::Unknown })
}

/// The version that the stage after stage 1 tells, from its second sector.
fn grub_version(disk: &dyn ReadAt, stage_1: &[u8]) -> io::Result<String> {
    let u32_at = |bytes: &[u8], at: usize| bytes[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    let mut stage = [0; 2 * SECTOR as usize];
    let (first, second) = stage.split_at_mut(SECTOR as usize);
    let read = |lba: u32, buf: &mut [u8]| match disk.read_exact_at(u64::from(lba) * SECTOR, buf) {
        // A pointer behind the end of the disk is a broken loader, not a broken device.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    };
    let found =
        read(u32_at(stage_1, stage1::FIRST_LBA), first)? && read(u32_at(first, stage2::BLOCK_LIST), second)?;
    Ok(if found { version_at(&stage) } else { String::new() })
}

/// SYSLINUX signs the boot record of the partition it is installed in.
fn is_syslinux(disk: &dyn ReadAt) -> io::Result<bool> {
    let Ok(mbr) = Mbr::read(disk) else { return Ok(false) };
    let partitions = mbr.partitions.iter().flatten();
    for partition in partitions {
        let mut oem = [0; 8];
        match disk.read_exact_at(partition.offset() + 3, &mut oem) {
            Ok(()) if oem == *b"SYSLINUX" => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}
