//! The Linux UFS driver mounts boot archives and sees the tree that is in them.

use std::fs;

use kiln_harness::guest::Guest;
use kiln_harness::{fixtures, scratch};

/// Mounts the disk `image` and lists what is in it, as the fixtures' lists do: octal mode, owner, group, size, SHA-1
/// of the content or of the link's target, path; directories have no size.
const LIST: &str = r#"
set -euo pipefail
mount -t ufs -o ro,ufstype=sunx86 /dev/disk/by-id/virtio-image /mnt
cat >/tmp/list.py <<'END'
import hashlib, os, stat
for folder, folders, files in os.walk("/mnt"):
    for name in folders + files:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        size, digest = "-", ""
        if stat.S_ISLNK(status.st_mode):
            size, digest = status.st_size, hashlib.sha1(os.fsencode(os.readlink(path))).hexdigest()
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                size, digest = status.st_size, hashlib.sha1(file.read()).hexdigest()
        print("%o %d %d %s %s %s" % (status.st_mode, status.st_uid, status.st_gid, size, digest, path[4:]))
END
python3 /tmp/list.py
umount /mnt
"#;

/// The lines of a list in the order of their bytes.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn assert_mounts(image: &str, list: &str) {
    let Some(guest) = Guest::find() else { return };
    let folder = scratch::folder("mount");
    let image = fixtures::unpack(image, folder.path());
    let seen = guest.disk("image", image).run(LIST).expect("the guest runs").succeeded();
    let expected = fixtures::text(list);
    assert_eq!(sorted(&seen), sorted(&expected));
}

#[test]
fn linux_sees_every_entry_of_a_populated_archive() {
    assert_mounts("ufs/populated16m.img.gz", "ufs/populated16m.list");
}

#[test]
fn linux_sees_the_same_entries_after_growing() {
    assert_mounts("ufs/populated16m-grown40m.img.gz", "ufs/populated16m.list");
}

#[test]
fn linux_refuses_an_archive_without_a_super_block() {
    let Some(guest) = Guest::find() else { return };
    let folder = scratch::folder("mount");
    let image = fixtures::unpack("ufs/populated16m.img.gz", folder.path());
    let mut bytes = fs::read(&image).expect("the fixture was just written");
    // The super block is the 8 KiB from 8 KiB on.
    bytes[0x2000..0x4000].fill(0);
    fs::write(&image, bytes).expect("the scratch folder is writable");
    let done = guest.disk("image", image).run(LIST).expect("the guest runs");
    assert_ne!(done.status, 0);
}
