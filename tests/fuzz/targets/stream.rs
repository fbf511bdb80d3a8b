//! Any ZFS send stream, record by record with its payloads, as it is and with checksums that match.
#![no_main]

use kiln_fuzz::sealed;
use kiln_zstream::StreamReader;
use libfuzzer_sys::fuzz_target;

fn read(input: &[u8]) {
    let mut reader = StreamReader::new(input);
    let mut payload = Vec::new();
    while let Ok(Some(_)) = reader.next_record() {
        payload.clear();
        if reader.read_payload(&mut payload).is_err() {
            break;
        }
        assert!(payload.len() <= input.len());
    }
    assert!(reader.position() <= input.len() as u64);
}

fuzz_target!(|input: &[u8]| {
    read(input);
    read(&sealed(input));
});
