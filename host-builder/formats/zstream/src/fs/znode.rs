//! What ZFS keeps about each file, in its two forms: the old bonus buffer of a fixed layout (illumos `sys/zfs_znode.h`,
//! `znode_phys_t`) and system attributes ([`sa`]).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::acl::{self, Ace, External};
use super::sa::{self, Attribute, Layout, Numbering, SaError, Schema};
use super::tree::{Device, Time};
use crate::checksum::ByteOrder;

/// Types of a bonus buffer (illumos `sys/dmu.h`).
pub const BONUS_ZNODE: u32 = 17;
/// System attributes.
pub const BONUS_SA: u32 = 44;

/// The length of the old form without a target, in bytes.
const OLD_LENGTH: usize = 264;
/// The largest bonus buffer of a dnode of 512 bytes with one block pointer.
const MAX_BONUS: usize = 320;
/// What is left of it when the object has a spill block, whose pointer takes the rest.
const BONUS_BESIDE_SPILL: usize = 192;
/// The longest target of a symbolic link in an old bonus buffer.
const OLD_TARGET: usize = MAX_BONUS - OLD_LENGTH;

/// Flags (`sys/zfs_znode.h`): what programs for back-ups and virus scanners look at, set for what was written since.
const ARCHIVE: u64 = 0x8_0000_0000;
const AV_MODIFIED: u64 = 0x400_0000_0000;
/// The list says no more than the mode.
const ACL_TRIVIAL: u64 = 0x4;
/// The list has entries that what is made in the folder inherits (`ZFS_INHERIT_ACE`).
const INHERIT_ACE: u64 = 0x2;
/// The list has entries about objects of Windows (`ZFS_ACL_OBJ_ACE`).
const OBJECT_ACE: u64 = 0x8;
/// What is made in the folder inherits from its list, should that have entries to inherit (`ZFS_ACL_AUTO_INHERIT`).
const AUTO_INHERIT: u64 = 0x40;
/// Nobody is denied to execute it, so that looking it up in a path takes no look at the list.
const NO_EXECS_DENIED: u64 = 0x100;
/// It belongs to the extended attributes of something.
const XATTR: u64 = 0x1;

/// The upper bits of a mode.
const FORMAT: u64 = 0o170_000;
const DIRECTORY: u64 = 0o040_000;
const SYMLINK: u64 = 0o120_000;

/// What is known of a file, folder or other node, apart from its contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Znode {
    /// Type and permissions, as `stat` gives them.
    pub mode: u64,
    /// Length in bytes; of folders the number of entries and 2, of links the length of the target.
    pub size: u64,
    /// Tells it apart from others that have had its object number. Never 0: what has 0 cannot be opened.
    pub generation: u64,
    /// Object of a folder that it is in.
    pub parent: u64,
    /// Its names; of folders, 2 and the folders in it.
    pub links: u64,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// See the constants of this file.
    pub flags: u64,
    /// When it was read, written, changed and made.
    pub times: [Time; 4],
    /// Object of the folder with its extended attributes, 0 for none.
    pub extended: u64,
    /// What device it is.
    pub device: Option<Device>,
    /// Where a symbolic link leads, unless that is in the contents.
    pub target: Option<Vec<u8>>,
    /// Extended attributes in the attributes themselves, as they stand: see [`super::packed`].
    pub packed: Option<Vec<u8>>,
    /// The access control list, when it says more than the mode.
    pub acl: Option<Vec<Ace>>,
    /// The object with the list, when it is in one.
    pub external: Option<External>,
    /// Whether the object has had a spill block that is to be replaced, as receivers differ in what they do about one that is not
    /// wanted any more.
    pub spills: bool,
}

/// A znode as an object has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Type of the bonus buffer.
    pub bonus_type: u32,
    /// The bonus buffer.
    pub bonus: Vec<u8>,
    /// The spill block.
    pub spill: Option<Vec<u8>>,
    /// The contents of a symbolic link whose target does not fit anywhere else.
    pub contents: Option<Vec<u8>>,
}

impl Znode {
    /// The flags of a node with this mode and list; of one that belongs to extended attributes if `is_extended`.
    pub fn flags(mode: u64, acl: Option<&[Ace]>, is_extended: bool) -> u64 {
        let mut flags = ARCHIVE | AV_MODIFIED;
        for (holds, flag) in [
            (acl.is_none(), ACL_TRIVIAL),
            (acl.is_some_and(acl::is_inherited), INHERIT_ACE),
            (acl.is_some_and(acl::has_objects), OBJECT_ACE),
            (mode & FORMAT == DIRECTORY, AUTO_INHERIT),
            // Without the flag the list is asked.
            (acl.is_none() && mode & 0o111 == 0o111, NO_EXECS_DENIED),
            (is_extended, XATTR),
        ] {
            if holds {
                flags |= flag;
            }
        }
        flags
    }

