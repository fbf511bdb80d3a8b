//! Finding, judging and writing the primary superblock.

use positioned_io::{ReadAt, WriteAt};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I32, U32};

use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Geometry, check_magic};
use crate::layout::{
    CLEAN, CLEAN_ACTIVE, CLEAN_LOGGING, CLEAN_STABLE, STATE_OKAY, SUPERBLOCK_OFFSET, SuperBlock,
};

/// Reads the primary superblock and proves its geometry; its state is left to [`check_state`].
pub(crate) fn read<D: ReadAt>(device: &Device<D>) -> Result<(SuperBlock, Geometry)> {
    let end = SUPERBLOCK_OFFSET + size_of::<SuperBlock>() as u64;
    if device.len() < end {
        let detail = format!("the device has only {} bytes", device.len());
        return Err(Error::at(ErrorKind::NotUfs, "superblock", SUPERBLOCK_OFFSET, detail));
    }
    let sb: SuperBlock = device.read_struct("superblock", SUPERBLOCK_OFFSET)?;
    check_magic(&sb)?;
    let geometry = Geometry::from_superblock(&sb, device.len())?;
    Ok((sb, geometry))
}

/// Refuses a file system that was not closed well, or whose log or summaries matter.
pub(crate) fn check_state(sb: &SuperBlock) -> Result<()> {
    let refuse = |kind, detail| Err(Error::at(kind, "superblock", SUPERBLOCK_OFFSET, detail));
    if sb.clean == CLEAN_LOGGING {
        return refuse(ErrorKind::Logging, format!("fs_logbno is {}", sb.logbno));
    }
    if sb.clean != CLEAN && sb.clean != CLEAN_STABLE {
        return refuse(ErrorKind::Dirty, format!("fs_clean is {}", sb.clean));
    }
    if sb.state.get().wrapping_add(sb.time.get() as u32) != STATE_OKAY {
        return refuse(
            ErrorKind::Dirty,
            format!("fs_state {:#x} does not match fs_time {}", sb.state, sb.time),
        );
    }
    if sb.reclaim.get() != 0 {
        return refuse(ErrorKind::Dirty, format!("fs_reclaim is {}", sb.reclaim));
    }
    if sb.si.get() != 0 {
        return refuse(ErrorKind::StaleSummary, format!("fs_si is {}", sb.si));
    }
    Ok(())
}

/// Marks a superblock as closed well at `time`, in seconds since 1970.
pub(crate) fn set_clean(sb: &mut SuperBlock, time: i32) {
    sb.time = I32::new(time);
    sb.state = U32::new(STATE_OKAY.wrapping_sub(time as u32));
    sb.clean = CLEAN;
    sb.fmod = 0;
    sb.ronly = 0;
}

/// Marks a superblock as being written to.
pub(crate) fn set_active(sb: &mut SuperBlock) {
    sb.clean = CLEAN_ACTIVE;
}

/// Writes the primary superblock. What follows the structure, up to `fs_sbsize`, stays.
pub(crate) fn write<D: WriteAt>(device: &mut Device<D>, sb: &SuperBlock) -> Result<()> {
    device.write("superblock", SUPERBLOCK_OFFSET, sb.as_bytes())
}
