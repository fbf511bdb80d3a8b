//! Which disk a pool is made on, if any.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use kiln_e2e::first_boot::{differences, logs, metadata};
use kiln_simulator::Hardware;
use kiln_simulator::storage::{Condition, PoolState};
use serde_json::json;

use super::stage::{
    DATA, NEW, OLD, add_disks, all_is_well, boot, boot_with, change_pool, commands, disk, fails, guest,
    image, makes_a_pool, on_disks, pool, rescued, settled,
};

/// The script took a `zpool status` that failed for a machine without a pool and called `zpool create`.
#[test]
fn hazard_01_a_failing_command_is_no_sign_that_there_is_no_pool() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "commands");
    let guid = guest.machine.pools().unwrap()[0].guid;
    // As on the key of another image: nothing says that there is a pool.
    fs::remove_dir_all(guest.machine.key().join("guest-init")).unwrap();
    let before = on_disks(&guest);
    for command in [&["list"][..], &["import"]] {
        let boot = boot_with(&guest, &[fails("zpool", command)]);
        rescued(&guest, &boot, "not known", &before);
    }
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    assert!(!makes_a_pool(&boot) && boot.runtime.storage.imported == [guid], "{}", logs(&boot));
}

/// The script imported what it could and made a pool where that failed, on the very disk of the pool that it could not import.
#[test]
fn hazard_01_a_pool_that_cannot_be_imported_is_left_alone() {
    let Some(image) = image(NEW) else { return };
    let guest = settled(&image, "conditions");
    let features = Condition::NewFeatures { names: vec!["com.example:later".into()], readable: true };
    for (condition, reason) in [
        (Condition::Corrupted, "cannot be imported"),
        (features, "cannot be imported"),
        (Condition::NewVersion, "cannot be imported"),
        (Condition::InUseElsewhere, "cannot be imported"),
    ] {
        // Of another host, so that it can be in use there.
        change_pool(&guest, |pool| {
            pool.condition = condition;
            pool.hostid = 7;
        });
        let before = on_disks(&guest);
        rescued(&guest, &boot(&guest), reason, &before);
    }
    change_pool(&guest, |pool| pool.condition = Condition::Healthy);
    all_is_well(&guest, &boot(&guest));
}

/// The script saw no pool while the disk was not there yet, and made one on the first disk that was.
#[test]
fn hazard_01_a_pool_on_a_late_disk_is_waited_for() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "late");
    add_disks(&guest, &[disk("c3t0d0", 10 << 30)]);
    let mut hardware = guest.machine.hardware().unwrap();
    hardware.disks[1].late = true;
    guest.machine.set_hardware(&hardware).unwrap();
    let before = on_disks(&guest);
    rescued(&guest, &boot(&guest), "is on none of the disks", &before);
    hardware.disks[1].late = false;
    guest.machine.set_hardware(&hardware).unwrap();
    all_is_well(&guest, &boot(&guest));
}

/// `zpool create` knows neither ext4 nor LUKS nor raw data, and nothing else stood between the script and the disk.
#[test]
fn hazard_02_a_disk_with_anything_on_it_is_left_alone() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "contents");
    let bytes = 10_u64 << 30;
    for (offset, content) in [
        (1024 + 56, &b"\x53\xef"[..]),
        (0, b"LUKS\xba\xbe"),
        (512, b"LABELONE"),
        (bytes - (1 << 20), b"raw data at the end"),
    ] {
        let file = File::create(guest.machine.disk(DATA)).unwrap();
        file.set_len(bytes).unwrap();
        file.write_all_at(content, offset).unwrap();
        let before = on_disks(&guest);
        rescued(&guest, &boot(&guest), &format!("disk {DATA} is not blank"), &before);
    }
    File::create(guest.machine.disk(DATA)).unwrap().set_len(bytes).unwrap();
    all_is_well(&guest, &boot(&guest));
}

/// The script took every disk: equal ones became a mirror, smaller ones cache or log.
#[test]
fn hazard_04_of_several_disks_the_named_one_is_taken() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "several");
    add_disks(&guest, &[disk("c3t0d0", 10 << 30), disk("c4t0d0", 1 << 30)]);
    let before = on_disks(&guest);
    rescued(&guest, &boot(&guest), "there are several disks for data (c2t0d0, c3t0d0, c4t0d0)", &before);

    let config = "admin_nic=52:54:00:12:34:56\nadmin_ip=192.0.2.10\nadmin_netmask=255.255.255.0\n\
                  admin_gateway=192.0.2.1\nhostname=oldskool\npool_disk=c3t0d0\n";
    fs::write(guest.machine.key().join("config"), config).unwrap();
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    let after = on_disks(&guest);
    for other in ["disks/c2t0d0", "disks/c4t0d0"] {
        assert_eq!(before[other], after[other]);
    }
    assert_ne!(before["disks/c3t0d0"], after["disks/c3t0d0"]);
    assert!(commands(&boot).contains(&"/usr/sbin/zpool create zones c3t0d0".to_owned()));
}

/// The disk of a pool that was destroyed by mistake was free for the script, as it is for `zpool create`.
#[test]
fn hazard_01_a_destroyed_pool_can_still_be_brought_back() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "destroyed");
    guest.machine.plant_pool("zones", &[DATA], &["var"], |pool| pool.state = PoolState::Destroyed).unwrap();
    let before = on_disks(&guest);
    rescued(&guest, &boot(&guest), "belongs to pool zones", &before);
}

/// Without a usable key, the scripts left the owner with a machine that nobody could log in to.
#[test]
fn rescue_mode_without_a_key_tells_the_console_a_password() {
    let Some(image) = image(NEW) else { return };
    let mut told = metadata();
    told["customer_metadata"] = json!({});
    let mut guest = image.guest("password", &Hardware::usual(NEW), &told);
    guest.start_host();
    let file = File::options().write(true).open(guest.machine.disk(DATA)).unwrap();
    file.write_all_at(b"something", 4096).unwrap();
    let before = on_disks(&guest);
    let boot = boot(&guest);
    let told = boot.console.lines().find_map(|line| line.split_once("on this console with the password "));
    let (_, password) = told.unwrap_or_else(|| panic!("{}", logs(&boot)));
    let password = password.trim();
    assert_eq!(password.len(), 23, "{password}");
    let shadow = fs::read_to_string(guest.machine.ramdisk().join("etc/shadow")).unwrap();
    assert!(shadow.starts_with("root:$5$"), "{shadow}");
    assert!(!guest.kept().to_string().contains(password), "the host is not told");
    assert!(!boot.logs.values().any(|log| log.contains(password)), "nor is a log");
    assert_eq!(differences(&before, &on_disks(&guest)), [""; 0]);
    assert_eq!(boot.state("network/ssh"), "online");
}

/// `destroy_zpools=true` in the boot menu destroyed every pool that the script saw.
#[test]
fn hazard_08_the_boot_menu_destroys_nothing() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "menu");
    let guid = guest.machine.pools().unwrap()[0].guid;
    let lasting = guest.lasting();
    let mut hardware = guest.machine.hardware().unwrap();
    hardware.boot_properties.push(("destroy_zpools".into(), "true".into()));
    guest.machine.set_hardware(&hardware).unwrap();
    all_is_well(&guest, &boot(&guest));
    assert_eq!(pool(&guest, guid).datasets.len(), 8);
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);

    hardware.boot_properties.push(("noimport".into(), "true".into()));
    guest.machine.set_hardware(&hardware).unwrap();
    let before = on_disks(&guest);
    rescued(&guest, &boot(&guest), "noimport=true", &before);
}
