//! Access control lists (illumos `sys/zfs_acl.h`, `uts/common/fs/zfs/zfs_acl.c`, `common/acl/acl_common.c`).
//!
//! illumos enforces the list and not the mode, so each file has one that agrees with its mode: a trivial one, unless somebody gave it
//! another.

use crate::checksum::ByteOrder;

/// Whether an entry allows or denies.
const ALLOW: u16 = 0;
const DENY: u16 = 1;
/// Entries about a kind of attribute of an object, of Windows: four kinds (`ACE_ACCESS_ALLOWED_OBJECT_ACE_TYPE` and the three after it).
const OBJECT_KINDS: std::ops::RangeInclusive<u16> = 5..=8;
/// Whom an entry is about.
const OWNER: u16 = 0x1000;
const GROUP: u16 = 0x2040;
const EVERYONE: u16 = 0x4000;
/// The flags that say whom it is about.
const WHO: u16 = 0x7040;
/// The flags that say what is made in a folder gets the entry as well.
const INHERIT: u16 = 0xf;
/// What the three permissions of a mode allow.
const READ: u32 = 0x1;
const WRITE: u32 = 0x6;
const EXECUTE: u32 = 0x20;
/// Removing what is in a folder (`ACE_DELETE_CHILD`). Newer systems allow it together with writing.
const DELETE_CHILD: u32 = 0x40;
/// What the owner may do whatever the mode is: read and write attributes and the list, and the like.
const OWNER_BASE: u32 = 0x1e_0198;
/// And everybody else.
const OTHERS_BASE: u32 = 0x12_0088;

/// The most entries of a list (`MAX_ACL_ENTRIES`).
pub const MAX_ENTRIES: usize = 1024;
/// The bytes of a list that an old bonus buffer has room for (`ZFS_ACE_SPACE`).
pub const OLD_SPACE: usize = 72;
/// The length of what an old bonus buffer says of a list (`zfs_acl_phys_t`).
pub const OLD_LENGTH: usize = 16 + OLD_SPACE;

/// An entry of a list (`zfs_ace_hdr_t`, `zfs_ace_t`, `zfs_object_ace_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ace {
    /// 0 allows, 1 denies; others ask for an audit or an alarm, or are about attributes of objects of Windows.
    pub kind: u16,
    /// Whom it is about (0x1000 the owner, 0x2040 the group, 0x4000 everyone, 0x40 some group, none of them some user), and
    /// what inherits it.
    pub flags: u16,
    /// What is allowed or denied (`ACE_*` of illumos `sys/acl.h`).
    pub mask: u32,
    /// The number of the user or group, of entries about one of them.
    pub who: Option<u64>,
    /// The two identifiers of entries about attributes of objects.
    pub object: Option<[u8; 32]>,
}

/// Why bytes are no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// An entry is longer than what is left, or there are fewer of them than there should be.
    #[error("its access control list is not all there")]
    Short,
    /// More entries than any system takes.
    #[error("its access control list has more than {MAX_ENTRIES} entries")]
    Long,
    /// There is something behind the last entry.
    #[error("its access control list is longer than its entries")]
    Rest,
    /// An entry is about a user or group by a name of another system: what stands in place of a number.
    #[error(
        "its access control list names {} of another system, and no number: kiln cannot translate such names",
        Foreign(*.0)
    )]
    Foreign(u64),
}

/// A FUID, which has the number of a domain (a Windows domain, for instance) in its upper half and that of somebody in it in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign(pub u64);

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "somebody (number {} of domain {})", self.0 as u32, self.0 >> 32)
    }
}

impl Ace {
    /// An entry that takes the shortest form.
    const fn special(kind: u16, flags: u16, mask: u32) -> Self {
        Self { kind, flags, mask, who: None, object: None }
    }

    /// Whether it is about the owner, the group, or everyone.
    fn is_special(flags: u16) -> bool {
        [OWNER, GROUP, EVERYONE].contains(&(flags & WHO))
    }

    /// The bytes of an entry that has this kind and these flags.
    fn length(kind: u16, flags: u16) -> usize {
        match kind {
            _ if OBJECT_KINDS.contains(&kind) => 48,
            ALLOW | DENY if Self::is_special(flags) => 8,
            _ => 16,
        }
    }

    /// Whether it has exactly what its kind and flags ask for.
    fn is_sound(&self) -> bool {
        let length = Self::length(self.kind, self.flags);
        self.who.is_some() == (length >= 16) && self.object.is_some() == (length == 48)
    }

    fn append(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        bytes.extend_from_slice(&self.mask.to_le_bytes());
        bytes.extend_from_slice(self.who.map(u64::to_le_bytes).as_ref().map_or(&[][..], |who| who));
        bytes.extend_from_slice(self.object.as_ref().map_or(&[][..], |object| object));
    }
}

