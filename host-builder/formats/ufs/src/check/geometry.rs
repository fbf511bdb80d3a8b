//! The numbers of the superblock, each compared with what the others demand before anything is looked up by them.
//!
//! This is deliberately not the crate's geometry: the check judges what the rest of the crate
//! writes, so it derives everything a second time.

use std::ops::Range;

use super::finding::{FindingKind, Findings, Location};
use crate::layout::{
    DIRECT_POINTERS, GROUP_MAPS, INODE_SIZE, SECTOR, SUPERBLOCK_AREA, SUPERBLOCK_OFFSET, SuperBlock,
};

/// The geometry of a file system that can be walked: groups lie inside the device and metadata inside the groups.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    /// Bytes of a block.
    pub(super) bsize: u32,
    /// Bytes of a fragment.
    pub(super) fsize: u32,
    /// Fragments in a block.
    pub(super) frag: u32,
    /// Sectors in a fragment.
    pub(super) nspf: u32,
    /// Fragments in the file system.
    pub(super) size: u32,
    /// Cylinder groups.
    pub(super) ncg: u32,
    /// Fragments in a group.
    pub(super) fpg: u32,
    /// Inodes in a group.
    pub(super) ipg: u32,
    /// Cylinders.
    pub(super) ncyl: u32,
    /// Cylinders in a group.
    pub(super) cpg: u32,
    /// Sectors in a cylinder.
    pub(super) spc: u32,
    /// Sectors in a track.
    pub(super) nsect: u32,
    /// Rotational positions.
    pub(super) nrpos: u32,
    /// Fragment of a group's backup superblock, from its start.
    pub(super) sblkno: u32,
    /// Fragment of a group's header, from its start.
    pub(super) cblkno: u32,
    /// Fragment of a group's inodes, from its start.
    pub(super) iblkno: u32,
    /// Fragment behind a group's inodes, from its start.
    pub(super) dblkno: u32,
    /// Shift of successive groups' starts.
    pub(super) cgoffset: u32,
    /// Mask of the group number for that shift.
    pub(super) cgmask: u32,
    /// Fragment of the summary area.
    pub(super) csaddr: u32,
    /// Fragments of the summary area.
    pub(super) cs_frags: u32,
    /// Bytes of a group header with its maps.
    pub(super) cgsize: u32,
    /// Bytes of a superblock that are compared with the backups.
    pub(super) sbsize: u32,
}

/// A file system of this many bytes or more has the other magic number.
const BYTES_END: u64 = 1 << 40;

/// Collects the contradictions of a superblock.
struct Judge<'a> {
    findings: &'a mut Findings,
    /// No contradiction so far that forbids to go on.
    walkable: bool,
}

impl Judge<'_> {
    /// A rule whose breach is reported.
    fn rule(&mut self, field: &str, value: impl Into<i64>, holds: bool) -> bool {
        if !holds {
            let location = Location::offset(SUPERBLOCK_OFFSET);
            self.findings.add(FindingKind::Geometry, location, format_args!("{field} is {}", value.into()));
        }
        holds
    }

    /// A value that follows from others.
    fn equal(&mut self, field: &str, value: impl Into<i64>, expected: impl Into<i64>) -> bool {
        let (value, expected) = (value.into(), expected.into());
        if value != expected {
            let location = Location::offset(SUPERBLOCK_OFFSET);
            let detail = format_args!("{field} is {value}, not {expected}");
            self.findings.add(FindingKind::Geometry, location, detail);
        }
        value == expected
    }

    /// A rule without which the file system cannot be walked.
    fn vital(&mut self, field: &str, value: impl Into<i64>, holds: bool) {
        self.walkable &= self.rule(field, value, holds);
    }

    /// A positive value without which the file system cannot be walked; 1 when it is not positive.
    fn positive(&mut self, field: &str, value: i32) -> u32 {
        self.vital(field, value, value > 0);
        value.max(1) as u32
    }
}

