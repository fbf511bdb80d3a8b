//! What the tests share: the fixtures, and a device that stays in memory.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;

/// A file of `tests/fixtures/ufs`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/ufs").join(name)
}

/// A gzipped image of the fixtures, unpacked.
pub fn image(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(fixture(name)).expect("the fixture is part of the repository");
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}
