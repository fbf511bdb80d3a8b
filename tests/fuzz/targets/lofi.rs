//! A compressed file with hostile changes, and hostile files: opened and read everywhere.
#![no_main]

use std::sync::OnceLock;

use kiln_fuzz::Base;
use kiln_lofi::{Reader, WriteOptions, write};
use libfuzzer_sys::fuzz_target;
use positioned_io::ReadAt;

/// Bytes of the good file before compression.
const PLAIN: u64 = 20_000;
/// At most so many places are read: an index of nonsense may claim any length.
const PLACES: u64 = 64;

fuzz_target!(|input: &[u8]| {
    static BASE: OnceLock<Base<Vec<u8>>> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let plain: Vec<u8> = (0..PLAIN).map(|at| (at / 700) as u8).collect();
        let mut packed = std::io::Cursor::new(Vec::new());
        write(&plain[..], PLAIN, &WriteOptions { segment: 4096 }, &mut packed)
            .expect("memory takes every write");
        let packed = packed.into_inner();
        let length = packed.len() as u64;
        Base::new(packed, length, std::iter::once(0..length))
    });
    read(Reader::open(base.changed(input), base.length()));
    read(Reader::open(input, input.len() as u64));
});

fn read<D: ReadAt>(reader: Result<Reader<D>, kiln_lofi::Error>) {
    let Ok(reader) = reader else { return };
    let mut buffer = [0; 600];
    let step = (reader.len() / PLACES).max(1);
    for place in 0..=PLACES {
        if let Ok(got) = reader.read_at(place * step, &mut buffer) {
            assert!(got <= buffer.len());
        }
    }
}
