//! The Multiboot 1 header of a kernel (Multiboot specification 0.6.96, section 3.1).

use super::BuiltinError;

/// The header lies within this many bytes from the start of the kernel file.
pub const HEADER_SEARCH_BYTES: usize = 8192;

const MAGIC: u32 = 0x1BAD_B002;
/// Bytes of the header with the address fields.
const HEADER_BYTES: usize = 32;
/// "Align modules to pages" and "pass memory information": what the loader does anyway.
const GRANTED_FLAGS: u32 = 0x3;
/// Bits 0 to 15 are demands: a loader must refuse those it does not know.
const DEMANDS: u32 = 0xFFFF;
/// The address fields are valid (the "a.out kludge").
const ADDRESSES: u32 = 1 << 16;

/// The addresses that a kernel's header gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelHeader {
    /// Bytes from the start of the file to the header.
    pub offset: u32,
    /// Physical address at which the header will lie.
    pub header_address: u32,
    /// Physical address of the first byte to be loaded.
    pub load_address: u32,
    /// Physical address behind the last byte to be loaded; 0 means the whole file.
    pub load_end: u32,
    /// Physical address behind the memory to be cleared after `load_end`; 0 means none.
    pub bss_end: u32,
    /// Physical address at which the kernel starts in 32-bit protected mode.
    pub entry_point: u32,
}

/// Finds the header in `head`, the first [`HEADER_SEARCH_BYTES`] bytes (or all) of a kernel file of `size`
/// bytes.
///
/// # Errors
/// [`BuiltinError::Kernel`] when there is no header, when it makes demands the loader does not meet, when it
/// has no addresses (an ELF-only kernel), or when the addresses contradict each other or the size.
pub fn parse_multiboot_header(head: &[u8], size: u64) -> Result<KernelHeader, BuiltinError> {
    let refused = |reason| BuiltinError::Kernel { reason };
    let head = head.get(..HEADER_SEARCH_BYTES).unwrap_or(head);
    let (offset, words) = (0..head.len())
        .step_by(4)
        .find_map(|offset| Some((offset as u32, header_at(head, offset)?)))
        .ok_or(refused("there is no Multiboot header in its first 8 KiB"))?;
    let [_, flags, _, header_address, load_address, load_end, bss_end, entry_point] = words;
    if flags & DEMANDS & !GRANTED_FLAGS != 0 {
        return Err(refused("its Multiboot header demands what this loader cannot give"));
    }
    if flags & ADDRESSES == 0 {
        return Err(refused("its Multiboot header has no load addresses"));
    }

    let header = KernelHeader { offset, header_address, load_address, load_end, bss_end, entry_point };
    let start =
        header.file_offset().ok_or(refused("its load address is above its header or before the file"))?;
    if !start.is_multiple_of(512) {
        return Err(refused("what it wants loaded does not begin at a sector of its file"));
    }
    let loaded = header.loaded_bytes(size).ok_or(refused("it wants more loaded than its file holds"))?;
    let end = u64::from(load_address) + loaded;
    if !(u64::from(load_address)..end).contains(&u64::from(entry_point)) {
        return Err(refused("its entry point lies outside of what is loaded"));
    }
    if bss_end != 0 && u64::from(bss_end) < end {
        return Err(refused("the memory it wants cleared ends before the loaded part"));
    }
    Ok(header)
}

/// The eight words at `offset`, if they are a header: magic, flags and checksum add up to zero.
fn header_at(head: &[u8], offset: usize) -> Option<[u32; 8]> {
    let bytes = head.get(offset..offset.checked_add(HEADER_BYTES)?)?;
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().ok()?);
    }
    let [magic, flags, checksum, ..] = words;
    (magic == MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0).then_some(words)
}

impl KernelHeader {
    /// Byte of the file that goes to `load_address`. For illumos it is 0.
    pub(super) fn file_offset(&self) -> Option<u32> {
        self.offset.checked_sub(self.header_address.checked_sub(self.load_address)?)
    }

