//! What the tests have in common: streams, what is listed, and the guest with its script.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_e2e::trees::Listed;
use kiln_harness::guest::{Done, Guest};
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::{
    self as zfs, FileSystem, FileSystemOptions, IncrementOptions, Objects, Tree, Version,
};

/// What the scripts begin with.
pub const PRELUDE: &str = r#"
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
cp witness /tmp/witness
chmod 755 /tmp/witness

step() { echo "$(cut -d' ' -f1 /proc/uptime) $*"; }

# zfs reads and writes streams in small pieces, each of which would be a message to the host if it did so itself.
receive() { cat "$1" | zfs receive "$2"; }
keep() { dd obs=1M status=none of="$OUT/$1"; }

# Makes the pools old, of 2010; bare, without any feature; and full, with all of them.
pools() {
    disk=/dev/disk/by-id/virtio-scratch
    printf ',2G\n,2G\n,\n' | sfdisk -q --label gpt "$disk"
    udevadm settle
    zpool create -o version=28 -O atime=off old "$disk-part1"
    zpool create -d -O atime=off bare "$disk-part2"
    zpool create -O atime=off full "$disk-part3"
    step "pools"
}

# Fails if any pool or the kernel has something to complain of.
sound() {
    local pool
    for pool; do
        zpool scrub -w "$pool"
        zpool status -v "$pool" | grep -q 'errors: No known data errors'
        zpool export "$pool"
        zdb -e -p /dev/disk/by-id -bcc "$pool" >"/tmp/zdb-$pool" 2>&1 || { tail -n 40 "/tmp/zdb-$pool" >&2; exit 1; }
        zpool import -d /dev/disk/by-id "$pool"
        step "$pool is sound"
    done
    if dmesg | grep -E 'VERIFY|PANIC|Oops|BUG:|Call Trace|WARNING:' >&2; then exit 1; fi
}
"#;

/// A file system that was read, its contents in memory.
pub type Stored = FileSystem<DeviceStore<Vec<u8>>>;

/// The full stream of a tree.
pub fn full(tree: &Tree, version: Version, guid: u64) -> Vec<u8> {
    let options = FileSystemOptions {
        to_name: "zones/image@final".into(),
        to_guid: guid,
        creation_time: 1_400_000_000,
        version,
    };
    zfs::write(Vec::new(), tree, &options).expect("the tree can be written").0
}

/// The stream that makes a tree of an origin.
pub fn increment(tree: &Tree, origin: &Stored, guid: u64) -> Vec<u8> {
    let options =
        IncrementOptions { to_name: "zones/next@final".into(), to_guid: guid, creation_time: 1_400_000_001 };
    zfs::write_increment(Vec::new(), tree, origin, &options).expect("the tree can be written").0
}

/// What streams have, each on top of the one before.
pub fn read(streams: &[&[u8]]) -> Stored {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    for stream in streams {
        objects.apply(*stream).unwrap_or_else(|error| panic!("the stream cannot be read: {error}"));
    }
    zfs::read(objects).unwrap_or_else(|error| panic!("the file system cannot be read: {error}"))
}

/// Fails unless two listings are the same, and shows where they begin to differ.
pub fn assert_same(found: &str, wanted: &str, what: &str) {
    if found == wanted {
        return;
    }
    let path = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    let (found, wanted): (HashMap<String, &str>, HashMap<String, &str>) = (
        found.lines().map(|line| (path(line), line)).collect(),
        wanted.lines().map(|line| (path(line), line)).collect(),
    );
    let mut differences: Vec<String> = Vec::new();
    for (path, wanted) in &wanted {
        match found.get(path) {
            None => differences.push(format!("missing: {wanted}")),
            Some(found) if found != wanted => differences.push(format!("found:  {found}\nwanted: {wanted}")),
            Some(_) => {}
        }
    }
    differences.extend(
        found
            .iter()
            .filter(|(path, _)| !wanted.contains_key(*path))
            .map(|(_, line)| format!("too much: {line}")),
    );
    differences.sort();
    let count = differences.len();
    differences.truncate(12);
    panic!("{what}: {count} lines differ\n{}", differences.join("\n"));
}

/// Fails if files take more of a disk than their contents without holes need.
pub fn assert_sparse(allocated: &str, listed: &Listed, what: &str) {
    // For each block that is not zeros, itself and blocks of pointers to it; and something for each file.
    const BLOCK: u64 = 128 << 10;
    const BESIDE: u64 = 64 << 10;
    let filled: HashMap<&str, u64> =
        listed.filled.iter().map(|(path, filled)| (path.as_str(), *filled)).collect();
    let mut files = 0;
    for line in allocated.lines() {
        let (path, bytes) = line.split_once('\t').expect("a path and a number");
        let (bytes, pieces) = (bytes.parse::<u64>().expect("a number"), filled[path]);
        assert!(
            bytes <= pieces * (BLOCK + BESIDE) + BESIDE,
            "{what}: {path} takes {bytes} bytes for {pieces} blocks"
        );
        files += 1;
    }
    assert_eq!(files, filled.len(), "{what}");
}

/// The guest with ZFS, files for it, and what it left.
pub struct Bench {
    guest: Guest,
    folder: tempfile::TempDir,
}

impl Bench {
    /// `None` after a loud skip when there is no guest.
    pub fn open() -> Option<Self> {
        let guest = Guest::find()?.zfs().file("witness", env!("CARGO_BIN_EXE_witness"));
        let guest = guest.scratch_mib(8192).deadline(Duration::from_mins(30));
        Some(Self { guest, folder: kiln_harness::scratch::folder("judge") })
    }

    /// Gives the guest a file.
    pub fn file(&mut self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("the scratch folder is writable");
        self.guest = self.guest.clone().file(name, path);
    }

    /// Gives the guest so long to end.
    pub fn deadline(&mut self, deadline: Duration) {
        self.guest = self.guest.clone().deadline(deadline);
    }

    /// Runs a script, which must succeed.
    pub fn run(&self, script: &str) -> Results {
        let done = self.guest.run(&format!("{PRELUDE}{script}")).expect("the guest runs");
        println!("{}", done.succeeded());
        Results(done)
    }
}

/// What a script left.
pub struct Results(Done);

impl Results {
    fn path(&self, name: &str) -> PathBuf {
        self.0.results().join(name)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        read_file(&self.path(name))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).expect("listings are text")
    }
}

pub fn read_file(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
