//! The table that the image builder leaves at LBA 34. `src/builtin/layout.rs` of kiln-bootdisk writes it, and
//! describes every field.
//!
//! Nothing here panics or reads outside the table: a place that lies outside reads as zero or as empty text.

use crate::memory::{TABLE, TABLE_BYTES};

const MAGIC: &[u8; 8] = b"KILNBOOT";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 32;
const EXTENT_BYTES: usize = 16;

/// The table, whose magic, version and checksum are right.
pub struct Table {
    bytes: &'static [u8],
}

/// A menu entry.
pub struct Entry {
    /// Place of the title in the table.
    pub title: u16,
    /// Place of the kernel's command line.
    pub command_line: u16,
    extents: u16,
    /// Number of [`Extent`]s.
    pub extent_count: u16,
    modules: u16,
    /// Number of modules.
    pub module_count: u16,
    /// Address at which the kernel starts.
    pub start: u32,
    /// First address of memory to be cleared.
    pub zero_address: u32,
    /// Bytes to be cleared.
    pub zero_bytes: u32,
    /// Memory without which this entry cannot be started, in MiB.
    pub needed_mib: u32,
}

/// A piece of a file and its place in memory.
pub struct Extent {
    /// First sector.
    pub lba: u32,
    /// Bytes; what follows in the last sector is not copied.
    pub bytes: u32,
    /// Physical address.
    pub address: u32,
    /// Place of the file's name in the table.
    pub name: u16,
}

impl Table {
    /// The table in memory, if it is whole.
    pub fn find() -> Option<Self> {
        // SAFETY: the first sector has read the table to this place; nothing writes there.
        let room = unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance::<u8>(TABLE), TABLE_BYTES)
        };
        let length = Self { bytes: room }.u32(12) as usize;
        let table = Self { bytes: room.get(..length)? };
        let sum = (0..length).step_by(4).fold(0_u32, |sum, place| sum.wrapping_add(table.u32(place)));
        (table.bytes.starts_with(MAGIC) && table.u16(8) == VERSION && sum == 0).then_some(table)
    }

    fn array<const N: usize>(&self, place: usize) -> [u8; N] {
        let bytes = place.checked_add(N).and_then(|end| self.bytes.get(place..end));
        bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    fn u16(&self, place: usize) -> u16 {
        u16::from_le_bytes(self.array(place))
    }

    fn u32(&self, place: usize) -> u32 {
        u32::from_le_bytes(self.array(place))
    }

    /// How long the menu waits for a key.
    pub fn timeout_seconds(&self) -> u16 {
        self.u16(20)
    }

    /// Number of menu entries.
    pub fn entry_count(&self) -> u8 {
        let [count] = self.array(23);
        count
    }

    /// The entry to start when nobody chooses.
    pub fn default_entry(&self) -> u8 {
        let [default] = self.array(22);
        default
    }

    /// Entry `index`, if there is one.
    pub fn entry(&self, index: u8) -> Option<Entry> {
        let at = HEADER_BYTES + usize::from(index) * ENTRY_BYTES;
        (index < self.entry_count()).then(|| Entry {
            title: self.u16(at),
            command_line: self.u16(at + 2),
            extents: self.u16(at + 4),
            extent_count: self.u16(at + 6),
            modules: self.u16(at + 8),
            module_count: self.u16(at + 10),
            start: self.u32(at + 12),
            zero_address: self.u32(at + 16),
            zero_bytes: self.u32(at + 20),
            needed_mib: self.u32(at + 24),
        })
    }

    /// Piece `index` of what an entry loads.
    pub fn extent(&self, entry: &Entry, index: u16) -> Extent {
        let at = usize::from(entry.extents) + usize::from(index) * EXTENT_BYTES;
        Extent {
            lba: self.u32(at),
            bytes: self.u32(at + 4),
            address: self.u32(at + 8),
            name: self.u16(at + 12),
        }
    }

    /// Physical address of an entry's array of Multiboot modules, which the builder has made ready for use.
    pub fn module_array(entry: &Entry) -> u32 {
        Self::address(entry.modules)
    }

    /// Physical address of a place in the table.
    pub fn address(place: u16) -> u32 {
        TABLE as u32 + u32::from(place)
    }

    /// The zero-terminated text at `place`.
    pub fn text(&self, place: u16) -> &[u8] {
        let text = self.bytes.get(usize::from(place)..).unwrap_or_default();
        text.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}
