//! Recipe files.
#![no_main]

use kiln::retro;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = retro::parse_recipe(text);
});
