//! Where `kiln retro` writes: folders that cannot be written to, names that are taken, disks that are full.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_e2e::{Lab, STAMP, Said};
use kiln_harness::tools;
use serde_json::Value;

/// KiB of the boot archives here.
const ARCHIVE_KIB: u32 = 8192;

/// The flags of every build here.
const RETRO: [&str; 4] = ["retro", STAMP, "--version", "test"];

fn names() -> [String; 2] {
    ["manifest", "zvol.gz"].map(|suffix| format!("smartos-retro-{STAMP}-test.{suffix}"))
}

fn lab() -> Option<Lab> {
    let lab = Lab::open()?;
    lab.platform(ARCHIVE_KIB);
    Some(lab)
}

/// All paths below a folder, sorted.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(paths(&entry.path()));
        }
        found.push(entry.path());
    }
    found.sort();
    found
}

/// Runs kiln from a shell that prepares something with `before`.
fn after(lab: &Lab, before: &str, flags: &[&str]) -> Said {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]).arg(lab.command().get_program());
    let output = shell.args(RETRO).args(flags).current_dir(lab.path()).output().unwrap();
    Said::from(&output)
}

/// Runs a shell script with mounts of its own, which name kiln `$0`, or skips loudly where users may not have any.
fn with_mounts(lab: &Lab, script: &str) -> Option<Said> {
    let unshare = tools::require("unshare")?;
    let run = |script: &str| {
        let mut command = Command::new(&unshare);
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        Said::from(&command.arg(lab.command().get_program()).current_dir(lab.path()).output().unwrap())
    };
    let said = run("mount -t tmpfs tmpfs data");
    if said.status != 0 {
        tools::missing(&format!("the right to mount in a user namespace ({})", said.stderr.trim()));
        return None;
    }
    Some(run(script))
}

#[test]
fn outputs_that_cannot_be_written() {
    let Some(lab) = lab() else { return };
    fs::write(lab.join("file"), "").unwrap();
    symlink("nowhere", lab.join("dangling")).unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("file", &["file is a file: the output needs a folder"]),
        ("file/below", &["cannot make the output folder file/below: file is a file"]),
        ("new/../file", &["file is a file: the output needs a folder"]),
        (
            "dangling",
            &["cannot make the output folder dangling: dangling is a link to nowhere, which does not exist"],
        ),
        ("dangling/below", &["dangling is a link to nowhere, which does not exist"]),
        ("/proc/kiln", &["/proc/kiln"]),
    ];
    let before = paths(lab.path());
    for (output, expected) in cases {
        let said = lab.kiln(&[&RETRO[..], &["--output", output]].concat());
        assert_eq!(said.status, 1, "{output}: {}", said.stderr);
        for text in expected.iter().chain(&["hint: choose a folder that you may write to with --output"]) {
            assert!(said.stderr.contains(text), "{output}: expected '{text}' in:\n{}", said.stderr);
        }
        assert_eq!(paths(lab.path()), before, "{output}");
    }
}

