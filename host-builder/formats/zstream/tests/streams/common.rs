//! Fixtures, and streams made by hand from offsets, independent of the crate's own structures.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// A file of `tests/fixtures/zstream`, see the README there, expanded when its name ends in `.gz`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/zstream").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension() != Some("gz".as_ref()) {
        return bytes;
    }
    let mut expanded = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut expanded).unwrap();
    expanded
}

/// The SHA-256 of `data` in hexadecimal digits.
pub fn sha256(data: &[u8]) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(data) {
        write!(digits, "{byte:02x}").unwrap();
    }
    digits
}

pub const RECORD: usize = 312;

pub const BEGIN: u32 = 0;
pub const OBJECT: u32 = 1;
pub const FREEOBJECTS: u32 = 2;
pub const WRITE: u32 = 3;
pub const FREE: u32 = 4;
pub const END: u32 = 5;
pub const WRITE_BYREF: u32 = 6;
pub const SPILL: u32 = 7;

/// A field to set: its offset in the record, its width in bytes and its value.
pub type Field = (usize, usize, u64);

/// A stream under construction.
#[derive(Clone)]
pub struct Builder {
    pub bytes: Vec<u8>,
    big: bool,
    per_record_sums: bool,
    sum: [u64; 4],
}

impl Builder {
    pub fn new(big: bool, per_record_sums: bool) -> Self {
        Self { bytes: Vec::new(), big, per_record_sums, sum: [0; 4] }
    }

    /// A volume stream up to OBJECT 1 with blocks of 512 bytes.
    pub fn volume(features: u64, from_guid: u64, guid: u64) -> Self {
        Self::new(false, false).begin(features << 2 | 1, 3, from_guid, guid, &[]).object(1, 23, 512)
    }

    pub fn begin(self, version: u64, objset: u64, from_guid: u64, guid: u64, payload: &[u8]) -> Self {
        let fields = [
            (4, 4, payload.len() as u64),
            (8, 8, 0x2_f5ba_cbac),
            (16, 8, version),
            (32, 4, objset),
            (40, 8, guid),
            (48, 8, from_guid),
        ];
        self.record(BEGIN, &fields, payload)
    }

    pub fn object(self, object: u64, kind: u64, block_size: u64) -> Self {
        self.record(OBJECT, &[(8, 8, object), (16, 4, kind), (24, 4, block_size)], &[])
    }

    pub fn write(self, object: u64, offset: u64, data: &[u8]) -> Self {
        self.record(WRITE, &[(8, 8, object), (24, 8, offset), (32, 8, data.len() as u64)], data)
    }

    pub fn free(self, object: u64, offset: u64, length: u64) -> Self {
        self.record(FREE, &[(8, 8, object), (16, 8, offset), (24, 8, length)], &[])
    }

    /// Object 2 with the size.
    pub fn size(self, size: u64) -> Self {
        let mut zap = vec![0; 512];
        self.put(&mut zap, (0, 8, 0x8000_0000_0000_0003));
        self.put(&mut zap, (8, 8, 7));
        // Tables of later systems have entries nobody here knows.
        self.put(&mut zap, (64, 8, 99));
        zap[78..83].copy_from_slice(b"other");
        self.put(&mut zap, (192, 8, size));
        zap[206..210].copy_from_slice(b"size");
        self.object(2, 24, 512).write(2, 0, &zap)
    }

    pub fn end(self) -> Self {
        let sum = self.sum;
        let fields: Vec<Field> = (0..4).map(|n| (8 + 8 * n, 8, sum[n])).collect();
        self.record(END, &fields, &[])
    }

    /// Any record.
    pub fn record(self, kind: u32, fields: &[Field], payload: &[u8]) -> Self {
        let mut bytes = vec![0; RECORD];
        self.put(&mut bytes, (0, 4, u64::from(kind)));
        for &field in fields {
            self.put(&mut bytes, field);
        }
        if kind == BEGIN {
            bytes[56..64].copy_from_slice(b"pool/v@s");
        }
        self.raw(kind, bytes, payload)
    }

    /// A record as it is but for its checksum.
    pub fn raw(mut self, kind: u32, mut bytes: Vec<u8>, payload: &[u8]) -> Self {
        if kind == BEGIN {
            self.sum = [0; 4];
            self.add(&bytes);
        } else {
            self.add(&bytes[..280]);
            if self.per_record_sums {
                for (n, word) in self.sum.into_iter().enumerate() {
                    self.put(&mut bytes, (280 + 8 * n, 8, word));
                }
            }
            self.add(&bytes[280..]);
        }
        self.add(payload);
        self.bytes.extend(bytes);
        self.bytes.extend(payload);
        self
    }

