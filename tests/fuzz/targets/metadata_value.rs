//! Values of the metadata protocol's version 1: a status line and dot-stuffed lines.
#![no_main]

use guest_mdata::wire::{Line, Lines, Progress, ValueReader, encode_value};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 12;

fuzz_target!(|input: &[u8]| {
    if let Some(Progress::Whole(value)) = read(input) {
        assert!(value.len() <= LIMIT);
    }
    // What is written must be read, whatever it is.
    let value = &input[..input.len().min(LIMIT)];
    assert_eq!(read(&encode_value(value)), Some(Progress::Whole(value.to_vec())));
});

/// What the first value of a stream comes to, or `None` if the stream ends before that.
fn read(stream: &[u8]) -> Option<Progress> {
    let mut lines = Lines::new(2 * LIMIT);
    let mut reader: Option<ValueReader> = None;
    for piece in stream.chunks(100) {
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            match (&mut reader, line) {
                (Some(reader), line) => match reader.line(line) {
                    Progress::More => {}
                    end => return Some(end),
                },
                (none, Line::Whole(status)) => *none = ValueReader::after_status(status, LIMIT),
                _ => {}
            }
        }
    }
    None
}
