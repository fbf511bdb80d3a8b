//! The numbers that place everything on the disk, proved consistent before anything trusts them.

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{
    GROUP_MAPS, INODE_SIZE, MAGIC, MAGIC_MULTI_TERABYTE, SECTOR, SUPERBLOCK_AREA, SUPERBLOCK_OFFSET,
    SuperBlock,
};

/// The geometry of a file system. Every value was checked against the others, so the arithmetic of the methods
/// cannot overflow for groups, inodes and fragments that are in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a block: 4096 or 8192.
    pub bsize: u32,
    /// Bytes of a fragment: at least 512.
    pub fsize: u32,
    /// Fragments in a block: 1, 2, 4 or 8.
    pub frag: u32,
    /// Fragments in the file system.
    pub size: u32,
    /// Cylinder groups, at least 1.
    pub ncg: u32,
    /// Fragments in a group, a multiple of `frag`.
    pub fpg: u32,
    /// Inodes in a group, a multiple of the inodes in a block.
    pub ipg: u32,
    /// Cylinders in the file system.
    pub ncyl: u32,
    /// Cylinders in a group.
    pub cpg: u32,
    /// Sectors in a cylinder.
    pub spc: u32,
    /// Sectors in a track.
    pub nsect: u32,
    /// Rotational positions.
    pub nrpos: u32,
    /// Fragment of the backup superblock, from a group's start.
    pub sblkno: u32,
    /// Fragment of the group header, from a group's start.
    pub cblkno: u32,
    /// Fragment of the inode table, from a group's start.
    pub iblkno: u32,
    /// First fragment behind the metadata, from a group's start.
    pub dblkno: u32,
    /// Shift of successive groups' metadata, in fragments.
    pub cgoffset: u32,
    /// Mask of the group number for that shift.
    pub cgmask: u32,
    /// Fragment of the summary area.
    pub csaddr: u32,
    /// Bytes of the summary area, a multiple of `fsize`.
    pub cssize: u32,
    /// Bytes of a group header with its maps, at most `bsize`.
    pub cgsize: u32,
    /// Bytes of the superblock that mean something.
    pub sbsize: u32,
}

/// The largest file system the ordinary format holds: everything from 1 TiB on uses the other magic number.
const MAX_BYTES: u64 = 1 << 40;

fn impossible(detail: String) -> Error {
    Error::at(ErrorKind::ImpossibleGeometry, "superblock", SUPERBLOCK_OFFSET, detail)
}

/// Fails unless `holds`, with a message naming the field and its value.
fn require(holds: bool, field: &str, value: i64) -> Result<()> {
    if holds { Ok(()) } else { Err(impossible(format!("{field} is {value}"))) }
}

/// A field that must not be negative.
fn natural(field: &str, value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|_| impossible(format!("{field} is {value}")))
}

/// A field that must be positive.
fn positive(field: &str, value: i32) -> Result<u32> {
    match natural(field, value)? {
        0 => Err(impossible(format!("{field} is 0"))),
        value => Ok(value),
    }
}

/// A field whose value follows from others.
fn equals(field: &str, value: i32, expected: i64) -> Result<()> {
    if i64::from(value) == expected {
        Ok(())
    } else {
        Err(impossible(format!("{field} is {value}, which should be {expected}")))
    }
}

/// Checks `fs_magic` and `fs_version`, the marks by which the kernel accepts a file system at all.
pub fn check_magic(sb: &SuperBlock) -> Result<()> {
    let refuse = |kind, detail| Err(Error::at(kind, "superblock", SUPERBLOCK_OFFSET, detail));
    let magic = sb.magic.get();
    match magic {
        MAGIC => {}
        MAGIC_MULTI_TERABYTE => return refuse(ErrorKind::MultiTerabyte, String::new()),
        _ if magic.swap_bytes() == MAGIC || magic.swap_bytes() == MAGIC_MULTI_TERABYTE => {
            return refuse(ErrorKind::BigEndian, String::new());
        }
        _ => return refuse(ErrorKind::NotUfs, format!("fs_magic is {magic:#x}")),
    }
    let version = sb.version.get();
    if version != 0 && version != 2 {
        return refuse(ErrorKind::UnsupportedVersion, format!("fs_version is {version}"));
    }
    Ok(())
}

