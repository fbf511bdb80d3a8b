//! What other systems leave on disks, and disks without a guest.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Whence, lseek};
use sha2::{Digest, Sha256};

/// The size of disks for data, in bytes: enough for all datasets of a first boot.
pub const DATA: u64 = 1 << 30;

/// The size of keys, in bytes, and where their partition begins.
const KEY: u64 = 40 << 20;
pub const PARTITION: u64 = 1 << 20;

/// A sector, as partition tables count.
const SECTOR: u64 = 512;

/// Makes a disk of zeroes with these pieces.
pub fn disk(path: &Path, bytes: u64, pieces: &[(u64, &[u8])]) {
    let file = File::create_new(path).expect("a new disk");
    file.set_len(bytes).expect("disks are sparse");
    for (at, piece) in pieces {
        file.write_all_at(piece, *at).expect("the disk takes it");
    }
}

/// Runs a program of the host, which must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let program = kiln_harness::tools::find(program).unwrap_or_else(|| panic!("{program} is missing"));
    let said = Command::new(&program).args(arguments).stdin(Stdio::null()).output().expect("it starts");
    assert!(
        said.status.success(),
        "{} {arguments:?}: {}",
        program.display(),
        String::from_utf8_lossy(&said.stderr)
    );
}

/// Makes a disk with one FAT partition that has these folders and files.
pub fn fat(path: &Path, folders: &[&str], files: &[(&str, &str)]) {
    let mut table = [0_u8; 512];
    table[446 + 4] = 0x0e;
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).expect("a small disk").to_le_bytes();
    table[454..458].copy_from_slice(&sectors(PARTITION));
    table[458..462].copy_from_slice(&sectors(KEY - PARTITION));
    table[510..].copy_from_slice(b"\x55\xaa");
    let partition = path.with_extension("partition");
    disk(&partition, KEY - PARTITION, &[]);
    let name = partition.to_str().expect("a plain name");
    run("mkfs.vfat", &["-F", "16", "-n", "KEY", name]);
    for folder in folders {
        run("mmd", &["-i", name, &format!("::{folder}")]);
    }
    for (to, text) in files {
        let from = path.with_extension("file");
        fs::write(&from, text).expect("a file");
        run("mcopy", &["-i", name, from.to_str().expect("a plain name"), &format!("::{to}")]);
    }
    let bytes = fs::read(&partition).expect("it is small");
    disk(path, KEY, &[(0, &table)]);
    copy_blocks(&bytes, &File::options().write(true).open(path).expect("it was made"), PARTITION);
    fs::remove_file(partition).expect("it is not needed");
}

/// Writes what is not zero.
fn copy_blocks(bytes: &[u8], to: &File, offset: u64) {
    for (at, block) in (offset..).step_by(4096).zip(bytes.chunks(4096)) {
        if block.iter().any(|&byte| byte != 0) {
            to.write_all_at(block, at).expect("the disk takes it");
        }
    }
}

/// A file of the FAT file system on a disk of [`fat`]; none when it is not there.
pub fn fat_file(disk: &Path, name: &str) -> Option<String> {
    let image = format!("{}@@{PARTITION}", disk.display());
    let program = kiln_harness::tools::find("mtype").expect("mtools");
    let said = Command::new(program).args(["-i", &image, &format!("::{name}")]).output().expect("it starts");
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
}

/// What a disk holds; holes and zeroes are the same.
pub fn digest(path: &Path) -> [u8; 32] {
    let mut digest = Sha256::new();
    blocks(path, |at, block| {
        digest.update(at.to_le_bytes());
        digest.update(block);
    });
    digest.finalize().into()
}

/// Makes one disk hold what another holds.
pub fn copy(from: &Path, to: &Path) {
    let file = File::options().write(true).open(to).expect("a disk");
    let bytes = file.metadata().expect("a file").len();
    file.set_len(0).and_then(|()| file.set_len(bytes)).expect("disks are sparse");
    blocks(from, |at, block| file.write_all_at(block, at).expect("it is as large"));
}

/// Shows the blocks of a disk that are not zero.
fn blocks(path: &Path, mut see: impl FnMut(u64, &[u8])) {
    let mut file = File::open(path).expect("a disk");
    let mut block = [0_u8; 4096];
    let mut at = 0;
    while let Ok(data) = lseek(&file, at, Whence::SeekData) {
        let end = lseek(&file, data, Whence::SeekHole).expect("data ends");
        let start = data / 4096 * 4096;
        file.seek(SeekFrom::Start(start.unsigned_abs())).expect("within the disk");
        for offset in (start.unsigned_abs()..end.unsigned_abs()).step_by(4096) {
            let mut length = 0;
            while length < block.len() {
                match file.read(&mut block[length..]).expect("it can be read") {
                    0 => break,
                    read => length += read,
                }
            }
            if block[..length].iter().any(|&byte| byte != 0) {
                see(offset, &block[..length]);
            }
        }
        at = end.max(start + 4096);
    }
}

/// The labels of the pool on a disk that ZFS of Linux partitioned: two at the beginning of its partition, two at its end.
pub fn labels(path: &Path) -> [u64; 4] {
    const LABEL: u64 = 256 << 10;
    let file = File::open(path).expect("a disk");
    let mut entry = [0_u8; 128];
    file.read_exact_at(&mut entry, 2 * SECTOR).expect("it has a GPT");
    let field = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
    let (first, end) = (field(32) * SECTOR, (field(40) + 1) * SECTOR / LABEL * LABEL);
    assert!(first > 0 && end > first, "the first partition is there");
    // A device is used up to a multiple of its labels' size, counted from where it begins.
    let length = (end - first) / LABEL * LABEL;
    let end = first + length;
    [first, first + LABEL, end - 2 * LABEL, end - LABEL]
}

/// Overwrites labels with something else.
pub fn damage(path: &Path, labels: &[u64]) {
    let file = File::options().write(true).open(path).expect("a disk");
    for &label in labels {
        file.write_all_at(&vec![0xa5; 256 << 10], label).expect("it is within the disk");
    }
}

/// A GPT with one partition, or an MBR with one, made by sfdisk.
pub fn partitioned(path: &Path, label: &str) {
    disk(path, DATA, &[]);
    let mut sfdisk = Command::new(kiln_harness::tools::find("sfdisk").expect("util-linux"));
    sfdisk.args(["-q", "--label", label]).arg(path).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = sfdisk.spawn().expect("it starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"start=2048\n").expect("it reads");
    assert!(child.wait().expect("it ends").success(), "sfdisk");
}
