//! What a receiver takes of volumes and then dies of is found, each thing by itself and with what comes of it.

use crate::common::{Builder, fixture};
use kiln_zstream::volume::VolumeCheck;
use kiln_zstream::{ErrorKind, Harm};

const BLOCK: [u8; 512] = [1; 512];

fn begin() -> Builder {
    Builder::new(false, false).begin(1, 3, 0, 1, &[])
}

/// What is found in a stream that is sound by its records: objects and what comes of it.
fn found(stream: Builder) -> Vec<(u64, Harm)> {
    let mut check = VolumeCheck::new();
    check.apply(&stream.end().bytes[..]).expect("the records are sound");
    check.findings().into_iter().map(|finding| (finding.object, finding.harm)).collect()
}

/// A table of properties in which `size` stands twice.
fn twice(builder: &Builder) -> Vec<u8> {
    let mut table = vec![0; 512];
    builder.put(&mut table, (0, 8, 0x8000_0000_0000_0003));
    builder.put(&mut table, (8, 8, 7));
    for entry in [64, 128] {
        builder.put(&mut table, (entry, 8, 1024));
        table[entry + 14..entry + 18].copy_from_slice(b"size");
    }
    table
}

#[test]
fn nothing_is_found_in_a_sound_volume() {
    assert_eq!(found(begin().object(1, 23, 512).write(1, 512, &BLOCK).size(1024)), []);
    assert_eq!(found(begin().object(1, 23, 131_072).size(131_072)), []);
}

/// What is broken, a stream of it, and what is found: object and harm.
type Case = (&'static str, Builder, &'static [(u64, Harm)]);

#[test]
fn each_defect_is_found_with_what_comes_of_it() {
    let disk = || begin().object(1, 23, 512);
    let doubled = twice(&begin());
    let cases: Vec<Case> = vec![
        ("no object 2", disk(), &[(2, Harm::Panic)]),
        ("an empty object 2", disk().object(2, 24, 512), &[(2, Harm::Panic)]),
        (
            "an object 2 without size",
            disk().object(2, 24, 512).write(2, 0, &[0; 512]),
            &[(2, Harm::Panic); 2],
        ),
        ("size twice", disk().object(2, 24, 512).write(2, 0, &doubled), &[(2, Harm::Panic)]),
        ("no disk", begin().size(1024), &[(1, Harm::Panic)]),
        ("a disk of another type", begin().object(1, 19, 512).size(1024), &[(1, Harm::Panic)]),
        ("blocks of 10240", begin().object(1, 23, 10240).size(10240), &[(1, Harm::Panic)]),
        ("unannounced large blocks", begin().object(1, 23, 1 << 20).size(1 << 20), &[(1, Harm::Refused)]),
        ("size 0", disk().size(0), &[(2, Harm::Lost)]),
        ("half a block too many", begin().object(1, 23, 1024).size(1536), &[(2, Harm::Lost)]),
        ("data behind the end", disk().write(1, 1024, &BLOCK).size(1024), &[(1, Harm::Lost)]),
        ("an undeclared object", disk().write(7, 0, &BLOCK).size(1024), &[(7, Harm::Refused)]),
        (
            "a block too short",
            begin().object(1, 23, 1024).write(1, 0, &BLOCK).size(1024),
            &[(1, Harm::Refused)],
        ),
        ("a block askew", disk().write(1, 8, &BLOCK).size(1024), &[(1, Harm::Refused)]),
        (
            "an object freed before",
            disk().record(2, &[(8, 8, 1), (16, 8, 1)], &[]).size(512),
            &[(1, Harm::Panic)],
        ),
        (
            "GUID 0",
            Builder::new(false, false).begin(1, 3, 0, 0, &[]).object(1, 23, 512).size(512),
            &[(0, Harm::Refused); 2],
        ),
    ];
    for (what, stream, expected) in cases {
        assert_eq!(found(stream), expected, "{what}");
    }
}

#[test]
fn a_discarded_end_of_the_disk_is_no_data_behind_its_end() {
    let shrunk = begin().object(1, 23, 512).write(1, 1024, &BLOCK).free(1, 1024, u64::MAX).size(1024);
    assert_eq!(found(shrunk), []);
}

#[test]
fn an_increment_is_checked_on_top_of_what_it_changes() {
    let mut check = VolumeCheck::new();
    check.apply(&begin().object(1, 23, 512).size(1024).end().bytes[..]).unwrap();
    let grown = Builder::new(false, false).begin(1, 3, 1, 2, &[]).write(1, 1024, &BLOCK);
    check.apply(&grown.clone().end().bytes[..]).unwrap();
    let harms: Vec<_> = check.findings().into_iter().map(|finding| (finding.object, finding.harm)).collect();
    assert_eq!(harms, [(1, Harm::Lost)]);

    let error = VolumeCheck::new().apply(&grown.end().bytes[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongBase);
    let error = VolumeCheck::new().apply(&fixture("fs5-tiny.zs.gz")[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadVolume);
}
