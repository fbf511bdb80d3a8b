//! A digest of contents that may be mostly holes.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The length of a piece in bytes: the usual block of a ZFS file.
const PIECE: usize = 128 << 10;

/// Digests contents that come in ascending order, holes left out or not: pieces of zeros count for nothing.
pub struct Pieces {
    sum: Sha256,
    /// Where the piece begins that is being filled.
    start: u64,
    piece: Vec<u8>,
    /// How many pieces were not zeros.
    filled: u64,
}

impl Pieces {
    pub fn new() -> Self {
        Self { sum: Sha256::new(), start: 0, piece: vec![0; PIECE], filled: 0 }
    }

    pub fn feed(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let inside = (offset % PIECE as u64) as usize;
            let start = offset - inside as u64;
            if start != self.start {
                self.flush();
                self.start = start;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - inside));
            self.piece[inside..inside + now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            bytes = later;
        }
    }

    fn flush(&mut self) {
        if self.piece.iter().any(|&byte| byte != 0) {
            self.sum.update(self.start.to_le_bytes());
            self.sum.update(&self.piece);
            self.piece.fill(0);
            self.filled += 1;
        }
    }

    /// The first half of the digest, in hexadecimal, and how many pieces were not zeros.
    pub fn end(mut self) -> (String, u64) {
        self.flush();
        let digest = self.sum.finalize();
        let hex = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string succeeds");
            hex
        });
        (hex, self.filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(parts: &[(u64, &[u8])]) -> (String, u64) {
        let mut pieces = Pieces::new();
        for (offset, bytes) in parts {
            pieces.feed(*offset, bytes);
        }
        pieces.end()
    }

    #[test]
    fn holes_and_zeros_are_the_same_and_places_count() {
        let zeros = vec![0; 3 * PIECE];
        let far = 3 * PIECE as u64 + 5;
        assert_eq!(digest(&[(0, &zeros), (far, b"x")]), digest(&[(far, b"x")]));
        assert_eq!(digest(&[(0, b"ab")]), digest(&[(0, b"a"), (1, b"b")]));
        assert_ne!(digest(&[(0, b"x")]).0, digest(&[(far, b"x")]).0);
        let long = vec![7; PIECE + 1];
        assert_eq!(digest(&[(1, &long)]).1, 2);
        assert_eq!(digest(&[]).1, 0);
    }
}