impl Geometry {
    /// Reads the geometry out of a superblock that [`check_magic`] accepted.
    ///
    /// # Errors
    /// [`ErrorKind::ImpossibleGeometry`] when a value is out of the format's range or contradicts another;
    /// [`ErrorKind::BeyondDevice`] when `fs_size` fragments are more than `device_len` bytes.
    pub fn from_superblock(sb: &SuperBlock, device_len: u64) -> Result<Self> {
        let bsize = positive("fs_bsize", sb.bsize.get())?;
        require(bsize == 4096 || bsize == 8192, "fs_bsize", bsize.into())?;
        let fsize = positive("fs_fsize", sb.fsize.get())?;
        require(
            fsize.is_power_of_two() && (SECTOR..=bsize).contains(&fsize) && bsize / fsize <= 8,
            "fs_fsize",
            fsize.into(),
        )?;
        let frag = bsize / fsize;
        equals("fs_frag", sb.frag.get(), frag.into())?;
        equals("fs_bmask", sb.bmask.get(), -i64::from(bsize))?;
        equals("fs_fmask", sb.fmask.get(), -i64::from(fsize))?;
        equals("fs_bshift", sb.bshift.get(), bsize.trailing_zeros().into())?;
        equals("fs_fshift", sb.fshift.get(), fsize.trailing_zeros().into())?;
        equals("fs_fragshift", sb.fragshift.get(), frag.trailing_zeros().into())?;
        equals("fs_fsbtodb", sb.fsbtodb.get(), (fsize / SECTOR).trailing_zeros().into())?;
        equals("fs_nspf", sb.nspf.get(), (fsize / SECTOR).into())?;
        equals("fs_nindir", sb.nindir.get(), (bsize / 4).into())?;
        equals("fs_inopb", sb.inopb.get(), (bsize / INODE_SIZE).into())?;
        equals("fs_postblformat", sb.postblformat.get(), 1)?;
        equals("fs_trackskew", sb.trackskew.get(), 0)?;
        require((0..=99).contains(&sb.minfree.get()), "fs_minfree", sb.minfree.get().into())?;
        require((0..=1).contains(&sb.optim.get()), "fs_optim", sb.optim.get().into())?;

        let geometry = Self {
            bsize,
            fsize,
            frag,
            size: positive("fs_size", sb.size.get())?,
            ncg: positive("fs_ncg", sb.ncg.get())?,
            fpg: positive("fs_fpg", sb.fpg.get())?,
            ipg: positive("fs_ipg", sb.ipg.get())?,
            ncyl: positive("fs_ncyl", sb.ncyl.get())?,
            cpg: positive("fs_cpg", sb.cpg.get())?,
            spc: positive("fs_spc", sb.spc.get())?,
            nsect: positive("fs_nsect", sb.nsect.get())?,
            nrpos: positive("fs_nrpos", sb.nrpos.get())?,
            sblkno: positive("fs_sblkno", sb.sblkno.get())?,
            cblkno: positive("fs_cblkno", sb.cblkno.get())?,
            iblkno: positive("fs_iblkno", sb.iblkno.get())?,
            dblkno: positive("fs_dblkno", sb.dblkno.get())?,
            cgoffset: natural("fs_cgoffset", sb.cgoffset.get())?,
            cgmask: sb.cgmask.get() as u32,
            csaddr: positive("fs_csaddr", sb.csaddr.get())?,
            cssize: positive("fs_cssize", sb.cssize.get())?,
            cgsize: positive("fs_cgsize", sb.cgsize.get())?,
            sbsize: positive("fs_sbsize", sb.sbsize.get())?,
        };
        let ntrak = positive("fs_ntrak", sb.ntrak.get())?;
        equals("fs_spc", sb.spc.get(), i64::from(ntrak) * i64::from(geometry.nsect))?;
        geometry.check_metadata()?;
        geometry.check_groups()?;
        let dsize = positive("fs_dsize", sb.dsize.get())?;
        require(dsize < geometry.size, "fs_dsize", dsize.into())?;

        let bytes = geometry.bytes();
        if bytes > device_len {
            return Err(Error::at(
                ErrorKind::BeyondDevice,
                "superblock",
                SUPERBLOCK_OFFSET,
                format!("{bytes} bytes on a device of {device_len}"),
            ));
        }
        Ok(geometry)
    }