    /// The layouts of its bonus buffer and of its spill block as system attributes.
    pub fn layouts(&self) -> (Layout, Option<Layout>) {
        let list = acl::encoded_length(&self.list());
        let length_of = |text: &Option<Vec<u8>>| text.as_ref().map_or(0, Vec::len);
        let length = |attribute| match attribute {
            Attribute::DaclAces => list,
            Attribute::Symlink => length_of(&self.target),
            Attribute::Dxattr => length_of(&self.packed),
            fixed => sa::fixed_length(fixed).into(),
        };
        let mut all = Layout::with_capacity(sa::COMMON.len() + 6);
        all.extend(sa::COMMON);
        // A number comes before what has no fixed length.
        all.extend(self.device.map(|_| Attribute::Rdev));
        all.push(Attribute::DaclCount);
        let fixed = all.len();
        let variable = [
            (true, Attribute::DaclAces),
            (self.extended != 0, Attribute::Xattr),
            (self.target.is_some(), Attribute::Symlink),
            (self.packed.is_some(), Attribute::Dxattr),
        ];
        all.extend(variable.into_iter().filter(|(is_there, _)| *is_there).map(|(_, attribute)| attribute));
        // ZFS itself spills as soon as the buffer would be full.
        if !self.spills && sa::encoded_length(&all, length) < MAX_BONUS {
            return (all, None);
        }
        // The list stays in the bonus buffer if there is room for it and something else to spill.
        let with_list = sa::encoded_length(&all[..=fixed], length) <= BONUS_BESIDE_SPILL;
        let stays = usize::from(with_list && all.len() > fixed + 1);
        let spilled = all.split_off(fixed + stays);
        (all, Some(spilled))
    }

    /// As system attributes, for version 5.
    pub fn to_attributes(&self, numbering: &Numbering) -> Encoded {
        let list = self.list();
        let encode =
            |layout: &Layout| sa::encode(layout, numbering, |attribute, to| self.value(attribute, &list, to));
        let (layout, spilled) = self.layouts();
        let mut bonus = encode(&layout);
        let spill = spilled.map(|spilled| {
            bonus.resize(BONUS_BESIDE_SPILL, 0);
            let mut block = encode(&spilled);
            block.resize(block.len().next_multiple_of(512), 0);
            block
        });
        Encoded { bonus_type: BONUS_SA, bonus, spill, contents: None }
    }

    /// Whether the old form has room for the access control list; a longer one would take an object of its own.
    pub fn fits_old(&self) -> bool {
        acl::encoded_length(&self.list()) <= acl::OLD_SPACE
    }

    /// In the old form, for version 4. The list has to [fit](Self::fits_old).
    pub fn to_old(&self) -> Encoded {
        let mut bonus = Vec::with_capacity(MAX_BONUS);
        for time in self.times {
            bonus.extend_from_slice(&time_bytes(time));
        }
        let device = self.device.map_or(0, device_number);
        for number in [
            self.generation,
            self.mode,
            self.size,
            self.parent,
            self.links,
            self.extended,
            device,
            self.flags,
            self.uid,
            self.gid,
        ] {
            bonus.extend_from_slice(&number.to_le_bytes());
        }
        // Padding of four numbers, then the list: no object of its own, its length in bytes, version 1, and how many entries.
        bonus.resize(bonus.len() + 4 * 8, 0);
        let list = self.list();
        bonus.extend_from_slice(&0u64.to_le_bytes());
        bonus.extend_from_slice(&(acl::encoded_length(&list) as u32).to_le_bytes());
        bonus.extend_from_slice(&1u16.to_le_bytes());
        bonus.extend_from_slice(&(list.len() as u16).to_le_bytes());
        bonus.extend_from_slice(&acl::encode(&list));
        bonus.resize(OLD_LENGTH, 0);
        let mut contents = None;
        if let Some(target) = &self.target {
            if target.len() <= OLD_TARGET {
                bonus.extend_from_slice(target);
            } else {
                contents = Some(target.clone());
            }
        }
        Encoded { bonus_type: BONUS_ZNODE, bonus, spill: None, contents }
    }

    /// From an old bonus buffer. A target or list that is elsewhere is not there.
    ///
    /// # Errors
    /// [`SaError::Short`] and [`SaError::List`].
    pub fn from_old(bonus: &[u8], order: ByteOrder) -> Result<Self, SaError> {
        let (fixed, target) = bonus.split_first_chunk::<OLD_LENGTH>().ok_or(SaError::Short)?;
        let words: Vec<u64> = fixed.as_chunks().0.iter().map(|bytes| order.u64(*bytes)).collect();
        let time = |at: usize| Time { seconds: words[at].cast_signed(), nanoseconds: words[at + 1] as u32 };
        let mut znode = Self {
            times: [time(0), time(2), time(4), time(6)],
            generation: words[8],
            mode: words[9],
            size: words[10],
            parent: words[11],
            links: words[12],
            extended: words[13],
            flags: words[15],
            uid: words[16],
            gid: words[17],
            ..Self::default()
        };
        znode.device = is_device(znode.mode).then(|| device_of(words[14]));
        if znode.mode & FORMAT == SYMLINK && znode.size <= OLD_TARGET as u64 {
            znode.target = Some(target.get(..znode.size as usize).ok_or(SaError::Short)?.to_vec());
        }
        let seat = fixed.last_chunk().expect("a znode ends with what it says of its list");
        znode.take(acl::decode_seat(seat, order)?);
        Ok(znode)
    }

