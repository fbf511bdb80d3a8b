//! The key is mounted and the program that mounts it fails, or it cannot be written to or taken away: nobody is locked out by that.

use kiln_e2e::first_boot::{Guest, Image, RSA_KEY, metadata};
use kiln_simulator::{Action, Boot, Fault};
use serde_json::json;

use crate::view::{console_and_logs, has_password, is_told, status, unreachable};

const PLATFORM: &str = "20130506T233003Z";

/// The Ethernet address of a card that takes the place of the usual one: `/usbkey/config` has to be written again.
const OTHER_MAC: &str = "52:54:00:ab:cd:ef";

const COMPLAINT: &str = "the key does not like it";

/// A boot with commands that fail.
struct Scene {
    what: &'static str,
    is_first: bool,
    has_other_card: bool,
    faults: Vec<Fault>,
    missing: &'static [&'static str],
    /// What the status says.
    result: &'static str,
    /// What the owner is told.
    complaint: &'static str,
}

fn fault(command: &str, arguments: &[&str], nth: u64, action: Action) -> Fault {
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    Fault { command: command.to_owned(), arguments, nth, action }
}

fn fails() -> Action {
    Action::Fail { status: 1, stderr: COMPLAINT.to_owned() }
}

/// The words among the arguments that mount the key to be read, and to be written to.
const READ_ONLY: [&str; 2] = ["pcfs", "foldcase,ro"];
const WRITABLE: [&str; 2] = ["pcfs", "foldcase"];

fn scenes() -> Vec<Scene> {
    let later = |what, has_other_card, faults, result, complaint| Scene {
        what,
        is_first: false,
        has_other_card,
        faults,
        missing: &[],
        result,
        complaint,
    };
    let killed = Action::Abort { half: false };
    let (by_signal, at_limit) = ("ended by signal", "still running at its limit");
    vec![
        later(
            "mounted, and killed",
            false,
            vec![fault("mount", &READ_ONLY, 1, killed.clone())],
            "ok",
            by_signal,
        ),
        later(
            "mounted, and hangs",
            false,
            vec![fault("mount", &READ_ONLY, 1, Action::HangAfter)],
            "ok",
            at_limit,
        ),
        later("not mounted", false, vec![fault("mount", &READ_ONLY, 0, fails())], "rescue", COMPLAINT),
        later(
            "mounted writable, and killed",
            true,
            vec![fault("mount", &WRITABLE, 1, killed.clone())],
            "ok",
            by_signal,
        ),
        later("not mounted writable", true, vec![fault("mount", &WRITABLE, 0, fails())], "failed", COMPLAINT),
        later(
            "taken away, and killed",
            true,
            vec![fault("umount", &["/usbkey"], 1, killed)],
            "ok",
            by_signal,
        ),
        later("not taken away", true, vec![fault("umount", &["/usbkey"], 0, fails())], "failed", COMPLAINT),
        later(
            "taken away by hanging programs",
            true,
            vec![fault("umount", &["/usbkey"], 0, Action::Hang)],
            "failed",
            at_limit,
        ),
        later(
            "taken away for good",
            true,
            vec![fault("mount", &READ_ONLY, 2, fails()), fault("mount", &WRITABLE, 0, fails())],
            "failed",
            COMPLAINT,
        ),
        Scene {
            missing: &["/usr/sbin/umount"],
            ..later("cannot be taken away", true, Vec::new(), "failed", "cannot start /usr/sbin/umount")
        },
        Scene {
            is_first: true,
            ..later(
                "not taken away at first",
                false,
                vec![fault("umount", &["/usbkey"], 0, fails())],
                "rescue",
                COMPLAINT,
            )
        },
        Scene {
            is_first: true,
            missing: &["/usr/sbin/mount"],
            ..later("cannot be mounted", false, Vec::new(), "rescue", "cannot start /usr/sbin/mount")
        },
    ]
}

fn other_card(guest: &Guest<'_>) {
    let mut hardware = guest.machine.hardware().unwrap();
    OTHER_MAC.clone_into(&mut hardware.nics[0].mac);
    guest.machine.set_hardware(&hardware).unwrap();
    let mut kept = guest.kept();
    kept["nics"][0]["mac"] = json!(OTHER_MAC);
    guest.set_metadata(&kept);
}

fn boot(guest: &mut Guest<'_>, missing: &[&str]) -> Boot {
    guest.start_host();
    let mut options = guest.options();
    options.missing = missing.iter().map(|&path| path.to_owned()).collect();
    let boot = guest.boot(&options);
    guest.stop_host();
    boot
}

#[test]
fn a_key_that_is_mounted_or_taken_away_in_an_unusual_way_locks_nobody_out() {
    let Some(image) = Image::build(PLATFORM) else { return };
    let mut settled = image.usual_guest("settled");
    boot(&mut settled, &[]);
    for (number, scene) in scenes().iter().enumerate() {
        let name = format!("scene-{number}");
        let mut guest = if scene.is_first { image.usual_guest(&name) } else { image.twin(&name, &settled) };
        if scene.has_other_card {
            other_card(&guest);
        }
        let config = guest.machine.key().join("config");
        let before = std::fs::read(&config).ok();
        guest.machine.set_faults(&scene.faults).unwrap();
        let disturbed = boot(&mut guest, scene.missing);
        let words = || format!("{}\n{}", scene.what, console_and_logs(&disturbed));
        assert_eq!(unreachable(&guest, &disturbed), [""; 0], "{}", words());
        assert_eq!(is_told(&guest, &disturbed, Some(scene.complaint)), [""; 0], "{}", words());
        assert_eq!(status(&guest)["result"], scene.result, "{}", words());
        let after = std::fs::read(&config).ok();
        assert_eq!(before == after, !(scene.has_other_card && scene.result == "ok"), "{}", words());

        guest.machine.set_faults(&[]).unwrap();
        let next = boot(&mut guest, &[]);
        assert_eq!(unreachable(&guest, &next), [""; 0], "{}\n{}", scene.what, console_and_logs(&next));
        assert_eq!(status(&guest)["result"], "ok", "{}\n{}", scene.what, console_and_logs(&next));
        let config = std::fs::read_to_string(&config).expect("it is on the key");
        assert_eq!(config.contains(OTHER_MAC), scene.has_other_card, "{}", scene.what);
        guest.scrap();
    }
}

/// Nothing tells which card there is, so there will be no network, and no program that comes after it.
#[test]
fn without_a_network_root_has_a_password() {
    let Some(image) = Image::build(PLATFORM) else { return };
    let guest = image.usual_guest("unknown");
    guest.machine.set_faults(&[fault("dladm", &[], 0, fails())]).unwrap();
    let boot = guest.machine.boot(&guest.options()).expect("it is switched on");
    let words = console_and_logs(&boot);
    assert_eq!(boot.state("network/physical"), "maintenance", "{words}");
    assert!(has_password(&guest, &boot) && boot.console.contains("there will be no network"), "{words}");

    guest.machine.set_faults(&[]).unwrap();
    guest.set_metadata(&metadata());
    let mut guest = guest;
    guest.start_host();
    let next = guest.boot(&guest.options());
    assert_eq!(unreachable(&guest, &next), [""; 0], "{}", console_and_logs(&next));
    let keys = guest.machine.dataset("zones/opt").unwrap().join("custom/root/.ssh/authorized_keys");
    assert!(std::fs::read_to_string(keys).unwrap().contains(RSA_KEY));
    assert!(!has_password(&guest, &next));
}
