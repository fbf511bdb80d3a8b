//! The shim's own doings: counting, tracing, killing, failing, clocks, devices, children, and what it does not know.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use kiln_harness::{process, scratch};
use kiln_shim::guests::{self, Profile};
use kiln_shim::trace::{self, Call};
use kiln_shim::{Counts, Moment, OLDEST_PLATFORM, Root, Settings};

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| guests::illumos("kiln-conformance", "kiln-conformance", Profile::Quick).unwrap());

fn run(command: &mut Command) -> Output {
    process::run(command, Duration::from_mins(1)).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs `kiln-conformance ARGUMENTS` and gives its standard output; it must succeed.
fn say(settings: &Settings, arguments: &[&str]) -> String {
    let output = run(kiln_shim::command(&PROGRAM, settings).args(arguments));
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Runs `kiln-conformance work FOLDER`.
fn work(settings: &Settings, folder: &Path) -> Output {
    run(kiln_shim::command(&PROGRAM, settings).arg("work").arg(folder))
}

/// The work's effects on the folder, in order; each is one change.
const CHANGES: [&str; 6] = ["mkdir", "open", "write", "fsync", "rename", "open"];

/// The state after the first `done` effects.
fn assert_state(folder: &Path, done: usize) {
    let read = |name: &str| fs::read(folder.join(name)).ok();
    let content: &[u8] = if done >= 3 { b"0123456789" } else { b"" };
    assert_eq!(folder.join("data").is_dir(), done >= 1, "after {done}");
    let (new, kept) = (read("data/new"), read("data/kept"));
    assert_eq!(new.as_deref(), (2..5).contains(&done).then_some(content), "after {done}");
    assert_eq!(kept.as_deref(), (done >= 5).then_some(content), "after {done}");
    assert_eq!(read("done").is_some(), done >= 6, "after {done}");
}

/// A traced and counted run of the work.
fn traced(settings: &Settings, folder: &Path) -> (Output, Vec<Call>, Counts) {
    let (data, lines, counts) = (folder.join("folder"), folder.join("trace"), folder.join("counts"));
    fs::create_dir(&data).unwrap();
    let output = work(&settings.clone().trace(&lines).count(&counts), &data);
    (output, trace::read(&lines).unwrap(), Counts::read(&counts).unwrap())
}

#[test]
fn calls_are_counted_and_traced() {
    let folder = scratch::folder("shim");
    let (output, calls, counts) = traced(&Settings::default(), folder.path());
    assert!(output.status.success());
    assert_state(&folder.path().join("folder"), 6);

    let changes: Vec<&Call> = calls.iter().filter(|call| call.change.is_some()).collect();
    let names: Vec<&str> = changes.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, CHANGES);
    assert_eq!(counts.changes, 6);
    assert_eq!(counts.calls, calls.len() as u64);
    let numbers: Vec<u64> = calls.iter().map(|call| call.number).collect();
    assert_eq!(numbers, (1..=counts.calls).collect::<Vec<_>>());
    let mkdir = changes[0];
    assert_eq!(mkdir.arguments, format!("\"{}/folder/data\", 0777", folder.path().display()));
    assert_eq!(mkdir.result, "0");
    assert!(calls.iter().all(|call| call.process == mkdir.process));
    assert_eq!(changes[2].result, "10");
}

#[test]
fn the_same_work_makes_the_same_calls() {
    let (one, two) = (scratch::folder("shim"), scratch::folder("shim"));
    let names = |folder: &Path| {
        let (_, calls, _) = traced(&Settings::default(), folder);
        calls.into_iter().map(|call| (call.number, call.change, call.name)).collect::<Vec<_>>()
    };
    assert_eq!(names(one.path()), names(two.path()));
}

#[test]
fn a_program_is_killed_before_or_after_any_change() {
    for change in 1..=CHANGES.len() {
        for (moment, done) in [(Moment::Before, change - 1), (Moment::After, change)] {
            let folder = scratch::folder("shim");
            let output = work(&Settings::default().kill_at(change as u64, moment), folder.path());
            assert_eq!(output.status.signal(), Some(SIGKILL), "{change} {moment:?}");
            assert_state(folder.path(), done);
        }
    }
    let folder = scratch::folder("shim");
    let beyond = Settings::default().kill_at(CHANGES.len() as u64 + 1, Moment::Before);
    assert!(work(&beyond, folder.path()).status.success());
}

#[test]
fn a_write_is_cut_in_half() {
    let folder = scratch::folder("shim");
    let (output, calls, counts) = traced(&Settings::default().kill_at(3, Moment::Half), folder.path());
    assert_eq!(output.status.signal(), Some(SIGKILL));
    assert_eq!(fs::read(folder.path().join("folder/data/new")).unwrap(), b"01234");
    assert_eq!((calls.last().unwrap().name.as_str(), counts.changes), ("write", 3));
    assert_eq!(calls.last().unwrap().result, "killed after");
}

#[test]
fn any_change_can_be_made_to_fail() {
    for change in 1..=CHANGES.len() {
        let folder = scratch::folder("shim");
        let (output, calls, _) = traced(&Settings::default().fail_at(change as u64, "ENOSPC"), folder.path());
        assert_eq!(output.status.code(), Some(1), "{change}");
        assert_eq!(text(&output.stderr), "No space left on device (os error 28)\n");
        assert_state(&folder.path().join("folder"), change - 1);
        let failed = calls.iter().find(|call| call.change == Some(change as u64)).unwrap();
        assert_eq!(failed.result, "-1 ENOSPC");
    }
}

#[test]
fn clocks_run_faster() {
    // Twice 500 seconds by the program's clocks, in one of the world's.
    let folder = scratch::folder("shim");
    let lines = folder.path().join("trace");
    let told = say(&Settings::default().time_scale(1000).trace(&lines), &["time", "500"]);
    let seconds: Vec<u64> = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(seconds.len() == 2 && seconds.iter().all(|&seconds| seconds >= 1000), "{told}");
}

#[test]
fn device_files_lie_elsewhere() {
    let folder = scratch::folder("shim");
    let device = folder.path().join("device");
    fs::write(&device, "a line\n").unwrap();
    let settings = Settings::default().device("/dev/null", "/dev/null").device("/dev/term/b", &device);
    assert_eq!(say(&settings, &["look", "/dev/term/b"]), "a line\n");
    let root = Root::create(folder.path(), &settings).unwrap();
    root.install(&PROGRAM, "/sbin/program").unwrap();
    let mut command = root.command("/sbin/program", &root.settings());
    let output = run(command.args(["look", "/dev/term/b"]));
    assert_eq!(text(&output.stdout), "a line\n");
}

#[test]
fn the_settings_are_hidden_and_reach_children() {
    let folder = scratch::folder("shim");
    let (lines, counts) = (folder.path().join("trace"), folder.path().join("counts"));
    let program = PROGRAM.to_str().unwrap();
    let settings = Settings::default().platform(OLDEST_PLATFORM).trace(&lines).count(&counts);
    // A program of ours starts itself, as often as there are words, and a program of Linux in the end.
    let told = say(&settings, &["start", program, "start", program, "echo", "one", "two"]);
    assert!(told.starts_with(&format!("{program} echo one two\n")), "{told}");
    assert!(told.contains("STARTED=yes\n") && !told.contains("ABI_SHIM_"), "{told}");
    let calls = trace::read(&lines).unwrap();
    let mut processes: Vec<u32> = calls.iter().map(|call| call.process).collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 3);
    assert_eq!(Counts::read(&counts).unwrap().calls, calls.len() as u64);
    assert!(say(&settings, &["start", "/bin/sh", "-c", "echo $STARTED"]).contains("yes"));
}

