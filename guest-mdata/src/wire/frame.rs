//! Frames of version 2: `V2 LENGTH CRC ID CODE [PAYLOAD]`, where the length and the checksum are of all that follows
//! them, and the payload is base64.

use std::fmt;

use super::base64;
use super::crc32::crc32;

const MAGIC: &[u8] = b"V2 ";

/// How many places of one line are looked at as the beginning of a frame. A real line has one; more than a few are an
/// attempt to cost time.
const CANDIDATES: usize = 16;

/// The identifier that the host copies from a request into its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub u32);

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// What stands in a frame for its checksum until the body is there.
const CRC_PLACE: &[u8] = b"00000000 ";

/// A frame whose length and checksum were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The request's identifier, lower-case hexadecimal. Clients send 8 digits; the host takes any number of them.
    pub id: &'a [u8],
    /// What is asked or answered: one word.
    pub code: &'a [u8],
    /// The payload as it stood on the line; empty if there was none.
    pub base64: &'a [u8],
}

/// The line of a frame, LF included. `id` is what [`RequestId`] displays, or what a request had. An empty payload is
/// left out together with the space before it, since the host silently drops frames that end with a space.
///
/// Built in its place, since a payload may be large and this is not to need several times its memory.
pub fn encode(id: &[u8], code: &str, payload: &[u8]) -> Vec<u8> {
    let digits = if payload.is_empty() { 0 } else { 1 + base64::encoded_length(payload) };
    let length = id.len() + 1 + code.len() + digits;
    let head = format!("V2 {length} ");
    let mut line = Vec::with_capacity(head.len() + CRC_PLACE.len() + length + 1);
    line.extend_from_slice(head.as_bytes());
    line.extend_from_slice(CRC_PLACE);
    let body = line.len();
    line.extend_from_slice(id);
    line.push(b' ');
    line.extend_from_slice(code.as_bytes());
    if !payload.is_empty() {
        line.push(b' ');
        base64::encode_onto(&mut line, payload);
    }
    let crc = format!("{:08x} ", crc32(&line[body..]));
    line[head.len()..body].copy_from_slice(crc.as_bytes());
    line.push(b'\n');
    line
}

/// The request on a line, as the host's agent reads it: leniently. Spaces and tabs may be repeated, a CR or spaces may
/// follow, the length may have leading zeros, something may stand between `V2` and the length, and the identifier may
/// have any number of digits; but upper-case hexadecimal digits, and a length that counts spaces at the end, are
/// mistakes. `None` is a frame that the host drops without an answer.
pub fn decode_request(line: &[u8]) -> Option<Frame<'_>> {
    let line = line.strip_prefix(b"V2").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))?;
    let line = line.trim_ascii();
    // The leftmost place where a number, a hexadecimal number and something more follow each other.
    let mut starts = (0..line.len())
        .filter(|&at| line[at].is_ascii_digit() && (at == 0 || !line[at - 1].is_ascii_digit()));
    let (length, crc, body) = starts.find_map(|at| {
        let (length, rest) = leading(&line[at..], is_digit)?;
        let (crc, body) = leading(blanks(rest)?, is_lower_hex)?;
        Some((length, crc, blanks(body).filter(|body| !body.is_empty())?))
    })?;
    if number(length)? != body.len() || crc != format!("{:08x}", crc32(body)).as_bytes() {
        return None;
    }
    let (id, rest) = leading(body, is_lower_hex)?;
    let rest = blanks(rest)?;
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (code, payload) = rest.split_at(end);
    (!code.is_empty()).then_some(Frame { id, code, base64: payload.trim_ascii_start() })
}

/// The answer to request `id` on a line, wherever on the line it begins: a byte or two that were left over of another
/// answer may stand before it. Length, checksum and identifier make that safe. A CR, NULs or spaces may follow.
pub fn decode_response(line: &[u8], id: RequestId) -> Option<Frame<'_>> {
    candidates(line).find_map(|candidate| {
        let (length, crc, rest) = header(candidate)?;
        let (body, after) = rest.split_at_checked(length)?;
        if !after.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) || crc32(body) != crc {
            return None;
        }
        let mut fields = body.splitn(3, |&byte| byte == b' ');
        let (found, code) = (fields.next()?, fields.next()?);
        let base64 = fields.next().unwrap_or_default();
        (found == id.to_string().as_bytes() && !code.is_empty()).then_some(Frame { id: found, code, base64 })
    })
}