impl Geometry {
    /// Reads the geometry, reporting every contradiction; `None` when it cannot be walked.
    pub(super) fn read(sb: &SuperBlock, device_len: u64, findings: &mut Findings) -> Option<Self> {
        let judge = &mut Judge { findings, walkable: true };
        let bsize = judge.positive("fs_bsize", sb.bsize.get());
        let fsize = judge.positive("fs_fsize", sb.fsize.get());
        judge.vital("fs_bsize", bsize, bsize == 4096 || bsize == 8192);
        judge.vital(
            "fs_fsize",
            fsize,
            fsize.is_power_of_two() && fsize >= SECTOR && fsize <= bsize && bsize / fsize <= 8,
        );
        if !judge.walkable {
            return None;
        }
        let geometry = Self {
            bsize,
            fsize,
            frag: bsize / fsize,
            nspf: fsize / SECTOR,
            size: judge.positive("fs_size", sb.size.get()),
            ncg: judge.positive("fs_ncg", sb.ncg.get()),
            fpg: judge.positive("fs_fpg", sb.fpg.get()),
            ipg: judge.positive("fs_ipg", sb.ipg.get()),
            ncyl: judge.positive("fs_ncyl", sb.ncyl.get()),
            cpg: judge.positive("fs_cpg", sb.cpg.get()),
            spc: judge.positive("fs_spc", sb.spc.get()),
            nsect: judge.positive("fs_nsect", sb.nsect.get()),
            nrpos: judge.positive("fs_nrpos", sb.nrpos.get()),
            sblkno: judge.positive("fs_sblkno", sb.sblkno.get()),
            cblkno: judge.positive("fs_cblkno", sb.cblkno.get()),
            iblkno: judge.positive("fs_iblkno", sb.iblkno.get()),
            dblkno: judge.positive("fs_dblkno", sb.dblkno.get()),
            cgoffset: sb.cgoffset.get().max(0) as u32,
            cgmask: sb.cgmask.get() as u32,
            csaddr: judge.positive("fs_csaddr", sb.csaddr.get()),
            cs_frags: judge.positive("fs_cssize", sb.cssize.get()) / fsize,
            cgsize: judge.positive("fs_cgsize", sb.cgsize.get()),
            sbsize: judge.positive("fs_sbsize", sb.sbsize.get()),
        };
        let bytes = u64::from(geometry.size) * u64::from(fsize);
        judge.vital("fs_size", geometry.size, bytes < BYTES_END);
        if judge.walkable {
            geometry.judge_groups(sb, judge);
        }
        if judge.walkable {
            geometry.judge_metadata(sb, judge);
        }
        if !judge.walkable {
            return None;
        }
        geometry.judge_derived(sb, judge);
        if bytes > device_len {
            let detail = format_args!("{bytes} bytes on {device_len}");
            findings.add(FindingKind::BeyondDevice, Location::offset(SUPERBLOCK_OFFSET), detail);
            return None;
        }
        Some(geometry)
    }

    /// The division into groups and cylinders.
    fn judge_groups(&self, sb: &SuperBlock, judge: &mut Judge<'_>) {
        let [size, ncg, fpg, cpg, spc, ncyl, nspf] =
            [self.size, self.ncg, self.fpg, self.cpg, self.spc, self.ncyl, self.nspf].map(u64::from);
        judge.vital("fs_fpg", self.fpg, self.fpg.is_multiple_of(self.frag) && fpg * nspf == cpg * spc);
        judge.vital("fs_ncg", self.ncg, (ncg - 1) * fpg < size && size <= ncg * fpg);
        judge.vital("fs_ncyl", self.ncyl, (ncg - 1) * cpg < ncyl && ncyl <= ncg * cpg);
        judge.equal("fs_ncyl", self.ncyl, (size * nspf).div_ceil(spc) as i64);
        // fsck's limit: eight thirds of an inode for each byte of a block.
        let inopb = self.inopb();
        let most = (self.bsize * 8 / 3).next_multiple_of(inopb);
        judge.vital("fs_ipg", self.ipg, self.ipg.is_multiple_of(inopb) && self.ipg <= most);
        judge.vital("fs_ncg", self.ncg, i32::try_from(ncg * u64::from(self.ipg)).is_ok());
        judge.equal(
            "fs_spc",
            sb.spc.get(),
            i64::from(sb.ntrak.get()).wrapping_mul(i64::from(sb.nsect.get())),
        );
    }

