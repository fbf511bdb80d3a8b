//! GRUB legacy 0.97, installed by writing its stage files' bytes: stage 1 in sector 0, the FAT stage 1.5
//! behind it, and stage 2 as a file that stage 1.5 finds by name. What results is what the GRUB shell's
//! `setup` makes.
//!
//! The places of the fields are those of GRUB 0.97's stage1/stage1.h and stage2/asm.S.

use thiserror::Error;

use crate::disk::BootArea;
use crate::fat32::Entry;
use crate::mbr::{CODE_BYTES, KEY_VERSION, SECTOR};

/// Where stage 1.5 looks for stage 2.
pub const STAGE2_PATH: &str = "/boot/grub/stage2";
/// Where stage 2 looks for its menu.
pub const MENU_PATH: &str = "/boot/grub/menu.lst";

/// Places in stage 1.
pub(crate) mod stage1 {
    /// Boot drive; FF takes what the firmware says.
    pub const BOOT_DRIVE: usize = 0x40;
    /// Whether to skip the test for LBA support.
    pub const FORCE_LBA: usize = 0x41;
    /// u16: where the next stage is loaded to.
    pub const ADDRESS: usize = 0x42;
    /// u32: its first sector.
    pub const FIRST_LBA: usize = 0x44;
    /// u16: its segment.
    pub const SEGMENT: usize = 0x48;
    /// A jump over the instruction that corrects the drive number of bad firmware; without the jump it is
    /// run, as is right for hard disks.
    pub const DRIVE_CHECK: (usize, [u8; 2]) = (0x4B, [0xEB, 0x07]);
    /// Load address and segment of a stage 1.5.
    pub const STAGE1_5_ADDRESS: u16 = 0x2000;
    pub const STAGE1_5_SEGMENT: u16 = 0x200;
    /// A word every stage 1 shows.
    pub const MESSAGE: &[u8] = b"GRUB ";
}

/// Places in stage 1.5 and stage 2.
pub(crate) mod stage2 {
    /// u32, u16, u16: first sector, count and segment of what follows the first sector.
    pub const BLOCK_LIST: usize = 0x1F8;
    /// Compatibility version, two bytes, as at 3E of stage 1.
    pub const COMPATIBILITY: usize = 0x206;
    /// The version as a string that ends with 0.
    pub const VERSION: usize = 0x212;
    /// Where the search for the path of stage 2 begins.
    pub const PATH_SEARCH: usize = 0x200;
    /// Segment of the second sector of a stage 1.5.
    pub const SECOND_SEGMENT: u16 = 0x220;
    /// "The drive we were started from, partition 0", before the path.
    pub const DEVICE: u32 = 0xFF00_FFFF;
}

/// A stage file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file} is not a stage file of GRUB legacy 0.97: {reason}")]
pub struct StageError {
    /// Which file, by its name in GRUB's folder.
    pub file: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The three stage files a disk needs, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stages {
    stage1: Vec<u8>,
    stage1_5: Vec<u8>,
    stage2: Vec<u8>,
    /// Where stage 1.5 keeps the path of stage 2.
    path_at: usize,
}

impl Stages {
    /// Checks the contents of `stage1`, `fat_stage1_5` and `stage2`: sizes, versions, and that the fields to
    /// be filled in are there.
    pub fn new(stage1: Vec<u8>, stage1_5: Vec<u8>, stage2: Vec<u8>) -> Result<Stages, StageError> {
        let require =
            |file, holds: bool, reason| if holds { Ok(()) } else { Err(StageError { file, reason }) };
        let compatible = "its compatibility version is not 3.2";

        let file = "stage1";
        require(file, stage1.len() == SECTOR as usize, "it is not 512 bytes long")?;
        require(file, stage1.ends_with(&[0x55, 0xAA]), "it does not end in 55 AA")?;
        require(file, contains(&stage1, stage1::MESSAGE), "it lacks the word GRUB")?;
        require(file, has(&stage1, KEY_VERSION.0, &KEY_VERSION.1), compatible)?;
        let (at, jump) = stage1::DRIVE_CHECK;
        require(file, has(&stage1, at, &jump), "the jump at byte 4B is not there")?;

        let file = "fat_stage1_5";
        require(file, has(&stage1_5, stage2::COMPATIBILITY, &KEY_VERSION.1), compatible)?;
        require(file, u16::try_from(stage1_5.len()).is_ok(), "it is longer than 65535 bytes")?;
        let path_at = stage1_5[stage2::PATH_SEARCH..]
            .windows(STAGE2_PATH.len())
            .position(|window| window == STAGE2_PATH.as_bytes())
            .map(|at| at + stage2::PATH_SEARCH);
        let path_at = path_at.ok_or(StageError { file, reason: "it lacks the path of stage 2" })?;
        require(file, path_at >= stage2::VERSION + 4, "the path of stage 2 is in the wrong place")?;
        // The longer text that replaces the path must fall on zeros, not on code.
        let room = stage1_5.get(path_at + STAGE2_PATH.len()..=path_at + path_text().len());
        require(
            file,
            room.is_some_and(|bytes| bytes.iter().all(|&b| b == 0)),
            "there is no room for the path of the menu",
        )?;

        let file = "stage2";
        require(file, has(&stage2, stage2::COMPATIBILITY, &KEY_VERSION.1), compatible)?;
        let versions = (version_at(&stage1_5), version_at(&stage2));
        require(file, versions.0 == versions.1, "its version differs from that of fat_stage1_5")?;
        Ok(Stages { stage1, stage1_5, stage2, path_at })
    }