    /// Sets one field in the byte order of the stream.
    pub fn put(&self, bytes: &mut [u8], (offset, width, value): Field) {
        let field = &mut bytes[offset..offset + width];
        if self.big {
            field.copy_from_slice(&value.to_be_bytes()[8 - width..]);
        } else {
            field.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }

    /// Fletcher-4 as its definition has it.
    fn add(&mut self, data: &[u8]) {
        for word in data.chunks(4) {
            let word: [u8; 4] = word.try_into().unwrap();
            let word = if self.big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
            let mut carry = u64::from(word);
            for part in &mut self.sum {
                *part = part.wrapping_add(carry);
                carry = *part;
            }
        }
    }
}

/// The number at an offset of a little-endian stream.
pub fn get(bytes: &[u8], offset: usize, width: usize) -> u64 {
    let mut value = [0; 8];
    value[..width].copy_from_slice(&bytes[offset..offset + width]);
    u64::from_le_bytes(value)
}

/// The records of a plain little-endian stream without newer features: kind, the 312 bytes, the payload.
pub fn split(stream: &[u8]) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    let (mut records, mut at) = (Vec::new(), 0);
    while at < stream.len() {
        let record = &stream[at..at + RECORD];
        let kind = get(record, 0, 4) as u32;
        let payload = match kind {
            OBJECT => get(record, 28, 4).next_multiple_of(8),
            WRITE => get(record, 32, 8),
            SPILL => get(record, 16, 8),
            _ => 0,
        } as usize;
        at += RECORD;
        records.push((kind, record.to_vec(), stream[at..at + payload].to_vec()));
        at += payload;
    }
    records
}

/// The stream with its END checksum, and those in records where there are some, made to fit again.
pub fn resealed(records: Vec<(u32, Vec<u8>, Vec<u8>)>, big: bool) -> Vec<u8> {
    let sums =
        records.iter().any(|(kind, bytes, _)| *kind != BEGIN && bytes[280..].iter().any(|&byte| byte != 0));
    let mut builder = Builder::new(big, sums);
    for (kind, mut bytes, payload) in records {
        if kind == END {
            for n in 0..4 {
                builder.put(&mut bytes, (8 + 8 * n, 8, builder.sum[n]));
            }
        }
        builder = builder.raw(kind, bytes, &payload);
    }
    builder.bytes
}

/// A plain little-endian volume stream as a big-endian machine would have sent it.
pub fn swapped(stream: &[u8]) -> Vec<u8> {
    swapped_with(stream, |kind, bytes, payload| {
        if kind == WRITE && get(bytes, 16, 4) == 24 {
            reverse(payload, 8, &[0, 8, 16]);
            for entry in (64..payload.len()).step_by(64) {
                reverse(payload, 8, &[entry]);
                reverse(payload, 4, &[entry + 8]);
            }
        }
    })
}

/// Reverses the bytes of numbers of a width at some offsets.
pub fn reverse(bytes: &mut [u8], width: usize, offsets: &[usize]) {
    for at in offsets {
        bytes[*at..at + width].reverse();
    }
}

/// A plain little-endian stream as a big-endian machine would have sent it. The payloads are swapped by `payloads`, which is given the
/// kind of each record and its bytes as well, as they were.
pub fn swapped_with(stream: &[u8], mut payloads: impl FnMut(u32, &[u8], &mut [u8])) -> Vec<u8> {
    let fields: &[(u32, &[(usize, usize)])] = &[
        (BEGIN, &[(4, 4), (8, 8), (16, 8), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8)]),
        (OBJECT, &[(8, 8), (16, 4), (20, 4), (24, 4), (28, 4), (36, 4), (40, 8), (56, 8)]),
        (FREEOBJECTS, &[(8, 8), (16, 8), (24, 8)]),
        (
            WRITE,
            &[
                (8, 8),
                (16, 4),
                (24, 8),
                (32, 8),
                (40, 8),
                (56, 8),
                (64, 8),
                (72, 8),
                (80, 8),
                (88, 8),
                (96, 8),
            ],
        ),
        (FREE, &[(8, 8), (16, 8), (24, 8), (32, 8)]),
        (SPILL, &[(8, 8), (16, 8), (24, 8), (40, 8)]),
        (END, &[(40, 8)]),
    ];
    let mut records = split(stream);
    for (kind, bytes, payload) in &mut records {
        payloads(*kind, bytes, payload);
        reverse(bytes, 4, &[0]);
        let (_, list) = fields.iter().find(|(of, _)| of == kind).unwrap();
        for &(at, width) in *list {
            reverse(bytes, width, &[at]);
        }
    }
    resealed(records, true)
}
