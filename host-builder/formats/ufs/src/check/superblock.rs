//! The boot block, the state of the superblock, and its backups.

use positioned_io::ReadAt;
use zerocopy::{FromBytes, IntoBytes};

use super::device::Device;
use super::finding::{FindingKind, Findings, Location};
use super::geometry::Geometry;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{
    BOOT_AREA, CLEAN, CLEAN_LOGGING, CLEAN_STABLE, MAGIC, MAGIC_MULTI_TERABYTE, STATE_OKAY, SUPERBLOCK_AREA,
    SUPERBLOCK_OFFSET, SuperBlock,
};

/// Fields that the kernel or a utility changes in the primary alone: offset and bytes. This is fsck's list.
const VARYING: [(usize, usize); 14] = [
    (0, 8),     // fs_link, fs_rolled
    (32, 4),    // fs_time
    (60, 8),    // fs_minfree, fs_rotdelay
    (88, 8),    // fs_maxcontig, fs_maxbpg
    (100, 4),   // fs_fsbtodb
    (128, 12),  // fs_optim, fs_state, fs_si
    (192, 20),  // fs_cstotal, fs_fmod, fs_clean, fs_ronly, fs_flags
    (212, 512), // fs_fsmnt
    (724, 4),   // fs_cgrotor
    (728, 128), // fs_u
    (1324, 4),  // fs_logbno
    (1328, 4),  // fs_reclaim
    (1336, 4),  // fs_npsect
    (1360, 4),  // fs_nrpos
];

/// The bytes of a superblock's area, and the fields in their front.
pub(super) struct Primary {
    pub(super) bytes: Vec<u8>,
    pub(super) fields: SuperBlock,
}

/// Reads the primary superblock.
///
/// # Errors
/// When the device fails, or what lies there is no Solaris UFS in little-endian order.
pub(super) fn read<D: ReadAt>(device: &Device<'_, D>, device_len: u64) -> Result<Primary> {
    let refuse = |kind, detail: String| Err(Error::at(kind, "superblock", SUPERBLOCK_OFFSET, detail));
    if device_len < SUPERBLOCK_OFFSET + SUPERBLOCK_AREA {
        return refuse(ErrorKind::NotUfs, format!("{device_len} bytes are no file system"));
    }
    let mut bytes = vec![0; SUPERBLOCK_AREA as usize];
    device.read("superblock", SUPERBLOCK_OFFSET, &mut bytes)?;
    let (fields, _) = SuperBlock::read_from_prefix(&bytes).expect("the area is larger than the structure");
    let magic = fields.magic.get();
    if magic == MAGIC_MULTI_TERABYTE {
        return refuse(ErrorKind::MultiTerabyte, String::new());
    }
    if magic == MAGIC.swap_bytes() || magic == MAGIC_MULTI_TERABYTE.swap_bytes() {
        return refuse(ErrorKind::BigEndian, String::new());
    }
    if magic != MAGIC {
        return refuse(ErrorKind::NotUfs, format!("fs_magic is {magic:#x}"));
    }
    let version = fields.version.get();
    if version != 0 && version != 2 {
        return refuse(ErrorKind::UnsupportedVersion, format!("fs_version is {version}"));
    }
    Ok(Primary { bytes, fields })
}

/// The boot block must be zero: the boot-time reader takes holes of files from there.
pub(super) fn check_boot_block<D: ReadAt>(device: &Device<'_, D>, findings: &mut Findings) -> Result<()> {
    let mut boot = vec![0; BOOT_AREA as usize];
    device.read("boot block", 0, &mut boot)?;
    if let Some(at) = boot.iter().position(|&byte| byte != 0) {
        let count = boot.iter().filter(|&&byte| byte != 0).count();
        let detail = format_args!("{count} bytes are not zero");
        findings.add(FindingKind::BootBlock, Location::offset(at as u64), detail);
    }
    Ok(())
}

