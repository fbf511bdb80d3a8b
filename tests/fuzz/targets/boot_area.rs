//! The boot area of the built-in loader.
#![no_main]

use kiln_bootdisk::builtin;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = builtin::read(&input);
    let _ = builtin::parse_multiboot_header(&input[..input.len().min(8192)], input.len() as u64);
});
