//! The same with zfs-fuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_e2e::fuse_pool::FusePool;
use kiln_e2e::trees::{self, System};
use kiln_harness::{scratch, tools};
use kiln_zstream::fs::Version;
use tempfile::TempDir;

use crate::increments::{self, Case};
use crate::judge::{self, assert_same, read_file};
use crate::menagerie::{Extent, menagerie};

/// How many random trees there are, and with `KILN_LONG_TESTS`.
const CASES: u64 = 16;
const LONG_CASES: u64 = 300;

/// A pool that is mounted below a folder.
struct Mounted {
    zfs: PathBuf,
    pool: FusePool,
    folder: TempDir,
}

impl Mounted {
    /// `None` after a loud skip.
    fn create() -> Option<Self> {
        let zfs = tools::require("zfs")?;
        let folder = scratch::folder("fuse");
        let pool = FusePool::create(&folder.path().join("pool"))?;
        let mounted = Self { zfs, pool, folder };
        let below = format!("mountpoint={}", mounted.folder.path().join("mounts").display());
        mounted.run(&["set", &below, mounted.pool.name()], None, None);
        mounted.run(&["set", "atime=off", mounted.pool.name()], None, None);
        Some(mounted)
    }

    fn run(&self, arguments: &[&str], input: Option<&Path>, output: Option<&Path>) {
        let mut command = Command::new(&self.zfs);
        command.args(arguments).stdin(Stdio::null());
        if let Some(input) = input {
            command.stdin(fs::File::open(input).expect("the stream is there"));
        }
        if let Some(output) = output {
            command.stdout(fs::File::create(output).expect("the folder is writable"));
        }
        let said = command.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
        let said = said.expect("zfs runs");
        assert!(said.status.success(), "zfs {arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    }

    fn dataset(&self, name: &str) -> String {
        format!("{}/{name}", self.pool.name())
    }

    fn mount(&self, name: &str) -> PathBuf {
        self.folder.path().join("mounts").join(name)
    }

    fn receive(&self, name: &str, stream: &[u8]) {
        let path = self.folder.path().join("stream");
        fs::write(&path, stream).expect("the folder is writable");
        self.run(&["receive", &self.dataset(name)], Some(&path), None);
    }

    fn send(&self, arguments: &[&str]) -> Vec<u8> {
        let path = self.folder.path().join("sent");
        self.run(&[&["send"], arguments].concat(), None, Some(&path));
        read_file(&path)
    }

    fn list(&self, name: &str) -> String {
        trees::of_folder(&self.mount(name)).expect("it can be listed").lines
    }
}

/// One of everything, then random trees; one test, because the daemon is the machine's.
#[test]
fn zfs_fuse_takes_everything_and_goes_on_with_it() {
    let Some(mounted) = Mounted::create() else { return };
    // Without SEEK_HOLE nobody reads a terabyte.
    let tree = menagerie(Extent { sparse: Extent::SMALL.sparse, ..Extent::WHOLE });
    let sent = judge::full(&tree, Version::Four, 1);
    mounted.receive("everything", &sent);
    let wanted = trees::of_tree(&tree, System::Fuse).lines;
    assert_same(&mounted.list("everything"), &wanted, "everything");

    // What it keeps and does not show.
    let again = mounted.send(&[&format!("{}@final", mounted.dataset("everything"))]);
    let all = |tree| trees::of_tree(tree, System::OpenZfs).lines;
    assert_same(&all(&judge::read(&[&again]).tree), &all(&tree), "everything sent again");

    trees::alter(&mounted.mount("everything"), 1).expect("it can be altered");
    let altered = mounted.list("everything");
    let dataset = mounted.dataset("everything");
    mounted.run(&["snapshot", &format!("{dataset}@altered")], None, None);
    let full = mounted.send(&[&format!("{dataset}@altered")]);
    let increment = mounted.send(&["-i", &format!("{dataset}@final"), &format!("{dataset}@altered")]);
    for (streams, how) in
        [(&[&full[..]][..], "in full"), (&[&sent[..], &increment], "on top of what was received")]
    {
        let read = trees::of_tree(&judge::read(streams).tree, System::Fuse).lines;
        assert_same(&read, &altered, &format!("altered and sent {how}"));
    }

    let count = if increments::is_long() { LONG_CASES } else { CASES };
    for Case { name, steps, .. } in increments::random(count, Some(Version::Four), System::Fuse) {
        for (number, (stream, wanted)) in steps.iter().enumerate() {
            let name = format!("{name}-{number}");
            mounted.receive(&name, stream);
            assert_same(&mounted.list(&name), wanted, &name);
        }
    }
    mounted.pool.scrub();
}