/// The bytes of a list, little-endian.
pub fn encode(list: &[Ace]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(list.len() * 8);
    for entry in list {
        entry.append(&mut bytes);
    }
    bytes
}

/// The length of a list in bytes.
pub fn encoded_length(list: &[Ace]) -> usize {
    list.iter().map(|entry| Ace::length(entry.kind, entry.flags)).sum()
}

/// Whether a list can be written at all.
pub fn is_sound(list: &[Ace]) -> bool {
    list.len() <= MAX_ENTRIES && list.iter().all(Ace::is_sound)
}

/// The list in these bytes, of as many entries as there have to be.
///
/// # Errors
/// [`AclError`].
pub fn decode(bytes: &[u8], count: u64, order: ByteOrder) -> Result<Vec<Ace>, AclError> {
    if count > MAX_ENTRIES as u64 {
        return Err(AclError::Long);
    }
    let mut rest = bytes;
    let mut list = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (&[a, b, c, d, mask @ ..], _) = rest.split_first_chunk::<8>().ok_or(AclError::Short)?;
        let (kind, flags) = (order.u16([a, b]), order.u16([c, d]));
        let (entry, behind) = rest.split_at_checked(Ace::length(kind, flags)).ok_or(AclError::Short)?;
        let who = entry[8..].first_chunk().map(|who| order.u64(*who));
        let object = entry.get(16..).and_then(|object| object.first_chunk()).copied();
        list.push(checked(Ace { kind, flags, mask: order.u32(mask), who, object })?);
        rest = behind;
    }
    if rest.is_empty() { Ok(list) } else { Err(AclError::Rest) }
}

/// How many entries stand in these bytes, whole ones that begin at the beginning.
pub fn count(mut bytes: &[u8], order: ByteOrder) -> usize {
    let mut count = 0;
    while let Some((&[a, b, c, d, ..], _)) = bytes.split_first_chunk::<8>() {
        let length = Ace::length(order.u16([a, b]), order.u16([c, d]));
        let Some(rest) = bytes.get(length..) else { break };
        bytes = rest;
        count += 1;
    }
    count
}

/// The list in these bytes as file systems before version 3 have it: entries of 12 bytes (`zfs_oldace_t`).
fn decode_oldest(bytes: &[u8], count: usize, order: ByteOrder) -> Result<Vec<Ace>, AclError> {
    let (entries, _) = bytes.as_chunks::<12>();
    let entries = entries.get(..count).ok_or(AclError::Short)?;
    let entries = entries.iter().map(|&[w, h, o, m, m2, m3, m4, m5, f, f2, k, k2]| {
        let (kind, flags) = (order.u16([k, k2]), order.u16([f, f2]));
        let who = Ace::length(kind, flags) > 8;
        let who = who.then(|| order.u32([w, h, o, m]).into());
        checked(Ace { kind, flags, mask: order.u32([m2, m3, m4, m5]), who, object: None })
    });
    entries.collect()
}

fn checked(entry: Ace) -> Result<Ace, AclError> {
    match entry.who {
        Some(who) if !Ace::is_special(entry.flags) && who > u32::MAX.into() => Err(AclError::Foreign(who)),
        _ => Ok(entry),
    }
}

/// Where an old bonus buffer has its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seat {
    /// In itself.
    Here(Vec<Ace>),
    /// In an object of its own.
    Elsewhere(External),
}

/// A list in an object of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External {
    /// The object.
    pub object: u64,
    length: u32,
    count: u16,
    is_oldest: bool,
}

impl External {
    /// The list, when these are the contents of the object.
    ///
    /// # Errors
    /// [`AclError`].
    pub fn decode(&self, contents: &[u8], order: ByteOrder) -> Result<Vec<Ace>, AclError> {
        if usize::from(self.count) > MAX_ENTRIES {
            return Err(AclError::Long);
        }
        if self.is_oldest {
            return decode_oldest(contents, self.count.into(), order);
        }
        let list = contents.get(..self.length as usize).ok_or(AclError::Short)?;
        decode(list, self.count.into(), order)
    }
}

/// The list that the last part of an old bonus buffer has or leads to (`zfs_acl_phys_t`, and `zfs_acl_phys_v0_t` before version 3).
///
/// # Errors
/// [`AclError`].
pub fn decode_seat(bytes: &[u8; OLD_LENGTH], order: ByteOrder) -> Result<Seat, AclError> {
    let (&[head @ .., s1, s2, s3, s4, v1, v2, c1, c2], list) =
        bytes.split_first_chunk::<16>().expect("it is longer");
    let (object, length) = (order.u64(head), order.u32([s1, s2, s3, s4]));
    let is_oldest = order.u16([v1, v2]) == 0;
    // Of the oldest form the length stands for the number of entries.
    let count =
        if is_oldest { u16::try_from(length).map_err(|_| AclError::Long)? } else { order.u16([c1, c2]) };
    let external = External { object, length, count, is_oldest };
    if object != 0 {
        return Ok(Seat::Elsewhere(external));
    }
    external.decode(list, order).map(Seat::Here)
}

