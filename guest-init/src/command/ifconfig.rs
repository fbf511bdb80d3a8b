//! `ifconfig`: addresses of links. The platform's own scripts use it on every age of platform, and what it makes is left
//! alone by `ipadm`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use guest_mdata::values::Subnet;

use super::Invocation;

const PROGRAM: &str = "/usr/sbin/ifconfig";

/// How long a DHCP server is waited for. `ifconfig` itself gives up after 30 seconds and leaves the agent trying.
const DHCP_LIMIT: Duration = Duration::from_secs(45);

/// One address of a link, or the place for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The name of the link.
    pub link: String,
    /// Which of the link's addresses it is; 0 is the one that was there first.
    pub unit: u32,
    /// Whether it is one for IPv6.
    pub is_ipv6: bool,
    /// What is between the angle brackets, such as `UP` and `DHCP`.
    pub flags: Vec<String>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// The address, unless there is none yet.
    pub address: Option<Subnet>,
}

impl Interface {
    /// What [`plumb_with`] makes, as far as it is known without asking.
    pub fn up_with(link: &str, address: Subnet) -> Self {
        Self {
            link: link.to_owned(),
            unit: 0,
            is_ipv6: address.address.is_ipv6(),
            flags: vec!["UP".to_owned()],
            mtu: 1500,
            address: Some(address),
        }
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }
}

/// Lists all addresses of all links: [`interfaces`] reads what it writes.
pub fn show_all() -> Invocation {
    Invocation::reads(PROGRAM, ["-a"])
}

/// Gives a link its IPv4 part, without an address.
pub fn plumb(link: &str) -> Invocation {
    Invocation::changes(PROGRAM, [link, "plumb"])
}

/// Takes the IPv4 part of a link away.
pub fn unplumb(link: &str) -> Invocation {
    Invocation::changes(PROGRAM, [link, "unplumb"])
}

/// Gives a link its IPv4 part with an address.
pub fn plumb_with(link: &str, address: Subnet) -> Invocation {
    Invocation::changes(PROGRAM, [link, "plumb", &address.to_string(), "up"])
}

/// Gives a link its IPv6 part: the link-local address, and whatever routers announce; with packets of at most `mtu` bytes.
pub fn plumb_ipv6(link: &str, mtu: Option<u16>) -> Invocation {
    let mtu = mtu.map(|mtu| mtu.to_string());
    let mut arguments = vec![link, "inet6", "plumb"];
    arguments.extend(mtu.iter().flat_map(|mtu| ["mtu", mtu.as_str()]));
    arguments.push("up");
    Invocation::changes(PROGRAM, arguments)
}

/// Sets the first IPv4 address of a link.
pub fn set(link: &str, address: Ipv4Addr, prefix: u8, mtu: Option<u16>) -> Invocation {
    let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
    let mut arguments =
        vec![link.to_owned(), "inet".to_owned(), address.to_string(), "netmask".to_owned(), mask.to_string()];
    if let Some(mtu) = mtu {
        arguments.extend(["mtu".to_owned(), mtu.to_string()]);
    }
    arguments.push("up".to_owned());
    Invocation::changes(PROGRAM, arguments)
}

/// Adds an address to a link that has its part for that family.
pub fn add(link: &str, address: Subnet) -> Invocation {
    let family = if address.address.is_ipv4() { "inet" } else { "inet6" };
    Invocation::changes(PROGRAM, [link, family, "addif", &address.to_string(), "up"])
}

/// Sets the size of a link's largest packet for IPv4.
pub fn set_mtu(link: &str, mtu: u16) -> Invocation {
    Invocation::changes(PROGRAM, [link, "mtu", &mtu.to_string()])
}

/// The same for IPv6, which has one of its own.
pub fn set_mtu_ipv6(link: &str, mtu: u16) -> Invocation {
    Invocation::changes(PROGRAM, [link, "inet6", "mtu", &mtu.to_string()])
}

/// Asks a DHCP server for the first IPv4 address of a link.
pub fn dhcp(link: &str) -> Invocation {
    Invocation::changes(PROGRAM, [link, "dhcp"]).within(DHCP_LIMIT)
}

/// The addresses in the output of [`show_all`]. What does not make sense is left out.
pub fn interfaces(text: &str) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(interface) = interfaces.last_mut() {
                read_detail(line, interface);
            }
        } else {
            interfaces.extend(header(line));
        }
    }
    interfaces
}

/// `e1000g0:1: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2`
fn header(line: &str) -> Option<Interface> {
    let (name, rest) = line.split_once(": flags=")?;
    let (link, unit) = match name.split_once(':') {
        Some((link, unit)) => (link, unit.parse().ok()?),
        None => (name, 0),
    };
    let (flags, rest) = rest.split_once('<')?.1.split_once('>')?;
    let flags: Vec<String> = flags.split(',').map(str::to_owned).collect();
    let mut words = rest.split_ascii_whitespace();
    let mtu = words.find(|word| *word == "mtu").and_then(|_| words.next())?.parse().ok()?;
    let is_ipv6 = flags.iter().any(|flag| flag == "IPv6");
    Some(Interface { link: link.to_owned(), unit, is_ipv6, flags, mtu, address: None })
}

