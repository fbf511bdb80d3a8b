//! SHA-1 (FIPS 180-4, section 6.1).

/// A digest in the making.
pub struct Sha1 {
    state: [u32; 5],
}

impl Sha1 {
    /// The digest of `bytes`.
    pub fn digest(bytes: &[u8]) -> [u8; 20] {
        let mut sha1 = Self { state: [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0] };
        let (blocks, tail) = bytes.as_chunks::<64>();
        for block in blocks {
            sha1.block(block);
        }
        // The tail, a one bit, zeros, and the length in bits fill one or two more blocks.
        let mut last = [0; 128];
        for (place, &byte) in last.iter_mut().zip(tail) {
            *place = byte;
        }
        if let Some(place) = last.get_mut(tail.len()) {
            *place = 0x80;
        }
        let used = if tail.len() < 56 { 64 } else { 128 };
        let length = (bytes.len() as u64 * 8).to_be_bytes();
        for (place, byte) in last.iter_mut().skip(used - 8).zip(length) {
            *place = byte;
        }
        for block in last.as_chunks().0.iter().take(used / 64) {
            sha1.block(block);
        }

        let mut digest = [0; 20];
        for (place, word) in digest.as_chunks_mut().0.iter_mut().zip(sha1.state) {
            *place = word.to_be_bytes();
        }
        digest
    }

    #[expect(clippy::many_single_char_names, reason = "the standard names them so")]
    fn block(&mut self, block: &[u8; 64]) {
        let mut schedule = [0_u32; 80];
        for (word, &bytes) in schedule.iter_mut().zip(block.as_chunks().0) {
            *word = u32::from_be_bytes(bytes);
        }
        for t in 16..80 {
            schedule[t] =
                (schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = self.state;
        for (t, &word) in schedule.iter().enumerate() {
            let (function, constant) = match t {
                0..20 => ((b & c) | (!b & d), 0x5A82_7999),
                20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(function)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (word, addend) in self.state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(addend);
        }
    }
}
