//! From a menu and the places of files on the disk to places in memory.

use super::header::{KernelHeader, parse_multiboot_header};
use super::{AREA_SECTORS, BuiltinError};
use crate::menu::{Menu, MenuEntry};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// The kernel must not overwrite the firmware's data and the loader.
const KERNEL_FLOOR: u32 = 1 << 20;
/// The early code of the illumos kernel unpacks it to 4 MiB (text) and 8 MiB (data), and the file itself lies
/// around 12 MiB. Modules below that would be overwritten. Source: uts/i86pc/conf/Mapfile.amd64.
const MODULE_FLOOR: u64 = 0xC0_0000;
/// A PC has no memory in the last GiB below 4 GiB; hypervisors leave a gap from here or from a higher address
/// on.
const CEILING: u64 = 3 << 30;

/// A file that lies in one piece on the disk.
#[derive(Debug, Clone, Copy)]
pub struct FileOnDisk<'a> {
    /// First sector, counted from the start of the disk.
    pub first_lba: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// The first [`HEADER_SEARCH_BYTES`](super::HEADER_SEARCH_BYTES) bytes (or all). Only looked at for
    /// kernels.
    pub head: &'a [u8],
}

/// What the loader finds behind its code: a menu, and where everything lies and goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootTable {
    /// Seconds until the default entry starts by itself; 0 starts it without showing a menu.
    pub timeout_seconds: u16,
    /// Index of the default entry.
    pub default: u8,
    /// One to nine entries.
    pub entries: Vec<TableEntry>,
}

/// An entry of a [`BootTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// What the menu shows: 1 to 56 printable ASCII characters.
    pub title: String,
    /// The kernel's command line, path first.
    pub command_line: String,
    /// Physical address at which the kernel starts.
    pub entry_point: u32,
    /// Physical address of memory that is cleared for the kernel.
    pub zero_address: u32,
    /// Bytes that are cleared.
    pub zero_bytes: u32,
    /// MiB of memory below which the loader refuses the entry.
    pub needed_mib: u32,
    /// What is read from the disk, in order.
    pub loads: Vec<Load>,
    /// What the kernel is told about its modules.
    pub modules: Vec<Module>,
}

/// A file's bytes on the disk and in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The file's path as the menu names it.
    pub name: String,
    /// First sector.
    pub lba: u32,
    /// Bytes.
    pub bytes: u32,
    /// Physical address.
    pub address: u32,
}

/// A Multiboot module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The string the kernel gets with it.
    pub string: String,
    /// Physical address of the first byte.
    pub start: u32,
    /// Physical address behind the last byte.
    pub end: u32,
}

impl BootTable {
    /// Decides where the kernel and the modules of every entry of `menu` go in memory.
    ///
    /// `locate` tells where a path of the menu lies. The loader refuses an entry on a machine with less than
    /// `minimum_memory_mib` MiB, or less than what it takes to load the entry, whichever is more.
    ///
    /// # Errors
    /// A menu that is faulty or names a file `locate` does not know, a kernel that is not of the kind illumos
    /// is, or files too large for 32-bit addresses.
    pub fn plan<'a>(
        menu: &Menu,
        minimum_memory_mib: u32,
        mut locate: impl FnMut(&str) -> Option<FileOnDisk<'a>>,
    ) -> Result<Self, BuiltinError> {
        menu.validate().map_err(BuiltinError::Menu)?;
        if u64::from(minimum_memory_mib) > CEILING / MIB {
            return Err(BuiltinError::Unshowable {
                reason: format!(
                    "it asks for {minimum_memory_mib} MiB of memory in one piece; 3072 are the most"
                ),
            });
        }
        let unshowable = |reason: &str| BuiltinError::Unshowable { reason: reason.to_owned() };
        let entries = menu
            .entries
            .iter()
            .map(|entry| plan_entry(entry, minimum_memory_mib, &mut locate))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            timeout_seconds: menu
                .timeout_seconds
                .try_into()
                .map_err(|_| unshowable("its timeout is longer than 65535 seconds"))?,
            default: menu.default.try_into().map_err(|_| unshowable("it has too many entries"))?,
            entries,
        })
    }
}