/// `inet 10.0.0.5 netmask ffffff00 broadcast 10.0.0.255`, with ` --> ADDRESS` after the address of a tunnel, or
/// `inet6 fe80::1/10`.
fn read_detail(line: &str, interface: &mut Interface) {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = match &words[..] {
        ["inet", address, rest @ ..] => {
            let mask = rest.iter().position(|word| *word == "netmask").and_then(|place| rest.get(place + 1));
            address.parse::<Ipv4Addr>().ok().zip(mask).and_then(|(address, mask)| {
                let mask = u32::from_str_radix(mask, 16).ok()?;
                Subnet::with_netmask(address, Ipv4Addr::from_bits(mask))
            })
        }
        ["inet6", address, ..] => address.parse().ok(),
        _ => return,
    };
    let is_none = |address: IpAddr| address == Ipv4Addr::UNSPECIFIED || address == Ipv6Addr::UNSPECIFIED;
    interface.address = address.filter(|subnet| !is_none(subnet.address));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest with a static and a DHCP link, an additional address, IPv6, and a link that has only been plumbed.
    const TEXT: &str = "\
lo0: flags=2001000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1
\tinet 127.0.0.1 netmask ff000000 \n\
e1000g0: flags=1000943<UP,BROADCAST,RUNNING,PROMISC,MULTICAST,IPv4> mtu 1500 index 2
\tinet 10.0.0.5 netmask ffffff00 broadcast 10.0.0.255
\tether 52:54:0:a1:2:3 \n\
e1000g0:1: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2
\tinet 10.0.0.6 netmask ffffff00 broadcast 10.0.0.255
e1000g1: flags=1004943<UP,BROADCAST,RUNNING,PROMISC,MULTICAST,DHCP,IPv4> mtu 1400 index 3
\tinet 192.168.9.77 netmask fffffe00 broadcast 192.168.9.255
\tether 52:54:0:a1:2:4 \n\
e1000g2: flags=1000842<BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 4
\tinet 0.0.0.0 netmask 0 \n\
\tether 52:54:0:a1:2:5 \n\
ip.tun0: flags=10010008d1<UP,POINTOPOINT,RUNNING,NOARP,MULTICAST,IPv4,FIXEDMTU> mtu 1480 index 5
\tinet 10.9.0.1 --> 10.9.0.2 netmask ffffffff
lo0: flags=2002000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv6,VIRTUAL> mtu 8252 index 1
\tinet6 ::1/128 \n\
e1000g0: flags=20002004841<UP,RUNNING,MULTICAST,DHCP,IPv6> mtu 1500 index 2
\tinet6 fe80::5054:ff:fea1:203/10 \n\
\tether 52:54:0:a1:2:3 \n\
e1000g0:1: flags=20002000841<UP,RUNNING,MULTICAST,IPv6> mtu 1500 index 2
\tinet6 fd00::5/64 \n";

    #[test]
    fn a_captured_text() {
        let shown: Vec<String> = interfaces(TEXT)
            .iter()
            .map(|interface| {
                let address =
                    interface.address.map_or_else(|| "none".to_owned(), |address| address.to_string());
                let dhcp = if interface.has("DHCP") { " dhcp" } else { "" };
                format!("{}:{} {address} {}{dhcp}", interface.link, interface.unit, interface.mtu)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "lo0:0 127.0.0.1/8 8232",
                "e1000g0:0 10.0.0.5/24 1500",
                "e1000g0:1 10.0.0.6/24 1500",
                "e1000g1:0 192.168.9.77/23 1400 dhcp",
                "e1000g2:0 none 1500",
                "ip.tun0:0 10.9.0.1/32 1480",
                "lo0:0 ::1/128 8252",
                "e1000g0:0 fe80::5054:ff:fea1:203/10 1500 dhcp",
                "e1000g0:1 fd00::5/64 1500",
            ]
        );
        assert!(interfaces(TEXT).iter().skip(6).all(|interface| interface.is_ipv6));
    }

    #[test]
    fn masks_of_every_length() {
        let shown = |prefix| set("e1000g1", Ipv4Addr::new(10, 0, 0, 5), prefix, None).to_string();
        assert_eq!(shown(23), "/usr/sbin/ifconfig e1000g1 inet 10.0.0.5 netmask 255.255.254.0 up");
        assert!(shown(0).contains("netmask 0.0.0.0 "));
        assert!(shown(32).contains("netmask 255.255.255.255 "));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[ \\t\\n<>:=a-z0-9,.-]{0,200}") {
            let interfaces = interfaces(&text);
            proptest::prop_assert!(interfaces.len() <= text.lines().count());
        }
    }
}
