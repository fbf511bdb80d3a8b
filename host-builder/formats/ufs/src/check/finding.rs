//! What a check reports: stable kinds, places, and a list that stays short however broken the file system is.

use std::collections::BTreeMap;
use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; the file system is still sound.
    Notice,
    /// The file system contradicts itself or the format.
    Damage,
}

/// Declares [`FindingKind`] with the stable name, severity and words of each kind in one place.
macro_rules! finding_kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $severity:ident, $name:literal, $words:literal;)+) => {
        /// What is wrong. Kinds and their names are stable; new ones may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl FindingKind {
            /// The stable name for machines, such as `link-count`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// How much a finding of this kind matters.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$kind => Severity::$severity,)+
                }
            }
        }

        impl fmt::Display for FindingKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$kind => $words,)+
                })
            }
        }
    };
}

finding_kinds! {
    /// A byte of the boot block, 0 to 8191, is not zero: the boot-time reader takes file holes from there.
    BootBlock = Damage, "boot-block", "the boot block is not zero";
    /// The device's length is no multiple of 4096 bytes, as the ramdisk of a boot archive wants.
    DeviceLength = Notice, "device-length", "the image is no multiple of 4096 bytes";
    /// A value of the superblock is out of range or contradicts others.
    Geometry = Damage, "geometry", "impossible superblock value";
    /// `fs_size` fragments are more than the device holds.
    BeyondDevice = Damage, "beyond-device", "the file system is larger than its device";
    /// The primary superblock and a backup differ where they must not.
    BackupSuperblock = Damage, "backup-superblock", "superblock and backup differ";
    /// `fs_state + fs_time` is not the mark of a well-closed file system.
    State = Damage, "state", "fs_state does not match fs_time";
    /// `fs_clean` is neither clean, stable nor logging.
    NotClean = Damage, "not-clean", "the file system was not closed cleanly";
    /// The log may hold changes that the check does not see.
    Logging = Notice, "logging", "the log may hold changes that are not checked";
    /// `fs_si`: the summaries are to be rebuilt at mount.
    StaleSummary = Damage, "stale-summary", "fs_si marks the summaries as stale";
    /// `fs_reclaim`: deleted files wait for their removal.
    Reclaim = Damage, "reclaim", "fs_reclaim is set";
    /// The flag for files of 2 GiB and more contradicts the files.
    LargeFiles = Damage, "large-files", "the large-files flag is wrong";

    /// `cg_magic` is wrong.
    GroupMagic = Damage, "group-magic", "wrong cylinder group magic";
    /// A number or an offset of a group header is not what the geometry demands.
    GroupHeader = Damage, "group-header", "wrong cylinder group header";
    /// A rotor points outside its group.
    GroupRotor = Damage, "group-rotor", "rotor outside the cylinder group";
    /// Fragments in use are marked free.
    FragmentMarkedFree = Damage, "fragment-marked-free", "fragments in use are marked free";
    /// Fragments that nothing uses are marked used.
    FragmentMarkedUsed = Damage, "fragment-marked-used", "unused fragments are marked used";
    /// An allocated inode is marked free.
    InodeMarkedFree = Damage, "inode-marked-free", "an inode in use is marked free";
    /// A free inode is marked used.
    InodeMarkedUsed = Damage, "inode-marked-used", "a free inode is marked used";
    /// `cg_cs` is wrong.
    GroupSummary = Damage, "group-summary", "wrong summary in the group header";
    /// The group's entry in the summary area is wrong.
    SummaryArea = Damage, "summary-area", "wrong entry in the summary area";
    /// `fs_cstotal` is wrong.
    SummaryTotal = Damage, "summary-total", "wrong totals in the superblock";
    /// `cg_btot` is wrong.
    CylinderCounts = Damage, "cylinder-counts", "wrong free block count of a cylinder";
    /// `cg_b` is wrong.
    RotationalCounts = Damage, "rotational-counts", "wrong free block count of a rotational position";
    /// `cg_frsum` is wrong, which illumos' own fsck does not look at.
    FragmentRuns = Damage, "fragment-runs", "wrong count of free fragment runs";

    /// Inode 0 or 1 is allocated.
    ReservedInode = Damage, "reserved-inode", "a reserved inode is allocated";
    /// Inode 2 is not an allocated directory with links.
    RootInode = Damage, "root-inode", "the root inode is no linked directory";
    /// A free inode still has a size, links or block pointers.
    PartlyAllocated = Damage, "partly-allocated", "a free inode is partly allocated";
    /// The type in the mode is none of the format.
    InodeType = Damage, "inode-type", "unknown inode type";
    /// The short and the long owner or group disagree.
    OwnerFields = Damage, "owner-fields", "short and long owner disagree";
    /// The size is larger than any file can be.
    FileSize = Damage, "file-size", "impossible file size";
    /// The size lies beyond the last mapped block.
    SizeBeyondBlocks = Damage, "size-beyond-blocks", "the size lies beyond the mapped blocks";
    /// A block pointer behind the end of the file is set.
    BlocksPastSize = Damage, "blocks-past-size", "block pointer behind the end of the file";
    /// A block pointer leads out of the file system or into metadata.
    BlockOutOfRange = Damage, "block-out-of-range", "block pointer out of range";
    /// Fragments that must lie in one block do not.
    BlockMisaligned = Damage, "block-misaligned", "misaligned block";
    /// A fragment has another owner already.
    BlockDuplicate = Damage, "block-duplicate", "block claimed twice";
    /// `ic_blocks` is wrong.
    BlockCount = Damage, "block-count", "wrong block count";
    /// A device has a size or block pointers besides its number.
    DeviceNode = Damage, "device-node", "device with a size or blocks";
    /// A fifo or socket has a size or blocks.
    SpecialFile = Damage, "special-file", "fifo or socket with a size or blocks";
    /// A symbolic link keeps its target in the inode, which Solaris never does on the disk.
    SymlinkInline = Damage, "symlink-inline", "symbolic link stored in its inode";
    /// A symbolic link's target is empty, too long, without a block, or contains a NUL.
    SymlinkTarget = Damage, "symlink-target", "impossible symbolic link target";
    /// The rest of a symbolic link's last fragment is not zero: the boot-time reader looks for a NUL there.
    SymlinkTail = Damage, "symlink-tail", "symbolic link not followed by zeros";
    /// `ic_shadow` names no ACL inode.
    ShadowReference = Damage, "shadow-reference", "ACL reference to an inode that holds none";
    /// `ic_oeftflag` names no attribute directory.
    AttributeReference = Damage, "attribute-reference", "attribute reference to no attribute directory";

    /// A directory's size is not a positive multiple of 512.
    DirectorySize = Damage, "directory-size", "impossible directory size";
    /// A directory has an unmapped block.
    DirectoryHole = Damage, "directory-hole", "directory with a hole";
    /// A record does not fit its chunk or its name.
    DirectoryRecord = Damage, "directory-record", "broken directory record";
    /// A name contains a slash or a NUL, or no NUL follows it.
    DirectoryName = Damage, "directory-name", "impossible name";
    /// A name stands twice in a directory.
    DuplicateName = Damage, "duplicate-name", "name stands twice";
    /// The bytes that pad a name are not zero.
    DirectoryPadding = Notice, "directory-padding", "name not padded with zeros";
    /// The rest of a directory's last fragment holds something.
    DirectoryTail = Notice, "directory-tail", "directory followed by other bytes";
    /// `.` is missing, misplaced or wrong.
    DotEntry = Damage, "dot-entry", "missing or wrong entry \".\"";
    /// `..` is missing, misplaced or wrong.
    DotDotEntry = Damage, "dot-dot-entry", "missing or wrong entry \"..\"";
    /// An entry's inode number is none of the file system.
    EntryOutOfRange = Damage, "entry-out-of-range", "entry with an impossible inode number";
    /// An entry names a free inode.
    EntryToFreeInode = Damage, "entry-to-free-inode", "entry to a free inode";
    /// An entry names an inode that no entry may name, such as an ACL.
    EntryType = Damage, "entry-type", "entry to an inode of the wrong type";
    /// A second entry for a directory.
    DirectorySecondLink = Damage, "directory-second-link", "directory with two parents";
    /// A directory that no entry names.
    OrphanDirectory = Damage, "orphan-directory", "directory in no directory";
    /// An inode that nothing names.
    OrphanInode = Damage, "orphan-inode", "inode in no directory";
    /// Directories that contain each other and do not hang on the root.
    DirectoryCycle = Damage, "directory-cycle", "directories in a cycle";
    /// `ic_nlink` is not the number of references.
    LinkCount = Damage, "link-count", "wrong link count";
}

