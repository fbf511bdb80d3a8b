//! A disk made by hand: the loader, one partition entry, and behind LBA 2048 the kernel, the archive and its
//! digest.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kiln_bootdisk::builtin::{BootTable, FileOnDisk};
use kiln_bootdisk::disk::BootArea;
use kiln_bootdisk::menu::Menu;
use sha1::{Digest as _, Sha1};

use crate::nested_build;

pub const STAMP: &str = "20141030T081701Z";
pub const PASSWORD_HASH: &str = "$5$saltsalt$wordwordword";
const FIRST_FILE_LBA: u64 = 2048;

/// The kernel of the stand-in platform, compiled once for all tests of this run.
pub fn kernel() -> &'static [u8] {
    static KERNEL: OnceLock<Vec<u8>> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stand-in/kernel");
        let folder = folder.canonicalize().expect("the kernel's sources are in this repository");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stand-in-kernel");
        let path = nested_build::build_bare(&folder, "unix", "kernel.ld", &[], &target);
        fs::read(path).expect("cargo has just written it")
    })
}

/// The lower-case digits of SHA-1 and the end of the line.
pub fn hash_file(archive: &[u8]) -> Vec<u8> {
    let mut line = String::new();
    for byte in Sha1::digest(archive) {
        write!(line, "{byte:02x}").expect("a string takes any text");
    }
    line.push('\n');
    line.into_bytes()
}

pub fn retro_menu(timeout_seconds: u32) -> Menu {
    Menu::retro(STAMP, PASSWORD_HASH, &[], timeout_seconds).unwrap()
}

/// Files in the order in which they lie on the disk.
pub struct Disk {
    files: Vec<(String, Vec<u8>)>,
}

impl Disk {
    pub fn new(archive: Vec<u8>, hash: Vec<u8>) -> Self {
        let platform = format!("/os/{STAMP}/platform/i86pc");
        Self {
            files: vec![
                (format!("{platform}/kernel/amd64/unix"), kernel().to_vec()),
                (format!("{platform}/amd64/boot_archive"), archive),
                (format!("{platform}/amd64/boot_archive.hash"), hash),
            ],
        }
    }

    fn places(&self) -> impl Iterator<Item = (&str, u64, &[u8])> {
        let mut next = FIRST_FILE_LBA;
        self.files.iter().map(move |(path, content)| {
            let lba = next;
            next += content.len().div_ceil(512) as u64;
            (path.as_str(), lba, content.as_slice())
        })
    }

    pub fn table(&self, menu: &Menu) -> BootTable {
        let locate = |wanted: &str| {
            let (_, first_lba, content) = self.places().find(|&(path, ..)| path == wanted)?;
            let head = content.get(..8192).unwrap_or(content);
            Some(FileOnDisk { first_lba, bytes: content.len() as u64, head })
        };
        BootTable::plan(menu, 0, locate).unwrap()
    }

    /// Writes the disk to `folder` and returns its path.
    pub fn write(&self, folder: &Path, area: &BootArea) -> PathBuf {
        let mut disk = area.mbr_code.to_vec();
        disk.resize(512, 0);
        disk[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x0C, 0, 0, 0, 0, 8, 0, 0, 0, 0x40, 0, 0]);
        disk[510..512].copy_from_slice(&[0x55, 0xAA]);
        disk.extend_from_slice(&area.gap);
        for (_, lba, content) in self.places() {
            disk.resize(lba as usize * 512, 0);
            disk.extend_from_slice(content);
        }
        disk.resize(disk.len().next_multiple_of(1 << 20), 0);
        let path = folder.join("disk.raw");
        fs::write(&path, disk).unwrap();
        path
    }
}