/// The list for a mode, 3 to 6 entries.
pub fn trivial(permissions: u16) -> Vec<Ace> {
    let mask = |bits: u16| {
        [(4, READ), (2, WRITE), (1, EXECUTE)]
            .into_iter()
            .filter(|(bit, _)| bits & bit != 0)
            .map(|(_, mask)| mask)
            .sum::<u32>()
    };
    let (owner, group, other) = (permissions >> 6 & 7, permissions >> 3 & 7, permissions & 7);
    let mut list = Vec::with_capacity(6);
    // The first entry that names a permission decides, and the owner is one of everyone.
    let owner_again = owner & other & !group;
    let owner_not = (group | other) & !owner;
    let group_not = other & !group;
    if owner_again != 0 {
        list.push(Ace::special(ALLOW, OWNER, mask(owner_again)));
    }
    if owner_not != 0 {
        list.push(Ace::special(DENY, OWNER, mask(owner_not)));
    }
    if group_not != 0 {
        list.push(Ace::special(DENY, GROUP, mask(group_not)));
    }
    list.push(Ace::special(ALLOW, OWNER, OWNER_BASE | mask(owner)));
    list.push(Ace::special(ALLOW, GROUP, OTHERS_BASE | mask(group)));
    list.push(Ace::special(ALLOW, EVERYONE, OTHERS_BASE | mask(other)));
    list
}

/// The list, unless it says no more than the mode. The file system says of most which ones do (`is_marked`), in whatever form its
/// version gives them.
pub fn beyond_mode(list: Vec<Ace>, is_marked: bool, permissions: u16) -> Option<Vec<Ace>> {
    let about_the_three = list.iter().all(|entry| {
        [ALLOW, DENY].contains(&entry.kind) && Ace::is_special(entry.flags) && entry.flags & INHERIT == 0
    });
    let same = || {
        let without_new = list.iter().map(|entry| Ace { mask: entry.mask & !DELETE_CHILD, ..*entry });
        without_new.eq(trivial(permissions))
    };
    let is_trivial = list.is_empty() || about_the_three && (is_marked || same());
    (!is_trivial).then_some(list)
}

/// Whether something that is made in a folder inherits an entry of its list.
pub fn is_inherited(list: &[Ace]) -> bool {
    list.iter().any(|entry| entry.flags & 3 != 0)
}

