//! The ways in which the shell scripts of older images lost data or locked their owners out, each played on a whole machine.
//!
//! The number of a test is that of the hazard. Its comment says what the scripts did, which is what it would see of them.

mod access;
mod disks;
mod network;
mod old;
mod owed;
mod pools;
mod stage;
mod storage;

/// How many hazards are known.
const HAZARDS: u32 = 27;

#[test]
fn every_hazard_is_played() {
    let sources = [
        include_str!("access.rs"),
        include_str!("disks.rs"),
        include_str!("network.rs"),
        include_str!("pools.rs"),
        include_str!("storage.rs"),
    ];
    let missing: Vec<u32> = (1..=HAZARDS)
        .filter(|number| {
            let name = format!("#[test]\nfn hazard_{number:02}_");
            !sources.iter().any(|source| source.contains(&name))
        })
        .collect();
    assert_eq!(missing, [0; 0], "hazards without a test");
}