/// Where something was found; what does not apply is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Cylinder group.
    pub group: Option<u32>,
    /// Inode.
    pub inode: Option<u32>,
    /// Path of the inode from the root, when one leads there.
    pub path: Option<Vec<u8>>,
    /// Byte offset on the device of the structure or field at fault.
    pub offset: Option<u64>,
}

impl Location {
    /// A byte of the device.
    pub(super) fn offset(offset: u64) -> Self {
        Self { offset: Some(offset), ..Self::default() }
    }

    /// A cylinder group, at a byte of the device.
    pub(super) fn group(group: u32, offset: u64) -> Self {
        Self { group: Some(group), ..Self::offset(offset) }
    }

    /// An inode.
    pub(super) fn inode(inode: u32) -> Self {
        Self { inode: Some(inode), ..Self::default() }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Where.
    pub location: Location,
    /// The values at fault.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { group, inode, path, offset } = &self.location;
        let mut places = Vec::new();
        if let Some(path) = path {
            places.push(path.escape_ascii().to_string());
        }
        if let Some(inode) = inode {
            places.push(format!("inode {inode}"));
        }
        if let Some(group) = group {
            places.push(format!("group {group}"));
        }
        if let Some(offset) = offset {
            places.push(format!("byte {offset}"));
        }
        if !places.is_empty() {
            write!(f, "{}: ", places.join(", "))?;
        }
        write!(f, "{}", self.kind)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// Findings listed in a report.
pub const FINDINGS_LISTED: usize = 1000;
/// Findings of one kind listed in a report, so that one kind in plenty does not hide the others.
pub const FINDINGS_LISTED_PER_KIND: u64 = 100;

/// Findings as they accumulate.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) listed: Vec<Finding>,
    pub(super) counts: BTreeMap<FindingKind, u64>,
}

impl Findings {
    /// Counts a finding, and lists it while there is room; the detail is only put in words when it is listed.
    pub(super) fn add(&mut self, kind: FindingKind, location: Location, detail: fmt::Arguments<'_>) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= FINDINGS_LISTED_PER_KIND && self.listed.len() < FINDINGS_LISTED {
            self.listed.push(Finding { kind, location, detail: detail.to_string() });
        }
    }
}
