//! Streams without their hole records.

use kiln_zstream::dehole::{Deholed, dehole};
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::{self, Objects};
use kiln_zstream::{ErrorKind, Record, StreamReader};

use crate::common::fixture;

/// The records of a stream, with every checksum verified.
fn records(stream: &[u8]) -> Vec<Record> {
    let mut reader = StreamReader::new(stream);
    std::iter::from_fn(|| reader.next_record().unwrap()).collect()
}

fn is_hole(record: &Record) -> bool {
    matches!(record, Record::Free { .. } | Record::FreeObjects { .. })
}

#[test]
fn holes_go_and_everything_else_stays() {
    for name in ["fs5-full.zs.gz", "fuse-fs4-full.zs.gz", "fuse-zvol64-full.zs.gz", "zvol64-sparse.zs.gz"] {
        let stream = fixture(name);
        let mut output = Vec::new();
        let done = dehole(&stream[..], &mut output).unwrap();
        let (before, after) = (records(&stream), records(&output));
        let kept: Vec<&Record> = before.iter().filter(|record| !is_hole(record)).collect();
        assert!(done.skipped > 0, "{name} has none");
        assert_eq!(done, Deholed { skipped: (before.len() - kept.len()) as u64, written: kept.len() as u64 });
        // BEGIN promises hole records no more, and END has another checksum.
        assert_eq!(after[1..after.len() - 1].iter().collect::<Vec<_>>(), kept[1..kept.len() - 1], "{name}");
        // There is nothing to do a second time.
        let mut again = Vec::new();
        assert_eq!(dehole(&output[..], &mut again).unwrap().skipped, 0);
        assert!(again == output, "{name}");
    }
}

#[test]
fn the_file_system_is_the_same() {
    let names = |stream: &[u8]| {
        let mut objects = Objects::new(DeviceStore::new(Vec::new()));
        objects.apply(stream).unwrap();
        let tree = fs::read(objects).unwrap().tree;
        tree.walk().map(|step| step.name.to_vec()).collect::<Vec<_>>()
    };
    let stream = fixture("fs5-full.zs.gz");
    let mut output = Vec::new();
    dehole(&stream[..], &mut output).unwrap();
    assert_eq!(names(&stream), names(&output));
}

#[test]
fn incremental_streams_are_refused() {
    let error = dehole(&fixture("fs5-inc.zs.gz")[..], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("incremental"), "{error}");
}