/// The length in bytes that the answer to request `id` claims for its body, if such an answer begins on this line. It
/// is for lines whose end has not come: nothing but the identifier vouches for it.
pub fn response_length(partial: &[u8], id: RequestId) -> Option<usize> {
    let id = id.to_string();
    candidates(partial).find_map(|candidate| {
        let (length, _, rest) = header(candidate)?;
        rest.strip_prefix(id.as_bytes())?.starts_with(b" ").then_some(length)
    })
}

/// Every place where a frame may begin, what follows it.
fn candidates(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .map(|(at, _)| &line[at + MAGIC.len()..])
        .take(CANDIDATES)
}

/// Length, checksum, and what follows them and a space each.
fn header(bytes: &[u8]) -> Option<(usize, u32, &[u8])> {
    let (length, rest) = leading(bytes, is_digit)?;
    let (crc, rest) = leading(rest.strip_prefix(b" ")?, is_lower_hex)?;
    let crc = std::str::from_utf8(crc).ok().filter(|digits| digits.len() == 8)?;
    Some((number(length)?, u32::from_str_radix(crc, 16).ok()?, rest.strip_prefix(b" ")?))
}

/// The leading bytes of a class, at least one, and the rest.
fn leading(bytes: &[u8], class: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| !class(byte)).unwrap_or(bytes.len());
    (end > 0).then(|| bytes.split_at(end))
}