    /// The metadata in every group and the summary area.
    fn judge_metadata(&self, sb: &SuperBlock, judge: &mut Judge<'_>) {
        let in_blocks = |bytes: u32| (bytes / self.fsize).next_multiple_of(self.frag);
        // The boot block, then one superblock; the next is the header, of one block; then the inodes.
        let sblkno = in_blocks(2 * SUPERBLOCK_AREA as u32);
        let cblkno = sblkno + in_blocks(SUPERBLOCK_AREA as u32);
        let iblkno = cblkno + self.frag;
        let dblkno = iblkno + self.ipg / self.inopb() * self.frag;
        for (field, value, expected) in [
            ("fs_sblkno", self.sblkno, sblkno),
            ("fs_cblkno", self.cblkno, cblkno),
            ("fs_iblkno", self.iblkno, iblkno),
            ("fs_dblkno", self.dblkno, dblkno),
            ("fs_csaddr", self.csaddr, dblkno),
        ] {
            judge.walkable &= judge.equal(field, value, expected);
        }
        let cssize = (u64::from(self.ncg) * 16).next_multiple_of(u64::from(self.fsize));
        judge.walkable &= judge.equal("fs_cssize", sb.cssize.get(), cssize as i64);

        let least = size_of::<SuperBlock>() as u32;
        judge.vital("fs_sbsize", self.sbsize, (least..=SUPERBLOCK_AREA as u32).contains(&self.sbsize));
        let maps = u64::from(GROUP_MAPS)
            + u64::from(self.cpg) * (4 + 2 * u64::from(self.nrpos))
            + u64::from(self.ipg.div_ceil(8))
            + u64::from(self.fpg.div_ceil(8));
        let cgsize = u64::from(self.cgsize);
        judge.vital("fs_cgsize", self.cgsize, maps <= cgsize && self.cgsize <= self.bsize);

        let shifting = !self.cgmask;
        let most_shifts = if shifting == 0 { 0 } else { shifting.min(self.ncg - 1) };
        let last_shift = u64::from(self.cgoffset) * u64::from(most_shifts);
        judge.vital("fs_cgmask", sb.cgmask.get(), shifting & shifting.wrapping_add(1) == 0);
        judge.vital(
            "fs_cgoffset",
            sb.cgoffset.get(),
            sb.cgoffset.get() >= 0
                && self.cgoffset.is_multiple_of(self.frag)
                && last_shift + u64::from(self.dblkno) <= u64::from(self.fpg),
        );
        if judge.walkable {
            let last = self.ncg - 1;
            let inside = |group: u32| self.metadata(group).end <= self.group_frags(group);
            judge.vital("fs_size", self.size, inside(last) && inside(0));
        }
    }

    /// Values that the kernel and the utilities use but that follow from the others.
    fn judge_derived(&self, sb: &SuperBlock, judge: &mut Judge<'_>) {
        let log2 = |value: u32| i64::from(value.trailing_zeros());
        let (bsize, fsize) = (i64::from(self.bsize), i64::from(self.fsize));
        judge.equal("fs_frag", sb.frag.get(), self.frag);
        judge.equal("fs_bmask", sb.bmask.get(), -bsize);
        judge.equal("fs_fmask", sb.fmask.get(), -fsize);
        judge.equal("fs_bshift", sb.bshift.get(), log2(self.bsize));
        judge.equal("fs_fshift", sb.fshift.get(), log2(self.fsize));
        judge.equal("fs_fragshift", sb.fragshift.get(), log2(self.frag));
        judge.equal("fs_fsbtodb", sb.fsbtodb.get(), log2(self.nspf));
        judge.equal("fs_nindir", sb.nindir.get(), self.bsize / 4);
        judge.equal("fs_inopb", sb.inopb.get(), self.inopb());
        judge.equal("fs_nspf", sb.nspf.get(), self.nspf);
        let csums = self.bsize / 16;
        judge.equal("fs_csmask", sb.csmask.get(), -i64::from(csums));
        judge.equal("fs_csshift", sb.csshift.get(), log2(csums));
        judge.equal("fs_qbmask", sb.qbmask[0].get(), bsize - 1);
        judge.equal("fs_qbmask", sb.qbmask[1].get(), 0);
        judge.equal("fs_qfmask", sb.qfmask[0].get(), fsize - 1);
        judge.equal("fs_qfmask", sb.qfmask[1].get(), 0);
        judge.equal("fs_postblformat", sb.postblformat.get(), 1);
        judge.rule("fs_minfree", sb.minfree.get(), (0..=99).contains(&sb.minfree.get()));
        judge.rule("fs_optim", sb.optim.get(), (0..=1).contains(&sb.optim.get()));
        let tables = i64::from(sb.postbloff.get()) + 2 * i64::from(self.nrpos) * i64::from(sb.cpc.get());
        judge.rule(
            "fs_postbloff",
            sb.postbloff.get(),
            sb.postbloff.get() >= 0 && sb.cpc.get() >= 0 && tables <= i64::from(self.sbsize),
        );
        let data: u64 = (0..self.ncg).map(|group| u64::from(self.group_data_frags(group))).sum();
        judge.equal("fs_dsize", sb.dsize.get(), data as i64);
    }

