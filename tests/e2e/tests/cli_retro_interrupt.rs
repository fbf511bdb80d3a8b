//! `kiln retro` that is interrupted, killed, or not alone: what is in the output folder then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_e2e::build::{Build, Gate};
use kiln_e2e::kernel::Quirk;
use kiln_e2e::{Lab, STAMP};
use rustix::process::Signal;

/// KiB of the boot archives here.
const ARCHIVE_KIB: u32 = 8192;

const INTERRUPTIONS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// A folder's files by name.
type Tree = BTreeMap<String, Vec<u8>>;

fn image() -> String {
    format!("smartos-retro-{STAMP}-test.zvol.gz")
}

fn manifest() -> String {
    format!("smartos-retro-{STAMP}-test.manifest")
}

fn tree(lab: &Lab, folder: &str) -> Tree {
    let content = |name: &String| fs::read(lab.join(folder).join(name)).unwrap();
    lab.names(folder).into_iter().map(|name| (name.clone(), content(&name))).collect()
}

fn lab() -> Option<Lab> {
    let lab = Lab::open()?;
    lab.platform(ARCHIVE_KIB);
    Some(lab)
}

/// Holds the lock of a folder, so that no build can give a result its name in it.
fn lock(lab: &Lab, folder: &str) -> File {
    fs::create_dir_all(lab.join(folder)).unwrap();
    let opened = File::open(lab.join(folder)).unwrap();
    opened.lock().unwrap();
    opened
}

/// Builds a pair in `output` that differs from what the same flags without `--size` make.
fn old_pair(lab: &Lab) -> Tree {
    lab.retro(&["--size", "512"]);
    let old = tree(lab, "output");
    assert_eq!(old.keys().cloned().collect::<Vec<_>>(), [manifest(), image()]);
    old
}

fn verify(lab: &Lab, folder: &str) -> String {
    lab.kiln_ok(&["verify", &format!("{folder}/{}", image())])
}

/// The folders that the build made go as well.
#[test]
fn an_interruption_leaves_nothing() {
    let Some(lab) = lab() else { return };
    for (signal, quirks) in INTERRUPTIONS
        .into_iter()
        .flat_map(|signal| [(signal, vec![]), (signal, vec![Quirk::NoNamelessFiles])])
    {
        let mut gate = Gate::close(&lab, "gate");
        let build = Build::start(&lab, &["--output", "a/b", "--ca-bundle", "gate"], &quirks);
        gate.wait();
        assert_eq!(lab.names("a"), ["b"]);
        build.signal(signal);
        let ended = build.end();
        assert_eq!(ended.status, 128 + signal.as_raw(), "{}", ended.stderr);
        assert!(ended.stderr.contains("interrupted; nothing unfinished was left behind"), "{}", ended.stderr);
        assert!(!lab.join("a").exists(), "{signal:?}, {quirks:?}: {:?}", lab.names("a/b"));
        fs::remove_file(lab.join("gate")).unwrap();
    }
}

/// Every event is a moment, the last one that of waiting for the lock, which the test holds: no build can be finished
/// before its signal comes.
#[test]
fn an_interruption_at_any_moment() {
    let Some(lab) = lab() else { return };
    let mut whole = Build::start(&lab, &["--output", "whole"], &[]);
    let events: Vec<_> = std::iter::from_fn(|| whole.event()).collect();
    let last = events.iter().position(|event| event["step"] == "write-manifest").unwrap();
    assert_eq!(whole.end().status, 0);

    let _locked = lock(&lab, "output");
    let signals = [Signal::INT, Signal::KILL, Signal::TERM, Signal::KILL, Signal::HUP];
    for quirks in [vec![], vec![Quirk::NoNamelessFiles]] {
        for (moment, signal) in (0..=last).zip(signals.into_iter().cycle()) {
            let mut build = Build::start(&lab, &[], &quirks);
            let mut event = serde_json::Value::Null;
            for _ in 0..=moment {
                event = build.event().unwrap();
            }
            build.signal(signal);
            let ended = build.end();
            let at = format!("{signal:?} after {event} with {quirks:?}: {}", ended.stderr);
            let names = lab.names("output");
            if signal == Signal::KILL {
                assert_eq!(ended.status, -signal.as_raw(), "{at}");
                assert!(
                    quirks.is_empty() || names.iter().all(|name| name.starts_with(".kiln-")),
                    "{at}{names:?}"
                );
                assert!(!quirks.is_empty() || names.is_empty(), "{at}{names:?}");
                for name in names {
                    fs::remove_file(lab.join("output").join(name)).unwrap();
                }
            } else {
                assert_eq!(ended.status, 128 + signal.as_raw(), "{at}");
                assert_eq!(names, [""; 0], "{at}");
            }
        }
    }
}

