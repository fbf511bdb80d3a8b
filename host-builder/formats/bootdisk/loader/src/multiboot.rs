//! The Multiboot information, and the jump into the kernel.

use core::ptr::with_exposed_provenance_mut;

use crate::firmware;
use crate::memory::{INFORMATION, MAP, Map};
use crate::table::{Entry, Table};

/// Place of the firmware's count of KiB below 640 KiB.
const LOW_MEMORY_KIB: usize = 0x413;
/// Bits of `flags`: basic memory, boot device, command line, modules, memory map, name of the loader.
const FLAGS: u32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;

/// The information structure of Multiboot 0.6.96, section 3.3, up to the fields that the loader fills in.
#[repr(C)]
struct Information {
    flags: u32,
    /// KiB from 0.
    mem_lower: u32,
    /// KiB from 1 MiB up to the first gap.
    mem_upper: u32,
    /// Drive, partition and two levels of slices, of which 0xFF says "none".
    boot_device: u32,
    command_line: u32,
    mods_count: u32,
    mods_addr: u32,
    syms: [u32; 4],
    mmap_length: u32,
    mmap_addr: u32,
    /// Illumos looks at the length even if `flags` says there are no drives.
    drives_length: u32,
    drives_addr: u32,
    config_table: u32,
    boot_loader_name: u32,
    apm_table: u32,
    vbe: [u32; 4],
}

unsafe extern "sysv64" {
    fn start_kernel(entry_point: u32, information: u32) -> !;
}

/// Starts the kernel of `entry`, which has been loaded.
pub fn start(entry: &Entry, map: &Map, drive: u8) -> ! {
    static NAME: &core::ffi::CStr = c"kiln";
    let information = Information {
        flags: FLAGS,
        mem_lower: u32::from(firmware::low_word(LOW_MEMORY_KIB)),
        mem_upper: ((map.contiguous_end() - (1 << 20)) >> 10) as u32,
        boot_device: u32::from(drive) << 24 | 0x00_FF_FF,
        command_line: Table::address(entry.command_line),
        mods_count: u32::from(entry.module_count),
        mods_addr: Table::module_array(entry),
        syms: [0; 4],
        mmap_length: map.bytes(),
        mmap_addr: MAP as u32,
        drives_length: 0,
        drives_addr: 0,
        config_table: 0,
        boot_loader_name: NAME.as_ptr().expose_provenance() as u32,
        apm_table: 0,
        vbe: [0; 4],
    };
    // SAFETY: the memory at `INFORMATION` is kept free for this structure. The kernel is in memory, and
    // nothing of the loader is needed once it runs.
    unsafe {
        with_exposed_provenance_mut::<Information>(INFORMATION).write(information);
        start_kernel(entry.start, INFORMATION as u32)
    }
}
