//! `cargo xtask boot-real`, as far as it goes without a real platform: with the stand-in platform, which boots and sets
//! nothing up, and with a Debian guest that plays the part of a platform that was.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln_e2e::stand_in::StandIn;
use kiln_e2e::{Lab, Said};
use kiln_harness::process::{self, Running};
use kiln_harness::{qemu_boot, slots, tools};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// KiB of the stand-in platform's boot archive.
const SMALL_KIB: u32 = 16_384;

/// Emulated machines are slow, and slower with neighbours; only a hang takes this long.
const PATIENCE: Duration = Duration::from_mins(10);

/// `boot-real` with its report in the lab's folder `report`, under emulation, or `None` after a loud skip.
fn boot_real(lab: &Lab) -> Option<Command> {
    let mut command = Command::new(tools::xtask()?);
    command.env(tools::KILN_BIN, tools::kiln()?).current_dir(lab.path());
    command.args(["boot-real", "--output", "report", "--accel", "tcg"]);
    Some(command)
}

fn run(command: &mut Command) -> Said {
    Said::from(&process::run(command, PATIENCE).expect("it ends"))
}

fn report(lab: &Lab) -> (Value, String) {
    let read = |name| fs::read_to_string(lab.join("report").join(name)).expect("there is a report");
    (serde_json::from_str(&read("report.json")).expect("JSON"), read("report.md"))
}

/// Names of the checks of a boot that did not hold.
fn broken(boot: &Value) -> Vec<&str> {
    let checks = boot["checks"].as_array().expect("a list");
    checks.iter().filter(|check| check["held"] == false).filter_map(|check| check["name"].as_str()).collect()
}

fn console(report: &Value) -> Vec<&str> {
    report["console"].as_array().expect("a list").iter().filter_map(|line| line["text"].as_str()).collect()
}

/// Programs that have `folder` in their command line.
fn programs_of(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts.filter(|line| line.contains(&*folder.to_string_lossy())).collect()
}

#[test]
fn a_wrong_command_line_is_a_status_of_its_own() {
    let Some(lab) = Lab::open() else { return };
    let Some(mut nothing) = boot_real(&lab) else { return };
    assert_eq!(run(&mut nothing).status, 2);
    fs::write(lab.join("platform-latest.tgz"), b"").unwrap();
    fs::write(lab.join("platform-20141030T081701Z.tgz"), b"").unwrap();
    for (arguments, why) in [
        (vec!["--platform", "absent-20141030T081701Z.tgz"], "absent-20141030T081701Z.tgz is no file"),
        (vec!["--platform", "platform-latest.tgz"], "there is no stamp in the name platform-latest.tgz"),
        (
            vec!["--platform", "platform-latest.tgz", "--stamp", "yesterday"],
            "'yesterday' is no platform stamp",
        ),
        (vec!["--disk", "platform-latest.tgz"], "--stamp"),
        (vec!["--platform", "platform-20141030T081701Z.tgz", "--memory", "1"], "--memory"),
    ] {
        let said = run(boot_real(&lab).unwrap().args(&arguments));
        assert_eq!(said.status, 2, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(why), "{arguments:?}: {}", said.stderr);
    }
    assert!(!lab.join("report").exists(), "nothing was begun");
}

#[test]
fn a_platform_that_is_none_is_reported() {
    let Some(lab) = Lab::open() else { return };
    let Some(mut command) = boot_real(&lab) else { return };
    fs::write(lab.join("platform-20141030T081701Z.tgz"), b"no tarball").unwrap();
    let said = run(command.args(["--platform", "platform-20141030T081701Z.tgz"]));
    assert_eq!(said.status, 1, "{}", said.stderr);
    let (report, _) = report(&lab);
    let stopped = report["stopped"].as_str().unwrap();
    assert!(
        stopped.starts_with("kiln failed:") && stopped.contains("platform-20141030T081701Z.tgz"),
        "{stopped}"
    );
}

/// The stand-in kernel says what it was given, and leaves QEMU where it has the device for that.
#[test]
fn a_kernel_that_ends_the_machine_is_reported_with_its_console() {
    let _slot = slots::take();
    let Some(lab) = Lab::open() else { return };
    let Some(mut command) = boot_real(&lab).filter(|_| qemu_boot::available()) else { return };
    let platform = lab.platform(SMALL_KIB);
    command.arg("--platform").arg(platform).args(["--memory", "512"]);
    let said = run(command.args(["--qemu", "-device", "--qemu", "isa-debug-exit,iobase=0xf4,iosize=4"]));
    assert_eq!(said.status, 1, "{}", said.stderr);
    let (report, text) = report(&lab);
    let stopped = report["stopped"].as_str().unwrap();
    let expected = "boot 1: no guest-init:status came: the machine ended (QEMU: exit status: 33";
    assert!(stopped.starts_with(expected), "{stopped}");
    let last = console(&report).last().copied().unwrap_or_default();
    assert_eq!(last, "kiln stand-in: done", "{text}");
    assert!(text.contains("The last line of the console: kiln stand-in: done"), "{text}");
    assert!(said.stderr.contains("The last line of the console: kiln stand-in: done"), "{}", said.stderr);
    assert!(!lab.join("report/work").exists(), "disks and key are gone");
}

