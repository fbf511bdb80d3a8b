//! A simulated machine: its name, its clock, and its death.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use kiln_harness::{process, scratch};
use kiln_shim::guests::{self, Profile};
use kiln_shim::{Counts, Moment, Settings, clock, trace};

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| guests::illumos("kiln-conformance", "kiln-conformance", Profile::Quick).unwrap());

fn run(settings: &Settings, arguments: &[&str]) -> Output {
    process::run(kiln_shim::command(&PROGRAM, settings).args(arguments), Duration::from_mins(1)).unwrap()
}

fn say(settings: &Settings, arguments: &[&str]) -> String {
    let output = run(settings, arguments);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_machine_has_a_name_of_its_own() {
    let folder = scratch::folder("machine");
    let file = folder.path().join("name");
    let settings = Settings::default().hostname(&file);
    assert_eq!(say(&settings, &["host"]), "[] []\n");
    fs::write(&file, "web-1\n").unwrap();
    assert_eq!(say(&settings, &["host"]), "[web-1] [web-1]\n");
}

/// The numbers that a program prints.
fn numbers(settings: &Settings, arguments: &[&str]) -> Vec<i64> {
    say(settings, arguments).lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_clock_is_set_for_all_programs_and_not_for_the_host() {
    let folder = scratch::folder("machine");
    let (file, lines) = (folder.path().join("clock"), folder.path().join("trace"));
    let settings = Settings::default().clock(&file).trace(&lines);
    let host = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    let before = host();
    let now = numbers(&settings, &["clock", "now"])[0];
    assert!((before..=host()).contains(&now), "{now}");
    assert_eq!(clock::read(&file).unwrap(), clock::Clock { offset: 0, slew: 0 });

    // A day that no test runs on, in the past of every host.
    let wanted = 1_000_000_000;
    let shown = numbers(&settings, &["clock", "set", "1000000000"]);
    assert!(
        shown.len() == 2 && shown.iter().all(|seconds| (wanted..wanted + 3600).contains(seconds)),
        "{shown:?}"
    );
    let now = numbers(&settings, &["clock", "now"])[0];
    assert!((wanted..wanted + 3600).contains(&now), "{now}");
    assert!(host() >= before);
    let names: Vec<String> = trace::read(&lines)
        .unwrap()
        .into_iter()
        .filter(|call| call.change.is_some())
        .map(|call| call.name)
        .filter(|name| name.contains("time"))
        .collect();
    assert_eq!(names, ["stime", "settimeofday"]);

    clock::set(&file, -3_600_000_000_000).unwrap();
    let now = numbers(&settings, &["clock", "now"])[0];
    assert!((before - 3600..=host() - 3600).contains(&now), "{now}");
}

#[test]
fn a_slew_tells_what_is_left_and_is_kept() {
    let folder = scratch::folder("machine");
    let file = folder.path().join("clock");
    // So fast that a hundred thousand of its seconds pass between two programs.
    let settings = Settings::default().clock(&file).time_scale(100_000_000);
    assert_eq!(numbers(&settings, &["clock", "adjust", "1000"]), [0]);
    assert_eq!(clock::read(&file).unwrap(), clock::Clock { offset: 0, slew: 1_000_000_000_000 });
    let slow = Settings::default().clock(&file);
    let left = numbers(&slow, &["clock", "adjust", "-50"])[0];
    assert!((0..=1000).contains(&left), "{left}");
    let after = clock::read(&file).unwrap();
    assert_eq!(after.slew, -50_000_000_000);
    assert!((0..=1_000_000_000_000).contains(&after.offset), "{after:?}");
    let left = numbers(&slow, &["clock", "adjust", "0"])[0];
    assert!((-50..=-40).contains(&left), "{left}");
}

/// Taking a lock is seen by other programs, so it is a change; asking for one is not.
#[test]
fn locks_are_points() {
    let folder = scratch::folder("machine");
    let lines = folder.path().join("trace");
    let probe = guests::illumos("kiln-probe", "kiln-probe", Profile::Shipped).unwrap();
    let mut command = kiln_shim::command(&probe, &Settings::default().trace(&lines));
    assert!(process::run(command.arg("locks"), Duration::from_mins(1)).unwrap().status.success());
    let calls = trace::read(&lines).unwrap();
    // F_SETLK is 6 and F_GETLK 14 (usr/src/uts/common/sys/fcntl.h).
    let points = |command: &str| -> Vec<bool> {
        let of_command = calls.iter().filter(|call| call.name == "fcntl" && call.arguments.contains(command));
        of_command.map(|call| call.change.is_some()).collect()
    };
    assert_eq!((points(", 6, "), points(", 14, ")), (vec![true], vec![false]));
}

/// A run of `start PROGRAM...`, killed at a change: how it ended, and whether the marker is there.
fn killed(folder: &Path, change: u64, moment: Moment, arguments: &[&str]) -> (ExitStatus, bool) {
    let marker = folder.join("killed");
    let settings = Settings::default().killed(&marker).count(folder.join("counts")).kill_at(change, moment);
    let status = run(&settings, &[&["start"], arguments].concat()).status;
    (status, marker.exists())
}

const SIGKILL: Option<i32> = Some(9);

#[test]
fn a_command_is_a_point_before_it_and_after_it() {
    for (moment, done) in [(Moment::Before, false), (Moment::After, true)] {
        let folder = scratch::folder("machine");
        let file = folder.path().join("done");
        let script = format!("sleep 0.1; : > {}", file.display());
        let (status, marked) = killed(folder.path(), 1, moment, &["/bin/sh", "-c", &script]);
        assert_eq!((status.signal(), marked, file.exists()), (SIGKILL, true, done), "{moment:?}");
    }
    // Without a point that is reached, there is no marker.
    let folder = scratch::folder("machine");
    let (status, marked) = killed(folder.path(), 2, Moment::Before, &["/bin/true"]);
    assert_eq!((status.code(), marked), (Some(0), false));
}

#[test]
fn when_one_program_dies_the_machine_is_off() {
    let folder = scratch::folder("machine");
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let program = PROGRAM.to_str().unwrap();
    // The child's first change is the second of the run.
    let work_in = ["start", program, "work", work.to_str().unwrap()];
    let (status, marked) =
        killed(folder.path(), 4, Moment::After, &[program, work_in[0], work_in[1], work_in[2], work_in[3]]);
    assert_eq!((status.signal(), marked), (SIGKILL, true));
    let line = fs::read_to_string(folder.path().join("killed")).unwrap();
    assert!(line.contains(" c4 ") && line.ends_with(" = killed after\n"), "{line}");
    assert!(line.contains(" open("), "{line}");
    assert_eq!(fs::read_dir(work.join("data")).unwrap().count(), 1);

    // Nothing starts any more, until somebody switches it on.
    let settings =
        Settings::default().killed(folder.path().join("killed")).count(folder.path().join("counts"));
    let before = Counts::read(&folder.path().join("counts")).unwrap();
    assert_eq!(run(&settings, &["echo"]).status.signal(), SIGKILL);
    assert_eq!(Counts::read(&folder.path().join("counts")).unwrap(), before);
    fs::remove_file(folder.path().join("killed")).unwrap();
    assert_eq!(run(&settings, &["echo"]).status.code(), Some(0));
}
