//! A stand-in of the original's 1 GB template disk image, made with stock tools: mtools and Debian's GRUB legacy.
//!
//! Its geometry is that of the original: a partition at LBA 63 that is not marked active, and a FAT32 in it whose boot
//! record says 0 hidden sectors and a total that reaches past the partition to the end of the disk.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_harness::tools;

/// Bytes of the image.
pub const SIZE: u64 = 1_000_000_000;
/// Where Debian keeps GRUB legacy's stage files.
pub const STAGES: &str = "/usr/lib/grub/x86_64-pc";

/// Makes the template; `false` after a loud skip when a tool is missing.
///
/// # Panics
/// A tool failed.
pub fn make(path: &Path) -> bool {
    let (Some(mformat), Some(mmd), Some(mcopy), Some(grub)) =
        (tools::require("mformat"), tools::require("mmd"), tools::require("mcopy"), tools::require("grub"))
    else {
        return false;
    };
    File::create(path).and_then(|file| file.set_len(SIZE)).expect("the folder is writable");
    let mut table = [0; 66];
    table[..8].copy_from_slice(&[0, 1, 1, 0, 0x0C, 254, 63, 120]);
    table[8..12].copy_from_slice(&63_u32.to_le_bytes());
    table[12..16].copy_from_slice(&1_943_802_u32.to_le_bytes());
    table[64..].copy_from_slice(&[0x55, 0xAA]);
    let disk = OpenOptions::new().write(true).open(path).expect("the image was just made");
    disk.write_all_at(&table, 446).expect("the disk has room");
    drop(disk);

    let at = format!("{}@@{}", path.display(), 63 * 512);
    let run = |tool: &Path, arguments: &[&str]| {
        let status = Command::new(tool).args(["-i", &at]).args(arguments).status().expect("the tool starts");
        assert!(status.success(), "{} {arguments:?}", tool.display());
    };
    let format = "-F -c 8 -h 64 -s 32 -H 0 -T 1953062 -R 32 -v HEADNODE -N C9F7537B ::";
    run(&mformat, &format.split(' ').collect::<Vec<_>>());
    run(&mmd, &["::/boot", "::/boot/grub"]);
    for stage in ["stage1", "stage2", "fat_stage1_5"] {
        run(&mcopy, &[&format!("{STAGES}/{stage}"), "::/boot/grub/"]);
    }
    let commands = format!("device (hd0) {}\nroot (hd0,0)\nsetup (hd0)\nquit\n", path.display());
    let script = path.with_extension("grub");
    fs::write(&script, commands).expect("the folder is writable");
    let said = Command::new(grub)
        .args(["--batch", "--device-map=/dev/null"])
        .stdin(File::open(&script).expect("the script was just written"))
        .stderr(Stdio::inherit())
        .output()
        .expect("grub starts");
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("/boot/grub/menu.lst\"... succeeded"), "{said}");
    true
}