    /// The offsets inside a group, and the sizes of the structures in it.
    fn check_metadata(&self) -> Result<()> {
        let (frag, fsize) = (i64::from(self.frag), i64::from(self.fsize));
        let round_block = |frags: i64| (frags + frag - 1) / frag * frag;
        let sblkno = round_block((8192 + 8192) / fsize);
        equals("fs_sblkno", self.sblkno as i32, sblkno)?;
        let cblkno = sblkno + round_block(8192 / fsize);
        equals("fs_cblkno", self.cblkno as i32, cblkno)?;
        equals("fs_iblkno", self.iblkno as i32, cblkno + frag)?;

        let inopb = self.inopb();
        // fsck's limit: three inodes for each eight bits of a block.
        let ipg_max = (self.bsize * 8 / 3).next_multiple_of(inopb);
        require(self.ipg.is_multiple_of(inopb) && self.ipg <= ipg_max, "fs_ipg", self.ipg.into())?;
        let inode_frags = i64::from(self.ipg / inopb) * frag;
        equals("fs_dblkno", self.dblkno as i32, i64::from(self.iblkno) + inode_frags)?;

        require(
            (size_of::<SuperBlock>() as u32..=SUPERBLOCK_AREA as u32).contains(&self.sbsize),
            "fs_sbsize",
            self.sbsize.into(),
        )?;
        require(self.cgsize <= self.bsize, "fs_cgsize", self.cgsize.into())?;
        // The maps must fit before their offsets are computed in 32 bits.
        let maps = u64::from(GROUP_MAPS)
            + u64::from(self.cpg) * 4
            + u64::from(self.cpg) * u64::from(self.nrpos) * 2
            + u64::from(self.ipg.div_ceil(8))
            + u64::from(self.fpg.div_ceil(8));
        require(maps <= u64::from(self.cgsize), "fs_cgsize", self.cgsize.into())
    }

    /// The division of the file system into groups, and the summary area in the first.
    fn check_groups(&self) -> Result<()> {
        let nspf = u64::from(self.nspf());
        require(
            self.fpg.is_multiple_of(self.frag)
                && u64::from(self.fpg) * nspf == u64::from(self.cpg) * u64::from(self.spc),
            "fs_fpg",
            self.fpg.into(),
        )?;
        require(self.bytes() < MAX_BYTES, "fs_size", self.size.into())?;
        let (size, fpg, ncg) = (u64::from(self.size), u64::from(self.fpg), u64::from(self.ncg));
        require(size <= ncg * fpg && size > (ncg - 1) * fpg, "fs_ncg", self.ncg.into())?;
        let ncyl = (size * nspf).div_ceil(u64::from(self.spc));
        require(u64::from(self.ncyl) == ncyl, "fs_ncyl", self.ncyl.into())?;
        require(i32::try_from(ncg * u64::from(self.ipg)).is_ok(), "fs_ncg", self.ncg.into())?;

        let shifts = !self.cgmask;
        require(shifts & shifts.wrapping_add(1) == 0, "fs_cgmask", (self.cgmask as i32).into())?;
        let last_shift = u64::from(self.cgoffset) * u64::from(shifts.min(self.ncg - 1));
        require(
            self.cgoffset.is_multiple_of(self.frag) && last_shift + u64::from(self.dblkno) <= fpg,
            "fs_cgoffset",
            self.cgoffset.into(),
        )?;
        let last = self.ncg - 1;
        let metadata_end = u64::from(self.group_start(last)) + u64::from(self.dblkno);
        require(metadata_end <= size, "fs_size", self.size.into())?;

        equals("fs_csaddr", self.csaddr as i32, self.dblkno.into())?;
        let cssize = (u64::from(self.ncg) * 16).next_multiple_of(u64::from(self.fsize));
        equals("fs_cssize", self.cssize as i32, cssize as i64)?;
        let cs_end = u64::from(self.csaddr) + cssize / u64::from(self.fsize);
        require(cs_end <= u64::from(self.group_frags(0)), "fs_cssize", self.cssize.into())
    }

    /// Bytes of the file system.
    pub fn bytes(&self) -> u64 {
        u64::from(self.size) * u64::from(self.fsize)
    }

    /// Byte offset of a fragment.
    pub fn frag_offset(&self, frag: u32) -> u64 {
        u64::from(frag) * u64::from(self.fsize)
    }

    /// Sectors in a fragment.
    pub fn nspf(&self) -> u32 {
        self.fsize / SECTOR
    }

    /// Inodes in a block.
    pub fn inopb(&self) -> u32 {
        self.bsize / INODE_SIZE
    }

    /// Pointers in an indirect block.
    pub fn nindir(&self) -> u32 {
        self.bsize / 4
    }

    /// Fragments that `bytes` bytes fill.
    pub fn frags_for(&self, bytes: u32) -> u32 {
        bytes.div_ceil(self.fsize)
    }

    /// Fragments of the summary area.
    pub fn cs_frags(&self) -> u32 {
        self.cssize / self.fsize
    }

    /// Inodes of the file system, the two reserved ones included.
    pub fn inodes(&self) -> u32 {
        self.ncg * self.ipg
    }

    /// First fragment of a group (`cgbase`).
    pub fn group_base(&self, group: u32) -> u32 {
        self.fpg * group
    }

