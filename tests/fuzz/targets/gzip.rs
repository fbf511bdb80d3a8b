//! Files of gzip members.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // Deflate packs a thousand to one, so that what is read is bounded here and not by the input.
    let mut reader = kiln_pgzip::Reader::new(input).take(4 << 20);
    let _ = std::io::copy(&mut reader, &mut std::io::sink());
    assert!(reader.into_inner().position() <= input.len() as u64);
});
