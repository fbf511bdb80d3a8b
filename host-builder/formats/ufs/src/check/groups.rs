//! The fourth pass: the cylinder group headers, their maps and counts, and the summaries, against what the inodes use.

use positioned_io::ReadAt;
use zerocopy::FromBytes;

use super::Checker;
use super::finding::{FindingKind, Location};
use super::geometry::Geometry;
use crate::error::Result;
use crate::layout::{Csum, GROUP_MAGIC, GROUP_MAPS, GroupHeader, ROOT_INODE, SUPERBLOCK_OFFSET};

/// Bytes of an entry of the summary area.
const CSUM_SIZE: usize = size_of::<Csum>();
/// Offset of `cg_cs` in a group header.
const GROUP_CS: u64 = 24;
/// Offset of `cg_frsum` in a group header.
const GROUP_FRSUM: u64 = 52;
/// Offset of `fs_cstotal` in the superblock.
const SUPERBLOCK_CSTOTAL: u64 = 192;

/// Counts in the order of `struct csum`, wide enough for sums of hostile values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    directories: i64,
    blocks: i64,
    inodes: i64,
    frags: i64,
}

impl From<Csum> for Counts {
    fn from(csum: Csum) -> Self {
        Self {
            directories: csum.ndir.get().into(),
            blocks: csum.nbfree.get().into(),
            inodes: csum.nifree.get().into(),
            frags: csum.nffree.get().into(),
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { directories, blocks, inodes, frags } = self;
        write!(f, "{directories} directories, {blocks} blocks, {inodes} inodes, {frags} fragments free")
    }
}

/// Where the maps lie in a group header.
struct Maps {
    btot: u32,
    b: u32,
    inodes: u32,
    frags: u32,
    end: u32,
}

impl Maps {
    fn of(geometry: &Geometry) -> Self {
        let b = GROUP_MAPS + 4 * geometry.cpg;
        let inodes = b + 2 * geometry.cpg * geometry.nrpos;
        let frags = inodes + geometry.ipg.div_ceil(8);
        Self { btot: GROUP_MAPS, b, inodes, frags, end: frags + geometry.fpg.div_ceil(8) }
    }
}

/// What a group header should say, derived from the inodes.
struct Expected {
    counts: Counts,
    /// Free runs by their length.
    runs: [i32; 8],
    /// Free blocks by cylinder.
    cylinders: Vec<i32>,
    /// Free blocks by cylinder and rotational position.
    positions: Vec<i16>,
}

impl<D: ReadAt> Checker<'_, D> {
    /// Reads all group headers and the summaries.
    pub(super) fn check_groups(&mut self) -> Result<()> {
        let maps = Maps::of(&self.geometry);
        let mut summaries = vec![0; self.geometry.ncg as usize * CSUM_SIZE];
        let area = self.geometry.frag_offset(self.geometry.csaddr);
        self.device.read("summary area", area, &mut summaries)?;
        let mut header = vec![0; self.geometry.cgsize as usize];
        let mut total = Counts::default();
        for (group, summary) in (0..self.geometry.ncg).zip(summaries.chunks_exact(CSUM_SIZE)) {
            let offset = self.geometry.group_offset(group, self.geometry.cblkno);
            self.device.read("cylinder group", offset, &mut header)?;
            let expected = self.expect(group);
            self.check_header(group, offset, &header, &maps, &expected);
            self.check_maps(group, offset, &header, &maps);
            self.check_tables(group, offset, &header, &maps, &expected);

            let counts = expected.counts;
            let summary = Csum::read_from_bytes(summary).expect("chunks of the structure's size");
            if Counts::from(summary) != counts {
                let location = Location::group(group, area + u64::from(group) * CSUM_SIZE as u64);
                let detail = format_args!("{}; should be {counts}", Counts::from(summary));
                self.findings.add(FindingKind::SummaryArea, location, detail);
            }
            total.directories += counts.directories;
            total.blocks += counts.blocks;
            total.inodes += counts.inodes;
            total.frags += counts.frags;
        }
        let stated = Counts::from(self.superblock.cstotal);
        if stated != total {
            let location = Location::offset(SUPERBLOCK_OFFSET + SUPERBLOCK_CSTOTAL);
            let detail = format_args!("{stated}; should be {total}");
            self.findings.add(FindingKind::SummaryTotal, location, detail);
        }
        self.totals.free_blocks = total.blocks as u64;
        self.totals.free_fragments = total.frags as u64;
        let metadata: u64 =
            (0..self.geometry.ncg).map(|group| self.geometry.metadata(group).len() as u64).sum();
        self.totals.fragments_used = self.used.count() - metadata;
        Ok(())
    }

