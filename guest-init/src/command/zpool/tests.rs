use proptest::prelude::*;

use super::*;

/// A guest that was switched off: platforms of 2013 and 2014.
const SWITCHED_OFF: &str = "   pool: zones
     id: 11470283938171624418
  state: ONLINE
 status: The pool was last accessed by another system.
 action: The pool can be imported using its name or numeric identifier and
\tthe '-f' flag.
   see: http://illumos.org/msg/ZFS-8000-EY
 config:

\tzones       ONLINE
\t  c1t0d0    ONLINE
";

/// Of 2018: two pools of one name, one of which lacks a disk; `status:` without its blank.
const SAME_NAME: &str = "   pool: zones
     id: 1
  state: ONLINE
 action: The pool can be imported using its name or numeric identifier.
 config:

\tzones       ONLINE
\t  mirror-0  ONLINE
\t    c1t0d0  ONLINE
\t    c2t0d0s0  ONLINE
\tlogs
\t  c5t0d0    ONLINE

   pool: zones
     id: 2
  state: UNAVAIL
status: One or more devices are missing from the system.
 action: The pool cannot be imported. Attach the missing
\tdevices and try again.
   see: http://illumos.org/msg/ZFS-8000-3C
 config:

\tzones       UNAVAIL  insufficient replicas
\t  c3t0d0    UNAVAIL  cannot open
";

/// Of 2021, with multihost.
const IN_USE: &str = "   pool: zones
     id: 3
  state: UNAVAIL
status: The pool is currently imported by another system.
 action: The pool must be exported from tank (hostid=1)
\tbefore it can be safely imported.
   see: http://illumos.org/msg/ZFS-8000-EY
 config:

\tzones       UNAVAIL  currently online
\t  c1t0d0    ONLINE
";

const NEWER: &str = "   pool: data
     id: 4
  state: UNAVAIL
status: The pool uses the following feature(s) not supported on this system:
\tcom.example:thing (A thing)
 action: Access the pool on a system that supports the required feature(s),
\tor restore the pool from backup.
 config:

\tdata        UNAVAIL  unsupported feature(s)
\t  c1t0d0    ONLINE
";

const DESTROYED: &str = "   pool: zones
     id: 5
  state: ONLINE (DESTROYED)
 action: The pool can be imported using its name or numeric identifier.
 config:

\tzones       ONLINE
\t  c1t0d0    ONLINE
";

fn only(text: &str) -> Importable {
    let pools = parse_search(text).expect("understood");
    assert_eq!(pools.len(), 1);
    pools.into_iter().next().expect("one pool")
}

#[test]
fn that_another_system_had_it_last_is_no_obstacle() {
    let pool = only(SWITCHED_OFF);
    assert_eq!((pool.name.as_str(), pool.guid), ("zones", 11_470_283_938_171_624_418));
    assert_eq!(pool.obstacle(), None);
    assert!(pool.remarks.ends_with("numeric identifier and the '-f' flag."), "{}", pool.remarks);
    assert_eq!(pool.devices, ["c1t0d0"]);
}

#[test]
fn pools_of_one_name_are_two_pools() {
    let pools = parse_search(SAME_NAME).expect("understood");
    assert_eq!(pools.iter().map(|pool| pool.guid).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(pools[0].obstacle(), None);
    assert!(pools[1].obstacle().expect("an obstacle").contains("missing from the system"));
    assert!(pools[0].is_on("c2t0d0") && pools[0].is_on("c5t0d0") && !pools[0].is_on("c3t0d0"));
}

#[test]
fn obstacles_are_recognised() {
    for (text, word) in [(IN_USE, "another machine"), (NEWER, "features"), (DESTROYED, "destroyed")] {
        let obstacle = only(text).obstacle().expect("an obstacle");
        assert!(obstacle.contains(word), "{obstacle}");
    }
    let read_only = NEWER.replace("state: UNAVAIL", "state: ONLINE").replace(
        "The pool uses the following feature(s) not supported on this system:",
        "The pool can only be accessed in read-only mode on this system. It",
    );
    assert!(only(&read_only).obstacle().expect("an obstacle").contains("only be read"));
    let old = SWITCHED_OFF.replace(
        "The pool was last accessed by another system",
        "The pool is formatted using an incompatible version",
    );
    assert!(only(&old).obstacle().expect("an obstacle").contains("version"));
    let corrupted = SWITCHED_OFF.replace("state: ONLINE", "state: FAULTED");
    assert!(only(&corrupted).obstacle().expect("an obstacle").contains("FAULTED"));
}

#[test]
fn a_destroyed_pool_is_told_from_its_state() {
    let pool = only(DESTROYED);
    assert!(pool.destroyed);
    assert_eq!(pool.state, "ONLINE");
}

#[test]
fn what_is_not_understood_is_an_error() {
    let cut = &SWITCHED_OFF[..SWITCHED_OFF.find("  state").expect("a state")];
    for text in
        ["garbage", "\tc1t0d0 ONLINE\n", "  state: ONLINE\n", "   pool: zones\n", cut, "pool: a\nid: x\n"]
    {
        assert!(parse_search(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_comment_cannot_pretend_to_be_something_else() {
    let text = SWITCHED_OFF.replace("   see:", "comment: pool: other\n\tid: 9\n   see:");
    let pool = only(&text);
    assert_eq!((pool.name.as_str(), pool.guid), ("zones", 11_470_283_938_171_624_418));
}

#[test]
fn parts_of_disks_have_the_name_of_the_disk() {
    for device in ["c1t0d0", "c1t0d0s0", "c1t0d0p0", "/dev/dsk/c1t0d0s12"] {
        assert!(is_part_of(device, "c1t0d0"), "{device}");
    }
    for device in ["c1t0d01", "c1t0d0s", "c1t0d0x0", "c11t0d0", "mirror-0"] {
        assert!(!is_part_of(device, "c1t0d0"), "{device}");
    }
}

#[test]
fn the_list_of_pools_is_read() {
    assert_eq!(parse_list("").expect("no pools"), []);
    let pools = parse_list("zones\t42\tONLINE\toff\nlooked\t7\tONLINE\ton\n").expect("pools");
    let active = |name: &str, guid, read_only| Active {
        name: name.to_owned(),
        guid,
        health: "ONLINE".to_owned(),
        read_only,
    };
    assert_eq!(pools, [active("zones", 42, false), active("looked", 7, true)]);
    for text in ["no pools available\n", "zones\t42\tONLINE\n", "zones\tx\tONLINE\toff\n"] {
        assert!(parse_list(text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "([ a-z:\t\n]|pool:|id: 1|state: ){0,60}") {
        // It may be understood or not.
        let _ = parse_search(&text);
        let _ = parse_list(&text);
    }
}