    /// Takes the list that an old bonus buffer has or leads to.
    fn take(&mut self, seat: acl::Seat) {
        match seat {
            acl::Seat::Here(list) => self.take_list(list),
            acl::Seat::Elsewhere(external) => self.external = Some(external),
        }
    }

    /// Takes a list, if it says more than the mode.
    pub fn take_list(&mut self, list: Vec<Ace>) {
        self.external = None;
        self.acl = acl::beyond_mode(list, self.flags & ACL_TRIVIAL != 0, self.mode as u16 & 0o7777);
    }

    /// From system attributes.
    ///
    /// # Errors
    /// [`SaError`].
    pub fn from_attributes(
        schema: &Schema,
        bonus: &[u8],
        spill: Option<&[u8]>,
        order: ByteOrder,
    ) -> Result<Self, SaError> {
        let mut values = BTreeMap::new();
        for buffer in [Some(bonus), spill].into_iter().flatten() {
            schema.decode(buffer, order, &mut values)?;
        }
        let numbers = |attribute| -> Vec<u64> {
            let bytes = values.get(&attribute).map_or(&[][..], |bytes| &bytes[..]);
            bytes.as_chunks().0.iter().map(|bytes| order.u64(*bytes)).collect()
        };
        let number = |attribute| numbers(attribute).first().copied().unwrap_or(0);
        let time = |attribute| match numbers(attribute)[..] {
            [seconds, nanoseconds] => {
                Time { seconds: seconds.cast_signed(), nanoseconds: nanoseconds as u32 }
            }
            _ => Time::default(),
        };
        let mut znode = Self {
            mode: number(Attribute::Mode),
            size: number(Attribute::Size),
            generation: number(Attribute::Gen),
            parent: number(Attribute::Parent),
            links: number(Attribute::Links),
            uid: number(Attribute::Uid),
            gid: number(Attribute::Gid),
            flags: number(Attribute::Flags),
            times: [Attribute::Atime, Attribute::Mtime, Attribute::Ctime, Attribute::Crtime].map(time),
            extended: number(Attribute::Xattr),
            device: values.contains_key(&Attribute::Rdev).then(|| device_of(number(Attribute::Rdev))),
            target: values.get(&Attribute::Symlink).cloned(),
            packed: values.get(&Attribute::Dxattr).filter(|bytes| !bytes.is_empty()).cloned(),
            ..Self::default()
        };
        if let Some(list) = values.get(&Attribute::DaclAces) {
            znode.take_list(acl::decode(list, number(Attribute::DaclCount), order)?);
        } else if let Some(seat) = values.get(&Attribute::ZnodeAcl) {
            // What was an old bonus buffer once keeps its list as it was.
            znode.take(acl::decode_seat(seat.first_chunk().ok_or(SaError::Short)?, order)?);
        }
        Ok(znode)
    }

    /// The access control list.
    fn list(&self) -> Cow<'_, [Ace]> {
        match &self.acl {
            Some(list) => Cow::Borrowed(list),
            None => Cow::Owned(acl::trivial(self.mode as u16 & 0o7777)),
        }
    }

    /// Adds the value of an attribute to a buffer.
    fn value(&self, attribute: Attribute, list: &[Ace], to: &mut Vec<u8>) {
        let number = match attribute {
            Attribute::Mode => self.mode,
            Attribute::Size => self.size,
            Attribute::Gen => self.generation,
            Attribute::Uid => self.uid,
            Attribute::Gid => self.gid,
            Attribute::Parent => self.parent,
            Attribute::Flags => self.flags,
            Attribute::Links => self.links,
            Attribute::Xattr => self.extended,
            Attribute::Rdev => self.device.map_or(0, device_number),
            Attribute::DaclCount => list.len() as u64,
            Attribute::DaclAces => return to.extend(acl::encode(list)),
            Attribute::Atime => return to.extend_from_slice(&time_bytes(self.times[0])),
            Attribute::Mtime => return to.extend_from_slice(&time_bytes(self.times[1])),
            Attribute::Ctime => return to.extend_from_slice(&time_bytes(self.times[2])),
            Attribute::Crtime => return to.extend_from_slice(&time_bytes(self.times[3])),
            Attribute::Symlink => return to.extend(self.target.iter().flatten()),
            Attribute::Dxattr => return to.extend(self.packed.iter().flatten()),
            other => unreachable!("no layout that is written has {other:?}"),
        };
        to.extend_from_slice(&number.to_le_bytes());
    }
}

fn is_device(mode: u64) -> bool {
    [0o020_000, 0o060_000].contains(&(mode & FORMAT))
}

/// illumos' numbers of a device in one: 32 bits each.
fn device_number(device: Device) -> u64 {
    u64::from(device.major) << 32 | u64::from(device.minor)
}

fn device_of(number: u64) -> Device {
    Device { major: (number >> 32) as u32, minor: number as u32 }
}

fn time_bytes(time: Time) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&time.seconds.to_le_bytes());
    bytes[8..].copy_from_slice(&u64::from(time.nanoseconds).to_le_bytes());
    bytes
}
