//! How what is on the pool comes to be.

use std::fs;

use kiln_e2e::first_boot::{differences, logs};
use kiln_simulator::storage::Kind;
use kiln_simulator::{Action, Fault};

use super::old::{SMALL, TINY, resize};
use super::owed;
use super::stage::{
    DATA, OLD, all_is_well, boot, boot_until, boot_with, can_be_reached, can_log_in, commands, fails, guest,
    image, makes_a_pool, on_disks, plant_own, rescued, settled, status,
};

/// The script looked at no exit status: what had failed counted as done, and was never done again.
#[test]
fn hazard_03_what_fails_is_told_and_made_up_for() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "failing");
    let before = on_disks(&guest.machine);
    let failed = boot_with(&guest, &[fails("zpool", &["create"])]);
    can_be_reached(&failed);
    assert!(failed.console.contains("it does not work today"), "{}", logs(&failed));
    assert_eq!(differences(&before, &on_disks(&guest.machine)).len(), 2, "the intent and its folder");
    for lacking in ["zones/config", "zones/dump"] {
        let failed = boot_with(&guest, &[fails("zfs", &["create", lacking])]);
        can_be_reached(&failed);
        assert!(can_log_in(&guest, &failed, super::stage::OWN), "{lacking}\n{}", logs(&failed));
        assert!(failed.console.contains("it does not work today"), "{lacking}\n{}", logs(&failed));
        assert_ne!(status(&guest)["result"], "ok", "{lacking}");
        assert!(guest.machine.dataset(lacking).is_err());
    }
    let mended = boot(&guest);
    all_is_well(&guest, &mended);
    assert!(!makes_a_pool(&mended));
    let lasting = guest.lasting();
    all_is_well(&guest, &boot(&guest));
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);
}

/// The script went on in whatever was mounted.
#[test]
fn hazard_03_a_pool_that_was_made_and_cannot_be_seen_is_let_go_of() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "unseen");
    let second = Fault { nth: 2, ..fails("zpool", &["list"]) };
    let failed = boot_with(&guest, &[second]);
    can_be_reached(&failed);
    assert!(failed.console.contains("RESCUE MODE"), "{}", logs(&failed));
    assert!(makes_a_pool(&failed));
    let mounts = &failed.runtime.storage.mounts;
    assert!(mounts.iter().all(|mount| mount.kind != "zfs"), "{}", logs(&failed));
    let mended = boot(&guest);
    all_is_well(&guest, &mended);
    assert_eq!(guest.machine.pools().unwrap().len(), 1);
}

/// The script found the pool of its interrupted first run and skipped all datasets; `swap -a` failed, and at every boot again.
#[test]
fn hazard_09_a_first_boot_that_stops_after_making_the_pool_is_gone_on_with() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "stopped");
    boot_until(&guest, "zpool", &["create"], Action::DieAfter);
    let guid = guest.machine.pools().unwrap()[0].guid;
    for dataset in ["zones/opt", "zones/swap"] {
        boot_until(&guest, "zfs", &["create", dataset], Action::DieAfter);
    }
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    assert!(!makes_a_pool(&boot));
    assert_eq!(guest.machine.pools().unwrap().iter().map(|pool| pool.guid).collect::<Vec<_>>(), [guid]);
}

/// An interrupted `zpool create` left a label; the script's next `zpool create` refused the disk, and there never was a pool.
#[test]
fn hazard_10_an_interrupted_creation_is_repeated_by_its_intent_alone() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "interrupted");
    boot_until(&guest, "zpool", &["create"], Action::DieHalf);
    let intent = guest.machine.key().join("guest-init/intent.json");
    let kept = fs::read(&intent).unwrap();
    // Whoever lost the intent may not take it for an own disk.
    fs::remove_file(&intent).unwrap();
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), &format!("disk {DATA} is not blank"), &before);
    fs::write(&intent, kept).unwrap();
    all_is_well(&guest, &boot(&guest));
    assert_eq!(guest.machine.pools().unwrap().len(), 1);
    assert!(!intent.exists());
}

/// The script copied /var with errors thrown away; what an interruption left counted as whole at the next boot.
#[test]
fn hazard_11_var_is_whole_or_not_there() {
    let Some(image) = image(OLD) else { return };
    let var = |guest: &kiln_e2e::first_boot::Guest<'_>| {
        let mut lasting = guest.lasting();
        lasting.retain(|path, _| path.starts_with("zones/var/svc") || path.starts_with("zones/var/adm"));
        lasting
    };
    let undisturbed = var(&settled(&image, "undisturbed"));
    assert!(!undisturbed.is_empty());
    let guest = guest(&image, "copied");
    boot_until(&guest, "zfs", &["set", "mountpoint=legacy", "zones/var.new"], Action::DieHalf);
    let partial = guest.machine.dataset("zones/var.new").unwrap();
    for folder in ["svc", "adm"] {
        let _ = fs::remove_dir_all(partial.join(folder));
    }
    boot_until(&guest, "zfs", &["rename", "zones/var.new"], Action::DieHalf);
    all_is_well(&guest, &boot(&guest));
    assert_eq!(differences(&undisturbed, &var(&guest)), [""; 0]);
    assert_eq!(owed::whole_var(&guest.machine), [""; 0]);
}

