//! What the boot loader passes (Multiboot specification 0.6.96, section 3.3).

use core::ptr::with_exposed_provenance;
use core::slice;

/// The number a Multiboot loader leaves in EAX.
pub const LOADER_MAGIC: u32 = 0x2BAD_B002;

const MEMORY: u32 = 1 << 0;
const BOOT_DEVICE: u32 = 1 << 1;
const COMMAND_LINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER_NAME: u32 = 1 << 9;

/// Nobody passes longer texts.
const MAX_TEXT: usize = 4096;
/// The limit of the kernels of November 2013 and later.
const MAX_MODULES: u32 = 99;
const MODULE_BYTES: u32 = 16;

/// The information structure in memory.
pub struct Information {
    address: u32,
}

/// A module.
#[derive(Clone, Copy)]
pub struct Module {
    /// Its string.
    pub string: &'static [u8],
    /// Its content.
    pub bytes: &'static [u8],
}

/// The modules in the order of the menu.
pub struct Modules {
    address: u32,
    count: u32,
}

impl Information {
    /// The structure at `address`.
    pub fn at(address: u32) -> Self {
        Self { address }
    }

    fn word(&self, offset: u32) -> u32 {
        read_word(self.address + offset)
    }

    fn has(&self, flag: u32) -> bool {
        self.word(0) & flag != 0
    }

    /// KiB below 640 KiB and above 1 MiB.
    pub fn memory_kib(&self) -> Option<(u32, u32)> {
        self.has(MEMORY).then(|| (self.word(4), self.word(8)))
    }

    /// Drive and partition.
    pub fn boot_device(&self) -> Option<u32> {
        self.has(BOOT_DEVICE).then(|| self.word(12))
    }

    /// The kernel's command line.
    pub fn command_line(&self) -> &'static [u8] {
        if self.has(COMMAND_LINE) { text(self.word(16)) } else { b"" }
    }

    /// The modules.
    pub fn modules(&self) -> Modules {
        let count = if self.has(MODULES) { self.word(20).min(MAX_MODULES) } else { 0 };
        Modules { address: self.word(24), count }
    }

    /// Number of entries of the firmware's memory map.
    pub fn map_entries(&self) -> u32 {
        if !self.has(MEMORY_MAP) {
            return 0;
        }
        let (length, address) = (self.word(44), self.word(48));
        let (mut offset, mut count) = (0, 0);
        while offset < length {
            offset = offset.saturating_add(read_word(address + offset)).saturating_add(4);
            count += 1;
        }
        count
    }

    /// The name of the boot loader.
    pub fn loader_name(&self) -> &'static [u8] {
        if self.has(LOADER_NAME) { text(self.word(64)) } else { b"" }
    }
}

impl Modules {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Module `index`, which is below the count.
    pub fn get(&self, index: u32) -> Module {
        let at = self.address + index * MODULE_BYTES;
        let (start, end) = (read_word(at), read_word(at + 4));
        // SAFETY: all memory below 4 GiB is mapped, and nothing writes to what the loader has put there.
        let bytes = unsafe {
            slice::from_raw_parts(with_exposed_provenance(start as usize), end.saturating_sub(start) as usize)
        };
        Module { string: text(read_word(at + 8)), bytes }
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Module> + '_ {
        (0..self.count).map(|index| self.get(index))
    }
}

fn read_word(address: u32) -> u32 {
    // SAFETY: all memory below 4 GiB is mapped, and any four bytes are a number.
    unsafe { with_exposed_provenance::<u32>(address as usize).read_unaligned() }
}

/// The zero-terminated text at `address`.
fn text(address: u32) -> &'static [u8] {
    // SAFETY: as for modules.
    let bytes = unsafe { slice::from_raw_parts(with_exposed_provenance::<u8>(address as usize), MAX_TEXT) };
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
