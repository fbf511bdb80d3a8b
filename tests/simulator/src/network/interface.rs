//! IP interfaces and their addresses.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::inet::{Family, Prefix};

/// A plumbed interface of one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name, that of its link.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// Its number.
    pub index: u32,
    /// Its largest packet in bytes.
    pub mtu: u32,
    /// Its addresses. The first is there from the beginning, unset.
    pub addresses: Vec<Logical>,
}

/// An address of an interface: a logical interface such as `e1000g0:1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Logical {
    /// Its number.
    pub number: u32,
    /// The address; unset is the unspecified one.
    pub prefix: Prefix,
    /// Whether it is up.
    pub up: bool,
    /// Whether DHCP gave it.
    pub dhcp: bool,
    /// Whether it was made of a router's announcement.
    pub addrconf: bool,
    /// Whether it is preferred as a source.
    pub preferred: bool,
}

impl Logical {
    /// An unset address.
    pub fn unset(number: u32, family: Family) -> Self {
        Self {
            number,
            prefix: Prefix::new(family.unspecified(), 0),
            up: false,
            dhcp: false,
            addrconf: false,
            preferred: false,
        }
    }
}

impl Interface {
    /// A plumbed interface without an address; IPv6's has its link-local one.
    pub fn plumbed(name: &str, family: Family, index: u32, mtu: u32, mac: &str) -> Self {
        let mut first = Logical::unset(0, family);
        if let (Family::Inet6, Some(address)) = (family, super::inet::link_local(mac)) {
            first.prefix = Prefix::new(address.into(), 10);
        }
        Self { name: name.to_owned(), family, index, mtu, addresses: vec![first] }
    }

    /// lo0.
    pub fn loopback(family: Family, index: u32) -> Self {
        let (prefix, mtu) = match family {
            Family::Inet => (Prefix::new(Ipv4Addr::LOCALHOST.into(), 8), 8232),
            Family::Inet6 => (Prefix::new(Ipv6Addr::LOCALHOST.into(), 128), 8252),
        };
        let first = Logical { prefix, up: true, ..Logical::unset(0, family) };
        Self { name: "lo0".to_owned(), family, index, mtu, addresses: vec![first] }
    }

    /// The address with the number.
    pub fn logical(&mut self, number: u32) -> Option<&mut Logical> {
        self.addresses.iter_mut().find(|logical| logical.number == number)
    }

    /// The addresses that are up and set.
    pub fn up(&self) -> impl Iterator<Item = &Logical> {
        self.addresses.iter().filter(|logical| logical.up && !logical.prefix.address.is_unspecified())
    }

    /// Adds an unset address with the lowest free number, and returns the number.
    pub fn add_logical(&mut self) -> u32 {
        let taken = |number: u32| self.addresses.iter().any(|logical| logical.number == number);
        let number = (1..u32::MAX).find(|&number| !taken(number)).unwrap_or(u32::MAX);
        self.addresses.push(Logical::unset(number, self.family));
        number
    }

    fn is_loopback(&self) -> bool {
        self.name == "lo0"
    }

    /// What `ifconfig` prints of an address. usr/src/cmd/cmd-inet/usr.sbin/ifconfig/ifconfig.c, `ifstatus`, `in_status`,
    /// `in6_status`. The first line of flags: usr/src/uts/common/net/if.h.
    pub fn print(&self, logical: &Logical, router: bool, ether: Option<&str>) -> String {
        let v4 = self.family == Family::Inet;
        let flags = [
            (logical.up, 0x1, "UP"),
            (v4 && !self.is_loopback(), 0x2, "BROADCAST"),
            (self.is_loopback(), 0x8, "LOOPBACK"),
            (true, 0x40, "RUNNING"),
            (true, 0x800, "MULTICAST"),
            (logical.dhcp, 0x4000, "DHCP"),
            (logical.addrconf, 0x80000, "ADDRCONF"),
            (router && !self.is_loopback(), 0x0010_0000, "ROUTER"),
            (v4, 0x0100_0000, "IPv4"),
            (!v4, 0x0200_0000, "IPv6"),
            (logical.preferred, 0x0004_0000_0000, "PREFERRED"),
            (self.is_loopback(), 0x0020_0000_0000_u64, "VIRTUAL"),
        ];
        let bits: u64 = flags.iter().filter(|(set, ..)| *set).map(|(_, bit, _)| bit).sum();
        let names: Vec<&str> = flags.iter().filter(|(set, ..)| *set).map(|&(.., name)| name).collect();
        let number = if logical.number == 0 { String::new() } else { format!(":{}", logical.number) };
        let mut text = format!(
            "{}{number}: flags={bits:x}<{}> mtu {} index {}\n",
            self.name,
            names.join(","),
            self.mtu,
            self.index
        );
        // Writing to a string cannot fail.
        let _ = match logical.prefix.address {
            IpAddr::V4(address) => {
                let mask = u32::from(logical.prefix.mask_v4());
                let broadcast =
                    logical.prefix.broadcast().filter(|_| !address.is_unspecified() && !self.is_loopback());
                let broadcast = broadcast.map(|address| format!("broadcast {address}")).unwrap_or_default();
                writeln!(text, "\tinet {address} netmask {mask:x} {broadcast}")
            }
            IpAddr::V6(address) => writeln!(text, "\tinet6 {address}/{} ", logical.prefix.length),
        };
        if let Some(ether) = ether.filter(|_| logical.number == 0) {
            let _ = writeln!(text, "\tether {ether} ");
        }
        text
    }
}
