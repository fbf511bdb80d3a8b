//! Who gets in, and what runs for them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use kiln_e2e::first_boot::{Guest, INTERPRETED, PROGRAM, RSA_KEY, differences, logs, metadata};
use kiln_simulator::{Boot, BootOptions, Hardware, static_program};
use serde_json::{Value, json};

use super::owed;
use super::stage::{
    NEW, OLD, OWN, all_is_well, boot, boot_with, can_be_reached, can_log_in, commands, fails, guest, image,
    settled, status, typing,
};

pub const SECURITY_KEY: &str = "sk-ssh-ed25519@openssh.com \
    AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAAAABHNzaDo= token";
pub const RESTRICTED: &str = "from=\"192.0.2.0/24\",no-pty ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f backup";
const OWNERS_LINE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA mine";

fn tell(guest: &mut Guest<'_>, key: &str, value: &Value) {
    guest.stop_host();
    let mut kept = guest.kept();
    kept["customer_metadata"][key] = value.clone();
    guest.set_metadata(&kept);
    guest.start_host();
}

fn keys(guest: &Guest<'_>) -> String {
    let path = guest.machine.dataset("zones/opt").unwrap().join("custom/root/.ssh/authorized_keys");
    fs::read_to_string(path).unwrap()
}

/// The script took lines that begin with `ssh` or `ecdsa`, after the part with the rules could have ended it, and never took
/// one away.
#[test]
fn hazard_21_keys_come_first_all_of_them_and_go_when_they_are_removed() {
    let Some(image) = image(NEW) else { return };
    let mut guest = guest(&image, "keys");
    tell(&mut guest, "root_authorized_keys", &json!([RSA_KEY, SECURITY_KEY, RESTRICTED].join("\n")));
    let failed =
        boot_with(&guest, &[fails("ipf", &[]), fails("ipnat", &[]), fails("dladm", &["create-vnic"])]);
    can_be_reached(&failed);
    assert_eq!(owed::keys(&keys(&guest), &[RSA_KEY, SECURITY_KEY, RESTRICTED], &[]), [""; 0]);
    let path = guest.machine.dataset("zones/opt").unwrap().join("custom/root/.ssh/authorized_keys");
    let about = fs::metadata(&path).unwrap();
    assert_eq!(about.permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);

    fs::write(&path, keys(&guest) + OWNERS_LINE + "\n").unwrap();
    tell(&mut guest, "root_authorized_keys", &json!(RSA_KEY));
    all_is_well(&guest, &boot(&guest));
    let (stay, gone) = ([RSA_KEY, OWNERS_LINE], [SECURITY_KEY, RESTRICTED]);
    assert_eq!(owed::keys(&keys(&guest), &stay, &gone), [""; 0]);
}

/// The file with the keys in the pool's `/opt`, and the folders above it.
pub const WAY_TO_THE_KEYS: [&str; 5] =
    ["", "custom", "custom/root", "custom/root/.ssh", "custom/root/.ssh/authorized_keys"];

/// The script made /root a link into a tree that belonged to whoever had packed it, and `sshd` (StrictModes) took no key.
#[test]
fn hazard_22_the_way_to_the_keys_is_roots_alone() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "lax");
    let opt = guest.machine.dataset("zones/opt").unwrap();
    let lasting = guest.lasting();
    for part in WAY_TO_THE_KEYS {
        let part = opt.join(part);
        fs::set_permissions(&part, fs::Permissions::from_mode(0o777)).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&part, Some(1000), Some(1000)).unwrap();
        }
    }
    all_is_well(&guest, &boot(&guest));
    let own = fs::metadata(guest.machine.key()).unwrap().uid();
    assert_eq!(owed::closed(&opt, &WAY_TO_THE_KEYS, own), [""; 0]);
    let changed = differences(&lasting, &guest.lasting());
    assert!(changed.iter().all(|line| line.contains("zones/opt/custom")), "{changed:?}");
}

