//! Bringing an entry's kernel and modules into memory.

use core::ptr::with_exposed_provenance_mut;

use crate::console::Console;
use crate::disk::{self, MAX_SECTORS, ReadError, SECTOR};
use crate::memory::Map;
use crate::table::{Entry, Table};

/// How much is read between two dots of the progress display.
const DOT_BYTES: u32 = 8 << 20;

/// Why an entry cannot be started.
pub enum Refusal {
    /// The machine has too little memory in one piece.
    Memory { needed_mib: u32, found_mib: u32 },
    /// A file cannot be read.
    Disk { name: u16, error: ReadError },
}

impl Refusal {
    /// Says it in words.
    pub fn print(&self, console: &mut Console, table: &Table) {
        match self {
            Self::Memory { needed_mib, found_mib } => {
                console.text("Not enough memory: this entry needs ");
                console.number(*needed_mib);
                console.text(" MiB, the machine has ");
                console.number(*found_mib);
                console.text(" MiB.\n");
            }
            Self::Disk { name, error } => {
                console.text("\nDisk read error at LBA ");
                console.number(error.lba);
                console.text(" (firmware status ");
                console.number(u32::from(error.status));
                console.text(") in ");
                console.bytes(table.text(*name));
                console.text(".\n");
            }
        }
    }
}

/// Loads everything that `entry` lists, unless the memory does not suffice.
pub fn load(
    console: &mut Console,
    table: &Table,
    entry: &Entry,
    map: &Map,
    drive: u8,
) -> Result<(), Refusal> {
    // Firmware keeps some of the last MiB for itself. Rounding up gives the size people have chosen, and the
    // builder has added one MiB to what it asks for.
    let found_mib = map.contiguous_end().div_ceil(1 << 20) as u32;
    if found_mib < entry.needed_mib {
        return Err(Refusal::Memory { needed_mib: entry.needed_mib, found_mib });
    }
    for index in 0..entry.extent_count {
        let extent = table.extent(entry, index);
        console.text("Loading ");
        console.bytes(table.text(extent.name));
        console.text(" ");
        let mut done = 0;
        while done < extent.bytes {
            let rest = extent.bytes - done;
            let sectors = rest.div_ceil(SECTOR).min(MAX_SECTORS);
            let data = disk::read(drive, extent.lba + done / SECTOR, sectors)
                .map_err(|error| Refusal::Disk { name: extent.name, error })?;
            let data = data.get(..rest as usize).unwrap_or(data);
            // SAFETY: the builder places everything above 1 MiB and below `needed_mib`, where the map has
            // shown free memory that the loader does not use itself; the buffer lies below 1 MiB.
            unsafe {
                let target = with_exposed_provenance_mut((extent.address + done) as usize);
                data.as_ptr().copy_to_nonoverlapping(target, data.len());
            }
            let before = done / DOT_BYTES;
            done += data.len() as u32;
            if done / DOT_BYTES != before {
                console.text(".");
            }
        }
        console.text("\n");
    }
    // SAFETY: as above; the builder asks for the zeroed memory in `needed_mib`, too.
    unsafe {
        with_exposed_provenance_mut::<u8>(entry.zero_address as usize)
            .write_bytes(0, entry.zero_bytes as usize);
    }
    Ok(())
}
