//! Base64 with the standard alphabet and padding, without line breaks (RFC 4648, section 4).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = b'=';

/// `bytes` as base64, padded.
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    encode_onto(&mut text, bytes);
    text
}

/// How many bytes `bytes` have as base64.
pub fn encoded_length(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

/// Adds `bytes` to a text as base64, padded.
pub fn encode_onto(text: &mut Vec<u8>, bytes: &[u8]) {
    text.reserve(encoded_length(bytes));
    for group in bytes.chunks(3) {
        let mut block = [0; 4];
        block[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(block);
        for place in 0..4 {
            text.push(if place <= group.len() {
                ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]
            } else {
                PAD
            });
        }
    }
}

/// The bytes that `text` stands for, or `None` if it is not base64. Missing padding is accepted, as the host accepts
/// it; anything else that is not of the alphabet is not.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = match text {
        [digits @ .., PAD, PAD] | [digits @ .., PAD] if text.len().is_multiple_of(4) => digits,
        digits => digits,
    };
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut collector = Collector::for_digits(digits.len());
    for &digit in digits {
        collector.push(value_of(digit)?);
    }
    Some(collector.bytes)
}

/// The bytes that `text` stands for in the opinion of the host's agent, whose runtime (Node's `Buffer`) takes the URL
/// alphabet too, skips what is of neither, and stops at the padding. What is not base64 at all gives rubbish.
pub fn decode_lenient(text: &[u8]) -> Vec<u8> {
    let mut collector = Collector::for_digits(text.len());
    for &digit in text.iter().take_while(|&&byte| byte != PAD) {
        let digit = match digit {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        if let Some(value) = value_of(digit) {
            collector.push(value);
        }
    }
    collector.bytes
}

/// The six bits of a digit.
fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Puts groups of six bits together to bytes. Bits of an unfinished byte are dropped.
struct Collector {
    bytes: Vec<u8>,
    bits: u16,
    count: u32,
}

impl Collector {
    fn for_digits(digits: usize) -> Self {
        Self { bytes: Vec::with_capacity(digits / 4 * 3 + 2), bits: 0, count: 0 }
    }

    fn push(&mut self, value: u8) {
        self.bits = self.bits << 6 | u16::from(value);
        self.count += 6;
        if self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.bits >> self.count) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, decode_lenient, encode};

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            (&b""[..], &b""[..]),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
            assert_eq!(decode_lenient(text), bytes);
        }
    }

    #[test]
    fn padding_may_be_missing_but_nothing_may_be_wrong() {
        assert_eq!(decode(b"Zm8").as_deref(), Some(&b"fo"[..]));
        assert_eq!(decode(b"Zg").as_deref(), Some(&b"f"[..]));
        for bad in [&b"Z"[..], b"Zm9vY", b"Zg=", b"Zg===", b"=", b"Zm 8=", b"Zm-_", b"Z\0==", b"Zm8=Zm8="] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_host_takes_what_it_can() {
        assert_eq!(decode_lenient(b"Z m\x009-v!"), decode_lenient(b"Zm9+v"));
        assert_eq!(decode_lenient(b"="), b"");
        assert_eq!(decode_lenient(b"Zm8=Zm8="), b"fo");
        assert_eq!(decode_lenient(b"sdc:alias").len(), 6);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode_lenient(&encode(&bytes)), bytes);
        }
    }
}
