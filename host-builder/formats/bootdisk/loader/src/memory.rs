//! What lies where below 1 MiB, address line A20, and the firmware's memory map.
//!
//! | from | to | |
//! |---|---|---|
//! | 0x00000 | 0x00500 | the firmware's vectors and data |
//! | 0x00500 | 0x07C00 | stack while in real mode |
//! | 0x07C00 | 0x10000 | LBA 0 to 65: this loader, and from 0xC000 its table |
//! | 0x10000 | 0x1FE00 | disk buffer of 127 sectors, within one 64 KiB page for the sake of old controllers |
//! | 0x20000 | 0x26000 | page tables |
//! | 0x26000 | 0x28000 | memory map for the kernel |
//! | 0x28000 | 0x28058 | Multiboot information for the kernel |
//! | 0x30000 | 0x40000 | stack while in long mode |

use core::ptr::with_exposed_provenance;

use crate::firmware::{self, Registers};

/// Where the firmware puts sectors.
pub const DISK_BUFFER: usize = 0x1_0000;
/// Where the kernel finds the memory map.
pub const MAP: usize = 0x2_6000;
/// Where the kernel finds the Multiboot information.
pub const INFORMATION: usize = 0x2_8000;
/// Where the table of the image builder lies: LBA 34.
pub const TABLE: usize = 0xC000;
/// Room for that table.
pub const TABLE_BYTES: usize = 0x4000;

const MIB: u64 = 1 << 20;

/// An entry of a Multiboot memory map.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct MapEntry {
    /// Bytes that follow this field: 20.
    size: u32,
    base: u64,
    length: u64,
    /// 1 is memory free for use.
    kind: u32,
}

/// An entry as the firmware returns it.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawEntry {
    base: u64,
    length: u64,
    kind: u32,
}

/// More than any firmware reports, and few enough for the room there is (340).
const MAX_ENTRIES: usize = 256;
const USABLE: u32 = 1;

/// The firmware's memory map, kept at [`MAP`] in the form in which the kernel gets it.
pub struct Map {
    entries: usize,
}

impl Map {
    /// Asks the firmware (INT 15h, EAX=E820h). `None` if it does not know the service.
    pub fn from_firmware() -> Option<Self> {
        unsafe extern "C" {
            static map_entry: RawEntry;
        }
        const SMAP: u32 = 0x534D_4150;

        let mut entries = 0;
        let mut continuation = 0;
        while entries < MAX_ENTRIES {
            let answer = Registers {
                eax: 0xE820,
                ebx: continuation,
                ecx: 20,
                edx: SMAP,
                edi: (&raw const map_entry).expose_provenance() as u32,
                ..Registers::default()
            }
            .call(0x15);
            if answer.carry() || answer.eax != SMAP {
                break;
            }
            // SAFETY: the firmware has filled `map_entry`, in which any bits are numbers. The slot of the map
            // lies within its 8 KiB, which nothing else uses.
            unsafe {
                let RawEntry { base, length, kind } = (&raw const map_entry).read_volatile();
                slot(entries).cast_mut().write(MapEntry { size: 20, base, length, kind });
            }
            entries += 1;
            continuation = answer.ebx;
            if continuation == 0 {
                break;
            }
        }
        (entries > 0).then_some(Self { entries })
    }

    /// Bytes of the map.
    pub fn bytes(&self) -> u32 {
        (self.entries * size_of::<MapEntry>()) as u32
    }

    /// The end of the usable memory that begins at or below 1 MiB and has no gap; at most 4 GiB.
    pub fn contiguous_end(&self) -> u64 {
        let mut end = MIB;
        // The entries need not be sorted, so the search starts again whenever it got further.
        for _ in 0..self.entries {
            for index in 0..self.entries {
                // SAFETY: every slot below `entries` has been written.
                let MapEntry { base, length, kind, .. } = unsafe { slot(index).read() };
                let entry_end = base.saturating_add(length);
                if kind == USABLE && base <= end && entry_end > end {
                    end = entry_end;
                }
            }
        }
        end.min(1 << 32)
    }
}

fn slot(index: usize) -> *const MapEntry {
    with_exposed_provenance(MAP + index * size_of::<MapEntry>())
}

/// Makes the odd megabytes of memory reachable, by each of the ways there are. False if none worked.
pub fn enable_a20() -> bool {
    if a20_enabled() {
        return true;
    }
    let _ = Registers { eax: 0x2401, ..Registers::default() }.call(0x15);
    if a20_enabled() {
        return true;
    }
    // The "fast gate" of the system control port; bit 0 would reset the machine.
    firmware::port_out(0x92, (firmware::port_in(0x92) | 2) & !1);
    if a20_enabled() {
        return true;
    }
    // The keyboard controller: command 0xD1 writes its output port, in which bit 1 is the gate.
    for (port, value) in [(0x64, 0xD1), (0x60, 0xDF)] {
        for _ in 0..0x1_0000 {
            if firmware::port_in(0x64) & 2 == 0 {
                break;
            }
        }
        firmware::port_out(port, value);
    }
    (0..0x1_0000).any(|_| a20_enabled())
}

/// Whether 1 MiB + x is another place than x.
fn a20_enabled() -> bool {
    let low = with_exposed_provenance::<u32>(DISK_BUFFER).cast_mut();
    let high = with_exposed_provenance::<u32>(DISK_BUFFER + 0x10_0000).cast_mut();
    // SAFETY: both addresses are mapped; the first is the disk buffer, the second memory that nothing uses
    // before a kernel is loaded. Volatile, because they may be the same cell.
    unsafe {
        low.write_volatile(0x6B69_6C6E);
        high.write_volatile(!0x6B69_6C6E);
        low.read_volatile() == 0x6B69_6C6E
    }
}
