//! A file system read from a hostile stream, as it is and with checksums that match; what was read is written and read again.
#![no_main]

use std::io;

use kiln_fuzz::sealed;
use kiln_zstream::fs::objects::Store;
use kiln_zstream::fs::tree::{Content, Kind};
use kiln_zstream::fs::{self, FileSystemOptions, Objects, Version};
use libfuzzer_sys::fuzz_target;

/// Blocks expand to much more than they take, and nobody has room for all that a stream can claim.
const LIMIT: usize = 32 << 20;

/// Keeps a limited amount.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl Store for Bounded {
    fn keep(&mut self, block: &[u8]) -> io::Result<Option<u64>> {
        let at = self.0.len();
        if at + block.len() > LIMIT {
            return Err(io::Error::other("there is no room"));
        }
        self.0.extend_from_slice(block);
        Ok(Some(at as u64))
    }

    fn fetch(&self, at: u64, block: &mut [u8]) -> io::Result<()> {
        block.copy_from_slice(&self.0[at as usize..][..block.len()]);
        Ok(())
    }
}

/// Sees that contents come in order and inside their size.
fn look(content: &dyn Content) {
    let mut end = 0;
    let given = content.give(&mut |offset, piece| {
        assert!(offset >= end);
        end = offset + piece.len() as u64;
        assert!(end <= content.size());
        Ok(())
    });
    given.expect("what was kept can be read");
}

fn read(stream: &[u8]) -> Option<kiln_zstream::fs::FileSystem<Bounded>> {
    let mut objects = Objects::new(Bounded::default());
    objects.apply(stream).ok()?;
    fs::read(objects).ok()
}

fn rebuild(stream: &[u8]) {
    let Some(system) = read(stream) else { return };
    for step in system.tree.walk() {
        let node = system.tree.node(step.node);
        if let Kind::File(content) = &node.kind {
            look(&**content);
        }
        node.extended.values().for_each(|value| look(&**value));
    }
    let options = FileSystemOptions {
        to_name: "fuzz@final".to_owned(),
        to_guid: 1,
        creation_time: 0,
        version: Version::Five,
    };
    // Not everything that is read can be written: names of extended attributes may be longer than others, for instance.
    let Ok((again, _)) = fs::write(Vec::new(), &system.tree, &options) else { return };
    let mut objects = Objects::new(fs::objects::NoStore);
    objects.apply(&again[..]).expect("what is written is a stream");
    let findings = fs::check(&objects);
    assert!(findings.is_empty(), "{findings:?}");
    let again = fs::read(objects).expect("what is written is a file system");
    assert!(
        again
            .tree
            .walk()
            .map(|step| step.name.to_vec())
            .eq(system.tree.walk().map(|step| step.name.to_vec()))
    );
}

fuzz_target!(|input: &[u8]| {
    rebuild(input);
    rebuild(&sealed(input));
});
