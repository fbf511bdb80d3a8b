//! Extended attributes that stand with the other attributes of a file (`DXATTR`): a list of names and values as
//! `nvlist_pack` makes it in its portable form (OpenZFS `module/nvpair/nvpair.c`, `NV_ENCODE_XDR`). Only such a list is read here.

use std::collections::BTreeMap;

/// The first byte: numbers are big-endian and multiples of 4 bytes long (XDR).
const XDR: u8 = 1;
/// The only version.
const VERSION: u32 = 0;
/// A value that is bytes (`DATA_TYPE_BYTE_ARRAY`).
const BYTES: u32 = 10;

/// Why bytes are no such list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its extended attributes cannot be read: {0}")]
pub struct Unpackable(&'static str);

/// The values by name. The last of several with one name counts, as it does for ZFS.
///
/// # Errors
/// [`Unpackable`].
pub fn decode(packed: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Unpackable> {
    let (&[encoding, _, _, _], list) = packed.split_first_chunk::<4>().ok_or(CUT)?;
    if encoding != XDR {
        return Err(Unpackable("they are packed in the form of one kind of machine only"));
    }
    let mut rest = Cursor(list);
    if rest.number()? != VERSION {
        return Err(Unpackable("they are packed in an unknown version"));
    }
    // Flags: whether names are unique.
    rest.number()?;
    let mut values = BTreeMap::new();
    loop {
        let pair = rest.0;
        let (length, unpacked) = (rest.number()?, rest.number()?);
        if (length, unpacked) == (0, 0) {
            return Ok(values);
        }
        // The length counts the two numbers that were just read.
        let (pair, behind) = pair.split_at_checked(length as usize).ok_or(CUT)?;
        let mut inside = Cursor(pair.get(8..).ok_or(CUT)?);
        let name = inside.bytes()?;
        if inside.number()? != BYTES {
            return Err(Unpackable("one of them is not made of bytes"));
        }
        let value = inside.bytes()?;
        values.insert(name.to_vec(), value.to_vec());
        rest = Cursor(behind);
    }
}

const CUT: Unpackable = Unpackable("they are not all there");

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn number(&mut self) -> Result<u32, Unpackable> {
        let (number, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    /// Bytes behind their number, filled up to a multiple of 4.
    fn bytes(&mut self) -> Result<&'a [u8], Unpackable> {
        let length = self.number()? as usize;
        let (bytes, _) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).ok_or(CUT)?;
        Ok(bytes)
    }
}

/// A list with these values, as ZFS on Linux makes it.
#[cfg(test)]
pub fn encode(values: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut packed = vec![XDR, 1, 0, 0];
    packed.extend(VERSION.to_be_bytes());
    packed.extend(1u32.to_be_bytes());
    for (name, value) in values {
        let padded = |bytes: &[u8]| {
            let mut padded = (bytes.len() as u32).to_be_bytes().to_vec();
            padded.extend(bytes);
            padded.resize(padded.len().next_multiple_of(4), 0);
            padded
        };
        let (name, value) = (padded(name), padded(value));
        packed.extend((name.len() as u32 + value.len() as u32 + 12).to_be_bytes());
        packed.extend(64u32.to_be_bytes());
        packed.extend(name);
        packed.extend(BYTES.to_be_bytes());
        packed.extend(value);
    }
    packed.extend([0; 8]);
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let values = [(&b"user.a"[..], &b"1"[..]), (b"user.note", b"a longer value"), (b"user.empty", b"")];
        let decoded = decode(&encode(&values)).unwrap();
        assert_eq!(decoded.len(), 3);
        for (name, value) in values {
            assert_eq!(decoded[name], value);
        }
        assert_eq!(decode(&encode(&[])), Ok(BTreeMap::new()));
    }

    /// What libnvpair of OpenZFS 2.1 makes of two values.
    #[test]
    fn the_form_is_that_of_libnvpair() {
        const PACKED: &[u8] = b"\x01\x01\0\0\0\0\0\0\0\0\0\x01\
            \0\0\0\x20\0\0\0\x20\0\0\0\x06user.a\0\0\0\0\0\x0a\0\0\0\x011\0\0\0\
            \0\0\0\x30\0\0\0\x30\0\0\0\x09user.note\0\0\0\0\0\0\x0a\0\0\0\x0ea longer value\0\0\
            \0\0\0\0\0\0\0\0";
        let values =
            [(b"user.a".to_vec(), b"1".to_vec()), (b"user.note".to_vec(), b"a longer value".to_vec())];
        assert_eq!(decode(PACKED), Ok(values.into()));
    }

    #[test]
    fn no_bytes_are_read_that_are_not_there() {
        let whole = encode(&[(b"user.a", b"value"), (b"user.b", b"other")]);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
        // Any number in it made as large as can be.
        for at in (0..whole.len()).step_by(4) {
            let mut damaged = whole.clone();
            damaged[at..at + 4].fill(0xff);
            // The flags and the unpacked lengths mean nothing here; a name is as good as another.
            let _ = decode(&damaged);
        }
        let mut other = whole.clone();
        other[0] = 0;
        assert_eq!(
            decode(&other),
            Err(Unpackable("they are packed in the form of one kind of machine only"))
        );
        let mut number = whole;
        let kind = number.windows(4).position(|word| word == BYTES.to_be_bytes()).unwrap();
        number[kind + 3] = 8;
        assert_eq!(decode(&number), Err(Unpackable("one of them is not made of bytes")));
    }
}