/// Whether an entry is about attributes of objects of Windows.
pub fn has_objects(list: &[Ace]) -> bool {
    list.iter().any(|entry| entry.object.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: ByteOrder = ByteOrder::Little;
    /// Number 1001 of domain 3.
    const FOREIGN: u64 = (3 << 32) + 1001;

    #[test]
    fn usual_modes_have_three_entries() {
        let list = trivial(0o755);
        assert_eq!(
            list.iter().map(|entry| entry.mask).collect::<Vec<_>>(),
            [0x1e_01bf, 0x12_00a9, 0x12_00a9]
        );
        let bytes = encode(&list);
        assert_eq!(bytes[..8], [0, 0, 0, 0x10, 0xbf, 0x01, 0x1e, 0]);
        assert_eq!(bytes[8..16], [0, 0, 0x40, 0x20, 0xa9, 0, 0x12, 0]);
        assert_eq!(trivial(0o644)[0].mask, 0x1e_019f);
        assert_eq!(trivial(0o644)[2].mask, 0x12_0089);
        assert_eq!(trivial(0o777)[1].mask, 0x12_00af);
    }

    /// What an owner, a member of the group, and anybody else may do by the list is what the mode says, for each mode there is.
    #[test]
    fn a_list_means_what_the_mode_says() {
        for mode in 0..0o1000 {
            let list = trivial(mode);
            assert!(list.len() <= 6);
            let in_group = &[OWNER, GROUP, EVERYONE][..];
            for (who, shift) in
                [(in_group, 6), (&[OWNER, EVERYONE], 6), (&[GROUP, EVERYONE], 3), (&[EVERYONE], 0)]
            {
                for (bit, mask) in [(4, READ), (2, WRITE), (1, EXECUTE)] {
                    let decides =
                        list.iter().find(|entry| who.contains(&entry.flags) && entry.mask & mask != 0);
                    let allowed = decides.is_some_and(|entry| entry.kind == ALLOW);
                    assert_eq!(allowed, mode >> shift & bit != 0, "{mode:o} {who:x?} {bit}");
                }
            }
        }
    }

    /// One entry of each length: the owner, user 7, an object of Windows.
    fn varied() -> Vec<Ace> {
        let user = Ace { kind: DENY, flags: 0, mask: READ, who: Some(7), object: None };
        let object = Ace { kind: 6, flags: 0x3, mask: WRITE, who: Some(8), object: Some([9; 32]) };
        vec![Ace::special(ALLOW, OWNER, OWNER_BASE), user, object]
    }

    #[test]
    fn lists_are_read_as_they_were_written() {
        for list in [trivial(0o421), varied()] {
            let bytes = encode(&list);
            assert!(is_sound(&list) && encoded_length(&list) == bytes.len());
            let count = list.len() as u64;
            assert_eq!(decode(&bytes, count, LITTLE), Ok(list));
            assert_eq!(super::count(&bytes, LITTLE) as u64, count);
            assert_eq!(decode(&bytes, count + 1, LITTLE), Err(AclError::Short));
            assert_eq!(decode(&bytes, count - 1, LITTLE), Err(AclError::Rest));
            assert_eq!(decode(&bytes[..bytes.len() - 1], count, LITTLE), Err(AclError::Short));
        }
        assert_eq!(decode(&[], 1025, LITTLE), Err(AclError::Long));
        let mut foreign = varied();
        foreign[1].who = Some(FOREIGN);
        assert_eq!(decode(&encode(&foreign), 3, LITTLE), Err(AclError::Foreign(FOREIGN)));
        let said = AclError::Foreign(FOREIGN).to_string();
        assert!(said.contains("number 1001 of domain 3"), "{said}");
        assert!(!is_sound(&[Ace { who: None, ..varied()[1] }]));
        assert!(!is_sound(&[Ace { who: Some(1), ..varied()[0] }]));
    }

    #[test]
    fn lists_of_big_endian_machines_are_read() {
        let list = varied();
        let mut bytes = Vec::new();
        for entry in &list {
            bytes.extend(entry.kind.to_be_bytes());
            bytes.extend(entry.flags.to_be_bytes());
            bytes.extend(entry.mask.to_be_bytes());
            bytes.extend(entry.who.map(u64::to_be_bytes).into_iter().flatten());
            bytes.extend(entry.object.into_iter().flatten());
        }
        assert_eq!(decode(&bytes, 3, ByteOrder::Big), Ok(list));
    }

    #[test]
    fn old_bonus_buffers_have_lists_in_three_forms() {
        let seat = |object: u64, length: u32, version: u16, count: u16, list: &[u8]| {
            let mut bytes = [0; OLD_LENGTH];
            bytes[..8].copy_from_slice(&object.to_le_bytes());
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            bytes[12..14].copy_from_slice(&version.to_le_bytes());
            bytes[14..16].copy_from_slice(&count.to_le_bytes());
            bytes[16..][..list.len()].copy_from_slice(list);
            decode_seat(&bytes, LITTLE)
        };
        assert_eq!(seat(0, 72, 1, 3, &encode(&varied())), Ok(Seat::Here(varied())));
        assert_eq!(seat(0, 73, 1, 3, &encode(&varied())), Err(AclError::Short));
        // Number, mask, flags, kind: user 7 is denied to read.
        let oldest = [7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(seat(0, 1, 0, 0, &oldest), Ok(Seat::Here(varied()[1..2].to_vec())));
        assert_eq!(seat(0, 7, 0, 0, &oldest), Err(AclError::Short));
        let Ok(Seat::Elsewhere(external)) = seat(77, 72, 1, 3, &[]) else { panic!("it is elsewhere") };
        assert_eq!(external.object, 77);
        let mut contents = encode(&varied());
        assert_eq!(external.decode(&contents[..71], LITTLE), Err(AclError::Short));
        contents.resize(512, 0);
        assert_eq!(external.decode(&contents, LITTLE), Ok(varied()));
    }

    #[test]
    fn what_says_no_more_than_the_mode_is_no_list() {
        assert_eq!(beyond_mode(Vec::new(), false, 0o644), None);
        assert_eq!(beyond_mode(trivial(0o644), false, 0o644), None);
        let newer: Vec<Ace> =
            trivial(0o775).into_iter().map(|ace| Ace { mask: ace.mask | DELETE_CHILD, ..ace }).collect();
        assert_eq!(beyond_mode(newer, false, 0o775), None);
        // Another list about the three is trivial if the file system says so, one about somebody never.
        assert_eq!(beyond_mode(trivial(0o640), true, 0o644), None);
        assert_eq!(beyond_mode(trivial(0o640), false, 0o644), Some(trivial(0o640)));
        assert_eq!(beyond_mode(varied(), true, 0o644), Some(varied()));
        let inherited = vec![Ace::special(ALLOW, OWNER | 3, OWNER_BASE)];
        assert!(is_inherited(&inherited));
        assert_eq!(beyond_mode(inherited.clone(), true, 0), Some(inherited));
    }
}
