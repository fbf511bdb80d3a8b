//! Answers of version 1: a status line, and after `SUCCESS` a value whose lines are dot-stuffed.

use super::lines::Line;

/// The status lines of the host, without LF.
pub mod status {
    /// The answer to an empty line, to one that begins with white space, and to a GET or NEGOTIATE without argument.
    pub const INVALID_COMMAND: &[u8] = b"invalid command";
    /// The host speaks version 2.
    pub const V2_OK: &[u8] = b"V2_OK";
    /// The host does not know what it was asked.
    pub const FAILURE: &[u8] = b"FAILURE";
    /// A value follows, up to a line that is a single dot.
    pub const SUCCESS: &[u8] = b"SUCCESS";
    /// There is no such key.
    pub const NOTFOUND: &[u8] = b"NOTFOUND";
}

/// The line that ends a value.
const END: &[u8] = b".";

/// The host's whole answer with a value: status line, stuffed value, end.
///
/// A dot is doubled at the start of each line. The agent's regular expression takes CR, U+2028 and U+2029 for line
/// ends as well, and so doubles dots that no reader undoubles; here only LF is one.
pub fn encode_value(value: &[u8]) -> Vec<u8> {
    let mut answer = [status::SUCCESS, b"\n"].concat();
    for line in value.split(|&byte| byte == b'\n') {
        if line.starts_with(END) {
            answer.push(b'.');
        }
        answer.extend_from_slice(line);
        answer.push(b'\n');
    }
    answer.extend_from_slice(b".\n");
    answer
}

/// What a line meant to a [`ValueReader`].
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The value goes on.
    More,
    /// The value is whole.
    Whole(Vec<u8>),
    /// The value is larger than the limit.
    TooLarge,
}

/// Puts the value after a `SUCCESS` line together.
#[derive(Debug)]
pub struct ValueReader {
    limit: usize,
    /// Whether the line ends of this transport are CR LF. The status line shows it; a CR in a line of the value is
    /// the value's own otherwise.
    carriage_returns: bool,
    /// The value so far, and `None` before its first line.
    value: Option<Vec<u8>>,
}

impl ValueReader {
    /// A reader for a value of at most `limit` bytes that follows this status line, or `None` if no value follows it.
    pub fn after_status(line: &[u8], limit: usize) -> Option<Self> {
        let carriage_returns = line.ends_with(b"\r");
        let line = if carriage_returns { &line[..line.len() - 1] } else { line };
        (line == status::SUCCESS).then_some(Self { limit, carriage_returns, value: None })
    }

    /// Takes the next line.
    pub fn line(&mut self, line: Line<'_>) -> Progress {
        let Line::Whole(mut line) = line else { return Progress::TooLarge };
        if self.carriage_returns {
            line = line.strip_suffix(b"\r").unwrap_or(line);
        }
        if line == END {
            return Progress::Whole(self.value.take().unwrap_or_default());
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        let value = match &mut self.value {
            Some(value) => {
                value.push(b'\n');
                value
            }
            first => first.insert(Vec::new()),
        };
        value.extend_from_slice(line);
        if value.len() > self.limit { Progress::TooLarge } else { Progress::More }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Progress, ValueReader, encode_value};
    use crate::wire::lines::Lines;

    fn decode(answer: &[u8], limit: usize) -> Progress {
        let mut lines = Lines::new(1000);
        lines.push(answer);
        let Some(super::Line::Whole(status)) = lines.next_line() else { panic!("no status line") };
        let mut reader = ValueReader::after_status(status, limit).expect("a SUCCESS");
        while let Some(line) = lines.next_line() {
            let progress = reader.line(line);
            if progress != Progress::More {
                return progress;
            }
        }
        Progress::More
    }

    #[test]
    fn values_and_their_answers() {
        for (value, answer) in [
            (&b"a"[..], &b"SUCCESS\na\n.\n"[..]),
            (b"a\n", b"SUCCESS\na\n\n.\n"),
            (b"", b"SUCCESS\n\n.\n"),
            (b"\nsecond", b"SUCCESS\n\nsecond\n.\n"),
            (b".\n..\n.x\ny.", b"SUCCESS\n..\n...\n..x\ny.\n.\n"),
            (b"\r.", b"SUCCESS\n\r.\n.\n"),
        ] {
            assert_eq!(encode_value(value), answer);
            assert_eq!(decode(answer, 100), Progress::Whole(value.to_vec()));
        }
        assert_eq!(decode(b"SUCCESS\n.\n", 100), Progress::Whole(Vec::new()));
    }

    #[test]
    fn carriage_returns_of_the_transport_are_not_of_the_value() {
        assert_eq!(decode(b"SUCCESS\r\na\r\nb\r\n.\r\n", 100), Progress::Whole(b"a\nb".to_vec()));
        assert_eq!(decode(b"SUCCESS\na\r\nb\r\n.\n", 100), Progress::Whole(b"a\r\nb\r".to_vec()));
    }

    #[test]
    fn the_limit_holds() {
        assert_eq!(decode(b"SUCCESS\nab\ncd\n.\n", 5), Progress::Whole(b"ab\ncd".to_vec()));
        assert_eq!(decode(b"SUCCESS\nab\ncd\n.\n", 4), Progress::TooLarge);
        assert!(ValueReader::after_status(b"NOTFOUND", 4).is_none());
    }

    proptest! {
        #[test]
        fn reading_undoes_encoding(value in proptest::collection::vec(proptest::sample::select(&b".a\n\r\0"[..]), 0..60)) {
            prop_assert_eq!(decode(&encode_value(&value), 100), Progress::Whole(value));
        }
    }
}