#[test]
fn a_guest_that_tells_nothing_is_given_up_at_the_deadline() {
    let _slot = slots::take();
    let Some(lab) = Lab::open() else { return };
    let Some(mut command) = boot_real(&lab).filter(|_| qemu_boot::available()) else { return };
    // A disk without anything to boot: nothing ever comes from it.
    fs::write(lab.join("disk"), vec![0; 1 << 20]).unwrap();
    command.args(["--disk", "disk", "--stamp", "20210101T000000Z", "--memory", "128", "--keep"]);
    let said = run(command.args(["--timeout", "20"]));
    assert_eq!(said.status, 1, "{}", said.stderr);
    let (report, _) = report(&lab);
    assert_eq!(report["stopped"], "boot 1: no guest-init:status came: not within 20 s");
    assert_eq!(report["interrupted"], false);
    let kept = lab.join("report").join("work");
    assert!(kept.join("data.raw").exists() && kept.join("key").exists());
    assert_eq!(programs_of(lab.path()), [""; 0]);
}

#[test]
fn an_interruption_leaves_nothing_running_and_a_report() {
    let _slot = slots::take();
    let Some(lab) = Lab::open() else { return };
    let Some(mut command) = boot_real(&lab).filter(|_| qemu_boot::available()) else { return };
    command.arg("--platform").arg(lab.platform(SMALL_KIB)).args(["--memory", "512"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running::start(&mut command).expect("it starts");
    let log = lab.join("report/console.log");
    let is_done = || fs::read_to_string(&log).is_ok_and(|text| text.contains("kiln stand-in: done"));
    while !is_done() && running.wait(Duration::from_millis(50)).expect("it can be waited for").is_none() {}
    assert!(programs_of(lab.path()).len() >= 2, "QEMU and the metadata server run");
    let child: &Child = running.child();
    rustix::process::kill_process(Pid::from_child(child), Signal::INT).expect("it runs");
    let status = running.wait(PATIENCE).expect("it can be waited for").expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert_eq!(programs_of(lab.path()), [""; 0]);
    let (report, _) = report(&lab);
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["held"], false);
    assert!(console(&report).contains(&"kiln stand-in: done"));
}

/// `boot-real` with a guest that plays a platform.
fn with_guest(lab: &Lab, guest: &StandIn, stamp: &str) -> Option<Command> {
    let mut command = boot_real(lab)?;
    command.arg("--disk").arg(guest.disk()).args(["--stamp", stamp, "--cpu", "max", "--memory", "768"]);
    for argument in guest.arguments() {
        command.args(["--qemu", &argument]);
    }
    Some(command)
}

/// Both boots of a guest that keeps every promise. It has OpenSSH's era: an Ed25519 key and a virtio card.
#[test]
fn a_guest_that_keeps_its_promises_holds_over_a_reboot() {
    const STAMP: &str = "20210101T000000Z";
    let _slot = slots::take();
    let Some(lab) = Lab::open() else { return };
    let Some(guest) = StandIn::new(STAMP, "vioif0") else { return };
    let Some(mut command) = with_guest(&lab, &guest, STAMP) else { return };
    let said = run(&mut command);
    let (report, text) = report(&lab);
    assert_eq!(said.status, 0, "{text}\n{}", said.stderr);
    assert_eq!(report["held"], true);
    let boots = report["boots"].as_array().unwrap();
    assert_eq!(boots.len(), 2);
    for boot in boots {
        assert!(boot["checks"].as_array().unwrap().len() > 25, "{text}");
        assert_eq!(broken(boot), [""; 0], "{text}");
    }
    let lines = report["console"].as_array().unwrap();
    for boot in [1, 2] {
        let set_up = |line: &&Value| line["boot"] == boot && line["text"] == "stand-in: set up";
        assert_eq!(lines.iter().filter(set_up).count(), 1, "{text}");
    }
}

/// One boot of a guest that breaks some. It has SunSSH's era: an RSA key, an e1000 card, and options that a client needs.
#[test]
fn a_guest_that_breaks_promises_is_told_which() {
    const STAMP: &str = "20141030T081701Z";
    let _slot = slots::take();
    let Some(lab) = Lab::open() else { return };
    let Some(guest) = StandIn::new(STAMP, "e1000g0") else { return };
    let guest = guest
        .says(r"printf 'zones\tONLINE\n'", r"printf 'zones\tONLINE\nzones2\tONLINE\n'")
        .says("block in log first quick on", "pass in quick on")
        .says(
            r#"{"result":"ok","phase":"userscript","time""#,
            r#"{"result":"failed","phase":"userscript","time""#,
        );
    let Some(mut command) = with_guest(&lab, &guest, STAMP) else { return };
    let said = run(command.args(["--boots", "1"]));
    let (report, text) = report(&lab);
    assert_eq!(said.status, 1, "{text}\n{}", said.stderr);
    assert_eq!(report["stopped"], Value::Null, "{text}");
    assert_eq!(broken(&report["boots"][0]), ["boot", "pool", "filter"], "{text}");
    assert!(text.contains("expected exactly 'zones ONLINE'"), "{text}");
    assert!(said.stderr.contains("3 of "), "{}", said.stderr);
}