/// The marks of how the file system was left.
pub(super) fn check_state(sb: &SuperBlock, findings: &mut Findings) {
    let at = |field: u64| Location::offset(SUPERBLOCK_OFFSET + field);
    let (time, state) = (sb.time.get() as u32, sb.state.get());
    if state.wrapping_add(time) != STATE_OKAY {
        let expected = STATE_OKAY.wrapping_sub(time);
        findings.add(FindingKind::State, at(132), format_args!("{state:#x}, not {expected:#x}"));
    }
    match (sb.clean, sb.logbno.get()) {
        (CLEAN | CLEAN_STABLE, _) => {}
        (CLEAN_LOGGING, log) if log != 0 => {
            findings.add(FindingKind::Logging, at(209), format_args!("log at fragment {log}"));
        }
        (clean, _) => findings.add(FindingKind::NotClean, at(209), format_args!("fs_clean is {clean:#x}")),
    }
    if sb.si.get() != 0 {
        findings.add(FindingKind::StaleSummary, at(136), format_args!("fs_si is {}", sb.si.get()));
    }
    if sb.reclaim.get() != 0 {
        let detail = format_args!("fs_reclaim is {}", sb.reclaim.get());
        findings.add(FindingKind::Reclaim, at(1328), detail);
    }
}

/// Clears the fields that may differ between the primary and the backups.
fn mask(superblock: &mut [u8]) {
    for (offset, len) in VARYING {
        superblock[offset..offset + len].fill(0);
    }
}

/// Compares the primary with the backup of every group. When it differs from all of them in the same way, the
/// primary is the odd one, and that is one finding.
pub(super) fn check_backups<D: ReadAt>(
    device: &Device<'_, D>,
    geometry: &Geometry,
    primary: &Primary,
    findings: &mut Findings,
) -> Result<()> {
    let len = geometry.sbsize as usize;
    let mut expected = primary.bytes.clone();
    expected.truncate(len);
    mask(&mut expected);

    let mut backup = vec![0; len];
    let mut differing: Vec<(u32, usize)> = Vec::new();
    for group in 0..geometry.ncg {
        let offset = geometry.group_offset(group, geometry.sblkno);
        device.read("backup superblock", offset, &mut backup)?;
        mask(&mut backup);
        if let Some(at) = first_difference(&expected, &backup) {
            differing.push((group, at));
        }
    }
    if let Some(&(_, at)) = differing.first()
        && differing.len() == geometry.ncg as usize
        && differing.iter().all(|&(_, other)| other == at)
    {
        let location = Location::offset(SUPERBLOCK_OFFSET + at as u64);
        let detail = format_args!("the primary differs from all {} backups at byte {at}", geometry.ncg);
        findings.add(FindingKind::BackupSuperblock, location, detail);
        return Ok(());
    }
    for (group, at) in differing {
        let offset = geometry.group_offset(group, geometry.sblkno) + at as u64;
        let detail = format_args!("differs from the primary at byte {at}");
        findings.add(FindingKind::BackupSuperblock, Location::group(group, offset), detail);
    }
    Ok(())
}

/// Compares a primary whose geometry is impossible with the first backup, whose place does not depend on it.
pub(super) fn check_first_backup<D: ReadAt>(
    device: &Device<'_, D>,
    device_len: u64,
    primary: &Primary,
    findings: &mut Findings,
) -> Result<()> {
    let offset = SUPERBLOCK_OFFSET + SUPERBLOCK_AREA;
    let len = size_of::<SuperBlock>();
    if device_len < offset + len as u64 {
        return Ok(());
    }
    let mut expected = primary.fields.clone();
    let mut backup = vec![0; len];
    device.read("backup superblock", offset, &mut backup)?;
    mask(&mut backup);
    mask(expected.as_mut_bytes());
    if let Some(at) = first_difference(expected.as_bytes(), &backup) {
        let detail = format_args!("differs from the primary at byte {at}");
        findings.add(FindingKind::BackupSuperblock, Location::group(0, offset + at as u64), detail);
    }
    Ok(())
}

/// Where two superblocks of the same length first differ.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    one.iter().zip(other).position(|(a, b)| a != b)
}