    /// Inodes in a block.
    pub(super) fn inopb(&self) -> u32 {
        self.bsize / INODE_SIZE
    }

    /// Inodes of the file system.
    pub(super) fn inodes(&self) -> u32 {
        self.ncg * self.ipg
    }

    /// First fragment of a group.
    pub(super) fn group_base(&self, group: u32) -> u32 {
        group * self.fpg
    }

    /// Fragment from which a group's metadata is counted, relative to its base.
    fn group_shift(&self, group: u32) -> u32 {
        self.cgoffset * (group & !self.cgmask)
    }

    /// Fragments in a group.
    pub(super) fn group_frags(&self, group: u32) -> u32 {
        self.fpg.min(self.size - self.group_base(group))
    }

    /// Cylinders in a group.
    pub(super) fn group_cylinders(&self, group: u32) -> u32 {
        self.cpg.min(self.ncyl - group * self.cpg)
    }

    /// Metadata of a group, as in-group fragments; in group 0 with all in front of it and the summaries behind it.
    pub(super) fn metadata(&self, group: u32) -> Range<u32> {
        let shift = self.group_shift(group);
        if group == 0 { 0..self.dblkno + self.cs_frags } else { shift + self.sblkno..shift + self.dblkno }
    }

    /// Data fragments of a group.
    fn group_data_frags(&self, group: u32) -> u32 {
        self.group_frags(group) - self.metadata(group).len() as u32
    }

    /// Byte offset of a fragment.
    pub(super) fn frag_offset(&self, frag: u32) -> u64 {
        u64::from(frag) * u64::from(self.fsize)
    }

    /// Byte offset of something in a group's metadata: `sblkno`, `cblkno` or `iblkno`.
    pub(super) fn group_offset(&self, group: u32, blkno: u32) -> u64 {
        self.frag_offset(self.group_base(group) + self.group_shift(group) + blkno)
    }

    /// Byte offset of an inode in range.
    pub(super) fn inode_offset(&self, inode: u32) -> u64 {
        let table = self.group_offset(inode / self.ipg, self.iblkno);
        table + u64::from(inode % self.ipg) * u64::from(INODE_SIZE)
    }

    /// Blocks that one pointer of indirection `level` maps: 1 for a data block.
    pub(super) fn reach(&self, level: u32) -> u64 {
        u64::from(self.bsize / 4).pow(level)
    }

    /// Blocks that a file can have.
    pub(super) fn file_blocks(&self) -> u64 {
        DIRECT_POINTERS as u64 + self.reach(1) + self.reach(2) + self.reach(3)
    }

    /// Fragments of block `lbn` of a file of `size` bytes, which reaches into that block.
    pub(super) fn block_frags(&self, size: u64, lbn: u64) -> u32 {
        let rest = size - lbn * u64::from(self.bsize);
        if lbn >= DIRECT_POINTERS as u64 || rest >= u64::from(self.bsize) {
            self.frag
        } else {
            (rest as u32).div_ceil(self.fsize)
        }
    }
}