/// root may write everywhere, so root becomes nobody for this.
#[test]
fn a_folder_that_may_only_be_read() {
    let Some(lab) = lab() else { return };
    // Below the world's temporary folder, because the way to the lab may be closed to other users.
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let (kiln, platform) = (home.path().join("kiln"), home.path().join("p.tgz"));
    fs::copy(lab.command().get_program(), &kiln).unwrap();
    fs::copy(lab.join(format!("data/platform-{STAMP}.tgz")), &platform).unwrap();
    fs::create_dir(home.path().join("mine")).unwrap();
    fs::set_permissions(home.path().join("mine"), Permissions::from_mode(0o555)).unwrap();
    let before = paths(home.path());
    let mut command = if rustix::process::geteuid().is_root() {
        let Some(setpriv) = tools::require("setpriv") else { return };
        let mut command = Command::new(setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
        command.arg("--bounding-set=-all").arg(&kiln);
        command
    } else {
        Command::new(&kiln)
    };
    command.args(RETRO).args(["--platform", "p.tgz", "--output"]).current_dir(home.path());
    let program = command.get_program().to_owned();
    let arguments: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    for (output, expected) in [
        ("mine", "cannot write in the output folder mine: Permission denied"),
        ("mine/new", "cannot make the output folder mine/new: Permission denied"),
    ] {
        let mut command = Command::new(&program);
        let said = command.args(&arguments).arg(output).current_dir(home.path()).output().unwrap();
        let said = Said::from(&said);
        assert_eq!(said.status, 1, "{}", said.stderr);
        assert!(said.stderr.contains(expected) && said.stderr.contains("hint: choose"), "{}", said.stderr);
        assert_eq!(paths(home.path()), before);
    }
    // So that the folder can be removed.
    fs::set_permissions(home.path().join("mine"), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn ways_that_lead_through_folders() {
    let Some(lab) = lab() else { return };
    fs::create_dir_all(lab.join("real/inner")).unwrap();
    symlink("real/inner", lab.join("link")).unwrap();
    for (output, place) in [
        ("a/../b", "b"),
        ("link/deep", "real/inner/deep"),
        ("link/../beside", "real/beside"),
        ("./c//d/.", "c/d"),
    ] {
        let stdout = lab.kiln_ok(&[&RETRO[..], &["--output", output]].concat());
        assert_eq!(lab.names(place), names(), "{output}");
        let said = stdout.lines().find_map(|line| line.strip_prefix("image ")).unwrap().trim();
        assert!(lab.join(said).is_file(), "{output}: {said}");
        let again = lab.kiln(&[&RETRO[..], &["--output", output]].concat());
        assert_eq!(again.status, 1, "{output}");
        assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    }
    assert_eq!(lab.names("."), ["b", "c", "data", "link", "real"]);
}

#[test]
fn old_results_are_kept_unless_told() {
    let Some(lab) = lab() else { return };
    // Nothing old is lost when only one of the two names can be taken.
    let [manifest, image] = names().map(|name| lab.join("output").join(name));
    fs::create_dir_all(&manifest).unwrap();
    fs::write(&image, "old").unwrap();
    let said = lab.kiln(&[&RETRO[..], &["--force"]].concat());
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("is a folder: a result cannot replace it"), "{}", said.stderr);
    assert_eq!(fs::read(&image).unwrap(), b"old");
    assert_eq!(lab.names("output"), names());
    fs::remove_dir(&manifest).unwrap();

    for old in [&image, &manifest] {
        fs::write(old, "old").unwrap();
        let said = lab.kiln(&RETRO);
        assert_eq!(said.status, 1);
        assert!(said.stderr.contains("exists already") && said.stderr.contains("--force"), "{}", said.stderr);
        assert!(!said.stderr.contains("read-platform"), "known before the work: {}", said.stderr);
        assert_eq!(fs::read(old).unwrap(), b"old");
        lab.kiln_ok(&[&RETRO[..], &["--force"]].concat());
        assert_eq!(lab.names("output"), names());
        lab.kiln_ok(&["verify", image.to_str().unwrap()]);
        fs::remove_dir_all(lab.join("output")).unwrap();
        fs::create_dir(lab.join("output")).unwrap();
    }
}

/// A limit on the size of files stands in for a disk of that size: wherever it is met, nothing stays.
#[test]
fn files_that_may_not_grow() {
    let Some(lab) = lab() else { return };
    let mut failures = 0;
    for blocks in [0, 1, 8, 64, 256, 2048, 16384, 20000, 40000] {
        // POSIX counts in blocks of 512 bytes. Ignored, SIGXFSZ becomes the error EFBIG.
        let said = after(&lab, &format!("trap '' XFSZ; ulimit -f {blocks}"), &[]);
        if said.status == 0 {
            assert_eq!(lab.names("output"), names());
            fs::remove_dir_all(lab.join("output")).unwrap();
            continue;
        }
        failures += 1;
        assert_eq!(said.status, 1, "{blocks}: {}", said.stderr);
        assert!(said.stderr.contains("File too large"), "{blocks}: {}", said.stderr);
        assert!(said.stderr.contains("hint:"), "{blocks}: {}", said.stderr);
        assert!(!lab.join("output").exists(), "{blocks}");
    }
    assert!((3..9).contains(&failures), "{failures} of the limits were too small");
}

#[test]
fn a_disk_that_fills_up() {
    let Some(lab) = lab() else { return };
    fs::create_dir(lab.join("small")).unwrap();
    for size in ["64K", "2M", "8M"] {
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs small && {{ \"$0\" retro {STAMP} --output small; \
             echo \"status $?\"; ls -A small; }}"
        );
        let Some(said) = with_mounts(&lab, &script) else { return };
        assert_eq!(said.stdout, "status 1\n", "{size}: {}", said.stderr);
        assert!(
            said.stderr.contains("No space left on device") && said.stderr.contains("hint:"),
            "{size}: {}",
            said.stderr
        );
    }
}

#[test]
fn a_disk_that_fills_up_under_other_commands() {
    let Some(lab) = Lab::open() else { return };
    for folder in ["data", "small", "filling"] {
        fs::create_dir(lab.join(folder)).unwrap();
    }
    let mut disk = vec![1; 4 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    fs::write(lab.join("filling/whole"), disk).unwrap();
    let script = "mount -t tmpfs -o size=2M tmpfs small && { \
         \"$0\" demo platform --fill filling --output small/platform.tgz; echo \"status $?\"; ls -A small; \
         \"$0\" convert filling/whole --to raw small/disk; echo \"status $?\"; ls -A small; }";
    let Some(said) = with_mounts(&lab, script) else { return };
    assert_eq!(said.stdout, "status 1\n".repeat(2), "{}", said.stderr);
    for sign in ["No space left on device", "\nhint: "] {
        assert_eq!(said.stderr.matches(sign).count(), 2, "{sign}: {}", said.stderr);
    }
}

/// A container without `/proc`: nameless files cannot be named there, which has to be known before the work.
#[test]
fn a_machine_without_proc() {
    let Some(lab) = lab() else { return };
    let script = format!("mount -t tmpfs tmpfs /proc && test ! -e /proc/self && \"$0\" {}", RETRO.join(" "));
    let Some(said) = with_mounts(&lab, &script) else { return };
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!(lab.names("output"), names());
    lab.kiln_ok(&["verify", &format!("output/{}", names()[1])]);
}

#[test]
fn names_that_are_no_text() {
    let Some(lab) = lab() else { return };
    let folder = lab.path().join(OsStr::from_bytes(b"out\xff\nput"));
    for json in [false, true] {
        let mut command = lab.command();
        command.args(RETRO).arg("--output").arg(folder.file_name().unwrap());
        let said = Said::from(&command.args(json.then_some("--json")).output().unwrap());
        assert_eq!(said.status, 0, "{}", said.stderr);
        let found: Vec<String> = paths(&folder)
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, names());
        if json {
            let events: Vec<Value> =
                said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let summary = events.last().unwrap();
            assert_eq!(summary["event"], "summary");
            let image = summary["image"].as_str().unwrap();
            assert!(image.starts_with("out\u{fffd}\nput/") && image.ends_with(&names()[1]), "{image}");
            // What machines cannot read from the path they can check.
            let size = fs::metadata(folder.join(&names()[1])).unwrap().len();
            assert_eq!(summary["size"], size);
        }
        let mut command = lab.command();
        let verified = command.arg("verify").arg(folder.join(&names()[1])).output().unwrap();
        assert!(verified.status.success(), "{verified:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