/// The script mounted whatever was there: without `/var/run`, most services fail.
#[test]
fn hazard_11_an_empty_var_is_filled_and_folders_that_are_missing_are_made() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "empty");
    let guid = plant_own(&guest.machine, DATA);
    for (command, word) in [("rename", "zones/var.new"), ("set", "mountpoint=/zones/.var.new")] {
        boot_until(&guest, "zfs", &[command, word], Action::DieAfter);
    }
    boot_until(&guest, "zfs", &["set", "mountpoint=legacy", "zones/var.new"], Action::DieHalf);
    boot_until(&guest, "zfs", &["set", "mountpoint=legacy", "zones/var.new"], Action::DieAfter);
    let filled = boot(&guest);
    all_is_well(&guest, &filled);
    assert_eq!(filled.runtime.storage.imported, [guid]);
    let var = guest.machine.dataset("zones/var").unwrap();
    for folder in ["run", "svc", "adm"] {
        assert!(var.join(folder).is_dir(), "{folder}");
    }
    let lasting = guest.lasting();
    all_is_well(&guest, &boot(&guest));
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);

    fs::remove_dir_all(var.join("run")).unwrap();
    fs::write(var.join("adm/own"), "own").unwrap();
    let mended = boot(&guest);
    all_is_well(&guest, &mended);
    assert!(mended.console.contains("/var/run was missing and is made"), "{}", logs(&mended));
    assert!(var.join("run").is_dir());
    assert_eq!(fs::read_to_string(var.join("adm/own")).unwrap(), "own");
}

/// The script unpacked what it could of a damaged tarball, once, and called it done.
#[test]
fn hazard_12_a_damaged_tarball_is_not_unpacked_and_a_whole_one_later_is() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "tarball");
    let tarball = guest.machine.key().join("custom.tgz");
    let whole = fs::read(&tarball).unwrap();
    for damage in [&whole[..whole.len() - 100], b"", &[0; 1000]] {
        fs::write(&tarball, damage).unwrap();
        let failed = boot(&guest);
        can_be_reached(&failed);
        assert!(can_log_in(&guest, &failed, super::stage::OWN), "{}", logs(&failed));
        assert!(failed.console.contains("/opt/custom stays as it is"), "{}", logs(&failed));
        assert_eq!(status(&guest)["step"], "storage/custom");
        let opt = guest.machine.dataset("zones/opt").unwrap();
        assert!(!opt.join("custom/etc").exists(), "nothing of it is there");
        let keys = guest.machine.ramdisk().join("root/.ssh/authorized_keys");
        assert!(fs::read_to_string(keys).is_ok_and(|keys| keys.contains("ssh-rsa")), "{}", logs(&failed));
    }
    fs::write(&tarball, &whole).unwrap();
    let good = boot(&guest);
    all_is_well(&guest, &good);
    assert_eq!(owed::custom(&guest.machine), [""; 0]);
}

/// The script ended with 95 over a swap device: no file systems, no network, no SSH, no console login.
#[test]
fn hazard_13_a_guest_without_swap_or_dump_is_still_a_guest() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "swapless");
    let failed = boot_with(&guest, &[fails("swap", &["-a"]), fails("dumpadm", &[])]);
    can_be_reached(&failed);
    assert!(can_log_in(&guest, &failed, super::stage::OWN));
    assert!(!failed.console.contains("RESCUE"), "{}", logs(&failed));
    assert_eq!(status(&guest)["result"], "failed");
    assert!(guest.machine.dataset("zones/var").is_ok() && guest.machine.dataset("zones/opt").is_ok());
    all_is_well(&guest, &boot(&guest));
}

/// The script refused a disk smaller than twice the memory, after it had made the pool.
#[test]
fn hazard_14_swap_and_dump_shrink_with_the_disk() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "small");
    resize(&guest.machine, SMALL);
    assert!(SMALL < 2 * guest.machine.hardware().unwrap().memory);
    all_is_well(&guest, &boot(&guest));
    let pool = guest.machine.pools().unwrap().remove(0);
    for (volume, part) in [("swap", 4), ("dump", 10)] {
        let Kind::Volume { bytes } = pool.datasets[volume].kind else { panic!("{pool:?}") };
        assert!(bytes <= SMALL / part && bytes >= 64 << 20, "{volume} has {bytes} bytes");
    }
}

/// The script made a swap volume as large as the memory and wholly reserved, which did not fit on such a disk.
#[test]
fn hazard_15_swap_is_sparse_from_the_start() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "tiny");
    resize(&guest.machine, TINY);
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    let pool = guest.machine.pools().unwrap().remove(0);
    let swap = &pool.datasets["swap"];
    let Kind::Volume { bytes: size } = swap.kind else { panic!("{swap:?}") };
    assert!(swap.number("refreservation") < size / 2, "{swap:?}");
    let made: Vec<String> = commands(&boot).into_iter().filter(|line| line.contains(" zones/swap")).collect();
    assert!(made[0].starts_with("/usr/sbin/zfs create -s "), "{made:?}");
    let hardware = guest.machine.hardware().unwrap();
    assert!(pool.available(guest.machine.folder(), &hardware.era) > TINY / 2, "most of it is the owner's");
}
