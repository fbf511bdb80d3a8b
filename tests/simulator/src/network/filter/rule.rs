//! A filter rule, and how ipf prints it: usr/src/cmd/ipf/lib/common/printfr.c.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::names;

/// A filter rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Rule {
    /// What happens to a packet that it matches.
    pub action: Action,
    /// Whether it is for packets that leave.
    pub out: bool,
    /// Whether such packets are logged, and how.
    pub log: Option<Log>,
    /// Whether no further rule is looked at.
    pub quick: bool,
    /// On which interfaces; none is any. The second is the one that replies of a kept state come by.
    pub on: Vec<String>,
    /// Whether the rule says more than `all`: a protocol, addresses, ports, ICMP types. ipf prints such a rule with `from` and
    /// `to`.
    pub conditions: bool,
    /// Which protocol.
    pub protocol: Protocol,
    /// Where packets come from.
    pub source: Side,
    /// Where packets go.
    pub destination: Side,
    /// TCP flags: those that are set, of those that are looked at.
    pub flags: Option<(u8, u8)>,
    /// ICMP type and code.
    pub icmp: Option<(u8, Option<u8>)>,
    /// Whether a state is kept.
    pub keep_state: bool,
    /// Whether later fragments pass.
    pub keep_frags: bool,
    /// Whether it is an IPv6 rule (loaded with `-6`).
    pub v6: bool,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It passes.
    Pass,
    /// It is dropped.
    Block(Answer),
    /// It is counted.
    Count,
    /// It is logged.
    Log,
    /// So many rules are passed over.
    Skip(u32),
}

/// What a sender learns of a dropped packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing.
    None,
    /// An ICMP message.
    Icmp,
    /// An ICMP message that seems to come from where the packet went.
    IcmpAsDestination,
    /// A TCP reset.
    Reset,
}

/// How a rule logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// With the packet's beginning.
    pub body: bool,
    /// Only the first packet of a state.
    pub first: bool,
    /// A packet that cannot be logged is blocked.
    pub or_block: bool,
}

/// Which protocol a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Any.
    Any,
    /// TCP or UDP.
    TcpUdp,
    /// One.
    Number(u8),
}

/// One end of the packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The address and the mask as bits of the family's width; none is any.
    pub address: Option<(IpAddr, IpAddr)>,
    /// Whether the address must not match.
    pub not: bool,
    /// Which ports.
    pub ports: Option<Ports>,
}

impl Side {
    /// Any address and port.
    pub const ANY: Self = Self { address: None, not: false, ports: None };
}

/// Which ports match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ports {
    /// `=`.
    Equal(u16),
    /// `!=`.
    NotEqual(u16),
    /// `<`.
    Less(u16),
    /// `>`.
    Greater(u16),
    /// `<=`.
    AtMost(u16),
    /// `>=`.
    AtLeast(u16),
    /// `A <> B`: less than the first or greater than the second.
    Outside(u16, u16),
    /// `A >< B`: between both, without them.
    Inside(u16, u16),
    /// `A:B`: between both, with them.
    Range(u16, u16),
}

impl Ports {
    /// Whether a port matches: usr/src/uts/common/inet/ipf/fil.c, `fr_portcheck`.
    pub fn matches(self, port: u16) -> bool {
        match self {
            Self::Equal(a) => port == a,
            Self::NotEqual(a) => port != a,
            Self::Less(a) => port < a,
            Self::Greater(a) => port > a,
            Self::AtMost(a) => port <= a,
            Self::AtLeast(a) => port >= a,
            Self::Outside(a, b) => port < a || port > b,
            Self::Inside(a, b) => port > a && port < b,
            Self::Range(a, b) => (a..=b).contains(&port),
        }
    }

