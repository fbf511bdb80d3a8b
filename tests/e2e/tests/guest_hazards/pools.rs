//! Which pool is this guest's.

use std::fs;

use kiln_e2e::first_boot::{differences, logs};
use kiln_simulator::storage::Source;

use super::owed;
use super::stage::{
    DATA, OLD, add_disks, all_is_well, boot, change_pool, disk, guest, image, on_disks, plant_own, pool,
    rescued, set, settled,
};

const OTHER: &str = "c3t0d0";

/// The script imported every pool with `-f` and its mount points: the file system of this one covered `/usr`.
#[test]
fn hazard_05_a_foreign_pool_is_not_imported() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "foreign");
    let own = guest.machine.pools().unwrap()[0].guid;
    add_disks(&guest.machine, &[disk(OTHER, 10 << 30)]);
    let foreign = guest
        .machine
        .plant_pool("tank", &[OTHER], &["var", "opt", "config"], |pool| {
            set(pool, "", "mountpoint", "/usr", Source::Local);
        })
        .unwrap();
    let (before, tank) = (on_disks(&guest.machine), pool(&guest, foreign));
    let boot = boot(&guest);
    all_is_well(&guest, &boot);
    assert_eq!(owed::no_strangers(&boot, own), [""; 0]);
    assert!(boot.runtime.storage.mounts.iter().all(|mount| mount.special != "tank"));
    assert_eq!(before["disks/c3t0d0"], on_disks(&guest.machine)["disks/c3t0d0"]);
    assert_eq!(tank, pool(&guest, foreign));
}

/// The script imported a pool because of its name and went on in what was somebody else's.
#[test]
fn hazard_05_a_foreign_pool_of_our_name_is_not_taken_over() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "namesake");
    guest.machine.plant_pool("zones", &[DATA], &["home", "var"], |_| {}).unwrap();
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), "zones", &before);
}

/// The script imported a pool of the right name with the mount points that it had, here over `/usr`.
#[test]
fn hazard_05_a_pool_that_mounts_over_the_platform_is_not_used() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "over-usr");
    let own = plant_own(&guest.machine, DATA);
    let record = format!("{{\"guid\":{own},\"complete\":true}}");
    for is_recorded in [false, true] {
        if is_recorded {
            fs::create_dir(guest.machine.key().join("guest-init")).unwrap();
            fs::write(guest.machine.key().join("guest-init/pool.json"), &record).unwrap();
        }
        for (dataset, usual) in [("", "/zones"), ("var", "legacy"), ("opt", "legacy"), ("config", "legacy")] {
            change_pool(&guest, |pool| set(pool, dataset, "mountpoint", "/usr", Source::Local));
            let before = on_disks(&guest.machine);
            let boot = boot(&guest);
            let mounts = &boot.runtime.storage.mounts;
            assert!(mounts.iter().all(|mount| mount.kind != "zfs"), "{}", logs(&boot));
            rescued(&guest, &boot, "/usr", &before);
            assert_eq!(boot.runtime.storage.imported, [0_u64; 0], "{}", logs(&boot));
            change_pool(&guest, |pool| set(pool, dataset, "mountpoint", usual, Source::Local));
        }
    }
    // One that is not complete any more is not written to either.
    change_pool(&guest, |pool| {
        let opt = pool.datasets.remove("opt").unwrap();
        pool.datasets.insert("opt-of-mine".to_owned(), opt);
    });
    let before = on_disks(&guest.machine);
    let lacking = boot(&guest);
    rescued(&guest, &lacking, "dataset zones/opt is gone", &before);
    assert_eq!(lacking.runtime.storage.imported, [0_u64; 0], "{}", logs(&lacking));
}

/// The import by name failed where two pools had it, and the script made a third.
#[test]
fn hazard_06_of_two_pools_of_one_name_the_recorded_one_is_ours() {
    let Some(image) = image(OLD) else { return };
    let guest = guest(&image, "twins");
    add_disks(&guest.machine, &[disk(OTHER, 10 << 30)]);
    let (other, own) = (plant_own(&guest.machine, DATA), plant_own(&guest.machine, OTHER));
    let before = on_disks(&guest.machine);
    rescued(&guest, &boot(&guest), "several pools named zones", &before);

    fs::create_dir(guest.machine.key().join("guest-init")).unwrap();
    let record = format!("{{\"guid\":{own},\"complete\":true}}");
    fs::write(guest.machine.key().join("guest-init/pool.json"), record).unwrap();
    let untouched = pool(&guest, other);
    let boot = boot(&guest);
    assert_eq!(boot.runtime.storage.imported, [own], "{}", logs(&boot));
    assert!(!boot.console.contains("RESCUE"), "{}", logs(&boot));
    assert_eq!(before["disks/c2t0d0"], on_disks(&guest.machine)["disks/c2t0d0"]);
    assert_eq!(untouched, pool(&guest, other));
}

/// The script destroyed all pools for a property that was set, inherited, or came with a stream from another machine.
#[test]
fn hazard_07_a_factory_reset_is_refused_wherever_the_wish_comes_from() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "reset");
    let guid = guest.machine.pools().unwrap()[0].guid;
    let property = "smartdc:factoryreset";
    for (dataset, source) in [("var", Source::Local), ("var", Source::Received), ("", Source::Local)] {
        change_pool(&guest, |pool| set(pool, dataset, property, "yes", source));
        let lasting = guest.lasting();
        let boot = boot(&guest);
        assert!(boot.console.contains("a factory reset is asked for and NOT done"), "{}", logs(&boot));
        all_is_well(&guest, &boot);
        assert_eq!(owed::pools(&guest.machine, &[guid]), [""; 0]);
        assert_eq!(differences(&lasting, &guest.lasting()), [""; 0], "{dataset:?} {source:?}");
        change_pool(&guest, |pool| {
            pool.datasets.get_mut(dataset).unwrap().properties.remove(property);
        });
    }
}