/// nohup(1) and shells start programs with signals that they want ignored.
#[test]
fn ignored_signals_stay_ignored() {
    let Some(lab) = lab() else { return };
    let mut gate = Gate::close(&lab, "gate");
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" retro \"$@\""])
        .arg(lab.command().get_program())
        .args([STAMP, "--version", "test", "--ca-bundle", "gate"])
        .current_dir(lab.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    gate.wait();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::HUP).unwrap();
    gate.open();
    assert!(child.wait().unwrap().success());
    assert_eq!(lab.names("output"), [manifest(), image()]);
}

/// A kill between two steps of publishing, chosen by the system call that it hits.
#[test]
fn what_a_kill_leaves_while_names_change() {
    let Some(lab) = lab() else { return };
    lab.kiln_ok(&["retro", STAMP, "--version", "test", "--output", "new"]);
    let new = tree(&lab, "new");
    let old = old_pair(&lab);
    assert!(old[&image()] != new[&image()] && old[&manifest()] != new[&manifest()]);
    let killed = |flags: &[&str], quirks: &[Quirk]| {
        let ended = Build::start(&lab, flags, quirks).end();
        assert_eq!(ended.status, -Signal::SYS.as_raw(), "{quirks:?}: {}", ended.stderr);
    };
    let aside = |tree: &Tree| -> Vec<Vec<u8>> {
        let mut aside: Vec<_> = tree
            .iter()
            .filter(|(name, _)| name.starts_with(".kiln-"))
            .map(|(_, content)| content.clone())
            .collect();
        aside.sort();
        aside
    };
    let sorted = |mut contents: Vec<&Vec<u8>>| {
        contents.sort();
        contents.into_iter().cloned().collect::<Vec<_>>()
    };

    // Before any name changes.
    killed(&["--force"], &[Quirk::KilledAtSync]);
    assert_eq!(tree(&lab, "output"), old);

    // The old manifest is out of the way, and nothing speaks for the old image.
    killed(&["--force"], &[Quirk::KilledAtSwap]);
    let left = tree(&lab, "output");
    assert_eq!((left.get(&image()), left.get(&manifest())), (Some(&old[&image()]), None));
    assert_eq!(aside(&left), sorted(vec![&old[&manifest()], &new[&image()]]));
    let said = verify(&lab, "output");
    assert!(said.contains("there is none beside the image"), "{said}");

    // All names are given, and the old files are still there.
    fs::remove_dir_all(lab.join("output")).unwrap();
    assert_eq!(old_pair(&lab), old);
    killed(&["--force"], &[Quirk::KilledAtRemoval]);
    let left = tree(&lab, "output");
    assert_eq!((&left[&image()], &left[&manifest()]), (&new[&image()], &new[&manifest()]));
    assert_eq!(aside(&left), sorted(vec![&old[&image()], &old[&manifest()]]));
    verify(&lab, "output");

    // Temporary files that have names stay, and no result appears.
    killed(&["--output", "named"], &[Quirk::NoNamelessFiles, Quirk::KilledAtRename]);
    let left = tree(&lab, "named");
    assert_eq!(left.len(), 2);
    assert_eq!(aside(&left), sorted(new.values().collect()));

    // What was left is in nobody's way.
    for folder in ["output", "named"] {
        lab.kiln_ok(&["retro", STAMP, "--force", "--version", "test", "--output", folder]);
        let left = tree(&lab, folder);
        assert!(new.iter().all(|(name, content)| left[name] == *content), "{:?}", lab.names(folder));
    }
}

/// Any instant at all; `cargo xtask test --long` asks for it.
#[test]
fn kills_at_random_instants() {
    use std::hash::{BuildHasher as _, RandomState};
    if std::env::var_os("KILN_LONG_TESTS").is_none() {
        return;
    }
    let Some(lab) = lab() else { return };
    let began = Instant::now();
    lab.kiln_ok(&["retro", STAMP, "--version", "test", "--output", "new"]);
    let longest = began.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
    let new = tree(&lab, "new");
    let old = old_pair(&lab);
    for round in 0..200_u64 {
        let force = round % 2 == 0;
        fs::remove_dir_all(lab.join("output")).unwrap();
        fs::create_dir(lab.join("output")).unwrap();
        for (name, content) in old.iter().filter(|_| force) {
            fs::write(lab.join("output").join(name), content).unwrap();
        }
        let build = Build::start(&lab, if force { &["--force"] } else { &[] }, &[]);
        let instant = Duration::from_micros(RandomState::new().hash_one(round) % longest);
        std::thread::sleep(instant);
        build.signal(Signal::KILL);
        let ended = build.end();
        let left = tree(&lab, "output");
        let at = format!("{ended:?} after {instant:?}: {:?}", lab.names("output"));
        let whole = |content: &Vec<u8>| old.values().chain(new.values()).any(|known| known == content);
        assert!(left.values().all(whole), "{at}");
        assert!(left.contains_key(&image()) || !force, "{at}");
        if let Some(manifest) = left.get(&manifest()) {
            let pair = |pair: &Tree| {
                pair.get(&image()) == left.get(&image()) && pair.values().any(|one| one == manifest)
            };
            assert!(pair(&old) || pair(&new), "{at}");
        }
        if !force {
            assert!(left.keys().all(|name| new.contains_key(name)), "{at}");
        }
    }
}

