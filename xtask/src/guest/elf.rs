//! Reads as much of an ELF executable as kernel and runtime linker do: program headers and the dynamic section, with
//! the symbols and relocations that it points to. Of the section headers it reads only the kinds.

use anyhow::{Context, Result, ensure};

pub const OSABI_SOLARIS: u8 = 6;
pub const ET_EXEC: u16 = 2;
pub const ET_DYN: u16 = 3;
pub const EM_X86_64: u16 = 62;

pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_PHDR: u32 = 6;
pub const PT_TLS: u32 = 7;
pub const PT_GNU_RELRO: u32 = 0x6474_e552;
pub const PF_X: u32 = 1;
pub const PF_W: u32 = 2;
pub const PF_R: u32 = 4;

pub const SHT_SYMTAB: u32 = 2;

pub const DT_NEEDED: u64 = 1;
pub const DT_PLTRELSZ: u64 = 2;
pub const DT_HASH: u64 = 4;
pub const DT_STRTAB: u64 = 5;
pub const DT_SYMTAB: u64 = 6;
pub const DT_RELA: u64 = 7;
pub const DT_RELASZ: u64 = 8;
pub const DT_STRSZ: u64 = 10;
pub const DT_RPATH: u64 = 15;
pub const DT_TEXTREL: u64 = 22;
pub const DT_JMPREL: u64 = 23;
pub const DT_RUNPATH: u64 = 29;
pub const DT_FLAGS: u64 = 30;
pub const DF_TEXTREL: u64 = 4;
pub const DT_GNU_HASH: u64 = 0x6fff_fef5;
pub const DT_VERSYM: u64 = 0x6fff_fff0;
pub const DT_VERDEF: u64 = 0x6fff_fffc;
pub const DT_VERNEED: u64 = 0x6fff_fffe;

pub const STB_WEAK: u8 = 2;
pub const STT_TLS: u8 = 6;

pub const R_X86_64_64: u32 = 1;
pub const R_X86_64_COPY: u32 = 5;
pub const R_X86_64_GLOB_DAT: u32 = 6;
pub const R_X86_64_JUMP_SLOT: u32 = 7;

const HEADER_LEN: usize = 64;
const SEGMENT_LEN: usize = 56;
const SECTION_LEN: usize = 64;
const SYMBOL_LEN: u64 = 24;
const RELOCATION_LEN: u64 = 24;

/// More symbols or relocations than any guest program has; a file that claims more is damaged.
const MAX_ENTRIES: u64 = 100_000;

/// An executable, taken apart.
#[derive(Debug)]
pub struct Elf {
    pub os_abi: u8,
    pub kind: u16,
    pub machine: u16,
    pub entry: u64,
    /// Where the program headers end in the file.
    pub headers_end: u64,
    pub segments: Vec<Segment>,
    /// The kinds of the sections; empty in a file without section headers.
    pub sections: Vec<u32>,
    pub interpreter: Option<String>,
    /// Tags and values of the dynamic section, up to its end mark; empty in a static program.
    pub dynamic: Vec<(u64, u64)>,
    pub needed: Vec<String>,
    /// The dynamic symbols without the empty first one.
    pub symbols: Vec<Symbol>,
    pub relocations: Vec<Relocation>,
}

/// A program header.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_len: u64,
    pub memory_len: u64,
    pub align: u64,
}

impl Segment {
    /// Whether `address` is in the segment's memory.
    pub fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.memory_len)
    }
}

/// A dynamic symbol.
#[derive(Debug)]
pub struct Symbol {
    pub name: String,
    pub binding: u8,
    pub kind: u8,
    /// 0 when the symbol is to be found elsewhere.
    pub section: u16,
    pub value: u64,
}

impl Symbol {
    pub fn is_import(&self) -> bool {
        self.section == 0
    }
}

/// Something that the runtime linker writes into the program's memory.
#[derive(Debug, Clone, Copy)]
pub struct Relocation {
    pub address: u64,
    pub kind: u32,
}

