//! What is on the disks of a guest, to the byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kiln_simulator::Machine;
use rustix::fs::SeekFrom as Extent;
use sha2::{Digest, Sha256};

/// Every file of the machine that outlasts a boot, with a digest: disks, the key, pools with all that is known of them.
///
/// # Panics
/// Something cannot be read.
pub fn on_disks(machine: &Machine) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in ["disks", "key", "pools"] {
        digests(&machine.folder().join(folder), folder, &mut found);
    }
    found
}

/// The same of one folder, each path under a name that begins with `name`.
///
/// # Panics
/// Something cannot be read.
pub fn digests(folder: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a file of the machine can be read") {
        let path = entry.expect("a file of the machine can be read").path();
        let shown = format!(
            "{name}/{}",
            path.file_name().expect("a file of the machine can be read").to_string_lossy()
        );
        let about = fs::symlink_metadata(&path).expect("a file of the machine can be read");
        let contents = if about.is_symlink() {
            format!("-> {}", fs::read_link(&path).expect("a file of the machine can be read").display())
        } else if about.is_file() {
            digest(&path)
        } else {
            String::new()
        };
        let owner = (about.uid(), about.gid());
        found.insert(shown.clone(), format!("{:o} {owner:?} {contents}", about.mode()));
        if about.is_dir() {
            digests(&path, &shown, found);
        }
    }
}

/// A digest of what is in a file and where. Disks of 10 GiB are nearly all hole, which is not read.
fn digest(path: &Path) -> String {
    let mut file = File::open(path).expect("a file of the machine can be read");
    let mut digest = Sha256::new();
    let mut at = 0;
    let mut block = vec![0; 1 << 20];
    while let Ok(start) = rustix::fs::seek(&file, Extent::Data(at)) {
        let end = rustix::fs::seek(&file, Extent::Hole(start)).expect("a file of the machine can be read");
        file.seek(SeekFrom::Start(start)).expect("a file of the machine can be read");
        let mut rest = (&mut file).take(end - start);
        let mut offset = start;
        loop {
            let count = rest.read(&mut block).expect("a file of the machine can be read");
            if count == 0 {
                break;
            }
            // Where a file system keeps zeros instead of a hole is no difference.
            if block[..count].iter().any(|&byte| byte != 0) {
                digest.update(offset.to_le_bytes());
                digest.update(&block[..count]);
            }
            offset += count as u64;
        }
        at = end;
    }
    format!("{} {:?}", file.metadata().expect("a file of the machine can be read").len(), digest.finalize())
}
