//! A byte stream cut into lines, within a bound.

/// How many bytes of room are kept between lines. What a longer line needed is given back after it.
const ROOM: usize = 64 << 10;

/// What [`Lines`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line, without its LF. A CR before that is still there.
    Whole(&'a [u8]),
    /// A line that is longer than the limit: this is how it begins. It is told once; the rest of it, up to its LF, is
    /// dropped.
    TooLong(&'a [u8]),
}

/// Cuts what is pushed into it into lines ended by LF, and holds at most one line of the limit's length beyond what
/// was pushed last.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    bytes: Vec<u8>,
    /// Where in `bytes` the line at hand begins.
    start: usize,
    /// Up to where no LF was found.
    searched: usize,
    /// Whether the line at hand is too long and dropped up to its LF.
    dropping: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes, LF not counted.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new(), start: 0, searched: 0, dropping: false }
    }

    /// How many bytes a line may have.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Adds what was read. Take all lines out before the next push, to keep the bound.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line, if its end has been pushed or it is too long already.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        loop {
            let Some(length) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                let partial = self.start..self.bytes.len();
                if self.dropping || partial.is_empty() {
                    self.forget();
                } else if partial.len() > self.limit {
                    self.dropping = true;
                    self.start = self.bytes.len();
                    return Some(Line::TooLong(&self.bytes[partial]));
                }
                return None;
            };
            let line = self.start..self.searched + length;
            self.start = line.end + 1;
            self.searched = self.start;
            if std::mem::take(&mut self.dropping) {
                continue;
            }
            return Some(if line.len() > self.limit {
                Line::TooLong(&self.bytes[line])
            } else {
                Line::Whole(&self.bytes[line])
            });
        }
    }

    /// Drops all bytes, and the room of a long line with them.
    fn forget(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ROOM);
        (self.start, self.searched) = (0, 0);
    }

    /// How many bytes of memory are in use, for finished lines that were not taken out too.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The beginning of a line whose end has not come yet. Empty while a line that is too long is dropped.
    pub fn partial(&self) -> &[u8] {
        if self.dropping { &[] } else { &self.bytes[self.start..] }
    }

    /// Forgets everything, as after a reconnect.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Line, Lines};

    fn all(lines: &mut Lines) -> Vec<Result<Vec<u8>, Vec<u8>>> {
        let mut all = Vec::new();
        while let Some(line) = lines.next_line() {
            all.push(match line {
                Line::Whole(line) => Ok(line.to_vec()),
                Line::TooLong(line) => Err(line.to_vec()),
            });
        }
        all
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_dropped() {
        let mut lines = Lines::new(4);
        lines.push(b"abc");
        assert_eq!(all(&mut lines), []);
        assert_eq!(lines.partial(), b"abc");
        lines.push(b"def");
        assert_eq!(all(&mut lines), [Err(b"abcdef".to_vec())]);
        lines.push(b"ghijklmnop");
        assert_eq!(all(&mut lines), []);
        assert_eq!(lines.partial(), b"");
        lines.push(b"q\nabcd\nabcde\n\n");
        assert_eq!(all(&mut lines), [Ok(b"abcd".to_vec()), Err(b"abcde".to_vec()), Ok(Vec::new())]);
    }

    #[test]
    fn the_room_of_a_long_line_is_given_back() {
        let mut lines = Lines::new(1 << 20);
        lines.push(&vec![b'x'; 1 << 20]);
        assert_eq!(all(&mut lines), []);
        assert!(lines.held() >= 1 << 20);
        lines.push(b"\n");
        assert_eq!(all(&mut lines).len(), 1);
        assert!(lines.held() <= super::ROOM);
        lines.push(&vec![b'x'; (1 << 20) + 1]);
        assert_eq!(all(&mut lines).len(), 1);
        lines.push(b"x");
        assert_eq!(all(&mut lines), []);
        assert!(lines.held() <= super::ROOM, "while the rest of the line is dropped");
    }

    proptest! {
        /// However a stream is cut into reads, the lines are the same.
        #[test]
        fn the_sizes_of_reads_do_not_show(
            stream in proptest::collection::vec(proptest::sample::select(&b"ab\n\r\0"[..]), 0..200),
            cuts in proptest::collection::vec(1usize..9, 1..200),
        ) {
            let mut lines = Lines::new(200);
            let (mut found, mut rest) = (Vec::new(), &stream[..]);
            for &cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                lines.push(now);
                found.extend(all(&mut lines).into_iter().map(|line| line.expect("within the limit")));
                rest = later;
            }
            let mut wanted: Vec<Vec<u8>> = stream.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            let partial = wanted.pop().expect("split gives at least one");
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(lines.partial(), &partial[..]);
        }
    }
}