    fn print(self, f: &mut fmt::Formatter<'_>, protocol: Protocol) -> fmt::Result {
        let (sign, port) = match self {
            Self::Outside(a, b) => return write!(f, " port {a} <> {b}"),
            Self::Inside(a, b) => return write!(f, " port {a} >< {b}"),
            Self::Range(a, b) => return write!(f, " port {a}:{b}"),
            Self::Equal(a) => ("=", a),
            Self::NotEqual(a) => ("!=", a),
            Self::Less(a) => ("<", a),
            Self::Greater(a) => (">", a),
            Self::AtMost(a) => ("<=", a),
            Self::AtLeast(a) => (">=", a),
        };
        write!(f, " port {sign} {}", names::port_name(port, protocol))
    }
}

/// The letters of TCP flags, from the lowest bit: usr/src/cmd/ipf/lib/common/tcpflags.c.
const FLAGS: &str = "FSRPAUEC";

/// The flags that `flags X` without a mask looks at: all but ECN's.
pub const FLAGS_ALL: u8 = 0x3f;

/// The bits of flag letters.
pub fn flag_bits(letters: &str) -> Option<u8> {
    letters.chars().try_fold(0, |bits, letter| FLAGS.find(letter).map(|place| bits | 1 << place))
}

fn flag_letters(bits: u8) -> String {
    FLAGS.chars().enumerate().filter(|(place, _)| bits & 1 << place != 0).map(|(_, letter)| letter).collect()
}

fn print_side(f: &mut fmt::Formatter<'_>, side: &Side, protocol: Protocol) -> fmt::Result {
    if side.not {
        f.write_str("!")?;
    }
    match side.address {
        None => f.write_str("any")?,
        Some((address, mask)) => write!(f, "{address}/{}", super::mask_text(mask))?,
    }
    side.ports.map_or(Ok(()), |ports| ports.print(f, protocol))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Pass => f.write_str("pass")?,
            Action::Block(Answer::None) => f.write_str("block")?,
            Action::Block(Answer::Icmp) => f.write_str("block return-icmp")?,
            Action::Block(Answer::IcmpAsDestination) => f.write_str("block return-icmp-as-dest")?,
            Action::Block(Answer::Reset) => f.write_str("block return-rst")?,
            Action::Count => f.write_str("count")?,
            Action::Log => f.write_str("log")?,
            Action::Skip(count) => write!(f, "skip {count}")?,
        }
        f.write_str(if self.out { " out " } else { " in " })?;
        if let Some(log) = self.log {
            let or_block = if log.or_block { " or-block" } else { "" };
            let first = if log.first { " first" } else { "" };
            write!(f, "log{}{first}{or_block} ", if log.body { " body" } else { "" })?;
        }
        if self.quick {
            f.write_str("quick ")?;
        }
        if !self.on.is_empty() {
            write!(f, "on {} ", self.on.join(","))?;
        }
        if self.conditions {
            match self.protocol {
                Protocol::Any => {}
                Protocol::TcpUdp => f.write_str("proto tcp/udp ")?,
                Protocol::Number(number) => write!(f, "proto {} ", names::protocol_name(number))?,
            }
            f.write_str("from ")?;
            print_side(f, &self.source, self.protocol)?;
            f.write_str(" to ")?;
            print_side(f, &self.destination, self.protocol)?;
            if let (Some((kind, code)), Protocol::Number(number @ (1 | 58))) = (self.icmp, self.protocol) {
                let name = if number == 1 { names::icmp_type_name(kind) } else { kind.to_string() };
                write!(f, " icmp-type {name}")?;
                if let Some(code) = code {
                    write!(f, " code {code}")?;
                }
            }
            if let Some((set, mask)) = self.flags {
                write!(f, " flags {}/{}", flag_letters(set), flag_letters(mask))?;
            }
        } else {
            f.write_str("all")?;
        }
        if self.keep_state {
            f.write_str(" keep state")?;
        }
        if self.keep_frags {
            f.write_str(" keep frags")?;
        }
        Ok(())
    }
}
