//! A volume rebuilt from a hostile stream, as it is and with checksums that match.
#![no_main]

use kiln_fuzz::sealed;
use kiln_zstream::volume::{ExtractOptions, extract};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 1 << 20;

/// Takes what is written within the limit, and keeps count of it only.
struct Bounded;

impl kiln_zstream::volume::VolumeSink for Bounded {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        assert!(offset + bytes.len() as u64 <= LIMIT);
        Ok(())
    }

    fn clear(&mut self, offset: u64, length: u64) -> std::io::Result<()> {
        assert!(offset + length <= LIMIT);
        Ok(())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        assert!(offset + bytes.len() as u64 <= LIMIT);
        bytes.fill(0);
        Ok(())
    }
}

fn rebuild(stream: &[u8]) {
    if let Ok(info) = extract(stream, &mut Bounded, &ExtractOptions { size_limit: LIMIT, base: None }) {
        assert!(info.size <= LIMIT);
    }
}

fuzz_target!(|input: &[u8]| {
    rebuild(input);
    rebuild(&sealed(input));
});