    /// How many bytes of a file of `size` bytes are loaded; at least one.
    pub(super) fn loaded_bytes(&self, size: u64) -> Option<u64> {
        let available = size.checked_sub(u64::from(self.file_offset()?))?;
        let wanted = match self.load_end {
            0 => available,
            end => u64::from(end.checked_sub(self.load_address)?),
        };
        (wanted > 0 && wanted <= available).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header as illumos' kernels have it, at byte 0x1010 of the file.
    fn illumos_words() -> [u32; 8] {
        let flags = 0x0001_0003;
        [
            MAGIC,
            flags,
            0_u32.wrapping_sub(MAGIC).wrapping_sub(flags),
            0x00C0_0010,
            0x00BF_F000,
            0,
            0,
            0x00C0_0000,
        ]
    }

    fn file(words: &[u32], offset: usize) -> Vec<u8> {
        let mut file = vec![0x90; offset];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.resize(HEADER_SEARCH_BYTES, 0);
        file
    }

    fn reason(words: &[u32], offset: usize, size: u64) -> &'static str {
        match parse_multiboot_header(&file(words, offset), size) {
            Err(BuiltinError::Kernel { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_header_of_an_illumos_kernel() {
        let header = parse_multiboot_header(&file(&illumos_words(), 0x1010), 1_800_000).unwrap();
        assert_eq!(
            header,
            KernelHeader {
                offset: 0x1010,
                header_address: 0xC0_0010,
                load_address: 0xBF_F000,
                load_end: 0,
                bss_end: 0,
                entry_point: 0xC0_0000
            }
        );
        assert_eq!(header.file_offset(), Some(0));
        assert_eq!(header.loaded_bytes(1_800_000), Some(1_800_000));
    }

    #[test]
    fn a_part_of_the_file_and_cleared_memory() {
        let mut words = illumos_words();
        words[4] = 0xC0_0000; // load from byte 0x1000
        words[5] = 0xC0_0800;
        words[6] = 0xC0_2000;
        let header = parse_multiboot_header(&file(&words, 0x1010), 1_800_000).unwrap();
        assert_eq!((header.file_offset(), header.loaded_bytes(1_800_000)), (Some(0x1000), Some(0x800)));
    }

    #[test]
    fn what_cannot_be_started_is_refused_with_its_reason() {
        let good = illumos_words();
        let with = |index: usize, value: u32| {
            let mut words = good;
            words[index] = value;
            words[2] = 0_u32.wrapping_sub(words[0]).wrapping_sub(words[1]);
            words
        };
        assert!(reason(&good, 0x1012, 1 << 20).contains("no Multiboot header"), "unaligned");
        assert!(reason(&good, HEADER_SEARCH_BYTES, 1 << 20).contains("no Multiboot header"), "too far in");
        assert!(
            reason(&good[..7], HEADER_SEARCH_BYTES - 28, 1 << 20).contains("no Multiboot header"),
            "cut off"
        );
        assert!(reason(&with(1, 0x0001_0007), 0x1010, 1 << 20).contains("demands"));
        assert!(reason(&with(1, 0x0000_0003), 0x1010, 1 << 20).contains("no load addresses"));
        assert!(reason(&with(4, 0xC0_0014), 0x1010, 1 << 20).contains("above its header"));
        assert!(reason(&with(4, 0xBF_EFFC), 0x1010, 1 << 20).contains("before the file"));
        assert!(reason(&with(4, 0xBF_F004), 0x1010, 1 << 20).contains("sector"));
        assert!(reason(&with(5, 0xD0_0000), 0x1010, 1 << 20).contains("more loaded"));
        assert!(reason(&with(5, 0xBF_F000), 0x1010, 1 << 20).contains("more loaded"));
        assert!(reason(&with(6, 0xC0_1000), 0x1010, 1 << 20).contains("cleared"));
        assert!(reason(&with(7, 0xB0_0000), 0x1010, 1 << 20).contains("entry point"));
        assert!(reason(&with(7, 0xD0_0000), 0x1010, 1 << 20).contains("entry point"));
    }

    proptest! {
        /// Whatever the words are, the header is refused or what it promises holds.
        #[test]
        fn hostile_headers(words in prop::array::uniform5(any::<u32>()), offset in 0_usize..2048, size in any::<u64>()) {
            let flags = 0x0001_0003_u32;
            let mut header = vec![MAGIC, flags, 0_u32.wrapping_sub(MAGIC).wrapping_sub(flags)];
            header.extend(words);
            if let Ok(header) = parse_multiboot_header(&file(&header, offset * 4), size) {
                let start = u64::from(header.file_offset().unwrap());
                prop_assert!(start + header.loaded_bytes(size).unwrap() <= size);
            }
        }
    }
}
