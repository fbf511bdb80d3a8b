//! Datalinks: usr/src/cmd/dladm and usr/src/lib/libdladm.

use serde::{Deserialize, Serialize};

use super::inet;
use crate::Nic;

/// A datalink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// What it is.
    pub class: Class,
    /// Its address, without leading zeros.
    pub mac: String,
    /// Its largest packet in bytes.
    pub mtu: u32,
    /// Whether the network is there.
    pub carrier: bool,
}

/// What a link is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// A device.
    Physical,
    /// A switch within the machine.
    Etherstub,
    /// A virtual device over another link.
    Vnic {
        /// The link that it is over.
        over: String,
        /// Whether its address was given, not made up.
        fixed: bool,
        /// Its VLAN, 0 for none.
        vlan: u16,
    },
}

impl Link {
    /// The link of a device.
    pub fn physical(nic: &Nic) -> Self {
        Self {
            name: nic.link.clone(),
            class: Class::Physical,
            mac: inet::mac(&nic.mac).unwrap_or_else(|| nic.mac.clone()),
            mtu: 1500,
            carrier: nic.up,
        }
    }

    /// The link that a virtual one is over.
    pub fn over(&self) -> Option<&str> {
        match &self.class {
            Class::Vnic { over, .. } => Some(over),
            _ => None,
        }
    }

    /// The class as `dladm show-link` names it.
    pub fn class_name(&self) -> &'static str {
        match self.class {
            Class::Physical => "phys",
            Class::Etherstub => "etherstub",
            Class::Vnic { .. } => "vnic",
        }
    }
}

/// The longest name of a link: MAXLINKNAMELEN without the terminating zero.
pub const LONGEST_NAME: usize = 31;

/// Whether a link may have the name: letters, digits and `_`, no digit first, a digit last.
/// usr/src/lib/libdladm/common/libdladm.c, `dladm_valid_linkname`.
pub fn valid_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.ends_with(|last: char| last.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The address that a virtual device gets when none is given: 2:8:20 and three octets. The platform takes random ones; these
/// are made of a number, so that two runs are alike.
pub fn made_up_mac(number: u32) -> String {
    let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    format!("2:8:20:{a:x}:{b:x}:{c:x}")
}