    /// Derives a group's counts from the fragments and inodes in use.
    fn expect(&self, group: u32) -> Expected {
        let geometry = &self.geometry;
        let (base, frags) = (geometry.group_base(group), geometry.group_frags(group));
        let mut expected = Expected {
            counts: Counts::default(),
            runs: [0; 8],
            cylinders: vec![0; geometry.cpg as usize],
            positions: vec![0; (geometry.cpg * geometry.nrpos) as usize],
        };
        for block in (0..frags).step_by(geometry.frag as usize) {
            let len = geometry.frag.min(frags - block);
            let mut run = 0;
            let mut free = 0;
            for frag in block..block + len {
                if self.used.contains(base + frag) {
                    expected.end_run(run);
                    run = 0;
                } else {
                    run += 1;
                    free += 1;
                }
            }
            if free == geometry.frag {
                let sector = block * geometry.nspf;
                let cylinder = sector / geometry.spc;
                let in_track = u64::from(sector % geometry.spc % geometry.nsect);
                let position = in_track * u64::from(geometry.nrpos) / u64::from(geometry.nsect);
                expected.counts.blocks += 1;
                expected.cylinders[cylinder as usize] += 1;
                expected.positions[(cylinder * geometry.nrpos) as usize + position as usize] += 1;
            } else {
                expected.end_run(run);
                expected.counts.frags += i64::from(free);
            }
        }
        let first = group * geometry.ipg;
        let free = (first..first + geometry.ipg).filter(|&inode| !self.inode_in_use(inode)).count();
        expected.counts.inodes = free as i64;
        expected.counts.directories = self.group_directories[group as usize].into();
        expected
    }

    /// Whether an inode counts as used: 0 and 1 always do.
    fn inode_in_use(&self, inode: u32) -> bool {
        inode < ROOT_INODE || self.inodes.allocated(inode)
    }

    /// The fixed values and the counts of a header.
    fn check_header(&mut self, group: u32, offset: u64, bytes: &[u8], maps: &Maps, expected: &Expected) {
        let (header, _) = GroupHeader::read_from_prefix(bytes)
            .expect("fs_cgsize was proved to hold the header and its maps");
        let at = |field: u64| Location::group(group, offset + field);
        let magic = header.magic.get();
        if magic != GROUP_MAGIC {
            self.findings.add(FindingKind::GroupMagic, at(4), format_args!("{magic:#x}"));
        }
        let geometry = &self.geometry;
        let fixed: [(&str, u64, i64, u32); 9] = [
            ("cg_cgx", 12, header.cgx.get().into(), group),
            ("cg_ncyl", 16, header.ncyl.get().into(), geometry.group_cylinders(group)),
            ("cg_niblk", 18, header.niblk.get().into(), geometry.ipg),
            ("cg_ndblk", 20, header.ndblk.get().into(), geometry.group_frags(group)),
            ("cg_btotoff", 84, header.btotoff.get().into(), maps.btot),
            ("cg_boff", 88, header.boff.get().into(), maps.b),
            ("cg_iusedoff", 92, header.iusedoff.get().into(), maps.inodes),
            ("cg_freeoff", 96, header.freeoff.get().into(), maps.frags),
            ("cg_nextfreeoff", 100, header.nextfreeoff.get().into(), maps.end),
        ];
        for (field, place, value, right) in fixed {
            if value != i64::from(right) {
                let detail = format_args!("{field} is {value}, not {right}");
                self.findings.add(FindingKind::GroupHeader, at(place), detail);
            }
        }
        let rotors = [
            ("cg_rotor", 40, header.rotor.get(), geometry.group_frags(group)),
            ("cg_frotor", 44, header.frotor.get(), geometry.group_frags(group)),
            ("cg_irotor", 48, header.irotor.get(), geometry.ipg),
        ];
        for (field, place, value, end) in rotors {
            if !(0..i64::from(end)).contains(&i64::from(value)) {
                let detail = format_args!("{field} is {value} of {end}");
                self.findings.add(FindingKind::GroupRotor, at(place), detail);
            }
        }
        let stated = Counts::from(header.cs);
        if stated != expected.counts {
            let detail = format_args!("{stated}; should be {}", expected.counts);
            self.findings.add(FindingKind::GroupSummary, at(GROUP_CS), detail);
        }
        for run in 1..self.geometry.frag as usize {
            let (stated, right) = (header.frsum[run].get(), expected.runs[run]);
            if stated != right {
                let detail = format_args!("cg_frsum[{run}] is {stated}, not {right}");
                self.findings.add(FindingKind::FragmentRuns, at(GROUP_FRSUM + 4 * run as u64), detail);
            }
        }
    }