/// What follows white space, of which there must be some.
fn blanks(bytes: &[u8]) -> Option<&[u8]> {
    leading(bytes, |byte| byte.is_ascii_whitespace()).map(|(_, rest)| rest)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Frame, RequestId, decode_request, decode_response, encode, response_length};

    const ID: RequestId = RequestId(0xdc4f_ae17);
    const ANSWER: &[u8] = b"V2 21 265ae1d8 dc4fae17 SUCCESS W10=";
    const QUESTION: &[u8] = b"V2 29 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw==";

    fn framed(body: &[u8]) -> Vec<u8> {
        [format!("V2 {} {:08x} ", body.len(), super::crc32(body)).as_bytes(), body].concat()
    }

    #[test]
    fn the_examples_of_the_specification() {
        assert_eq!(encode(b"dc4fae17", "SUCCESS", b"[]"), [ANSWER, b"\n"].concat());
        assert_eq!(encode(b"d2a2a4ca", "GET", b"sdc:routes"), [QUESTION, b"\n"].concat());
        let answer = Frame { id: b"dc4fae17", code: b"SUCCESS", base64: b"W10=" };
        assert_eq!(decode_response(ANSWER, ID), Some(answer));
        let question = Frame { id: b"d2a2a4ca", code: b"GET", base64: b"c2RjOnJvdXRlcw==" };
        assert_eq!(decode_request(QUESTION), Some(question));
    }

    #[test]
    fn an_empty_payload_leaves_no_space() {
        assert!(encode(b"d2a2a4ca", "KEYS", b"").ends_with(b" d2a2a4ca KEYS\n"));
    }

    #[test]
    fn an_answer_is_found_behind_noise_and_before_line_ends() {
        for (before, after) in [
            (&b"l"[..], &b""[..]),
            (b"V2 ", b""),
            (b"V2 21 265ae1d8 ", b"\r"),
            (b"\0\x1b[2J\xff", b"\r\0 "),
            (b"V2 19 0af0V2 V2 ", b""),
        ] {
            let line = [before, ANSWER, after].concat();
            assert!(decode_response(&line, ID).is_some(), "{line:?}");
        }
    }

    #[test]
    fn an_answer_with_anything_wrong_is_none() {
        for line in [
            &b"V2 22 265ae1d8 dc4fae17 SUCCESS W10="[..],
            b"V2 20 265ae1d8 dc4fae17 SUCCESS W10=",
            b"V2 21 265ae1d9 dc4fae17 SUCCESS W10=",
            b"V2 21 265AE1D8 dc4fae17 SUCCESS W10=",
            b"V2 21 265ae1d8 dc4fae18 SUCCESS W10=",
            b"V2 21 265ae1d8 dc4fae17 SUCCESS W11=",
            b"V2 99999999999999999999999 265ae1d8 dc4fae17 SUCCESS W10=",
            b"V2 21 265ae1d8 dc4fae17 SUCCESS W10=x",
            b"V2  21 265ae1d8 dc4fae17 SUCCESS W10=",
            b"V2 21",
            b"V2 ",
            b"",
        ] {
            assert_eq!(decode_response(line, ID), None, "{line:?}");
        }
        assert_eq!(decode_response(ANSWER, RequestId(1)), None);
        assert_eq!(decode_response(&framed(b"DC4FAE17 SUCCESS W10="), ID), None, "an upper-case identifier");
        assert_eq!(decode_response(&framed(b"dc4fae17"), ID), None);
    }

    #[test]
    fn a_checksum_may_be_zero() {
        // The payload was found by search. The original client takes a zero for a checksum it could not parse.
        assert_eq!(framed(b"dc4fae17 SUCCESS AADmPf8J"), b"V2 25 00000000 dc4fae17 SUCCESS AADmPf8J");
        assert!(decode_response(b"V2 25 00000000 dc4fae17 SUCCESS AADmPf8J", ID).is_some());
        assert_eq!(
            decode_response(b"V2 25 0 dc4fae17 SUCCESS AADmPf8J", ID),
            None,
            "leading zeros are digits"
        );
    }

    #[test]
    fn the_host_is_lenient_where_the_agent_is() {
        for line in [
            &b"V2  29\tae9f5912   d2a2a4ca GET c2RjOnJvdXRlcw=="[..],
            b"V2 0029 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw==",
            b"V2 29 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw== ",
            b"V2 29 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw==\r",
            b"V2 junk 29 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw==",
        ] {
            assert_eq!(decode_request(line), decode_request(QUESTION), "{line:?}");
        }
        for body in [&b"d2a2a4ca GET  YQ=="[..], b"abc GET YQ==", b"0123456789abcdef GET YQ=="] {
            assert!(decode_request(&framed(body)).is_some_and(|frame| frame.base64 == b"YQ=="), "{body:?}");
        }
        assert!(decode_request(&framed(b"d2a2a4ca KEYS")).is_some_and(|frame| frame.base64.is_empty()));
    }

    #[test]
    fn the_host_drops_what_the_agent_drops() {
        for line in [
            &b"V2 28 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw=="[..],
            b"V2 29 ae9f5913 d2a2a4ca GET c2RjOnJvdXRlcw==",
            b"V2 29 AE9F5912 d2a2a4ca GET c2RjOnJvdXRlcw==",
            b"junkV2 29 ae9f5912 d2a2a4ca GET c2RjOnJvdXRlcw==",
            b"V2",
            b"V2 ",
            b"V2 29",
            b"V2 29 ae9f5912",
            b"V2 29 ae9f5912 ",
        ] {
            assert_eq!(decode_request(line), None, "{line:?}");
        }
        for body in [&b"D2A2A4CA GET YQ=="[..], b"xyz GET YQ==", b"d2a2a4ca", b"d2a2a4ca GET "] {
            assert_eq!(decode_request(&framed(body)), None, "{body:?}");
        }
    }

    #[test]
    fn an_unfinished_answer_tells_its_length() {
        assert_eq!(response_length(b"lV2 99999999 265ae1d8 dc4fae17 SUCCESS W1", ID), Some(99_999_999));
        assert_eq!(response_length(b"V2 99999999 265ae1d8 dc4fae17", ID), None);
        assert_eq!(response_length(b"V2 99999999 265ae1d8 dc4fae18 SUCCESS", ID), None);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(id: u32, payload: Vec<u8>) {
            let id = RequestId(id);
            let line = encode(id.to_string().as_bytes(), "PUT", &payload);
            let line = &line[..line.len() - 1];
            for frame in [decode_request(line), decode_response(line, id)] {
                let frame = frame.expect("a good frame");
                prop_assert_eq!(frame.code, b"PUT");
                prop_assert_eq!(super::base64::decode(frame.base64), Some(payload.clone()));
            }
        }

        #[test]
        fn no_line_panics(line: Vec<u8>, id: u32) {
            let _ = decode_request(&line);
            let _ = decode_response(&line, RequestId(id));
            let _ = response_length(&line, RequestId(id));
        }
    }
}
