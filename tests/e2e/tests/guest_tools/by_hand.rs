//! Phases that are run by hand, or once more.

use kiln_e2e::first_boot::{differences, logs};
use kiln_simulator::Boot;
use serde_json::json;

use super::bench::{
    BEFORE_SETUP, NEW, OLD, calls_after, everything, image, only_looks, switch_on, tell, typing,
    typing_after, with_both, with_script,
};

#[test]
fn words_are_understood_or_refused_and_nothing_is_done() {
    let Some(image) = image(NEW) else { return };
    let guest = image.usual_guest("words");
    let plain = guest.boot(&typing_after(&guest, &[], &["guest-init help"]));
    let before = everything(&guest);
    let lines = [
        ("guest-init --help", 0),
        ("guest-init setup --help", 0),
        ("guest-init zone-create --help", 0),
        ("guest-init setup stop", 0),
        ("/lib/svc/method/fs-joyent stop", 0),
        ("guest-init", 2),
        ("guest-init boot", 2),
        ("guest-init setup now", 2),
        ("guest-init status --xml", 2),
        ("guest-init zone-create web", 2),
        ("guest-init setup", 2),
        ("guest-init setup --outside-smf", 2),
        ("/lib/svc/method/fs-joyent", 2),
        ("/lib/svc/method/smartdc-config start", 2),
        ("guest-init zone-create", 1),
    ];
    let typed: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
    let boot = guest.boot(&typing_after(&guest, &[], &typed));
    for (output, (line, status)) in boot.outputs.iter().zip(&lines) {
        assert_eq!(output.status, Some(*status), "{line} {output:?}");
        let help = line.ends_with("--help");
        assert_eq!(
            output.stdout.starts_with("guest-init: sets up a SmartOS guest"),
            help,
            "{line} {output:?}"
        );
        assert_eq!(output.stderr.starts_with("guest-init: "), *status != 0, "{line} {output:?}");
    }
    assert_eq!(calls_after(&plain, &boot), [[""; 0]; 0]);
    assert_eq!(differences(&before, &everything(&guest)), [""; 0]);
}

#[test]
fn a_zone_is_not_set_up() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("zone");
    guest.start_host();
    let plain = guest.boot(&typing_after(&guest, &[], &[]));
    let before = everything(&guest);
    let mut options = typing_after(&guest, &[], &["guest-init setup --outside-smf --outside-smf"]);
    options.settings = options.settings.zone(7);
    let by_hand = guest.boot(&options);
    assert_eq!(by_hand.outputs[0].status, Some(1), "{:?}", by_hand.outputs);
    assert!(by_hand.outputs[0].stderr.contains("this is a zone: nothing is done"), "{:?}", by_hand.outputs);
    assert_eq!(calls_after(&plain, &by_hand), [[""; 0]; 0]);
    assert_eq!(differences(&before, &everything(&guest)), [""; 0]);
    // A service of a zone that has it must not fail for that.
    let storage = "svc:/system/filesystem/smartdc:default";
    let mut options = typing_after(&guest, &[storage], &[]);
    options.settings = options.settings.zone(7);
    let service = guest.boot(&options);
    assert_eq!(service.state(storage), "online", "{}", logs(&service));
    assert!(service.logs[storage].contains("this is a zone: nothing is done"), "{}", logs(&service));
    assert_eq!(calls_after(&plain, &service), [[""; 0]; 0]);
}

#[test]
fn two_runs_at_once_take_turns() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("turns");
    guest.start_host();
    switch_on(&guest);
    let setup = "guest-init setup --outside-smf --outside-smf";
    let once = guest.boot(&typing_after(&guest, &BEFORE_SETUP, &[setup]));
    let twice = with_both(&guest, typing_after(&guest, &BEFORE_SETUP, &["/usr/bin/both"]), &[setup, setup]);
    let twice = guest.boot(&twice);
    for boot in [&once, &twice] {
        assert_eq!(boot.outputs[0].status, Some(0), "{}", logs(boot));
    }
    let said = &twice.outputs[0].stderr;
    assert_eq!(said.matches("guest-init setup: firewall: done").count(), 1, "{said}");
    assert_eq!(said.matches("guest-init setup: firewall: nothing to do").count(), 1, "{said}");
    let changing = |boot: &Boot| {
        let lines = boot.calls.iter().filter(|call| !only_looks(&call.argv)).map(|call| call.argv.join(" "));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(changing(&once), changing(&twice), "what the first has done the second does not do");
    assert_eq!(once.runtime.network, twice.runtime.network);
}

#[test]
fn a_service_that_is_restarted_finds_nothing_to_do() {
    let Some(image) = image(NEW) else { return };
    let mut guest = image.usual_guest("restart");
    guest.start_host();
    tell(&mut guest, "user-script", &json!("#!/usr/bin/restart\n"));
    let first = switch_on(&guest);
    let lasting = guest.lasting();
    let script = "/usr/sbin/svcadm restart smartos/setup\n";
    let boot = guest.boot(&with_script(&guest, typing(&guest, &[]), "restart", script));
    let runs = boot.started.iter().filter(|fmri| fmri.contains("smartos/setup")).count();
    assert_eq!(runs, 2, "{:?}", boot.started);
    let log = &boot.logs["svc:/smartos/setup:default"];
    let mut steps =
        log.lines().filter(|line| line.starts_with("guest-init setup: ") && !line.contains("status"));
    assert!(steps.any(|line| line.starts_with("guest-init setup: ok, changed ")), "{log}");
    let is_idle = |line: &str| line.ends_with(": nothing to do") || line.ends_with(": ok, nothing changed");
    assert!(steps.by_ref().all(is_idle), "{log}");
    assert_eq!(boot.runtime.network, first.runtime.network);
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);
    // And by hand as well.
    let by_hand = guest.boot(&typing(&guest, &["guest-init setup --outside-smf --outside-smf"]));
    assert!(
        by_hand.outputs[0].stderr.contains("guest-init setup: ok, nothing changed"),
        "{:?}",
        by_hand.outputs
    );
}
