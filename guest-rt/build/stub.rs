//! Shared objects that hold names and nothing else.
//!
//! The linker reads of a shared object only the section headers, the dynamic symbols with their names, and the name to
//! record as needed. So these files have no code, no program headers and no symbol versions; without versions in them
//! the programs record none, and the runtime linker checks none.

use crate::symbols::Library;

const HEADER_LEN: usize = 64;
const SYMBOL_LEN: u64 = 24;
const DYNAMIC_LEN: u64 = 16;

const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const SHT_STRTAB: u32 = 3;
const SHT_DYNAMIC: u32 = 6;
const SHT_DYNSYM: u32 = 11;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const DT_NULL: u64 = 0;
const DT_SONAME: u64 = 14;
const STB_GLOBAL: u8 = 1;
const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;

/// Names of the sections, as the section name table holds them.
const SECTION_NAMES: &[u8] = b"\0.dynsym\0.dynstr\0.dynamic\0.shstrtab\0";

/// A section header before it is written.
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    /// Offset and length in the file, both in bytes.
    extent: (u64, u64),
    link: u32,
    info: u32,
    entry_len: u64,
}

/// The stand-in for `library`: an ELF64 shared object for x86-64.
pub fn shared_object(library: &Library) -> Vec<u8> {
    let mut names = vec![0];
    let mut intern = |name: &str| {
        let at = u32::try_from(names.len()).expect("the list is a few kilobytes");
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        at
    };
    let soname = intern(&library.soname);
    let mut symbols = vec![0; SYMBOL_LEN as usize];
    for symbol in &library.symbols {
        symbols.extend_from_slice(&intern(&symbol.name).to_le_bytes());
        let kind = if symbol.is_data { STT_OBJECT } else { STT_FUNC };
        symbols.extend_from_slice(&[STB_GLOBAL << 4 | kind, 0]);
        // Any section but 0 makes it a definition, and any size will do.
        symbols.extend_from_slice(&1_u16.to_le_bytes());
        symbols.extend_from_slice(&0_u64.to_le_bytes());
        symbols.extend_from_slice(&8_u64.to_le_bytes());
    }
    let dynamic: Vec<u8> =
        [DT_SONAME, soname.into(), DT_NULL, 0].into_iter().flat_map(u64::to_le_bytes).collect();

    let mut file = vec![0; HEADER_LEN];
    let symbols = append(&mut file, &symbols);
    let names = append(&mut file, &names);
    let dynamic = append(&mut file, &dynamic);
    let section_names = append(&mut file, SECTION_NAMES);
    let (section_headers, _) = append(&mut file, &[]);
    let section =
        |name, kind, flags, extent| Section { name, kind, flags, extent, link: 0, info: 0, entry_len: 0 };
    // The numbers that follow count in this array: names are in section 2, the names of sections in section 4.
    let sections = [
        section(0, 0, 0, (0, 0)),
        Section {
            link: 2,
            // The number of local symbols: only the empty first one.
            info: 1,
            entry_len: SYMBOL_LEN,
            ..section(1, SHT_DYNSYM, SHF_ALLOC, symbols)
        },
        section(9, SHT_STRTAB, SHF_ALLOC, names),
        Section {
            link: 2,
            entry_len: DYNAMIC_LEN,
            ..section(17, SHT_DYNAMIC, SHF_ALLOC | SHF_WRITE, dynamic)
        },
        section(26, SHT_STRTAB, 0, section_names),
    ];
    for section in &sections {
        file.extend_from_slice(&section.name.to_le_bytes());
        file.extend_from_slice(&section.kind.to_le_bytes());
        for wide in [section.flags, 0, section.extent.0, section.extent.1] {
            file.extend_from_slice(&wide.to_le_bytes());
        }
        file.extend_from_slice(&section.link.to_le_bytes());
        file.extend_from_slice(&section.info.to_le_bytes());
        for wide in [8, section.entry_len] {
            file.extend_from_slice(&wide.to_le_bytes());
        }
    }

    // 64-bit, little-endian, version 1.
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend_from_slice(&ET_DYN.to_le_bytes());
    header.extend_from_slice(&EM_X86_64.to_le_bytes());
    header.extend_from_slice(&1_u32.to_le_bytes());
    // No entry point and no program headers.
    for wide in [0, 0, section_headers] {
        header.extend_from_slice(&wide.to_le_bytes());
    }
    header.extend_from_slice(&0_u32.to_le_bytes());
    let header_len = u16::try_from(HEADER_LEN).expect("64 fits");
    for half in [header_len, 0, 0, 64, 5, 4] {
        header.extend_from_slice(&half.to_le_bytes());
    }
    file[..HEADER_LEN].copy_from_slice(&header);
    file
}

/// Appends `bytes` at the next multiple of eight; gives their offset and length.
fn append(file: &mut Vec<u8>, bytes: &[u8]) -> (u64, u64) {
    file.resize(file.len().next_multiple_of(8), 0);
    let at = file.len() as u64;
    file.extend_from_slice(bytes);
    (at, bytes.len() as u64)
}
