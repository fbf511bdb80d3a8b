//! Making a file system as illumos' newfs does on a lofi device.

use positioned_io::{ReadAt, WriteAt};
use zerocopy::little_endian::{I16, I32, U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use crate::alloc;
use crate::device::Device;
use crate::directory::{self, CHUNK};
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::FileSystem;
use crate::geometry::Geometry;
use crate::group::Group;
use crate::inode::{Timestamp, generation};
use crate::layout::{
    BOOT_AREA, Csum, DIR_CHUNK, GROUP_MAPS, INODE_SIZE, Inode, LOST_FOUND_INODE, MAGIC, MODE_DIRECTORY,
    ROOT_INODE, SECTOR, SUPERBLOCK_AREA, SUPERBLOCK_OFFSET, SuperBlock,
};
use crate::superblock;

const BSIZE: u32 = 4096;
const FSIZE: u32 = 1024;
const FRAG: u32 = BSIZE / FSIZE;
const NSPF: u32 = FSIZE / SECTOR;
const INOPB: u32 = BSIZE / INODE_SIZE;
const NRPOS: u32 = 8;
/// Where the inode table begins with these sizes: behind boot block and superblock, backup, and header.
const IBLKNO: u32 = (BOOT_AREA + 2 * SUPERBLOCK_AREA) as u32 / FSIZE + FRAG;
/// Bytes of the superblock for the 32-bit utilities, which end in a one-byte array, rounded to fragments.
const SBSIZE: u32 = 2048;
/// Most inodes a group may have: three for every eight bits of a block, rounded to blocks of inodes.
const IPG_MAX: u32 = (BSIZE * 8 / 3).next_multiple_of(INOPB);
/// Sectors in a GiB.
const GIB_SECTORS: u64 = (1 << 30) / SECTOR as u64;

/// What kind of file system to make. Block (4096) and fragment (1024) sizes, no reserve and optimisation for space
/// are those of every SmartOS platform build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MakeOptions {
    /// Bytes of the device: 1 MiB to 2 GiB. A little less than that may be used, for newfs counts in lofi's cylinders.
    pub bytes: u64,
    /// Bytes of data space for each inode (newfs -i): 12248 in boot archives, 14000 in their /usr.
    pub bytes_per_inode: u32,
    /// Time of making, seconds since 1970.
    pub time: i32,
    /// Seed of the inodes' generations.
    pub generation_seed: u64,
}

/// The geometry that lofi reports for a file: sectors in a track, and in the whole. One head; a cylinder is a track.
fn lofi_geometry(bytes: u64) -> (u32, u64) {
    let cylinder = if bytes >= 2 << 20 { 307_200 } else { 102_400 };
    let cylinders = (bytes / cylinder).max(1);
    let sectors = bytes / (cylinders * u64::from(SECTOR));
    (sectors as u32, cylinders * sectors)
}

/// Bytes of a group header as mkfs counts them, four more than the maps need.
fn header_size(cpg: u32, ipg: u32, fpg: u32) -> u32 {
    GROUP_MAPS + 4 + 4 * cpg + 2 * cpg * NRPOS + ipg.div_ceil(8) + fpg.div_ceil(8)
}

/// Cylinders and inodes of a group, as newfs proposes and mkfs corrects them (usr/src/cmd/fs.d/ufs).
fn group_shape(spc: u32, sectors: u64, bytes_per_inode: u32) -> Option<(u32, u32)> {
    let step = 8 >> spc.trailing_zeros().min(3);
    let max_cpg = (BSIZE - GROUP_MAPS - 4 - IPG_MAX.div_ceil(8)) / (4 + 2 * NRPOS + spc / 64);
    let mut cpg = match (sectors / GIB_SECTORS) as u32 * 32 {
        0 => 16,
        proposed => proposed.min(max_cpg) / step * step,
    };
    // Space that a cylinder full of inodes would take is left out of the density.
    let inodes = (spc * SECTOR / INODE_SIZE).next_multiple_of(INOPB).min(IPG_MAX);
    let used = u64::from(IBLKNO + inodes / (INOPB / FRAG)) * u64::from(FSIZE);
    while cpg > 0 {
        let bytes = u64::from(cpg) * u64::from(spc) * u64::from(SECTOR);
        let ipg = bytes.saturating_sub(used) / u64::from(bytes_per_inode);
        let ipg = ipg.next_multiple_of(INOPB.into()).max(INOPB.into());
        if ipg <= u64::from(IPG_MAX) && header_size(cpg, ipg as u32, cpg * spc / NSPF) <= BSIZE {
            return Some((cpg, ipg as u32));
        }
        cpg = cpg.saturating_sub(step);
    }
    None
}