#[test]
fn a_root_holds_its_programs_and_nothing_else() {
    let folder = scratch::folder("shim");
    let root = Root::create(folder.path(), &Settings::default()).unwrap();
    root.install(&PROGRAM, "/sbin/program").unwrap();
    fs::create_dir(root.host_path("/work")).unwrap();
    let counts = scratch::folder("counts");
    let settings = root.settings().count(counts.path().join("counts"));
    let output = run(root.command("/sbin/program", &settings).args(["work", "/work"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_state(&root.host_path("/work"), 6);
    assert_eq!(Counts::read(&counts.path().join("counts")).unwrap().changes, 6);

    // One unchanged executable starts another by its path in the root, and the machine's programs are not to be seen.
    let output = run(root.command("/sbin/program", &root.settings()).args([
        "start",
        "/sbin/program",
        "echo",
        "hello",
    ]));
    assert!(text(&output.stdout).starts_with("/sbin/program echo hello\n"), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("LD_LIBRARY_PATH"));
    let output = run(root.command("/sbin/program", &root.settings()).args(["start", "/bin/sh"]));
    assert_eq!(text(&output.stderr), "No such file or directory (os error 2)\n");
}

/// A user who may not change his root folder gets one in a user namespace.
#[test]
fn a_root_needs_no_privilege() {
    // Below /tmp, since the target folder may lie where others may not go.
    let folder = tempfile::tempdir().unwrap();
    let root_folder = folder.path().join("root");
    fs::create_dir(&root_folder).unwrap();
    let root = Root::create(&root_folder, &Settings::default()).unwrap();
    root.install(&PROGRAM, "/sbin/program").unwrap();
    fs::create_dir(root.host_path("/work")).unwrap();
    let launcher = folder.path().join("abi-run");
    assert!(Command::new("cp").args([&kiln_shim::launcher(), &launcher]).status().unwrap().success());
    for path in [folder.path(), &root.host_path("/work")] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new(launcher);
    command.arg("--root").arg(root.folder()).args(["/sbin/program", "work", "/work"]);
    root.settings().apply(&mut command);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = run(&mut command);
    if text(&output.stderr).contains("neither chroot nor a user namespace") {
        eprintln!("SKIPPED a_root_needs_no_privilege: {}", text(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_state(&root.host_path("/work"), 6);
}

#[test]
fn what_is_missing_is_named() {
    let output = run(kiln_shim::command(&PROGRAM, &Settings::default()).arg("missing"));
    assert_eq!(output.status.signal(), Some(SIGABRT));
    assert_eq!(text(&output.stderr), "abi-shim: getpagesizes is not implemented\n");
}

#[test]
fn bad_settings_and_programs_are_refused() {
    let refused = |name: &str, value: &str| {
        let mut command = kiln_shim::command(&PROGRAM, &Settings::default());
        let output = run(command.arg("echo").env(name, value));
        assert_eq!(output.status.signal(), Some(SIGABRT));
        text(&output.stderr).to_owned()
    };
    assert_eq!(refused("ABI_SHIM_COLOUR", "red"), "abi-shim: there is no setting ABI_SHIM_COLOUR\n");
    let message = refused("ABI_SHIM_PLATFORM", "2013");
    assert_eq!(message, "abi-shim: ABI_SHIM_PLATFORM=2013 is not a platform's date\n");
    assert!(refused("ABI_SHIM_KILL_AT", "soon").contains("is not N, N:before, N:after or N:half"));
    assert!(refused("ABI_SHIM_FAIL_AT", "3:EWHAT").contains("is not N:ERROR"));

    let output = run(&mut kiln_shim::command(Path::new("/bin/sh"), &Settings::default()));
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output.stderr).contains("/bin/sh: Exec format error"), "{}", text(&output.stderr));
    let output = run(&mut kiln_shim::command(Path::new("/no/such/program"), &Settings::default()));
    assert_eq!(output.status.code(), Some(127));
}
