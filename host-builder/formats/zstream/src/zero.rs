//! Finding zeros fast: volumes are mostly made of them, and streams leave them out.

/// True when every byte of `data` is zero. Looks at 64 bytes at a time so that compilers use vector registers, and stops
/// at the first piece that is not zero.
pub fn is_zero(data: &[u8]) -> bool {
    let (pieces, rest) = data.as_chunks::<64>();
    pieces.iter().all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn every_single_byte_counts() {
        for length in [0, 1, 63, 64, 65, 300] {
            let mut data = vec![0; length];
            assert!(is_zero(&data));
            for at in 0..length {
                data[at] = 0x80;
                assert!(!is_zero(&data), "byte {at} of {length}");
                data[at] = 0;
            }
        }
    }
}