    /// Fragment from which the metadata of a group is counted (`cgstart`).
    pub fn group_start(&self, group: u32) -> u32 {
        self.group_base(group) + self.cgoffset.wrapping_mul(group & !self.cgmask)
    }

    /// Fragments in a group: fewer in the last one, perhaps.
    pub fn group_frags(&self, group: u32) -> u32 {
        self.fpg.min(self.size - self.group_base(group))
    }

    /// Cylinders in a group: fewer in the last one, perhaps.
    pub fn group_cylinders(&self, group: u32) -> u32 {
        self.cpg.min(self.ncyl - self.cpg * group)
    }

    /// In-group fragments that hold metadata: backup superblock, header, inodes; in group 0 also everything in front
    /// of them and the summary area behind them.
    pub fn metadata(&self, group: u32) -> std::ops::Range<u32> {
        let start = self.group_start(group) - self.group_base(group);
        if group == 0 { 0..self.csaddr + self.cs_frags() } else { start + self.sblkno..start + self.dblkno }
    }

    /// Data fragments of a group: what `fs_dsize` counts.
    pub fn group_data_frags(&self, group: u32) -> u32 {
        let metadata = self.metadata(group);
        self.group_frags(group) - (metadata.end - metadata.start)
    }

    /// Byte offset of a group's backup superblock.
    pub fn backup_offset(&self, group: u32) -> u64 {
        self.frag_offset(self.group_start(group) + self.sblkno)
    }

    /// Byte offset of a group's header.
    pub fn group_offset(&self, group: u32) -> u64 {
        self.frag_offset(self.group_start(group) + self.cblkno)
    }

    /// Byte offset of an inode below [`Geometry::inodes`].
    pub fn inode_offset(&self, ino: u32) -> u64 {
        let table = self.frag_offset(self.group_start(ino / self.ipg) + self.iblkno);
        table + u64::from(ino % self.ipg) * u64::from(INODE_SIZE)
    }

    /// Byte offset of a group's entry in the summary area.
    pub fn csum_offset(&self, group: u32) -> u64 {
        self.frag_offset(self.csaddr) + u64::from(group) * 16
    }

    /// Offset of `cg_btot` in a group header.
    pub fn btot_offset(&self) -> u32 {
        GROUP_MAPS
    }

    /// Offset of `cg_b` in a group header.
    pub fn b_offset(&self) -> u32 {
        GROUP_MAPS + 4 * self.cpg
    }

    /// Offset of the inode map in a group header.
    pub fn inode_map_offset(&self) -> u32 {
        self.b_offset() + 2 * self.cpg * self.nrpos
    }

    /// Offset of the fragment map in a group header.
    pub fn frag_map_offset(&self) -> u32 {
        self.inode_map_offset() + self.ipg.div_ceil(8)
    }

    /// Offset behind the maps of a group header.
    pub fn maps_end(&self) -> u32 {
        self.frag_map_offset() + self.fpg.div_ceil(8)
    }

    /// Cylinder of the block that begins at an in-group fragment: the index into `cg_btot`.
    pub fn cylinder(&self, frag: u32) -> u32 {
        frag * self.nspf() / self.spc
    }

    /// Rotational position of the block that begins at an in-group fragment: the second index into `cg_b`.
    pub fn rotational_position(&self, frag: u32) -> u32 {
        let sector = frag * self.nspf() % self.spc % self.nsect;
        (u64::from(sector) * u64::from(self.nrpos) / u64::from(self.nsect)) as u32
    }

    /// Fragments that block `lbn` of a file of `size` bytes holds when it is allocated: a full block except for the
    /// last of a file with at most 12 blocks.
    pub fn block_frags(&self, size: u64, lbn: u64) -> u32 {
        let start = lbn.saturating_mul(u64::from(self.bsize));
        if lbn >= crate::layout::DIRECT_POINTERS as u64 || size >= start.saturating_add(u64::from(self.bsize))
        {
            self.frag
        } else {
            self.frags_for(size.saturating_sub(start) as u32)
        }
    }

    /// Blocks that the twelve direct and three indirect pointers reach.
    pub fn max_blocks(&self) -> u64 {
        let n = u64::from(self.nindir());
        12 + n + n * n + n * n * n
    }

    /// Whether a run of fragments lies in the file system, in one block unless it begins one, and outside all metadata.
    pub fn is_data(&self, frag: u32, count: u32) -> bool {
        let Some(end) = frag.checked_add(count) else { return false };
        if count == 0 || end > self.size || frag % self.frag + count > self.frag {
            return false;
        }
        let group = frag / self.fpg;
        let metadata = self.metadata(group);
        let local = frag % self.fpg;
        local + count <= metadata.start || local >= metadata.end
    }
}
