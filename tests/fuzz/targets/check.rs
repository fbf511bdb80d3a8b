//! Hostile streams of file systems and volumes, as they are and with checksums that match: one in which nothing is found can be read.
#![no_main]

use kiln_fuzz::sealed;
use kiln_zstream::fs::objects::NoStore;
use kiln_zstream::fs::{self, Objects};
use kiln_zstream::volume::{ExtractOptions, VolumeCheck, extract};
use libfuzzer_sys::fuzz_target;

/// Takes anything and keeps nothing.
struct Nowhere;

impl kiln_zstream::volume::VolumeSink for Nowhere {
    fn write(&mut self, _offset: u64, _bytes: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn clear(&mut self, _offset: u64, _length: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn read(&self, _offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

fn examine(stream: &[u8]) {
    let mut objects = Objects::new(NoStore);
    if objects.apply(stream).is_ok() && fs::check(&objects).is_empty() {
        assert!(fs::read(objects).is_ok());
    }
    let mut volume = VolumeCheck::new();
    if volume.apply(stream).is_ok() && volume.findings().is_empty() {
        let options = ExtractOptions { size_limit: i64::MAX as u64, base: None };
        if let Err(error) = extract(stream, &mut Nowhere, &options) {
            // What is in blocks of the disk is looked at only by who wants it.
            assert!(
                error.to_string().contains("damaged") || error.kind() == kiln_zstream::ErrorKind::Unsupported,
                "{error}"
            );
        }
    }
}

fuzz_target!(|input: &[u8]| {
    examine(input);
    examine(&sealed(input));
});