impl Elf {
    /// Takes apart a 64-bit little-endian executable.
    ///
    /// # Errors
    /// When the file is not such an executable, or a table in it does not lie within it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.starts_with(b"\x7fELF\x02\x01\x01"), "not a 64-bit little-endian ELF file");
        ensure!(bytes.len() >= HEADER_LEN, "shorter than an ELF header");
        let table = |offset: u64, count: u16, len: usize| {
            let offset = usize::try_from(offset).ok()?;
            Some(bytes.get(offset..)?.get(..usize::from(count) * len)?.chunks_exact(len))
        };
        let program_headers = read_u64(bytes, 32)?;
        let count = read_u16(bytes, 56)?;
        ensure!(usize::from(read_u16(bytes, 54)?) == SEGMENT_LEN, "program headers of an odd size");
        let segments: Vec<Segment> = table(program_headers, count, SEGMENT_LEN)
            .context("the program headers are outside the file")?
            .map(segment)
            .collect::<Result<_>>()?;
        let sections = table(read_u64(bytes, 40)?, read_u16(bytes, 60)?, SECTION_LEN)
            .context("the section headers are outside the file")?
            .map(|header| read_u32(header, 4))
            .collect::<Result<_>>()?;
        let mut elf = Self {
            os_abi: bytes[7],
            kind: read_u16(bytes, 16)?,
            machine: read_u16(bytes, 18)?,
            entry: read_u64(bytes, 24)?,
            headers_end: program_headers + u64::from(count) * SEGMENT_LEN as u64,
            segments,
            sections,
            interpreter: None,
            dynamic: Vec::new(),
            needed: Vec::new(),
            symbols: Vec::new(),
            relocations: Vec::new(),
        };
        elf.interpreter = match elf.first(PT_INTERP) {
            Some(segment) => Some(string(contents(bytes, &segment)?, 0).context("the interpreter's name")?),
            None => None,
        };
        if let Some(segment) = elf.first(PT_DYNAMIC) {
            elf.read_dynamic(bytes, contents(bytes, &segment)?)?;
        }
        Ok(elf)
    }

    fn read_dynamic(&mut self, bytes: &[u8], section: &[u8]) -> Result<()> {
        for entry in section.chunks_exact(16) {
            match (read_u64(entry, 0)?, read_u64(entry, 8)?) {
                (0, _) => break,
                entry => self.dynamic.push(entry),
            }
        }
        let names_len = self.value(DT_STRSZ).unwrap_or(0);
        let names = self.at(bytes, DT_STRTAB, names_len).context("the dynamic strings")?;
        self.needed = self
            .values(DT_NEEDED)
            .map(|offset| string(names, offset).context("the name of a library"))
            .collect::<Result<_>>()?;
        // The symbol table has no length of its own: it has as many entries as the hash table has chains.
        let hash = self.at(bytes, DT_HASH, 8).context("the hash table")?;
        let count = u64::from(if hash.is_empty() { 0 } else { read_u32(hash, 4)? });
        ensure!(count <= MAX_ENTRIES, "{count} dynamic symbols are too many");
        let symbols = self.at(bytes, DT_SYMTAB, count * SYMBOL_LEN).context("the dynamic symbols")?;
        self.symbols = symbols
            .chunks_exact(SYMBOL_LEN as usize)
            .skip(1)
            .map(|symbol| self::symbol(symbol, names))
            .collect::<Result<_>>()?;
        for (start, len) in [(DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)] {
            let len = self.value(len).unwrap_or(0);
            ensure!(len <= MAX_ENTRIES * RELOCATION_LEN, "{len} bytes of relocations are too many");
            let table = self.at(bytes, start, len).context("the relocations")?;
            for entry in table.chunks_exact(RELOCATION_LEN as usize) {
                // The symbol's number is the upper half of the second word.
                self.relocations.push(Relocation { address: read_u64(entry, 0)?, kind: read_u32(entry, 8)? });
            }
        }
        Ok(())
    }

    /// The first program header of a kind.
    pub fn first(&self, kind: u32) -> Option<Segment> {
        self.segments.iter().find(|segment| segment.kind == kind).copied()
    }

    /// The values of a tag of the dynamic section.
    pub fn values(&self, tag: u64) -> impl Iterator<Item = u64> {
        self.dynamic.iter().filter(move |(other, _)| *other == tag).map(|(_, value)| *value)
    }

    /// The first value of a tag of the dynamic section.
    pub fn value(&self, tag: u64) -> Option<u64> {
        self.values(tag).next()
    }

    /// `len` bytes of the file at the address that a tag gives; nothing when the tag is missing.
    fn at<'a>(&self, bytes: &'a [u8], tag: u64, len: u64) -> Result<&'a [u8]> {
        let Some(address) = self.value(tag) else { return Ok(&[]) };
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.kind == PT_LOAD && segment.holds(address))
            .with_context(|| format!("address {address:#x} is not loaded"))?;
        let skipped = usize::try_from(address - segment.address)?;
        let len = usize::try_from(len)?;
        contents(bytes, segment)?
            .get(skipped..)
            .and_then(|rest| rest.get(..len))
            .with_context(|| format!("{len} bytes at address {address:#x} are not all in the file"))
    }
}

fn segment(header: &[u8]) -> Result<Segment> {
    Ok(Segment {
        kind: read_u32(header, 0)?,
        flags: read_u32(header, 4)?,
        offset: read_u64(header, 8)?,
        address: read_u64(header, 16)?,
        file_len: read_u64(header, 32)?,
        memory_len: read_u64(header, 40)?,
        align: read_u64(header, 48)?,
    })
}

fn symbol(symbol: &[u8], names: &[u8]) -> Result<Symbol> {
    let [info, _visibility] = read(symbol, 4)?;
    Ok(Symbol {
        name: string(names, read_u32(symbol, 0)?.into()).context("the name of a symbol")?,
        binding: info >> 4,
        kind: info & 15,
        section: read_u16(symbol, 6)?,
        value: read_u64(symbol, 8)?,
    })
}

/// The bytes of a segment.
fn contents<'a>(bytes: &'a [u8], segment: &Segment) -> Result<&'a [u8]> {
    let (offset, len) = (usize::try_from(segment.offset)?, usize::try_from(segment.file_len)?);
    bytes
        .get(offset..)
        .and_then(|rest| rest.get(..len))
        .with_context(|| format!("a segment of {len} bytes at {offset} is not all in the file"))
}

/// The null-terminated string at `offset`.
fn string(bytes: &[u8], offset: u64) -> Result<String> {
    let rest = bytes.get(usize::try_from(offset)?..).context("starts outside its table")?;
    let len = rest.iter().position(|byte| *byte == 0).context("does not end in its table")?;
    String::from_utf8(rest[..len].to_vec()).context("is not text")
}

fn read<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N]> {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.copied().with_context(|| format!("no {N} bytes at {offset}"))
}

fn read_u16(bytes: &[u8], offset: usize) -> Result<u16> {
    Ok(u16::from_le_bytes(read(bytes, offset)?))
}

fn read_u32(bytes: &[u8], offset: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(read(bytes, offset)?))
}

fn read_u64(bytes: &[u8], offset: usize) -> Result<u64> {
    Ok(u64::from_le_bytes(read(bytes, offset)?))
}
