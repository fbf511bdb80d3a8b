//! Which disk a pool is made on, if any.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use kiln_e2e::first_boot::{differences, logs, metadata};
use kiln_simulator::storage::{Condition, PoolState};
use kiln_simulator::{Action, Disk, Hardware};
use serde_json::json;

use super::owed;
use super::stage::{
    DATA, NEW, OLD, add_disks, all_is_well, boot, boot_until, boot_with, change_pool, commands, disk, fails,
    guest, image, makes_a_pool, on_disks, plant_own, pool, rescued, settled,
};

/// The script took a `zpool status` that failed for a machine without a pool and called `zpool create`.
#[test]
fn hazard_01_a_failing_command_is_no_sign_that_there_is_no_pool() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "commands");
    let guid = guest.machine.pools().unwrap()[0].guid;
    // As on the key of another image: nothing says that there is a pool.
    fs::remove_dir_all(guest.machine.key().join("guest-init")).unwrap();
    let before = on_disks(&guest.machine);
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
        let before = on_disks(&guest.machine);
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
    let guid = guest.machine.pools().unwrap()[0].guid;
    add_disks(&guest.machine, &[disk("c3t0d0", 10 << 30)]);
    let mut hardware = guest.machine.hardware().unwrap();
    hardware.disks[1].late = true;
    guest.machine.set_hardware(&hardware).unwrap();
    let late = boot(&guest);
    all_is_well(&guest, &late);
    assert_eq!(late.runtime.storage.imported, [guid]);
    assert!(late.console.contains("it is waited for"), "{}", logs(&late));
    let absent = hardware.disks.remove(1);
    guest.machine.set_hardware(&hardware).unwrap();
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), "is on none of the disks", &before);
    hardware.disks.insert(1, Disk { late: false, ..absent });
    guest.machine.set_hardware(&hardware).unwrap();
    let timely = boot(&guest);
    all_is_well(&guest, &timely);
    assert!(!timely.console.contains("waited"), "{}", logs(&timely));
}

/// Stopped right after it had made a pool, the script made another one where that one's disk came late.
#[test]
fn hazard_10_no_second_pool_is_made_while_the_first_is_on_its_way() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "on-its-way");
    boot_until(&guest, "zpool", &["create"], Action::DieAfter);
    let guid = guest.machine.pools().unwrap()[0].guid;
    add_disks(&guest.machine, &[disk("c3t0d0", 10 << 30)]);
    let mut hardware = guest.machine.hardware().unwrap();
    let mut own = hardware.disks.remove(1);
    guest.machine.set_hardware(&hardware).unwrap();
    let before = on_disks(&guest.machine);
    let reason = format!("disk {DATA} of 10240 MiB is not there, on which a pool was about to be made");
    rescued(&guest, &boot(&guest), &reason, &before);
    own.late = true;
    hardware.disks.push(own);
    guest.machine.set_hardware(&hardware).unwrap();
    let late = boot(&guest);
    all_is_well(&guest, &late);
    assert_eq!(late.runtime.storage.imported, [guid]);
    assert_eq!(guest.machine.pools().unwrap().len(), 1);
    assert!(!guest.machine.key().join("guest-init/intent.json").exists());
}

