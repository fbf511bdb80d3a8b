//! The first sectors of a disk: partition table and the traces that loaders leave.
#![no_main]

use kiln_bootdisk::detect::detect;
use kiln_bootdisk::mbr::Mbr;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(mbr) = Mbr::read(&input) {
        let bytes = mbr.to_bytes();
        assert_eq!(Mbr::read(&bytes.as_slice()).expect("what was written can be read"), mbr);
    }
    let _ = detect(&input);
});
