//! The hash by which name tables are ordered (illumos `zap_hash`).

/// The bits of a hash that tables of file systems and volumes use.
const USED: u64 = !((1 << 36) - 1);

/// The hash of a name: CRC-64 from the table's salt, cut to its top 28 bits.
pub fn of(salt: u64, name: &[u8]) -> u64 {
    crc64(salt, name) & USED
}

/// Whether a table that has this hash for a name has the right one. Some keep more bits than [`of`] gives.
pub fn is_of(salt: u64, name: &[u8], hash: u64) -> bool {
    hash & USED == of(salt, name)
}

/// CRC-64 of ECMA-182, reflected, starting from `crc` and without a final inversion.
fn crc64(crc: u64, data: &[u8]) -> u64 {
    data.iter().fold(crc, |crc, &byte| (crc >> 8) ^ TABLE[((crc as u8) ^ byte) as usize])
}

const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_hash_are_those_of_zfs() {
        assert_eq!(TABLE[128], POLYNOMIAL);
        assert_eq!(TABLE[1], 0xb32e_4cbe_03a7_5f6f);
        assert_eq!(TABLE[255], 0xe0ad_a173_6467_3f59);
        assert_eq!(crc64(1, b"size"), 0x5e01_cff9_6bd9_8a1b);
        assert_eq!(of(1, b"size"), 0x5e01_cff0_0000_0000);
    }
}