/// The script went on where the key could not be written to, and knew nothing of its pool at the next boot.
#[test]
fn hazard_10_nothing_is_begun_that_the_key_cannot_be_told_of() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "write-protected");
    let protected = fails("mount", &["foldcase"]);
    let before = on_disks(&guest.machine);
    let first = boot_with(&guest, std::slice::from_ref(&protected));
    rescued(&guest, &first, "the key cannot be made writable", &before);
    // Nor is a pool taken over.
    let guid = plant_own(&guest.machine, DATA);
    let before = on_disks(&guest.machine);
    let second = boot_with(&guest, std::slice::from_ref(&protected));
    rescued(&guest, &second, "the key cannot be made writable", &before);
    assert_eq!(second.runtime.storage.imported, [0_u64; 0], "{}", logs(&second));
    all_is_well(&guest, &boot(&guest));
    // Once everything is written down, it is not needed.
    let lasting = guest.lasting();
    let later = boot_with(&guest, &[protected]);
    all_is_well(&guest, &later);
    assert_eq!(later.runtime.storage.imported, [guid]);
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);
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
        let before = on_disks(&guest.machine);
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
    add_disks(&guest.machine, &[disk("c3t0d0", 10 << 30), disk("c4t0d0", 1 << 30)]);
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), "there are several disks for data (c2t0d0, c3t0d0, c4t0d0)", &before);

    let config = "admin_nic=52:54:00:12:34:56\nadmin_ip=192.0.2.10\nadmin_netmask=255.255.255.0\n\
                  admin_gateway=192.0.2.1\nhostname=oldskool\npool_disk=c3t0d0\n";
    fs::write(guest.machine.key().join("config"), config).unwrap();
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    let after = on_disks(&guest.machine);
    for other in ["disks/c2t0d0", "disks/c4t0d0"] {
        assert_eq!(before[other], after[other]);
    }
    assert_ne!(before["disks/c3t0d0"], after["disks/c3t0d0"]);
    assert!(
        commands(&boot).iter().any(|line| line.contains("zpool create") && line.ends_with("zones c3t0d0"))
    );
}

/// There was no way to tell the script which disk to take.
#[test]
fn hazard_04_the_host_can_name_the_disk() {
    let Some(image) = image(OLD) else { return };
    let mut told = metadata();
    told["customer_metadata"]["guest-init:pool_disk"] = json!("c9t0d0");
    let mut hardware = Hardware::usual(OLD);
    hardware.disks.push(disk("c3t0d0", 10 << 30));
    let mut guest = image.guest("named", &hardware, &told);
    guest.start_host();
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), "there is no disk c9t0d0 for data, which pool_disk names", &before);
    guest.stop_host();
    told["customer_metadata"]["guest-init:pool_disk"] = json!("c3t0d0");
    guest.set_metadata(&told);
    guest.start_host();
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    assert!(
        commands(&boot).iter().any(|line| line.contains("zpool create") && line.ends_with("zones c3t0d0"))
    );
    assert_eq!(before["disks/c2t0d0"], on_disks(&guest.machine)["disks/c2t0d0"]);
}

/// The disk of a pool that was destroyed by mistake was free for the script, as it is for `zpool create`.
#[test]
fn hazard_01_a_destroyed_pool_can_still_be_brought_back() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "destroyed");
    guest.machine.plant_pool("zones", &[DATA], &["var"], |pool| pool.state = PoolState::Destroyed).unwrap();
    let before = on_disks(&guest.machine);
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
    let before = on_disks(&guest.machine);
    let boot = boot(&guest);
    let told = boot.console.lines().find_map(|line| line.split_once("on this console with the password "));
    let (_, password) = told.unwrap_or_else(|| panic!("{}", logs(&boot)));
    let password = password.trim();
    assert_eq!(password.len(), 23, "{password}");
    let shadow = fs::read_to_string(guest.machine.ramdisk().join("etc/shadow")).unwrap();
    assert!(shadow.starts_with("root:$5$"), "{shadow}");
    assert!(!guest.kept().to_string().contains(password), "the host is not told");
    assert!(!boot.logs.values().any(|log| log.contains(password)), "nor is a log");
    assert_eq!(differences(&before, &on_disks(&guest.machine)), [""; 0]);
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
    assert_eq!(owed::pools(&guest.machine, &[guid]), [""; 0]);
    assert_eq!(pool(&guest, guid).datasets.len(), 8);
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);

    hardware.boot_properties.push(("noimport".into(), "true".into()));
    guest.machine.set_hardware(&hardware).unwrap();
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), "noimport=true", &before);
}
