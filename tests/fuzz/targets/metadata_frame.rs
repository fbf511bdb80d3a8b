//! Lines of the metadata protocol's version 2, as the guest and as the host read them. The first four bytes are the
//! identifier that the guest waits for.
#![no_main]

use guest_mdata::wire::{
    Line, Lines, RequestId, base64_decode, decode_request, decode_response, encode, response_length,
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some((id, stream)) = input.split_first_chunk() else { return };
    let id = RequestId(u32::from_be_bytes(*id));
    let mut lines = Lines::new(LIMIT);
    for piece in stream.chunks(1000) {
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            let (Line::Whole(line) | Line::TooLong(line)) = line;
            check(line, id);
        }
        assert!(lines.partial().len() <= LIMIT);
        let _ = response_length(lines.partial(), id);
    }
    // What is written must be read, whatever it is.
    let payload = &stream[..stream.len().min(LIMIT)];
    let text = id.to_string();
    let frame = encode(text.as_bytes(), "SUCCESS", payload);
    let read = decode_response(&frame[..frame.len() - 1], id).expect("a good frame");
    assert_eq!(base64_decode(read.base64).expect("good base64"), payload);
});

fn check(line: &[u8], id: RequestId) {
    if let Some(frame) = decode_request(line) {
        assert!(!frame.id.is_empty() && !frame.code.is_empty());
    }
    if let Some(frame) = decode_response(line, id) {
        assert_eq!(frame.id, id.to_string().as_bytes());
        let _ = base64_decode(frame.base64);
    }
}
