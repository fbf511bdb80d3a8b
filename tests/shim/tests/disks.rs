//! Disks: what programs are told of them, and that nobody writes to one unseen.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use kiln_harness::{process, scratch};
use kiln_shim::disks::{self, Disk};
use kiln_shim::guests::{self, Profile};
use kiln_shim::{Root, Settings, trace};

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| guests::illumos("kiln-conformance", "kiln-conformance", Profile::Quick).unwrap());

/// A root folder with disks.
struct Machine {
    folder: tempfile::TempDir,
    root: Root,
    settings: Settings,
}

impl Machine {
    fn new(disks: impl FnOnce(&Path) -> Vec<Disk>) -> Self {
        let folder = scratch::folder("disks");
        let root_folder = folder.path().join("root");
        fs::create_dir(&root_folder).unwrap();
        let (table, lines) = (folder.path().join("table"), folder.path().join("trace"));
        let disks = disks(folder.path());
        disks::write(&disks, &table).unwrap();
        assert_eq!(disks::read(&table).unwrap(), disks);
        let root = Root::create(&root_folder, &Settings::default().disks(table).trace(lines)).unwrap();
        disks::populate(&root_folder, &disks).unwrap();
        root.install(&PROGRAM, "/sbin/program").unwrap();
        let settings = root.settings();
        Self { folder, root, settings }
    }

    /// What the program says on both outputs.
    fn say(&self, arguments: &[&str]) -> String {
        let mut command = self.root.command("/sbin/program", &self.settings);
        let output = process::run(command.args(arguments), Duration::from_mins(1)).unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
    }

    /// The calls that wrote to disks so far, with their results.
    fn written(&self) -> Vec<(String, String)> {
        let calls = trace::read(&self.folder.path().join("trace")).unwrap();
        trace::disk_writes(&calls).iter().map(|call| (call.name.clone(), call.result.clone())).collect()
    }
}

fn file(folder: &Path, name: &str, size: usize) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, (0..size).map(|at| (at / 512) as u8).collect::<Vec<u8>>()).unwrap();
    path
}

const SEEN: &str = "character true block false\nlink true\nopen character true\n";

#[test]
fn a_file_plays_a_disk() {
    let machine = Machine::new(|folder| {
        vec![
            Disk::new("c1t0d0p0", file(folder, "data", 1024 * 1024)),
            Disk::new("c2t0d0p0", file(folder, "key", 4096)).removable(),
            Disk::new("c3t0d0p0", file(folder, "large", 65536)).block_size(4096),
        ]
    });
    let refused = "Invalid argument (os error 22)\n";
    assert_eq!(
        machine.say(&["disk", "/dev/rdsk/c1t0d0p0"]),
        format!("{SEEN}kind 0x10001 block 512 blocks 2048 removable 0\nread 1\n{refused}")
    );
    assert_eq!(
        machine.say(&["disk", "/dev/rdsk/c2t0d0p0"]),
        format!("{SEEN}kind 0x10001 block 512 blocks 8 removable 1\nread 1\n{refused}")
    );
    assert_eq!(
        machine.say(&["disk", "/dev/rdsk/c3t0d0p0"]),
        format!("{SEEN}kind 0x10001 block 4096 blocks 16 removable 0\n{refused}{refused}")
    );
    assert!(
        machine.say(&["disk", "/dev/dsk/c1t0d0p0"]).starts_with("character false block true\nlink true\n")
    );
    assert_eq!(machine.say(&["disk", "/dev/rdsk/c9t0d0p0"]), "No such file or directory (os error 2)\n");
    let names: Vec<_> = fs::read_dir(machine.root.host_path("/dev/rdsk")).unwrap().collect();
    assert_eq!(names.len(), 3);

    let calls = trace::read(&machine.folder.path().join("trace")).unwrap();
    let asked =
        |what| calls.iter().filter(|call| call.change.is_some() && call.arguments.ends_with(what)).count();
    assert_eq!((asked("DKIOCGMEDIAINFO"), asked("DKIOCREMOVABLE")), (4, 4));

    // What is no disk has no such answers, and is read in any pieces.
    fs::write(machine.root.host_path("/file"), [3; 1024]).unwrap();
    let told = machine.say(&["disk", "/file"]);
    assert!(told.ends_with("ENOTTY: Not a typewriter\nread 3\nread part\n"), "{told}");
    assert_eq!(machine.written(), []);
}

#[test]
fn writing_to_a_disk_shows() {
    let machine = Machine::new(|folder| vec![Disk::new("c1t0d0p0", file(folder, "data", 4096))]);
    assert_eq!(machine.say(&["scribble", "/dev/rdsk/c9t0d0p0"]), "No such file or directory (os error 2)\n");
    let tried = ("disk_open".to_owned(), "-1 ENOENT".to_owned());
    assert_eq!(machine.written(), [tried]);
    assert_eq!(machine.say(&["scribble", "/dev/dsk/c1t0d0p0"]), "");
    let written = machine.written();
    assert_eq!(written.len(), 3, "{written:?}");
    assert_eq!((written[1].0.as_str(), written[2].0.as_str()), ("disk_open", "disk_write"));
    assert_eq!(written[2].1, "512");
    assert_eq!(fs::read(machine.folder.path().join("data")).unwrap()[..512], [7; 512]);
}

/// A loop device over a file, where this machine allows it; detached in the end.
struct Loop(String);

impl Loop {
    fn new(file: &Path) -> Option<Self> {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--sector-size", "4096"])
            .arg(file)
            .output()
            .ok()?;
        output.status.success().then(|| Self(String::from_utf8(output.stdout).unwrap().trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A loop device that stays is no harm to the next run.
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// A block device is asked: its blocks are not what the table says.
#[test]
fn a_block_device_answers_for_itself() {
    let folder = scratch::folder("loop");
    let Some(device) = Loop::new(&file(folder.path(), "data", 1024 * 1024)) else {
        assert!(std::env::var_os("KILN_REQUIRE_TOOLS").is_none(), "no loop device can be made");
        eprintln!("SKIPPED a_block_device_answers_for_itself: no loop device can be made");
        return;
    };
    let machine = Machine::new(|_| vec![Disk::new("c1t0d0p0", &device.0).removable()]);
    let told = machine.say(&["disk", "/dev/rdsk/c1t0d0p0"]);
    assert!(told.contains("character true block false\n"), "{told}");
    assert!(told.contains("kind 0x10001 block 4096 blocks 256 removable 1\n"), "{told}");
    assert_eq!(machine.written(), []);
}