/// The script lacked a backslash, asked a `mdata-get` that did not work, and gave the UUID in the wrong byte order.
#[test]
fn hazard_25_the_uuid_is_that_of_the_host_and_smbios_runs_once() {
    let Some(image) = image(OLD) else { return };
    let mut hardware = Hardware::usual(OLD);
    hardware.bios_vendor = "BHYVE".into();
    hardware.serial = "none".into();
    let mut guest = image.guest("smbios", &hardware, &metadata());
    guest.start_host();
    let asked = ["/system/usr/bin/smbios", "-t", "1"];
    let boot = guest.boot(&BootOptions { services: false, ..typing(&guest, &[&asked, &asked]) });
    let platforms = commands(&boot).iter().filter(|line| *line == "/usr/sbin/smbios -t 1").count();
    assert_eq!(platforms, 2, "once for each\n{}", logs(&boot));
    for answer in &boot.outputs {
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(owed::uuid(&boot.outputs, &hardware.uuid), [""; 0], "{}", logs(&boot));
}

/// The script's exit status was that of the owner's program: not 0, and the service was in maintenance.
#[test]
fn hazard_26_a_program_of_the_owner_that_fails_fails_alone() {
    let Some(image) = image(OLD) else { return };
    let mut guest = guest(&image, "userscript");
    tell(&mut guest, "user-script", &json!(INTERPRETED));
    let boot = guest.boot(&guest.options_with_interpreter("/usr/bin/hostname renamed\nexit 1"));
    can_be_reached(&boot);
    assert_eq!(owed::run_once(&boot), [""; 0], "{}", logs(&boot));
    assert_eq!(boot.runtime.host.name, "renamed", "{}", logs(&boot));
    assert_eq!(status(&guest)["step"], "userscript/user-script");
    assert!(boot.console.contains("ended with status 1"), "{}", logs(&boot));
    let script = guest.machine.dataset("zones/var").unwrap().join("svc/mdata-user-script");
    assert_eq!(fs::metadata(script).unwrap().permissions().mode() & 0o7777, 0o700);
}

/// Two runs of the script flushed each other's rules and made half of everything twice.
#[test]
fn hazard_27_a_restart_typed_twice_changes_nothing() {
    let Some(image) = image(OLD) else { return };
    let mut guest = settled(&image, "restarts");
    let (before, lasting) = (boot(&guest), guest.lasting());
    tell(&mut guest, "user-script", &json!(INTERPRETED));
    let restart = "/usr/sbin/svcadm restart smartos/setup\n/usr/sbin/svcadm restart smartdc/config\n";
    let boot = guest.boot(&guest.options_with_interpreter(&restart.repeat(2)));
    let runs = boot.started.iter().filter(|fmri| fmri.contains("smartos/setup")).count();
    assert!(runs >= 2, "{:?}", boot.started);
    all_is_well(&guest, &boot);
    assert!(can_log_in(&guest, &boot, OWN));
    assert_eq!(owed::same_network(&before, &boot), [""; 0], "{}", logs(&boot));
    let mut changed = differences(&lasting, &guest.lasting());
    changed.retain(|line| !line.contains("user-script") && !line.contains("metadata.json"));
    assert_eq!(changed, [""; 0]);
}

/// The same at the first boot, when there is everything to do.
#[test]
fn hazard_27_of_two_that_run_at_once_one_does_it_all() {
    let Some(image) = image(OLD) else { return };
    let alone = guest(&image, "alone");
    let undisturbed = boot(&alone);
    let guest = guest(&image, "twice");
    let folder = guest.machine.folder().join("twice");
    fs::create_dir_all(folder.join("etc/scripted")).unwrap();
    let setup = format!("& {PROGRAM} setup start\n");
    fs::write(folder.join("etc/scripted/smartos-setup"), setup.repeat(2)).unwrap();
    let mut options = guest.options();
    options.overlays.push((folder, "/".into()));
    options.programs.push((static_program("scripted").unwrap(), "/lib/svc/method/smartos-setup".into()));
    let boot = guest.boot(&options);
    all_is_well(&guest, &boot);
    assert_eq!(owed::same_network(&undisturbed, &boot), [""; 0], "{}", logs(&boot));
    // Whoever came second found nothing to do: nothing was made or loaded twice.
    let ends = boot.console.lines().filter(|line| line.starts_with("guest-init setup: ok, ")).count();
    assert_eq!(ends, 2, "{}", boot.console);
    assert!(boot.console.contains("guest-init setup: ok, nothing changed"), "{}", boot.console);
    for change in ["dladm create-vnic", "ipf -IFa", "ipnat -CF", "svcadm disable"] {
        let times = |boot: &Boot| commands(boot).iter().filter(|line| line.contains(change)).count();
        assert_eq!(times(&boot), times(&undisturbed), "{change}\n{}", logs(&boot));
    }
}
