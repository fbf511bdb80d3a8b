//! Recipe files and the lists of owners beside overlays.
#![no_main]

use std::path::Path;

use kiln::ownership::Ownership;
use kiln::retro;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = Ownership::parse(input, Path::new("overlay.mtree"));
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = retro::parse_recipe(text);
    }
});
