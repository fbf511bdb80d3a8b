//! From a [`BootTable`] to the bytes of the boot area.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::layout::{self, RawEntry, RawExtent, RawHeader, RawModule};
use super::{BootTable, BuiltinError, CODE, TableEntry};
use crate::disk::BootArea;

impl BootTable {
    /// Writes the boot area: this version's code, and the table.
    ///
    /// # Errors
    /// [`BuiltinError::Unshowable`] for a menu with more than nine entries, a default that is none of them,
    /// or a text that a serial terminal or a C string cannot carry; [`BuiltinError::TableFull`].
    pub fn encode(&self) -> Result<BootArea, BuiltinError> {
        let mbr_code = *CODE.first_chunk().expect("the code is longer than a sector");
        let mut gap = CODE[512..].to_vec();
        gap.resize((layout::TABLE_LBA as usize - 1) * 512, 0);
        let table = self.encode_table(layout::code_digest(&mbr_code, &gap))?;
        gap.extend(table);
        gap.resize(gap.len().next_multiple_of(512), 0);
        Ok(BootArea { mbr_code, gap })
    }

    fn encode_table(&self, code_digest: [u8; layout::CODE_DIGEST_BYTES]) -> Result<Vec<u8>, BuiltinError> {
        self.check_showable()?;
        let entries_at = size_of::<RawHeader>();
        let arrays_at = entries_at + self.entries.len() * size_of::<RawEntry>();
        let arrays_bytes: usize = self.entries.iter().map(array_bytes).sum();
        let mut texts = Texts { start: arrays_at + arrays_bytes, bytes: Vec::new(), places: BTreeMap::new() };

        let mut entries = Vec::new();
        let mut arrays = Vec::new();
        for entry in &self.entries {
            let extents = arrays_at + arrays.len();
            for load in &entry.loads {
                let extent = RawExtent {
                    lba: U32::new(load.lba),
                    bytes: U32::new(load.bytes),
                    address: U32::new(load.address),
                    name: texts.place(&load.name)?,
                    reserved: U16::ZERO,
                };
                arrays.extend_from_slice(extent.as_bytes());
            }
            let modules = arrays_at + arrays.len();
            for module in &entry.modules {
                let module = RawModule {
                    start: U32::new(module.start),
                    end: U32::new(module.end),
                    string: U32::new(layout::TABLE_ADDRESS + u32::from(texts.place(&module.string)?)),
                    reserved: U32::ZERO,
                };
                arrays.extend_from_slice(module.as_bytes());
            }
            entries.push(RawEntry {
                title: texts.place(&entry.title)?,
                command_line: texts.place(&entry.command_line)?,
                extents: place(extents)?,
                extent_count: place(entry.loads.len())?,
                modules: place(modules)?,
                module_count: place(entry.modules.len())?,
                entry_point: U32::new(entry.entry_point),
                zero_address: U32::new(entry.zero_address),
                zero_bytes: U32::new(entry.zero_bytes),
                needed_mib: U32::new(entry.needed_mib),
                reserved: U32::ZERO,
            });
        }

        let length = (texts.start + texts.bytes.len()).next_multiple_of(4);
        if length > layout::TABLE_BYTES {
            return Err(full(length));
        }
        let mut header = RawHeader {
            magic: layout::MAGIC,
            version: U16::new(layout::VERSION),
            reserved: U16::ZERO,
            length: U32::new(length as u32),
            checksum: U32::ZERO,
            timeout_seconds: U16::new(self.timeout_seconds),
            default_entry: self.default,
            entry_count: self.entries.len() as u8,
            code_digest,
        };
        let mut rest = entries.as_slice().as_bytes().to_vec();
        rest.extend(arrays);
        rest.extend(texts.bytes);
        rest.resize(length - size_of::<RawHeader>(), 0);
        let sum = layout::sum(header.as_bytes()).wrapping_add(layout::sum(&rest));
        header.checksum = U32::new(sum.wrapping_neg());
        Ok([header.as_bytes(), &rest].concat())
    }

    fn check_showable(&self) -> Result<(), BuiltinError> {
        let unshowable = |reason: String| Err(BuiltinError::Unshowable { reason });
        let count = self.entries.len();
        if count > layout::MAX_ENTRIES {
            return unshowable(format!("it has {count} entries; {} are the most", layout::MAX_ENTRIES));
        }
        if usize::from(self.default) >= count {
            return unshowable(format!("its default entry {} is none of its {count} entries", self.default));
        }
        for entry in &self.entries {
            if entry.loads.len().max(entry.modules.len()) > layout::MAX_ITEMS {
                return unshowable(format!("an entry has more than {} files", layout::MAX_ITEMS));
            }
            let title = &entry.title;
            if !title.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return unshowable(format!("the title {title:?} is not plain ASCII"));
            }
            if !(1..=layout::MAX_TITLE_BYTES).contains(&title.len()) {
                let most = layout::MAX_TITLE_BYTES;
                return unshowable(format!("the title {title:?} is empty or longer than {most} characters"));
            }
        }
        Ok(())
    }
}

/// Bytes that the two arrays of an entry take.
fn array_bytes(entry: &TableEntry) -> usize {
    entry.loads.len() * size_of::<RawExtent>() + entry.modules.len() * size_of::<RawModule>()
}

fn full(bytes: usize) -> BuiltinError {
    BuiltinError::TableFull { bytes, limit: layout::TABLE_BYTES }
}

fn place(place: usize) -> Result<U16, BuiltinError> {
    u16::try_from(place).map(U16::new).map_err(|_| full(place))
}

/// The texts at the end of the table. Entries share most of theirs, so equal texts are written once.
struct Texts<'a> {
    start: usize,
    bytes: Vec<u8>,
    places: BTreeMap<&'a str, U16>,
}

impl<'a> Texts<'a> {
    fn place(&mut self, text: &'a str) -> Result<U16, BuiltinError> {
        if let Some(&place) = self.places.get(text) {
            return Ok(place);
        }
        if text.contains('\0') || text.len() > layout::MAX_TEXT_BYTES {
            let most = layout::MAX_TEXT_BYTES;
            let reason = format!("the text {text:?} holds a zero byte or is longer than {most} bytes");
            return Err(BuiltinError::Unshowable { reason });
        }
        let place = place(self.start + self.bytes.len())?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.places.insert(text, place);
        Ok(place)
    }
}
