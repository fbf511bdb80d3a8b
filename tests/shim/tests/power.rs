//! Power loss: programs change files, the power is cut, and what is then there is compared whole.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;
use std::time::Duration;

use kiln_harness::{process, scratch};
use kiln_shim::guests::{self, Profile};
use kiln_shim::power::{self, Kind, Policy};
use kiln_shim::{Counts, Moment, Root, Settings};

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| guests::illumos("kiln-conformance", "kiln-conformance", Profile::Quick).unwrap());

/// A machine with a file system of each kind, `/fat` and `/pool`, and a folder outside both.
struct Machine {
    folder: tempfile::TempDir,
    root: Root,
}

impl Machine {
    /// Each file system holds `old`, `dir/deep` and a link.
    fn new() -> Self {
        let folder = scratch::folder("power");
        let root_folder = folder.path().join("root");
        fs::create_dir(&root_folder).unwrap();
        let root = Root::create(&root_folder, &Settings::default()).unwrap();
        root.install(&PROGRAM, "/sbin/program").unwrap();
        for top in ["/fat", "/pool", "/else"] {
            let top = root.host_path(top);
            fs::create_dir_all(top.join("dir")).unwrap();
            fs::write(top.join("old"), "old text").unwrap();
            fs::write(top.join("dir/deep"), "deep text").unwrap();
            symlink("old", top.join("link")).unwrap();
            for (path, mode) in [("old", 0o644), ("dir/deep", 0o644), ("dir", 0o755)] {
                fs::set_permissions(top.join(path), Permissions::from_mode(mode)).unwrap();
            }
        }
        power::begin(
            &folder.path().join("log"),
            &root_folder,
            &[(Kind::Pcfs, "/fat"), (Kind::Zfs, "/pool/")],
        )
        .unwrap();
        Self { folder, root }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Makes changes, with the kill point of `settings` if it has one.
    fn run(&self, changes: &[&str], refine: impl FnOnce(Settings) -> Settings) -> Output {
        let settings = refine(self.root.settings().power(self.log()));
        let mut command = self.root.command("/sbin/program", &settings);
        process::run(command.arg("change").args(changes), Duration::from_mins(1)).unwrap()
    }

    fn make(&self, changes: &[&str]) {
        let output = self.run(changes, |settings| settings);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn cut(&self, policy: Policy) -> usize {
        power::cut(&self.log(), policy).unwrap()
    }

    fn tree(&self, top: &str) -> String {
        let mut lines = Vec::new();
        list(&self.root.host_path(top), "", &mut lines);
        lines.sort();
        lines.join("\n")
    }
}

/// All that is below a folder: names, types, modes, owners, contents.
fn list(folder: &Path, prefix: &str, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        let found = fs::symlink_metadata(entry.path()).unwrap();
        let attributes = format!("{:o} {}", found.mode() & 0o7777, found.uid());
        if found.is_dir() {
            lines.push(format!("{name}/ {attributes}"));
            list(&entry.path(), &format!("{name}/"), lines);
        } else if found.is_symlink() {
            lines.push(format!("{name} -> {}", fs::read_link(entry.path()).unwrap().display()));
        } else {
            lines.push(format!("{name} {attributes} {:?}", fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// What a new machine holds.
static INITIAL: LazyLock<String> = LazyLock::new(|| Machine::new().tree("/fat"));

/// Every kind of change, of old and of new things, none of them synchronised; `TOP` is the file system.
const EVERYTHING: [&str; 31] = [
    "write TOP/new first-contents",
    "append TOP/new -and-more",
    "at TOP/old 2 in-the-middle",
    "length TOP/old 5",
    "length TOP/old 9",
    "mode TOP/old 600",
    "mkdir TOP/made",
    "write TOP/made/inside text",
    "rename TOP/new TOP/made/moved",
    "write TOP/new another-of-that-name",
    "rename TOP/new TOP/old",
    "write TOP/old in-place-of-the-old-one",
    "mode TOP/old 640",
    "link TOP/old TOP/second",
    "append TOP/second ++",
    "symlink nowhere TOP/made/link",
    "remove TOP/link",
    "symlink elsewhere TOP/link",
    "append TOP/dir/deep er",
    "remove TOP/dir/deep",
    "rmdir TOP/dir",
    "write TOP/dir a-file-now",
    "remove TOP/dir",
    "mkdir TOP/dir",
    "mkdir TOP/dir/sub",
    "write TOP/dir/sub/file deep-down",
    "rename TOP/dir TOP/made/dir",
    "rename TOP/made TOP/dir",
    "mode TOP/dir 700",
    "mkdir TOP/empty",
    "rename TOP/dir TOP/empty",
];

/// The calls of these: two more for each of the six that write a file.
const EVERYTHING_CALLS: usize = 43;

fn in_folder(changes: &[&str], top: &str) -> Vec<String> {
    changes.iter().map(|change| change.replace("TOP", top)).collect()
}

fn as_strs(changes: &[String]) -> Vec<&str> {
    changes.iter().map(String::as_str).collect()
}

#[test]
fn what_was_not_synchronised_is_undone_from_any_point() {
    for top in ["/fat", "/pool"] {
        let changes = in_folder(&EVERYTHING, top);
        let counts = Machine::new();
        let file = counts.folder.path().join("counts");
        assert!(counts.run(&as_strs(&changes), |settings| settings.count(&file)).status.success());
        assert_ne!(counts.tree(top), *INITIAL);
        let points = Counts::read(&file).unwrap().changes;
        assert!(points >= 40, "{points}");
        for point in 1..=points {
            let machine = Machine::new();
            let moment = if point % 2 == 0 { Moment::After } else { Moment::Half };
            machine.run(&as_strs(&changes), |settings| settings.kill_at(point, moment));
            assert!(machine.cut(Policy::Drop) > 0, "{point}");
            assert_eq!(machine.tree(top), *INITIAL, "{top}, {point}");
            // The log has begun anew, and nothing is kept.
            assert_eq!(machine.cut(Policy::Drop), 0);
            assert_eq!(fs::read_dir(machine.folder.path().join("log.kept")).unwrap().count(), 0);
        }
    }
}

#[test]
fn what_was_synchronised_stays() {
    for (top, durable) in
        [("/fat", "sync"), ("/pool", "sync"), ("/pool", "checkpoint"), ("/fat", "unmounted")]
    {
        for policy in Policy::ALL {
            let machine = Machine::new();
            machine.make(&as_strs(&in_folder(&EVERYTHING, top)));
            match durable {
                "sync" => machine.make(&["sync"]),
                "checkpoint" => power::checkpoint(&machine.log()).unwrap(),
                _ => power::unmounted(&machine.log(), top).unwrap(),
            }
            let before = machine.tree(top);
            assert_eq!(machine.cut(policy), 0, "{top} {durable}");
            assert_eq!(machine.tree(top), before, "{top} {durable} {policy:?}");
        }
    }
    // Each of the two is for its own file systems.
    let machine = Machine::new();
    machine.make(&["write /fat/new a", "write /pool/new b"]);
    power::checkpoint(&machine.log()).unwrap();
    machine.cut(Policy::Drop);
    assert_eq!(machine.tree("/fat"), *INITIAL);
    assert_ne!(machine.tree("/pool"), *INITIAL);
}

#[test]
fn a_kill_without_power_loss_keeps_everything() {
    let machine = Machine::new();
    machine.make(&as_strs(&in_folder(&EVERYTHING, "/fat")));
    let before = machine.tree("/fat");
    machine.cut(Policy::Keep);
    assert_eq!(machine.tree("/fat"), before);
}

#[test]
fn what_lies_elsewhere_is_left_alone() {
    let machine = Machine::new();
    machine.make(&as_strs(&in_folder(&EVERYTHING, "/else")));
    let before = machine.tree("/else");
    assert_eq!(machine.cut(Policy::Drop), 0);
    assert_eq!(machine.tree("/else"), before);
}

/// The whole root folder is a file system, but for one folder in it, and the log lies among its files; and without a root
/// folder, paths are those of the host.
#[test]
fn a_log_may_lie_anywhere() {
    let machine = Machine::new();
    let log = machine.root.host_path("/log");
    power::begin(&log, machine.root.folder(), &[(Kind::Zfs, "/"), (Kind::Pcfs, "/fat")]).unwrap();
    for top in ["/fat", "/pool"] {
        let changes = in_folder(&EVERYTHING, top);
        assert!(machine.run(&as_strs(&changes), |settings| settings.power(&log)).status.success());
    }
    power::unmounted(&log, "/fat").unwrap();
    assert_eq!(power::cut(&log, Policy::Drop).unwrap(), EVERYTHING_CALLS);
    assert_eq!(machine.tree("/pool"), *INITIAL);
    assert_ne!(machine.tree("/fat"), *INITIAL);

    let machine = Machine::new();
    let top = machine.root.host_path("/pool");
    let top = top.to_str().unwrap();
    power::begin(&machine.log(), Path::new("/"), &[(Kind::Zfs, top)]).unwrap();
    let mut command = kiln_shim::command(&PROGRAM, &Settings::default().power(machine.log()));
    let output =
        process::run(command.arg("change").args(in_folder(&EVERYTHING, top)), Duration::from_mins(1))
            .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(machine.cut(Policy::Drop), EVERYTHING_CALLS);
    assert_eq!(machine.tree("/pool"), *INITIAL);
}

/// Programs of Linux change the folders too, and are not in the log.
#[test]
fn what_others_have_done_since_is_respected() {
    let machine = Machine::new();
    machine.make(&[
        "write /pool/new text",
        "append /pool/old more",
        "mkdir /pool/made",
        "write /pool/dir/file text",
    ]);
    let pool = machine.root.host_path("/pool");
    for gone in ["new", "old"] {
        fs::remove_file(pool.join(gone)).unwrap();
    }
    fs::remove_dir_all(pool.join("dir")).unwrap();
    fs::write(pool.join("another"), "by a command").unwrap();
    fs::set_permissions(pool.join("another"), Permissions::from_mode(0o644)).unwrap();
    machine.cut(Policy::Drop);
    assert_eq!(machine.tree("/pool"), owned(&["another 644 UID \"by a command\"", "link -> old"]).join("\n"));
}

#[test]
fn each_folder_is_a_file_system() {
    for (from, to) in [("/fat/old", "/pool/new"), ("/pool/old", "/else/new"), ("/else/old", "/fat/new")] {
        for change in ["rename", "link"] {
            let output = Machine::new().run(&[&format!("{change} {from} {to}")], |settings| settings);
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(message.contains("(os error 18)"), "{message}");
        }
    }
}

/// What of the tree of a new machine is different after the changes and the cut: lines without and with.
fn difference(top: &str, changes: &[&str], policy: Policy) -> (Vec<String>, Vec<String>) {
    let machine = Machine::new();
    machine.make(&as_strs(&in_folder(changes, top)));
    machine.cut(policy);
    let after = machine.tree(top);
    let without = INITIAL.lines().filter(|line| !after.lines().any(|other| other == *line));
    let with = after.lines().filter(|line| !INITIAL.lines().any(|other| other == *line));
    (without.map(str::to_owned).collect(), with.map(str::to_owned).collect())
}

fn assert_difference(top: &str, changes: &[&str], policy: Policy, without: &[&str], with: &[&str]) {
    let (missing, more) = difference(top, changes, policy);
    assert_eq!((missing, more), (owned(without), owned(with)), "{top} {changes:?} {policy:?}");
}

/// Files of a test belong to whoever runs it.
fn owned(lines: &[&str]) -> Vec<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    lines.iter().map(|line| line.replace("UID", &uid)).collect()
}

const OLD: &str = "old 644 UID \"old text\"";

#[test]
fn fat_brings_names_and_contents_apart() {
    use Policy::{Drop, Empty, Half, Keep, Torn};
    let fat = |changes: &[&str], policy, without: &[&str], with: &[&str]| {
        assert_difference("/fat", changes, policy, without, with);
    };
    let write = ["write TOP/new 0123456789"];
    fat(&write, Keep, &[], &["new 644 UID \"0123456789\""]);
    fat(&write, Drop, &[], &[]);
    fat(&write, Empty, &[], &["new 644 UID \"\""]);
    fat(&write, Half, &[], &["new 644 UID \"01234\""]);
    // The name of a synchronised file is not its own.
    let synced = ["write TOP/new 0123456789", "fsync TOP/new"];
    fat(&synced, Drop, &[], &[]);
    fat(&synced, Empty, &[], &["new 644 UID \"0123456789\""]);
    // And its contents are not its directory's.
    let named = ["write TOP/new 0123456789", "fsync TOP"];
    fat(&named, Drop, &[], &["new 644 UID \"\""]);
    // The order of the two does not matter, and neither does what comes later.
    let both = [
        "write TOP/new 0123456789",
        "fsync TOP",
        "fsync TOP/new",
        "append TOP/new abcd",
        "rename TOP/new TOP/x",
    ];
    fat(&both, Drop, &[], &["new 644 UID \"0123456789\""]);
    fat(&both, Empty, &[], &["x 644 UID \"0123456789\""]);
    fat(&both, Half, &[], &["x 644 UID \"0123456789ab\""]);
    fat(&both, Torn, &[], &["new 644 UID \"0123456789abcd\""]);

    // Overwriting in place, truncating, and overwriting after that.
    fat(&["at TOP/old 0 NEW!"], Empty, &[], &[]);
    fat(&["at TOP/old 0 NEW-TEXT"], Half, &[OLD], &["old 644 UID \"NEW-text\""]);
    fat(&["length TOP/old 4"], Drop, &[], &[]);
    fat(&["write TOP/old 0123456789"], Drop, &[], &[]);
    fat(&["write TOP/old 0123456789"], Empty, &[OLD], &["old 644 UID \"\""]);
    fat(&["write TOP/old 0123456789"], Half, &[OLD], &["old 644 UID \"01234\""]);

    // The classic mistake: a rename without fsync.
    let careless = ["write TOP/tmp 0123456789", "rename TOP/tmp TOP/old"];
    fat(&careless, Drop, &[], &[]);
    fat(&careless, Empty, &[OLD], &["old 644 UID \"\""]);
    fat(&careless, Torn, &[OLD], &["tmp 644 UID \"0123456789\""]);
    // With it, and half of the rename on disk: the new name, or the end of the old one.
    let half = ["write TOP/tmp 0123456789", "fsync TOP/tmp", "fsync TOP", "rename TOP/tmp TOP/dir/deep"];
    fat(
        &[&half[..], &["fsync TOP/dir"]].concat(),
        Drop,
        &["dir/deep 644 UID \"deep text\""],
        &["dir/deep 644 UID \"0123456789\"", "tmp 644 UID \"0123456789\""],
    );
    fat(&[&half[..], &["fsync TOP"]].concat(), Drop, &[], &[]);
    let careful = ["write TOP/tmp 0123456789", "fsync TOP/tmp", "rename TOP/tmp TOP/old", "fsync TOP"];
    for policy in Policy::ALL {
        fat(&careful, policy, &[OLD], &["old 644 UID \"0123456789\""]);
    }
    // Attributes are those of the file.
    fat(&["mode TOP/old 600"], Drop, &[], &[]);
    fat(
        &["mode TOP/old 600", "fsync TOP/old", "mode TOP/old 755"],
        Drop,
        &[OLD],
        &["old 600 UID \"old text\""],
    );
}

#[test]
fn zfs_keeps_the_order() {
    use Policy::{Drop, Empty, Half, Keep, Torn};
    let zfs = |changes: &[&str], policy, without: &[&str], with: &[&str]| {
        assert_difference("/pool", changes, policy, without, with);
    };
    let write = ["write TOP/new 0123456789"];
    zfs(&write, Keep, &[], &["new 644 UID \"0123456789\""]);
    for policy in [Drop, Empty] {
        zfs(&write, policy, &[], &[]);
    }
    // A synchronised file has its name, and all names made before it; their contents are their own.
    let synced = [
        "write TOP/other text",
        "mkdir TOP/made",
        "write TOP/new 0123456789",
        "fsync TOP/new",
        "remove TOP/old",
    ];
    let three = ["made/ 755 UID", "new 644 UID \"0123456789\"", "other 644 UID \"\""];
    zfs(&synced, Drop, &[], &three);
    // A file that was renamed goes with the names.
    let renamed = [
        "write TOP/tmp 0123456789",
        "rename TOP/tmp TOP/old",
        "mkdir TOP/made",
        "fsync TOP/made",
        "append TOP/old x",
    ];
    zfs(&renamed, Drop, &[OLD], &["made/ 755 UID", "old 644 UID \"0123456789\""]);
    // Before anything is synchronised it does not: old or new, whole.
    let careless = ["write TOP/tmp 0123456789", "rename TOP/tmp TOP/old"];
    zfs(&careless, Drop, &[], &[]);
    zfs(&careless, Torn, &[OLD], &["old 644 UID \"0123456789\""]);
    // Of four calls the first two; a rename is one.
    let four = ["mkdir TOP/one", "mkdir TOP/two", "mkdir TOP/three", "mkdir TOP/four"];
    zfs(&four, Half, &[], &["one/ 755 UID", "two/ 755 UID"]);
    let two = ["rename TOP/old TOP/new", "mkdir TOP/made"];
    zfs(&two, Half, &[OLD], &["new 644 UID \"old text\""]);
    zfs(
        &["mode TOP/old 600", "fsync TOP/old", "mode TOP/old 755"],
        Drop,
        &[OLD],
        &["old 600 UID \"old text\""],
    );
}

/// What every careful program relies on, killed and unplugged at every point.
#[test]
fn a_careful_replacement_leaves_the_old_or_the_new_file() {
    let changes = ["write TOP/tmp 0123456789", "fsync TOP/tmp", "rename TOP/tmp TOP/old", "fsync TOP"];
    let wanted = ["old text", "0123456789"];
    for (top, policies) in [("/pool", &Policy::ALL[..]), ("/fat", &Policy::ALL[..4])] {
        let mut seen = [0; 2];
        for point in 1..=6 {
            for moment in [Moment::Before, Moment::After, Moment::Half] {
                for policy in policies {
                    let machine = Machine::new();
                    machine
                        .run(&as_strs(&in_folder(&changes, top)), |settings| settings.kill_at(point, moment));
                    machine.cut(*policy);
                    let text = fs::read_to_string(machine.root.host_path(top).join("old")).unwrap();
                    let which = wanted.iter().position(|wanted| text == *wanted);
                    seen[which.unwrap_or_else(|| panic!("{top} {point} {moment:?} {policy:?}: {text}"))] += 1;
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}

#[test]
fn owners_come_back() {
    let machine = Machine::new();
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED owners_come_back: only root gives files away");
        return;
    }
    machine.make(&["owner /pool/old 5", "fsync /pool/old", "owner /pool/old 6", "owner /pool/dir 7"]);
    machine.cut(Policy::Drop);
    assert_eq!(machine.tree("/pool"), INITIAL.replace(&owned(&[OLD])[0], "old 644 5 \"old text\""));
}
