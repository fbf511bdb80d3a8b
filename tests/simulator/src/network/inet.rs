//! Addresses, prefixes and link addresses as illumos' commands read and print them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }

    /// The address that stands for none.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Inet => Ipv4Addr::UNSPECIFIED.into(),
            Self::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// The number of bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Self::Inet => 32,
            Self::Inet6 => 128,
        }
    }
}

/// An address with the length of its network's prefix; also a network, when the bits after the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// The prefix' length in bits.
    pub length: u8,
}

impl Prefix {
    /// The address with the prefix length, which must fit the family.
    pub fn new(address: IpAddr, length: u8) -> Self {
        debug_assert!(length <= Family::of(address).bits());
        Self { address, length }
    }

    /// Reads `ADDRESS/LENGTH`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        (length <= Family::of(address).bits()).then_some(Self { address, length })
    }

    /// The network: the address with the bits after the prefix cleared.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & u32::from(self.mask_v4())).into(),
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & mask).into()
            }
        };
        Self { address, length: self.length }
    }

    /// Whether the address lies in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == Family::of(self.address)
            && Self { address, length: self.length }.network().address == self.network().address
    }

    /// The IPv4 mask of the length; of an IPv6 prefix longer than 32 bits, all ones.
    pub fn mask_v4(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.length.min(32))).unwrap_or(0))
    }

    /// The IPv4 network's broadcast address.
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) => Some(Ipv4Addr::from(u32::from(address) | !u32::from(self.mask_v4()))),
            IpAddr::V6(_) => None,
        }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The length of a mask whose ones all come first.
pub fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let length = bits.leading_ones();
    (bits.checked_shl(length).unwrap_or(0) == 0).then_some(length as u8)
}

/// A link address of six octets of one or two hexadecimal digits each, as `dladm` prints it: without leading zeros.
/// usr/src/lib/libdladm/common/libdlaggr.c, `dladm_aggr_macaddr2str` and usr/src/lib/libsocket/socket/ether_addr.c,
/// `_link_ntoa`.
pub fn mac(text: &str) -> Option<String> {
    let octets: Vec<u8> = text
        .split(':')
        .map(|octet| {
            let shape = matches!(octet.len(), 1 | 2) && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
            shape.then(|| u8::from_str_radix(octet, 16).ok()).flatten()
        })
        .collect::<Option<_>>()?;
    (octets.len() == 6).then(|| octets.iter().map(|octet| format!("{octet:x}")).collect::<Vec<_>>().join(":"))
}

/// The link-local address that an interface makes of its link address (modified EUI-64, RFC 4291 appendix A).
pub fn link_local(mac: &str) -> Option<Ipv6Addr> {
    interface_address(Prefix::parse("fe80::/64")?, mac)
}

/// The address that an interface makes of an announced prefix of 64 bits and its link address.
pub fn interface_address(prefix: Prefix, mac: &str) -> Option<Ipv6Addr> {
    let octets: Vec<u8> =
        mac.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect::<Option<_>>()?;
    let octets: [u8; 6] = octets.try_into().ok()?;
    let mut low = [0, 0, 0, 0xff, 0xfe, 0, 0, 0];
    low[..3].copy_from_slice(&octets[..3]);
    low[5..].copy_from_slice(&octets[3..]);
    low[0] ^= 2;
    let low = u64::from_be_bytes(low);
    match prefix.network().address {
        IpAddr::V6(network) => Some(Ipv6Addr::from(u128::from(network) | u128::from(low))),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_know_their_network() {
        let prefix = Prefix::parse("172.16.9.5/24").unwrap();
        assert_eq!(prefix.network().to_string(), "172.16.9.0/24");
        assert_eq!(prefix.broadcast(), Some(Ipv4Addr::new(172, 16, 9, 255)));
        assert!(prefix.contains("172.16.9.254".parse().unwrap()));
        assert!(!prefix.contains("172.16.10.1".parse().unwrap()));
        assert!(!prefix.contains("::ac10:905".parse().unwrap()));
        assert!(Prefix::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(Prefix::parse("::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        assert_eq!(Prefix::parse("10.0.0.0/33"), None);
    }

    #[test]
    fn masks_must_be_contiguous() {
        assert_eq!(mask_length(Ipv4Addr::new(255, 255, 252, 0)), Some(22));
        assert_eq!(mask_length(Ipv4Addr::UNSPECIFIED), Some(0));
        assert_eq!(mask_length(Ipv4Addr::BROADCAST), Some(32));
        assert_eq!(mask_length(Ipv4Addr::new(255, 0, 255, 0)), None);
    }

    #[test]
    fn link_addresses_lose_leading_zeros() {
        assert_eq!(mac("52:54:00:0a:B3:01").as_deref(), Some("52:54:0:a:b3:1"));
        assert_eq!(mac("2:8:20:0:0:1").as_deref(), Some("2:8:20:0:0:1"));
        for wrong in
            ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:000:12:34:56", "52:54::12:34:56", "x"]
        {
            assert_eq!(mac(wrong), None, "{wrong}");
        }
        assert_eq!(link_local("52:54:0:12:34:56").unwrap().to_string(), "fe80::5054:ff:fe12:3456");
    }
}