/// The superblock of a new file system, without counts.
fn new_superblock(options: &MakeOptions) -> Result<SuperBlock> {
    let refuse = |detail: String| Error::new(ErrorKind::InvalidArgument, detail);
    if !(1 << 20..=crate::grow::MAX_LENGTH).contains(&options.bytes) {
        return Err(refuse(format!("a file system of {} bytes", options.bytes)));
    }
    if options.bytes_per_inode < FSIZE {
        return Err(refuse(format!("{} bytes for each inode", options.bytes_per_inode)));
    }
    let (nsect, sectors) = lofi_geometry(options.bytes);
    let spc = nsect;
    let (cpg, ipg) = group_shape(spc, sectors, options.bytes_per_inode)
        .ok_or_else(|| refuse(format!("no cylinder group fits {nsect} sectors a track")))?;
    let fpg = cpg * spc / NSPF;
    let dblkno = IBLKNO + ipg / (INOPB / FRAG);
    let mut size = (sectors / u64::from(NSPF)) as u32;
    let mut ncyl = (size * NSPF).div_ceil(spc);
    let mut ncg = ncyl.div_ceil(cpg);
    if ncg > 1 && size - (ncg - 1) * fpg < dblkno {
        // A last group without room for its own metadata is dropped.
        ncg -= 1;
        ncyl = ncg * cpg;
        size = ncyl * spc / NSPF;
    }
    let mut sb = SuperBlock::new_zeroed();
    let fields = [
        (&mut sb.sblkno, IBLKNO - FRAG - 8),
        (&mut sb.cblkno, IBLKNO - FRAG),
        (&mut sb.iblkno, IBLKNO),
        (&mut sb.dblkno, dblkno),
        (&mut sb.cgoffset, nsect.div_ceil(NSPF).next_multiple_of(FRAG)),
        (&mut sb.cgmask, u32::MAX),
        (&mut sb.size, size),
        (&mut sb.ncg, ncg),
        (&mut sb.bsize, BSIZE),
        (&mut sb.fsize, FSIZE),
        (&mut sb.frag, FRAG),
        (&mut sb.rps, 7200 / 60),
        (&mut sb.bmask, !(BSIZE - 1)),
        (&mut sb.fmask, !(FSIZE - 1)),
        (&mut sb.bshift, BSIZE.trailing_zeros()),
        (&mut sb.fshift, FSIZE.trailing_zeros()),
        (&mut sb.maxcontig, 2),
        (&mut sb.maxbpg, BSIZE / 4),
        (&mut sb.fragshift, FRAG.trailing_zeros()),
        (&mut sb.fsbtodb, NSPF.trailing_zeros()),
        (&mut sb.sbsize, SBSIZE),
        (&mut sb.csmask, !(BSIZE / 16 - 1)),
        (&mut sb.csshift, (BSIZE / 16).trailing_zeros()),
        (&mut sb.nindir, BSIZE / 4),
        (&mut sb.inopb, INOPB),
        (&mut sb.nspf, NSPF),
        (&mut sb.optim, 1),
        (&mut sb.csaddr, dblkno),
        (&mut sb.cssize, (ncg * size_of::<Csum>() as u32).next_multiple_of(FSIZE)),
        (&mut sb.cgsize, header_size(cpg, ipg, fpg).next_multiple_of(FSIZE)),
        (&mut sb.ntrak, 1),
        (&mut sb.nsect, nsect),
        (&mut sb.spc, spc),
        (&mut sb.ncyl, ncyl),
        (&mut sb.cpg, cpg),
        (&mut sb.ipg, ipg),
        (&mut sb.fpg, fpg),
        (&mut sb.npsect, nsect),
        (&mut sb.postblformat, 1),
        (&mut sb.nrpos, NRPOS),
    ];
    for (field, value) in fields {
        *field = I32::new(value as i32);
    }
    sb.qbmask[0] = I32::new((BSIZE - 1) as i32);
    sb.qfmask[0] = I32::new((FSIZE - 1) as i32);
    sb.magic = U32::new(MAGIC);
    // Geometry proves it positive; the true number follows once that is known.
    sb.dsize = I32::new(1);
    superblock::set_clean(&mut sb, options.time);
    Ok(sb)
}

/// Fragments for data in a file system of this geometry: `fs_dsize`.
pub(crate) fn data_frags(geometry: &Geometry) -> I32 {
    let frags: u32 = (0..geometry.ncg).map(|group| geometry.group_data_frags(group)).sum();
    I32::new(frags as i32)
}

/// Lays out a group: a superblock area of zeros, the header, and free inodes that have nothing but a generation.
pub(crate) fn write_group<D: ReadAt + WriteAt>(
    device: &mut Device<D>,
    geometry: &Geometry,
    number: u32,
    group: &Group,
    generation_seed: u64,
) -> Result<()> {
    device.write_zeros("backup superblock", geometry.backup_offset(number), SUPERBLOCK_AREA)?;
    let mut header = group.to_bytes();
    header.resize(geometry.bsize as usize, 0);
    device.write("cylinder group", geometry.group_offset(number), &header)?;
    let first = number * geometry.ipg;
    let mut table = Vec::with_capacity((geometry.ipg * INODE_SIZE) as usize);
    for ino in first..first + geometry.ipg {
        let mut inode = Inode::new_zeroed();
        inode.generation = generation(generation_seed, ino);
        table.extend_from_slice(inode.as_bytes());
    }
    device.write("inode table", geometry.inode_offset(first), &table)
}

