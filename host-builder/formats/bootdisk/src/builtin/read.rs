//! From the boot area of a disk, ours or foreign, back to a [`BootTable`]. Nothing on the disk is trusted.

use positioned_io::ReadAt;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::layout::{self, RawEntry, RawExtent, RawHeader, RawModule};
use super::{BootTable, BuiltinError, CODE, Load, MBR_CODE_BYTES, Module, TableEntry};

/// A `builtin` loader found on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its table.
    pub table: BootTable,
    /// The state of its code.
    pub code: Code,
}

/// The state of the code in front of a [`BootTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// That of this version of kiln, byte for byte.
    Current,
    /// Another one than this version's, and as whoever wrote the table left it: its digest is right.
    OtherVersion,
    /// Not what was written together with the table: its digest is wrong.
    Damaged,
}

/// Bytes from the start of the disk to the table.
const TABLE_OFFSET: u64 = layout::TABLE_LBA as u64 * 512;

/// Looks for kiln's own loader on `disk`. `None` if there is another one or none.
///
/// # Errors
/// [`BuiltinError::Damaged`] when there is one whose table is not whole, [`BuiltinError::Io`].
pub fn read(disk: &impl ReadAt) -> Result<Option<Found>, BuiltinError> {
    let mut header = [0; size_of::<RawHeader>()];
    match disk.read_exact_at(TABLE_OFFSET, &mut header) {
        Ok(()) => {}
        // A disk too short for a table has none.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(source) => return Err(BuiltinError::Io { offset: TABLE_OFFSET, source }),
    }
    let header: RawHeader = zerocopy::transmute!(header);
    if header.magic != layout::MAGIC {
        return Ok(None);
    }
    if header.version.get() != layout::VERSION {
        return Err(BuiltinError::damaged(TABLE_OFFSET + 8, "its version is unknown"));
    }
    let length = header.length.get() as usize;
    if !length.is_multiple_of(4) || !(size_of::<RawHeader>()..=layout::TABLE_BYTES).contains(&length) {
        return Err(BuiltinError::damaged(TABLE_OFFSET + 12, "its length is impossible"));
    }
    let mut bytes = vec![0; length];
    BuiltinError::read_exact(disk, TABLE_OFFSET, &mut bytes)?;
    if layout::sum(&bytes) != 0 {
        return Err(BuiltinError::damaged(TABLE_OFFSET + 16, "its checksum is wrong"));
    }

    let table = Raw { bytes: &bytes }.table(&header)?;
    Ok(Some(Found { table, code: code(disk, &header)? }))
}

fn code(disk: &impl ReadAt, header: &RawHeader) -> Result<Code, BuiltinError> {
    let mut code = vec![0; TABLE_OFFSET as usize];
    BuiltinError::read_exact(disk, 0, &mut code)?;
    let (mbr_code, after_sector) = (&code[..MBR_CODE_BYTES], &code[512..]);
    if layout::code_digest(mbr_code, after_sector) != header.code_digest {
        return Ok(Code::Damaged);
    }
    let (stage2, padding) = after_sector.split_at(CODE.len() - 512);
    let ours = mbr_code == &CODE[..MBR_CODE_BYTES]
        && stage2 == &CODE[512..]
        && padding.iter().all(|&byte| byte == 0);
    Ok(if ours { Code::Current } else { Code::OtherVersion })
}

/// A table whose checksum is right, which says nothing about where its places point.
struct Raw<'a> {
    bytes: &'a [u8],
}

impl Raw<'_> {
    fn table(&self, header: &RawHeader) -> Result<BootTable, BuiltinError> {
        let (count, default) = (header.entry_count, header.default_entry);
        if count == 0 || usize::from(count) > layout::MAX_ENTRIES || default >= count {
            return Err(BuiltinError::damaged(
                TABLE_OFFSET + 22,
                "its default entry or number of entries is impossible",
            ));
        }
        let entries: &[RawEntry] = self.array(size_of::<RawHeader>(), usize::from(count))?;
        Ok(BootTable {
            timeout_seconds: header.timeout_seconds.get(),
            default,
            entries: entries.iter().map(|entry| self.entry(entry)).collect::<Result<_, _>>()?,
        })
    }

    fn entry(&self, raw: &RawEntry) -> Result<TableEntry, BuiltinError> {
        // Many items with long texts they share would take far more memory than the table does.
        if raw.extent_count.get().max(raw.module_count.get()) as usize > layout::MAX_ITEMS {
            return Err(BuiltinError::damaged(TABLE_OFFSET, "an entry has impossibly many files"));
        }
        let extents: &[RawExtent] = self.array(raw.extents.get().into(), raw.extent_count.get().into())?;
        let modules: &[RawModule] = self.array(raw.modules.get().into(), raw.module_count.get().into())?;
        let load = |extent: &RawExtent| {
            Ok(Load {
                name: self.text(extent.name.get())?,
                lba: extent.lba.get(),
                bytes: extent.bytes.get(),
                address: extent.address.get(),
            })
        };
        let module = |module: &RawModule| {
            let place = module.string.get().checked_sub(layout::TABLE_ADDRESS);
            let place = place.and_then(|place| u16::try_from(place).ok());
            let place = place.ok_or(self.out_of_range(module.string.get() as usize))?;
            Ok(Module { string: self.text(place)?, start: module.start.get(), end: module.end.get() })
        };
        Ok(TableEntry {
            title: self.text(raw.title.get())?,
            command_line: self.text(raw.command_line.get())?,
            entry_point: raw.entry_point.get(),
            zero_address: raw.zero_address.get(),
            zero_bytes: raw.zero_bytes.get(),
            needed_mib: raw.needed_mib.get(),
            loads: extents.iter().map(load).collect::<Result<_, BuiltinError>>()?,
            modules: modules.iter().map(module).collect::<Result<_, BuiltinError>>()?,
        })
    }

    fn out_of_range(&self, place: usize) -> BuiltinError {
        BuiltinError::damaged(TABLE_OFFSET + place.min(self.bytes.len()) as u64, "it points out of itself")
    }

    /// `count` structures at `place`; they lie inside the table, which bounds what `count` can allocate.
    fn array<T>(&self, place: usize, count: usize) -> Result<&[T], BuiltinError>
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        let bytes = self.bytes.get(place..).ok_or_else(|| self.out_of_range(place))?;
        match <[T]>::ref_from_prefix_with_elems(bytes, count) {
            Ok((array, _)) => Ok(array),
            Err(_) => Err(self.out_of_range(place)),
        }
    }

    fn text(&self, place: u16) -> Result<String, BuiltinError> {
        let place = usize::from(place);
        let bytes = self.bytes.get(place..).ok_or_else(|| self.out_of_range(place))?;
        let offset = TABLE_OFFSET + place as u64;
        let end = bytes
            .iter()
            .take(layout::MAX_TEXT_BYTES + 1)
            .position(|&byte| byte == 0)
            .ok_or(BuiltinError::damaged(offset, "a text in it has no end"))?;
        String::from_utf8(bytes[..end].to_vec())
            .map_err(|_| BuiltinError::damaged(offset, "a text in it is not UTF-8"))
    }
}
