//! Addresses of network interfaces.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The address of an Ethernet interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// Text that is not what it should be; whoever reads it knows what that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl FromStr for MacAddress {
    type Err = Unreadable;

    /// Six hexadecimal numbers with colons between; illumos prints them without leading zeros.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut address = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut address {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or(Unreadable)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(Unreadable);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| Unreadable)?;
        }
        if parts.next().is_some() { Err(Unreadable) } else { Ok(Self(address)) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(formatter, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

/// An address and how many of its leading bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The address, of a host or of the network.
    pub address: IpAddr,
    /// At most 32 for IPv4 and 128 for IPv6.
    pub prefix: u8,
}

impl Subnet {
    /// A single host.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: longest_prefix(address) }
    }

    /// An IPv4 address with a mask such as `255.255.255.0`, if that is one.
    pub fn with_netmask(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Self> {
        let bits = mask.to_bits();
        let prefix = bits.leading_ones();
        (prefix + bits.trailing_zeros() == 32)
            .then_some(Self { address: address.into(), prefix: prefix as u8 })
    }
}

fn longest_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Subnet {
    type Err = Unreadable;

    /// An address, a slash, and the number of the network's bits.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (address, prefix) = text.split_once('/').ok_or(Unreadable)?;
        let address = address.parse().map_err(|_| Unreadable)?;
        if prefix.is_empty() || !prefix.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Unreadable);
        }
        let prefix = prefix.parse().map_err(|_| Unreadable)?;
        if prefix > longest_prefix(address) { Err(Unreadable) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

/// How an interface gets an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// It has this one.
    Static(Subnet),
    /// From a DHCP server.
    Dhcp,
    /// By IPv6 autoconfiguration.
    Addrconf,
}

impl FromStr for Address {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        match text {
            "dhcp" => Ok(Self::Dhcp),
            "addrconf" => Ok(Self::Addrconf),
            subnet => subnet.parse().map(Self::Static),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, MacAddress, Subnet};

    #[test]
    fn mac_addresses_with_and_without_leading_zeros() {
        let address: MacAddress = "2:8:20:5B:a1:0".parse().expect("one as illumos prints it");
        assert_eq!(address.to_string(), "02:08:20:5b:a1:00");
        for bad in ["", "02:08:20:5b:a1", "02:08:20:5b:a1:00:01", "02:08:20:5b:a1:+1", "002:08:20:5b:a1:0"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets() {
        for good in ["10.0.0.5/24", "fd00::5/64", "0.0.0.0/0", "10.0.0.5/32"] {
            assert_eq!(good.parse::<Subnet>().expect("good").to_string(), good);
        }
        for bad in ["10.0.0.5", "10.0.0.5/33", "10.0.0.5/", "10.0.0.5/+8", "10.0.0/8", "fd00::5/129", "/8"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
        let address = "10.0.0.5".parse().expect("an address");
        let masked = |mask: &str| Subnet::with_netmask(address, mask.parse().expect("a mask"));
        assert_eq!(masked("255.255.254.0").map(|subnet| subnet.prefix), Some(23));
        assert_eq!(masked("0.0.0.0").map(|subnet| subnet.prefix), Some(0));
        assert_eq!(masked("255.0.255.0"), None);
        assert_eq!("dhcp".parse(), Ok(Address::Dhcp));
    }
}