    /// The two bitmaps of a group, every bit of their bytes.
    fn check_maps(&mut self, group: u32, offset: u64, bytes: &[u8], maps: &Maps) {
        let inode_map = &bytes[maps.inodes as usize..maps.frags as usize];
        let first = group * self.geometry.ipg;
        for (inode, used) in (first..first + self.geometry.ipg).zip(bits(inode_map)) {
            let right = self.inode_in_use(inode);
            if used != right {
                let kind = if right { FindingKind::InodeMarkedFree } else { FindingKind::InodeMarkedUsed };
                let byte = u64::from(maps.inodes + (inode - first) / 8);
                let mut location = Location::group(group, offset + byte);
                location.inode = Some(inode);
                self.findings.add(kind, location, format_args!(""));
            }
        }

        let frag_map = &bytes[maps.frags as usize..maps.end as usize];
        let (base, frags) = (self.geometry.group_base(group), self.geometry.group_frags(group));
        let wrong = |(frag, free): (u32, bool)| {
            let right = frag < frags && !self.used.contains(base + frag);
            let kind = if right { FindingKind::FragmentMarkedUsed } else { FindingKind::FragmentMarkedFree };
            (free != right).then_some((kind, frag))
        };
        // Neighbours with the same fault are one finding.
        let mut ranges: Vec<(FindingKind, u32, u32)> = Vec::new();
        for (kind, frag) in (0..).zip(bits(frag_map)).filter_map(wrong) {
            match ranges.last_mut() {
                Some((last, _, end)) if *last == kind && *end == frag => *end += 1,
                _ => ranges.push((kind, frag, frag + 1)),
            }
        }
        for (kind, start, end) in ranges {
            let location = Location::group(group, offset + u64::from(maps.frags + start / 8));
            let detail = format_args!("fragments {} to {}", base + start, base + end - 1);
            self.findings.add(kind, location, detail);
        }
    }

    /// `cg_btot` and `cg_b`.
    fn check_tables(&mut self, group: u32, offset: u64, bytes: &[u8], maps: &Maps, expected: &Expected) {
        let table = &bytes[maps.btot as usize..maps.b as usize];
        for (cylinder, (entry, &right)) in (0u64..).zip(table.chunks_exact(4).zip(&expected.cylinders)) {
            let stated = i32::from_le_bytes(entry.try_into().expect("chunks of four bytes"));
            if stated != right {
                let location = Location::group(group, offset + u64::from(maps.btot) + 4 * cylinder);
                let detail = format_args!("cylinder {cylinder}: {stated}, not {right}");
                self.findings.add(FindingKind::CylinderCounts, location, detail);
            }
        }
        let positions = u64::from(self.geometry.nrpos);
        let table = &bytes[maps.b as usize..maps.inodes as usize];
        for (index, (entry, &right)) in (0u64..).zip(table.chunks_exact(2).zip(&expected.positions)) {
            let stated = i16::from_le_bytes(entry.try_into().expect("chunks of two bytes"));
            if stated != right {
                let location = Location::group(group, offset + u64::from(maps.b) + 2 * index);
                let (cylinder, position) = (index / positions, index % positions);
                let detail = format_args!("cylinder {cylinder}, position {position}: {stated}, not {right}");
                self.findings.add(FindingKind::RotationalCounts, location, detail);
            }
        }
    }
}

impl Expected {
    /// Counts a maximal run of free fragments in a partly used block; none when it is empty.
    fn end_run(&mut self, len: usize) {
        if let Some(count) = self.runs.get_mut(len).filter(|_| len != 0) {
            *count += 1;
        }
    }
}

/// The bits of a map, lowest of each byte first.
fn bits(map: &[u8]) -> impl Iterator<Item = bool> {
    map.iter().flat_map(|&byte| (0..8).map(move |bit| byte >> bit & 1 != 0))
}
