//! Fletcher-4, the checksum of send streams.
//!
//! Four 64-bit accumulators run over the data as 32-bit words: `a += w; b += a; c += b; d += c`, wrapping. The state is
//! those four words and nothing else, so it can be carried from piece to piece (illumos
//! `common/zfs/zfs_fletcher.c`).

/// The byte order of the machine that sent a stream. It decides how fields, checksums and name tables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// x86 and almost everything else.
    Little,
    /// SPARC.
    Big,
}

impl ByteOrder {
    /// A number of two bytes.
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// A number of four bytes.
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// A number of eight bytes.
    pub(crate) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// The running checksum of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fletcher4 {
    words: [u64; 4],
}

impl Fletcher4 {
    /// The checksum of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The four accumulators a, b, c, d: the value an END record stores.
    pub fn words(self) -> [u64; 4] {
        self.words
    }

    /// Runs the checksum over `data`, whose length must be a multiple of 4 as that of every part of a stream is.
    pub fn update(&mut self, data: &[u8], order: ByteOrder) {
        // One instantiation per byte order keeps the decision out of the loop.
        match order {
            ByteOrder::Little => self.run(data, u32::from_le_bytes),
            ByteOrder::Big => self.run(data, u32::from_be_bytes),
        }
    }

    /// The accumulators depend on each other only through the word before, so a processor retires a word a cycle
    /// from this plain loop; splitting it into interleaved lanes, as kernels do for vector units, would gain little.
    fn run(&mut self, data: &[u8], word: impl Fn([u8; 4]) -> u32) {
        let (words, rest) = data.as_chunks::<4>();
        debug_assert!(rest.is_empty(), "a part of a stream is a whole number of words");
        let [mut a, mut b, mut c, mut d] = self.words;
        for &bytes in words {
            a = a.wrapping_add(u64::from(word(bytes)));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.words = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_one_two_three() {
        let little: Vec<u8> = [1u32, 2, 3].into_iter().flat_map(u32::to_le_bytes).collect();
        let big: Vec<u8> = [1u32, 2, 3].into_iter().flat_map(u32::to_be_bytes).collect();
        let mut sum = Fletcher4::new();
        sum.update(&little, ByteOrder::Little);
        assert_eq!(sum.words(), [6, 10, 15, 21]);
        let mut swapped = Fletcher4::new();
        swapped.update(&big, ByteOrder::Big);
        assert_eq!(swapped, sum);
    }

    #[test]
    fn state_is_carried_over_any_split() {
        let data: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut whole = Fletcher4::new();
        whole.update(&data, ByteOrder::Little);
        for cut in [0, 4, 312, 2048, 4092, 4096] {
            let mut parts = Fletcher4::new();
            parts.update(&data[..cut], ByteOrder::Little);
            parts.update(&data[cut..], ByteOrder::Little);
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn accumulators_wrap() {
        let mut sum = Fletcher4::new();
        let data = vec![0xff; 1 << 20];
        for _ in 0..16 {
            sum.update(&data, ByteOrder::Little);
        }
        let n = u128::from(16u64 * (1 << 18));
        let top = u128::from(u32::MAX);
        // After n equal words w: a = n w, b = n(n+1)/2 w, c = n(n+1)(n+2)/6 w, d = n(n+1)(n+2)(n+3)/24 w, mod 2^64.
        let expected = [
            n * top,
            n * (n + 1) / 2 * top,
            n * (n + 1) / 2 * (n + 2) / 3 * top,
            (n * (n + 1) / 2 * (n + 2) / 3 * (n + 3) / 4).wrapping_mul(top),
        ];
        assert_eq!(sum.words(), expected.map(|word| word as u64));
    }
}
