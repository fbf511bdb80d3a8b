//! Access control lists that say no more than a mode does (illumos `common/acl/acl_common.c`, `acl_trivial_create`).
//!
//! illumos enforces the list and not the mode, so each file has one that agrees with its mode.

/// Whether an entry allows or denies.
const ALLOW: u16 = 0;
const DENY: u16 = 1;
/// Whom an entry is about.
const OWNER: u16 = 0x1000;
const GROUP: u16 = 0x2040;
const EVERYONE: u16 = 0x4000;
/// What the three permissions of a mode allow.
const READ: u32 = 0x1;
const WRITE: u32 = 0x6;
const EXECUTE: u32 = 0x20;
/// What the owner may do whatever the mode is: read and write attributes and the list, and the like.
const OWNER_BASE: u32 = 0x1e_0198;
/// And everybody else.
const OTHERS_BASE: u32 = 0x12_0088;

/// An entry of a list (`zfs_ace_hdr_t`), 8 bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Allow or deny.
    pub kind: u16,
    /// Whom it is about.
    pub flags: u16,
    /// What.
    pub mask: u32,
}

impl Entry {
    /// Its bytes, little-endian.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.flags.to_le_bytes());
        bytes[4..].copy_from_slice(&self.mask.to_le_bytes());
        bytes
    }
}

/// The list for a mode, 3 to 6 entries.
pub fn trivial(permissions: u16) -> Vec<Entry> {
    let mask = |bits: u16| {
        [(4, READ), (2, WRITE), (1, EXECUTE)]
            .into_iter()
            .filter(|(bit, _)| bits & bit != 0)
            .map(|(_, mask)| mask)
            .sum::<u32>()
    };
    let (owner, group, other) = (permissions >> 6 & 7, permissions >> 3 & 7, permissions & 7);
    let entry = |kind, flags, mask| Entry { kind, flags, mask };
    let mut list = Vec::with_capacity(6);
    // The first entry that names a permission decides, and the owner is one of everyone.
    let owner_again = owner & other & !group;
    let owner_not = (group | other) & !owner;
    let group_not = other & !group;
    if owner_again != 0 {
        list.push(entry(ALLOW, OWNER, mask(owner_again)));
    }
    if owner_not != 0 {
        list.push(entry(DENY, OWNER, mask(owner_not)));
    }
    if group_not != 0 {
        list.push(entry(DENY, GROUP, mask(group_not)));
    }
    list.push(entry(ALLOW, OWNER, OWNER_BASE | mask(owner)));
    list.push(entry(ALLOW, GROUP, OTHERS_BASE | mask(group)));
    list.push(entry(ALLOW, EVERYONE, OTHERS_BASE | mask(other)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_modes_have_three_entries() {
        let list = trivial(0o755);
        assert_eq!(
            list.iter().map(|entry| entry.mask).collect::<Vec<_>>(),
            [0x1e_01bf, 0x12_00a9, 0x12_00a9]
        );
        let bytes: Vec<u8> = list.iter().flat_map(|entry| entry.to_bytes()).collect();
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
}
