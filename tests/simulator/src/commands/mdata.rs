//! `mdata-get` of the platform.

use crate::{Reply, World};

/// Since when the platform has a client that a global zone can use (smartos-live TOOLS-292).
const CLIENT: &str = "20131024";

/// `mdata-get KEY`: before TOOLS-292 a script that asks at the socket of a zone, `/.zonecontrol/metadata.sock`. A global zone has
/// none, and the script ends with its code for trouble on the way, 10. What it says about it is not played, and neither is the
/// client that came then.
pub fn get(world: &mut World, argv: &[&str]) -> Reply {
    match argv {
        _ if world.era().since(CLIENT) => Reply::refuse("is a client of the metadata channel"),
        [_, _] => Reply::fail(10, ""),
        _ => Reply::refuse("takes a key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Era, Hardware};

    #[test]
    fn the_first_client_is_of_no_use_in_a_global_zone() {
        let root = tempfile::tempdir().unwrap();
        let reply = |era| {
            let mut world = World::switched_on(Hardware::usual(era), root.path());
            get(&mut world, &["mdata-get", "sdc:alias"])
        };
        let old = reply(Era::ALL[0]);
        assert_eq!((old.status, old.complaint, old.stdout), (10, None, Vec::new()));
        assert!(reply(Era::ALL[1]).complaint.is_some());
    }
}
