//! Packets.

use std::fmt;
use std::net::IpAddr;

use crate::network::filter::rule::{Protocol, Rule, Side};

/// TCP's SYN flag.
pub const SYN: u8 = 0x02;
/// TCP's RST flag.
pub const RST: u8 = 0x04;
/// TCP's ACK flag.
pub const ACK: u8 = 0x10;

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it says it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// What it holds.
    pub payload: Payload,
}

/// What a packet holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// TCP.
    Tcp {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
        /// The flags' bits.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
    },
    /// ICMP, or ICMPv6 in an IPv6 packet.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The identifier of a question and its answer.
        id: u16,
        /// The packet that an error is about.
        about: Option<Box<Packet>>,
    },
    /// Another protocol.
    Other(u8),
}

impl Packet {
    /// A packet.
    pub fn new(source: IpAddr, destination: IpAddr, payload: Payload) -> Self {
        Self { source, destination, payload }
    }

    /// Whether it is an IPv6 packet.
    pub fn is_v6(&self) -> bool {
        self.destination.is_ipv6()
    }

    /// Its protocol's number.
    pub fn protocol(&self) -> u8 {
        match self.payload {
            Payload::Tcp { .. } => 6,
            Payload::Udp { .. } => 17,
            Payload::Icmp { .. } if self.is_v6() => 58,
            Payload::Icmp { .. } => 1,
            Payload::Other(number) => number,
        }
    }

    /// Source and destination port of TCP and UDP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.payload {
            Payload::Tcp { source, destination, .. } | Payload::Udp { source, destination } => {
                Some((source, destination))
            }
            _ => None,
        }
    }

    /// What tells connections of the same addresses apart: the ports, or the identifier of an ICMP question on the side of
    /// whoever asks.
    pub fn marks(&self) -> (u16, u16) {
        match self.payload {
            Payload::Icmp { kind, id, .. } if self.is_v6() && kind == 129 || !self.is_v6() && kind == 0 => {
                (0, id)
            }
            Payload::Icmp { id, .. } => (id, 0),
            _ => self.ports().unwrap_or_default(),
        }
    }

    /// Changes the mark of the source, where it has one.
    pub fn set_source(&mut self, address: IpAddr, mark: u16) {
        self.source = address;
        match &mut self.payload {
            Payload::Tcp { source, .. } | Payload::Udp { source, .. } => *source = mark,
            Payload::Icmp { id, .. } if mark != 0 => *id = mark,
            Payload::Icmp { .. } | Payload::Other(_) => {}
        }
    }

    /// Changes the mark of the destination, where it has one.
    pub fn set_destination(&mut self, address: IpAddr, mark: u16) {
        self.destination = address;
        match &mut self.payload {
            Payload::Tcp { destination, .. } | Payload::Udp { destination, .. } => *destination = mark,
            Payload::Icmp { id, .. } if mark != 0 => *id = mark,
            Payload::Icmp { .. } | Payload::Other(_) => {}
        }
    }

    /// The answer of whoever gets it: SYN and ACK to a SYN, the echo's reply, the ports the other way round.
    #[must_use]
    pub fn answer(&self) -> Self {
        let v6 = self.is_v6();
        let payload = match self.payload.clone() {
            Payload::Tcp { source, destination, flags } => Payload::Tcp {
                source: destination,
                destination: source,
                flags: if flags & (SYN | ACK) == SYN { SYN | ACK } else { ACK },
            },
            Payload::Udp { source, destination } => Payload::Udp { source: destination, destination: source },
            Payload::Icmp { kind: 128, id, .. } if v6 => {
                Payload::Icmp { kind: 129, code: 0, id, about: None }
            }
            Payload::Icmp { kind: 8, id, .. } if !v6 => Payload::Icmp { kind: 0, code: 0, id, about: None },
            other => other,
        };
        Self { source: self.destination, destination: self.source, payload }
    }

    /// Whether it is an ICMP error message about a packet.
    pub fn error_about(&self) -> Option<&Self> {
        match &self.payload {
            Payload::Icmp { about, .. } => about.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.source, self.destination);
        match self.payload {
            Payload::Tcp { source, destination, .. } => {
                write!(f, "TCP {from} port {source} to {to} port {destination}")
            }
            Payload::Udp { source, destination } => {
                write!(f, "UDP {from} port {source} to {to} port {destination}")
            }
            Payload::Icmp { kind, code, .. } => write!(f, "ICMP type {kind} code {code} {from} to {to}"),
            Payload::Other(number) => write!(f, "protocol {number} {from} to {to}"),
        }
    }
}

/// Whether an address has the bits of a rule's address under its mask.
pub fn under_mask(address: IpAddr, (wanted, mask): (IpAddr, IpAddr)) -> bool {
    match (address, wanted, mask) {
        (IpAddr::V4(address), IpAddr::V4(wanted), IpAddr::V4(mask)) => {
            u32::from(address) & u32::from(mask) == u32::from(wanted) & u32::from(mask)
        }
        (IpAddr::V6(address), IpAddr::V6(wanted), IpAddr::V6(mask)) => {
            u128::from(address) & u128::from(mask) == u128::from(wanted) & u128::from(mask)
        }
        _ => false,
    }
}

fn side_matches(side: &Side, address: IpAddr, port: Option<u16>) -> bool {
    let at = side.address.is_none_or(|wanted| under_mask(address, wanted));
    // A rule with ports matches TCP and UDP alone, whether it names a protocol or not.
    at != side.not && side.ports.is_none_or(|ports| port.is_some_and(|port| ports.matches(port)))
}

/// Whether a rule is about a packet on an interface: usr/src/uts/common/inet/ipf/fil.c, `fr_scanlist`, `fr_ipfcheck`.
pub fn rule_matches(rule: &Rule, interface: &str, packet: &Packet) -> bool {
    let protocol = match rule.protocol {
        Protocol::Any => true,
        Protocol::TcpUdp => matches!(packet.protocol(), 6 | 17),
        Protocol::Number(number) => packet.protocol() == number,
    };
    let flags = match (rule.flags, &packet.payload) {
        (Some((set, mask)), Payload::Tcp { flags, .. }) => flags & mask == set,
        _ => true,
    };
    let icmp = match (rule.icmp, &packet.payload) {
        (Some((kind, code)), Payload::Icmp { kind: found, code: found_code, .. }) => {
            kind == *found && code.is_none_or(|code| code == *found_code)
        }
        _ => true,
    };
    let ports = packet.ports();
    rule.on.first().is_none_or(|on| on == interface)
        && protocol
        && flags
        && icmp
        && side_matches(&rule.source, packet.source, ports.map(|(source, _)| source))
        && side_matches(&rule.destination, packet.destination, ports.map(|(_, destination)| destination))
}
