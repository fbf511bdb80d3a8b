//! The configuration files of the runtime linker, `/var/ld/ld.config` and `/var/ld/64/ld.config`, as `crle -c FILE -l DIRS -s DIRS`
//! of illumos on x86 writes them: default and trusted paths and nothing else.
//!
//! Sources: illumos, `usr/src/uts/common/sys/rtc_id.h` and `usr/src/cmd/sgs/include/rtc.h` for the structures, `cmd/sgs/crle/common/
//! config.c` for what is in them. The linker takes a file of another word size for none at all, so a mistake here would cost the
//! settings and no more.

/// The word size of the programs that a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// i386.
    ThirtyTwo,
    /// amd64.
    SixtyFour,
}

/// Version of the header (`RTC_VER_FOUR`).
const VERSION: u32 = 4;
/// The paths are those of the unified process model (`RTC_HDR_UPM`), in which `/lib` is not left out.
const UNIFIED: u32 = 8;
/// The file is for 64 bits (`RTC_HDR_64`).
const SIXTY_FOUR: u32 = 4;

/// The file for these paths: folders with colons between them, without NUL.
pub fn ld_config(bits: Bits, default: &str, trusted: &str) -> Vec<u8> {
    // ELFCLASS32 or ELFCLASS64, ELFDATA2LSB, EM_386 or EM_AMD64; and the length of Rtc_head, in which a number of 64 bits begins at
    // a multiple of 4 bytes in programs of 32 bits and at one of 8 in those of 64.
    let (class, machine, head, flags): (u8, u8, usize, u32) = match bits {
        Bits::ThirtyTwo => (1, 3, 80, UNIFIED),
        Bits::SixtyFour => (2, 62, 88, UNIFIED | SIXTY_FOUR),
    };
    let mut file = vec![0x3f, b'R', b'L', b'C', class, 1, machine];
    file.resize(16, 0);
    // Offsets count from here.
    let strings = head as u32;
    let secure = strings + default.len() as u32 + 1;
    // ch_version, ch_cnflags, ch_dlflags, ch_app, ch_hash, ch_obj, ch_str, ch_file, ch_dir, ch_edlibpath, ch_adlibpath, ch_eslibpath,
    // ch_aslibpath; what comes after them, a reservation of memory, variables and filters, is not used.
    for word in [VERSION, flags, 0, 0, 0, 0, strings, 0, 0, strings, 0, secure, 0] {
        file.extend(u32::to_le_bytes(word));
    }
    file.resize(16 + head, 0);
    for text in [default, trusted] {
        file.extend(text.as_bytes());
        file.push(0);
    }
    file.resize(file.len().next_multiple_of(4), 0);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_for_both_word_sizes() {
        let small = ld_config(Bits::ThirtyTwo, "/lib:/usr/lib", "/lib/secure");
        assert_eq!(small.len(), 16 + 80 + 14 + 12 + 2);
        assert_eq!(small[..16], *b"?RLC\x01\x01\x03\0\0\0\0\0\0\0\0\0");
        assert_eq!(small[16..24], [4, 0, 0, 0, 8, 0, 0, 0]);
        let word =
            |file: &[u8], index: usize| u32::from_le_bytes(file[16 + 4 * index..][..4].try_into().unwrap());
        assert_eq!([word(&small, 6), word(&small, 9), word(&small, 11)], [80, 80, 94]);
        assert_eq!(small[96..], *b"/lib:/usr/lib\0/lib/secure\0\0\0");

        let large = ld_config(Bits::SixtyFour, "/lib/64", "/x");
        assert_eq!(large[..7], *b"?RLC\x02\x01\x3e");
        assert_eq!([word(&large, 1), word(&large, 6), word(&large, 9), word(&large, 11)], [12, 88, 88, 96]);
        assert_eq!(large[16 + 88..], *b"/lib/64\0/x\0\0");
    }
}