/// Writes the superblock into the backup of each group: the structure, and what follows the primary up to `fs_sbsize`,
/// for fsck compares them to that length.
pub(crate) fn write_backups<D: ReadAt + WriteAt>(
    device: &mut Device<D>,
    geometry: &Geometry,
    sb: &SuperBlock,
) -> Result<()> {
    let mut bytes = vec![0; geometry.sbsize as usize];
    device.read("superblock", SUPERBLOCK_OFFSET, &mut bytes)?;
    bytes[..size_of::<SuperBlock>()].copy_from_slice(sb.as_bytes());
    (0..geometry.ncg)
        .try_for_each(|group| device.write("backup superblock", geometry.backup_offset(group), &bytes))
}

/// Makes an empty file system, with `/lost+found`, on the first `bytes` of a device, and opens it. The boot block is
/// zeroed, because the boot-time reader takes it for the contents of holes.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a size or density out of range.
pub fn make<D: ReadAt + WriteAt>(device: D, options: &MakeOptions) -> Result<FileSystem<D>> {
    let mut sb = new_superblock(options)?;
    let geometry = Geometry::from_superblock(&sb, options.bytes)
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, error.to_string()))?;
    sb.dsize = data_frags(&geometry);

    let mut device = Device::new(device, options.bytes);
    device.extend(options.bytes)?;
    device.write_zeros("boot block", 0, BOOT_AREA + SUPERBLOCK_AREA)?;
    let mut summaries = Vec::with_capacity(geometry.ncg as usize);
    // lost+found gets the first free block and the root directory the first fragment behind it.
    let lost_found = geometry.metadata(0).end.next_multiple_of(geometry.frag);
    let root = lost_found + geometry.frag;
    for number in 0..geometry.ncg {
        let mut group = Group::empty(&geometry, number, options.time);
        if number == 0 {
            for (ino, directory) in [(0, false), (1, false), (ROOT_INODE, true), (LOST_FOUND_INODE, true)] {
                group.take_inode(ino, directory);
            }
            group.reserve_frags(lost_found, geometry.frag)?;
            group.reserve_frags(root, 1)?;
        }
        write_group(&mut device, &geometry, number, &group, options.generation_seed)?;
        summaries.push(group.counts());
    }
    sb.cstotal = alloc::total(&summaries).ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "counts"))?;
    let cs_area = geometry.frag_offset(geometry.csaddr);
    device.write_zeros("summary area", cs_area, geometry.cssize.into())?;
    device.write("summary area", cs_area, summaries.as_bytes())?;

    let mut chunk = directory::first_chunk(ROOT_INODE, ROOT_INODE);
    directory::insert(&mut chunk, LOST_FOUND_INODE, b"lost+found")
        .map_err(|broken| Error::new(ErrorKind::InvalidArgument, broken))?;
    let mut space = [[0; CHUNK]; (BSIZE / DIR_CHUNK) as usize];
    space.fill(directory::empty_chunk());
    space[0] = directory::first_chunk(LOST_FOUND_INODE, ROOT_INODE);
    write_directory(&mut device, &geometry, options, ROOT_INODE, (0o755, 3), root, &chunk)?;
    write_directory(
        &mut device,
        &geometry,
        options,
        LOST_FOUND_INODE,
        (0o700, 2),
        lost_found,
        space.as_flattened(),
    )?;
    superblock::write(&mut device, &sb)?;
    write_backups(&mut device, &geometry, &sb)?;
    device.flush()?;
    FileSystem::open(device.into_inner(), options.bytes)
}

/// Writes a directory of one run of fragments and its inode, with the given mode and link count.
fn write_directory<D: ReadAt + WriteAt>(
    device: &mut Device<D>,
    geometry: &Geometry,
    options: &MakeOptions,
    ino: u32,
    (mode, links): (u16, i16),
    frag: u32,
    contents: &[u8],
) -> Result<()> {
    let frags = geometry.frags_for(contents.len() as u32);
    let mut padded = contents.to_vec();
    // mkfs formats the whole fragment, also what lies behind the directory's end.
    while padded.len() < (frags * geometry.fsize) as usize {
        padded.extend_from_slice(&directory::empty_chunk());
    }
    device.write("directory", geometry.frag_offset(frag), &padded)?;
    let mut inode = Inode::new_zeroed();
    inode.mode = U16::new(MODE_DIRECTORY | mode);
    inode.nlink = I16::new(links);
    inode.size = U64::new(contents.len() as u64);
    let time = Timestamp::from_seconds(options.time).into();
    (inode.atime, inode.mtime, inode.ctime) = (time, time, time);
    inode.direct[0] = I32::new(frag as i32);
    inode.blocks = U32::new(frags * geometry.nspf());
    inode.generation = generation(options.generation_seed, ino);
    crate::inode::write(device, geometry, ino, &inode)
}
