//! Image manifests: what is read is written and read back equal, and the rules judge anything.
#![no_main]

use kiln_imgapi::{Kind, Manifest, cautions, defects, read_value, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(value) = read_value(input) {
        for kind in [Kind::Minimal, Kind::Public, Kind::Private, Kind::Dc] {
            validate(&value, kind);
        }
        cautions(&value);
        defects(&value);
    }
    if let Ok(manifest) = Manifest::from_slice(input) {
        let text = manifest.to_json();
        let back = Manifest::from_slice(text.as_bytes()).expect("what was written can be read");
        assert_eq!(back.to_json(), text);
    }
});