/// The first build made the folder; the second goes on without it.
#[test]
fn an_interrupted_build_does_not_harm_another() {
    let Some(lab) = lab() else { return };
    for quirks in [vec![], vec![Quirk::NoNamelessFiles]] {
        let mut gates = ["first", "second"].map(|name| Gate::close(&lab, name));
        let first = Build::start(&lab, &["--output", "a/b", "--ca-bundle", "first"], &quirks);
        gates[0].wait();
        let second = Build::start(&lab, &["--output", "a/b", "--ca-bundle", "second"], &quirks);
        gates[1].wait();
        first.signal(Signal::INT);
        assert_eq!(first.end().status, 128 + Signal::INT.as_raw());
        assert_eq!(lab.join("a").exists(), !quirks.is_empty(), "only files with names keep the folder");
        let [_, gate] = gates;
        gate.open();
        let ended = second.end();
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert_eq!(lab.names("a/b"), [manifest(), image()]);
        verify(&lab, "a/b");
        for name in ["first", "second"] {
            fs::remove_file(lab.join(name)).unwrap();
        }
        fs::remove_dir_all(lab.join("a")).unwrap();
    }
}

/// Both builds come to the door before either may publish.
#[test]
fn two_builds_of_the_same_names_end_with_one_pair() {
    let Some(lab) = lab() else { return };
    for force in [false, true] {
        let locked = lock(&lab, "output");
        let mut builds = ["512", "768"].map(|size| {
            let flags: &[&str] = if force { &["--size", size, "--force"] } else { &["--size", size] };
            Build::start(&lab, flags, &[])
        });
        for build in &mut builds {
            build.until("write-manifest");
        }
        assert!(force || lab.names("output").is_empty());
        drop(locked);
        let ended = builds.map(Build::end);
        let mut status = ended.each_ref().map(|ended| ended.status);
        status.sort_unstable();
        if force {
            assert_eq!(status, [0, 0], "{ended:?}");
        } else {
            assert_eq!(status, [0, 1], "{ended:?}");
            let late = ended.iter().find(|ended| ended.status == 1).unwrap();
            assert!(
                late.stderr.contains("exists already") && late.stderr.contains("--force"),
                "{}",
                late.stderr
            );
        }
        assert_eq!(lab.names("output"), [manifest(), image()]);
        verify(&lab, "output");
    }
}

/// Also where nothing can be locked or swapped, one build alone replaces a pair.
#[test]
fn poor_file_systems_get_their_results_too() {
    let Some(lab) = lab() else { return };
    let all = [Quirk::NoNamelessFiles, Quirk::NoNamingThroughProc, Quirk::NoRenameFlags, Quirk::NoLocks];
    for quirks in all.iter().map(std::slice::from_ref).chain([all.as_slice()]) {
        for flags in [["--size", "512"], ["--size", "768"]] {
            let ended = Build::start(&lab, &[&flags[..], &["--force"]].concat(), quirks).end();
            assert_eq!(ended.status, 0, "{quirks:?}: {}", ended.stderr);
            assert_eq!(lab.names("output"), [manifest(), image()], "{quirks:?}");
            verify(&lab, "output");
        }
        let ended = Build::start(&lab, &[], quirks).end();
        assert_eq!(ended.status, 1, "{quirks:?}: {}", ended.stderr);
        fs::remove_dir_all(lab.join("output")).unwrap();
        let ended = Build::start(&lab, &[], quirks).end();
        assert_eq!(ended.status, 0, "{quirks:?}: {}", ended.stderr);
        assert_eq!(lab.names("output"), [manifest(), image()], "{quirks:?}");
        fs::remove_dir_all(lab.join("output")).unwrap();
    }
}

/// What the disk did not take is no result.
#[test]
fn a_disk_that_fails_when_it_has_to_write() {
    let Some(lab) = lab() else { return };
    for quirks in [vec![Quirk::FailingDisk], vec![Quirk::FailingDisk, Quirk::NoNamelessFiles]] {
        let ended = Build::start(&lab, &[], &quirks).end();
        assert_eq!(ended.status, 1, "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&image()) && ended.stderr.contains("Input/output error"),
            "{}",
            ended.stderr
        );
        assert!(!lab.join("output").exists());
    }
}
