//! The kernel of the stand-in platform, compiled from `stand-in/kernel` by the build script.

/// The kernel file: what a stand-in platform carries as `i86pc/kernel/amd64/unix`.
pub static KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/unix"));

#[cfg(test)]
mod tests {
    use kiln_bootdisk::builtin::{HEADER_SEARCH_BYTES, parse_multiboot_header};

    use super::KERNEL;

    fn number<const N: usize>(at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&KERNEL[at..at + N]);
        u64::from_le_bytes(bytes)
    }

    /// The linker script and the header of start.s each hold one half of this.
    #[test]
    fn the_header_says_where_the_segment_of_the_elf_file_goes() {
        assert_eq!(KERNEL[..6], *b"\x7fELF\x02\x01", "not a little-endian ELF64 file");
        let program_header = number::<8>(32) as usize;
        assert_eq!((number::<4>(program_header), number::<2>(56)), (1, 1), "not just one PT_LOAD segment");
        let (offset, address) = (number::<8>(program_header + 8), number::<8>(program_header + 24));
        let (in_file, in_memory) = (number::<8>(program_header + 32), number::<8>(program_header + 40));

        let header = parse_multiboot_header(&KERNEL[..HEADER_SEARCH_BYTES], KERNEL.len() as u64).unwrap();
        assert_eq!(address, 0xC0_0000);
        assert_eq!(u64::from(header.entry_point), address);
        assert_eq!(u64::from(header.load_address), address - offset);
        assert_eq!(header.header_address - header.load_address, header.offset);
        assert_eq!((header.load_end, header.bss_end), (0, 0));
        assert_eq!(in_file, in_memory, "memory outside of the file is neither cleared nor kept free");
    }
}