    /// The version the files say they are, such as `0.97`.
    pub fn version(&self) -> String {
        version_at(&self.stage2)
    }

    /// The files that belong into the volume: stage 2, and beside it, as GRUB's own installer leaves them,
    /// the two others.
    pub fn entries(&self, modified: i64) -> Vec<Entry> {
        vec![
            Entry::bytes("/boot/grub/stage1", self.stage1.as_slice(), modified),
            Entry::bytes("/boot/grub/fat_stage1_5", self.stage1_5.as_slice(), modified),
            Entry::bytes(STAGE2_PATH, self.stage2.as_slice(), modified),
        ]
    }

    /// The boot area of a disk whose first partition is the FAT volume with [`Stages::entries`].
    pub fn boot_area(&self) -> BootArea {
        let mut mbr_code: [u8; CODE_BYTES] =
            *self.stage1.first_chunk().expect("stage 1 was checked to have 512 bytes");
        mbr_code[stage1::BOOT_DRIVE] = 0xFF;
        mbr_code[stage1::FORCE_LBA] = 0;
        put(&mut mbr_code, stage1::ADDRESS, &stage1::STAGE1_5_ADDRESS.to_le_bytes());
        put(&mut mbr_code, stage1::FIRST_LBA, &1u32.to_le_bytes());
        put(&mut mbr_code, stage1::SEGMENT, &stage1::STAGE1_5_SEGMENT.to_le_bytes());
        put(&mut mbr_code, stage1::DRIVE_CHECK.0, &[0x90, 0x90]);

        let mut gap = self.stage1_5.clone();
        gap.resize(gap.len().next_multiple_of(SECTOR as usize), 0);
        let following = (gap.len() / SECTOR as usize - 1) as u16;
        put(&mut gap, stage2::BLOCK_LIST, &2u32.to_le_bytes());
        put(&mut gap, stage2::BLOCK_LIST + 4, &following.to_le_bytes());
        put(&mut gap, stage2::BLOCK_LIST + 6, &stage2::SECOND_SEGMENT.to_le_bytes());
        put(&mut gap, self.path_at - 4, &stage2::DEVICE.to_le_bytes());
        put(&mut gap, self.path_at, path_text().as_bytes());
        BootArea { mbr_code, gap }
    }
}

/// What stage 1.5 passes on: the file to load, and that file's configuration.
fn path_text() -> String {
    format!("{STAGE2_PATH} {MENU_PATH}")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn has(bytes: &[u8], at: usize, expected: &[u8]) -> bool {
    bytes.get(at..at + expected.len()) == Some(expected)
}

pub(crate) fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The version string in a stage 1.5 or stage 2: at most 16 printable characters, empty when there is none.
pub(crate) fn version_at(stage: &[u8]) -> String {
    let text = stage.get(stage2::VERSION..).unwrap_or_default();
    text.iter().take(16).take_while(|b| b.is_ascii_graphic()).map(|&b| char::from(b)).collect()
}
