//! What a program sees of a disk.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};

use nix::errno::Errno;
use nix::libc;

/// usr/src/uts/common/sys/dkio.h.
const DKIOCREMOVABLE: i32 = 0x410;
const DKIOCGMEDIAINFO: i32 = 0x42a;

/// `struct dk_minfo` of the same header.
#[repr(C)]
#[derive(Default)]
struct MediaInfo {
    kind: u32,
    block_size: u32,
    blocks: u64,
}

/// Prints the kind of the two files, the answers of the disk, and what reading a block and reading half of one gives.
pub fn tell(path: &str) -> Result<u8, Box<dyn Error>> {
    let disk = File::open(path)?;
    let by_path = fs::metadata(path)?;
    println!(
        "character {} block {}",
        by_path.file_type().is_char_device(),
        by_path.file_type().is_block_device()
    );
    println!("link {}", fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink()));
    println!("open character {}", disk.metadata()?.file_type().is_char_device());
    let (mut info, mut removable) = (MediaInfo::default(), -1_i32);
    // SAFETY: each request fills in the type it is given, which stays alive.
    let told = unsafe {
        Errno::result(libc::ioctl(disk.as_raw_fd(), DKIOCGMEDIAINFO as _, &raw mut info)).and_then(|_| {
            Errno::result(libc::ioctl(disk.as_raw_fd(), DKIOCREMOVABLE as _, &raw mut removable))
        })
    };
    match told {
        Ok(_) => println!(
            "kind {:#x} block {} blocks {} removable {removable}",
            info.kind, info.block_size, info.blocks
        ),
        Err(error) => println!("{error}"),
    }
    let mut bytes = [0; 512];
    match disk.read_exact_at(&mut bytes, 512) {
        Ok(()) => println!("read {}", bytes[0]),
        Err(error) => println!("{error}"),
    }
    match disk.read_exact_at(&mut bytes[..100], 512) {
        Ok(()) => println!("read part"),
        Err(error) => println!("{error}"),
    }
    Ok(0)
}

/// Writes a block, which nothing of ours must do.
pub fn scribble(path: &str) -> Result<u8, Box<dyn Error>> {
    let mut disk = OpenOptions::new().write(true).open(path)?;
    disk.write_all(&[7; 512])?;
    Ok(0)
}
