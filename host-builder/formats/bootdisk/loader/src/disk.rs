//! Reading the boot drive: INT 13h AH=42h, the only disk service the loader uses.

use core::ptr::with_exposed_provenance;

use crate::firmware::Registers;
use crate::memory::DISK_BUFFER;

/// Bytes of a sector.
pub const SECTOR: u32 = 512;
/// What every firmware accepts in one call.
pub const MAX_SECTORS: u32 = 127;
const ATTEMPTS: u32 = 3;

/// A read that failed for good.
pub struct ReadError {
    /// The sector at which it failed.
    pub lba: u32,
    /// The firmware's status.
    pub status: u8,
}

#[repr(C)]
struct Packet {
    size: u16,
    sectors: u16,
    offset: u16,
    segment: u16,
    lba: u64,
}

/// Reads up to [`MAX_SECTORS`] sectors and returns them; they stay valid until the next read.
pub fn read(drive: u8, lba: u32, sectors: u32) -> Result<&'static [u8], ReadError> {
    unsafe extern "C" {
        // The packet of the first sector, which real mode can reach.
        static mut disk_packet: Packet;
    }

    let sectors = sectors.min(MAX_SECTORS);
    let mut status = 0;
    for _ in 0..ATTEMPTS {
        let packet = Packet {
            size: size_of::<Packet>() as u16,
            sectors: sectors as u16,
            offset: 0,
            segment: (DISK_BUFFER >> 4) as u16,
            lba: u64::from(lba),
        };
        let at = &raw mut disk_packet;
        // SAFETY: the packet has its sixteen bytes in the first sector, and only this function uses them now.
        // It lies at an address divisible by four only, and the firmware may write to it.
        unsafe { at.write_unaligned(packet) };
        let drive = u32::from(drive);
        let answer =
            Registers { eax: 0x4200, edx: drive, esi: at.expose_provenance() as u32, ..Registers::default() }
                .call(0x13);
        if !answer.carry() {
            let bytes = (sectors * SECTOR) as usize;
            // SAFETY: the buffer has room for `MAX_SECTORS`; only the firmware writes there, inside this
            // function.
            return Ok(unsafe { core::slice::from_raw_parts(with_exposed_provenance(DISK_BUFFER), bytes) });
        }
        status = (answer.eax >> 8) as u8;
        // A reset of the drive is what the service asks for before another attempt.
        let _ = Registers { edx: drive, ..Registers::default() }.call(0x13);
    }
    Err(ReadError { lba, status })
}