fn plan_entry<'a>(
    entry: &MenuEntry,
    minimum_memory_mib: u32,
    locate: &mut impl FnMut(&str) -> Option<FileOnDisk<'a>>,
) -> Result<TableEntry, BuiltinError> {
    let mut find = |path: &str| locate(path).ok_or_else(|| BuiltinError::Missing { path: path.to_owned() });

    let file = find(&entry.kernel)?;
    let header = parse_multiboot_header(file.head, file.bytes)?;
    let kernel = load_kernel(&entry.kernel, &file, &header)?;
    let loaded_end = u64::from(kernel.address) + u64::from(kernel.bytes);
    let kernel_end = u64::from(header.bss_end).max(loaded_end);

    let mut loads = vec![kernel];
    let mut modules = Vec::new();
    let mut end = kernel_end;
    for string in &entry.modules {
        let path = string.split(' ').next().unwrap_or_default();
        let file = find(path)?;
        let start = end.max(MODULE_FLOOR).next_multiple_of(PAGE);
        let load = load(path, file.first_lba, file.bytes, start)?;
        end = start + file.bytes;
        modules.push(Module { string: string.clone(), start: load.address, end: load.address + load.bytes });
        if load.bytes > 0 {
            loads.push(load);
        }
    }

    // One MiB more than what is loaded, because firmware keeps parts of the last one.
    let needed_mib = (end.div_ceil(MIB) + 1) as u32;
    Ok(TableEntry {
        title: entry.title.clone(),
        command_line: if entry.arguments.is_empty() {
            entry.kernel.clone()
        } else {
            format!("{} {}", entry.kernel, entry.arguments)
        },
        entry_point: header.entry_point,
        zero_address: loaded_end as u32,
        zero_bytes: (kernel_end - loaded_end) as u32,
        needed_mib: needed_mib.max(minimum_memory_mib),
        loads,
        modules,
    })
}

fn load_kernel(path: &str, file: &FileOnDisk, header: &KernelHeader) -> Result<Load, BuiltinError> {
    let (Some(offset), Some(bytes)) = (header.file_offset(), header.loaded_bytes(file.bytes)) else {
        return Err(BuiltinError::Kernel { reason: "its header contradicts its size" });
    };
    if header.load_address < KERNEL_FLOOR {
        return Err(BuiltinError::Kernel { reason: "it wants to be loaded below 1 MiB" });
    }
    if u64::from(header.bss_end) > CEILING {
        return Err(BuiltinError::TooLarge { path: path.to_owned(), end: u64::from(header.bss_end) });
    }
    // The header's parser has made sure that the offset is a whole number of sectors.
    let lba = file.first_lba.saturating_add(u64::from(offset / 512));
    load(path, lba, bytes, u64::from(header.load_address))
}

fn load(path: &str, first_lba: u64, bytes: u64, address: u64) -> Result<Load, BuiltinError> {
    let end = address.saturating_add(bytes);
    if end > CEILING {
        return Err(BuiltinError::TooLarge { path: path.to_owned(), end });
    }
    let unreachable = |reason| BuiltinError::Unreachable { path: path.to_owned(), lba: first_lba, reason };
    if first_lba < u64::from(AREA_SECTORS) {
        return Err(unreachable("it overlaps the boot loader"));
    }
    if first_lba.saturating_add(bytes.div_ceil(512)) > 1 << 32 {
        return Err(unreachable("it ends beyond 2 TiB"));
    }
    // Both fit, by the two checks above.
    Ok(Load { name: path.to_owned(), lba: first_lba as u32, bytes: bytes as u32, address: address as u32 })
}
