//! The authentic images and streams below `tests/fixtures`; a README.md in each folder tells their origin.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The path of the fixture `name`, such as `ufs/empty8m.img.gz`.
///
/// # Panics
/// When there is no such fixture.
pub fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in tests/").join("fixtures").join(name);
    assert!(path.exists(), "there is no fixture {}", path.display());
    path
}

/// The bytes of the fixture `name`, inflated if its name ends in `.gz`.
///
/// # Panics
/// When there is no such fixture, or when it cannot be read.
pub fn read(name: &str) -> Vec<u8> {
    let path = path(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut inflated = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut inflated)
        .unwrap_or_else(|error| panic!("cannot inflate {}: {error}", path.display()));
    inflated
}

/// The text of the fixture `name`, inflated if its name ends in `.gz`.
///
/// # Panics
/// As [`read`], and when the bytes are not UTF-8.
pub fn text(name: &str) -> String {
    String::from_utf8(read(name)).unwrap_or_else(|error| panic!("{name} is not text: {error}"))
}

/// Writes the fixture `name` into `folder`, inflated, under its base name without `.gz`.
///
/// # Panics
/// As [`read`], and when the file cannot be written.
pub fn unpack(name: &str, folder: &Path) -> PathBuf {
    let base = name.rsplit('/').next().unwrap_or(name);
    let target = folder.join(base.strip_suffix(".gz").unwrap_or(base));
    fs::write(&target, read(name))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", target.display()));
    target
}
