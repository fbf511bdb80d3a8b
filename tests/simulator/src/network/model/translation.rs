//! The table of translated connections: usr/src/uts/common/inet/ipf/ip_nat.c.

use std::net::IpAddr;

use super::packet::{Packet, Payload, under_mask};
use crate::network::Network;
use crate::network::inet::Family;
use crate::network::nat::{Kind, Rule};

/// A translated connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    interface: String,
    protocol: u8,
    /// The address and mark on the machine's side.
    inner: (IpAddr, u16),
    /// What the other side sees of it.
    outer: (IpAddr, u16),
    /// The other side.
    remote: (IpAddr, u16),
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translations(pub Vec<Translation>);

/// A connection cannot be translated, and its packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untranslatable;

impl Translations {
    /// A leaving packet: after the filter passed it.
    pub fn leave(
        &mut self,
        network: &Network,
        interface: &str,
        packet: &mut Packet,
    ) -> Result<(), Untranslatable> {
        if packet.is_v6() || packet.error_about().is_some() {
            return Ok(());
        }
        let (near, far) = packet.marks();
        let known = self.0.iter().find(|known| {
            known.interface == interface
                && known.protocol == packet.protocol()
                && known.inner == (packet.source, near)
                && known.remote == (packet.destination, far)
        });
        if let Some(known) = known {
            let (address, mark) = known.outer;
            packet.set_source(address, mark);
            return Ok(());
        }
        let Some(rule) = network.nat.iter().find(|rule| maps(rule, interface, packet)) else { return Ok(()) };
        let (address, mask) = rule.becomes;
        let outer = if !address.is_unspecified() {
            address
        } else if mask.is_unspecified() {
            // 0/0 leaves the address as it is.
            packet.source
        } else {
            let own = network.interface(interface, Family::Inet).and_then(|own| own.up().next());
            own.map(|logical| logical.prefix.address).ok_or(Untranslatable)?
        };
        let remote = (packet.destination, far);
        let taken = |mark: u16| {
            self.0.iter().any(|other| {
                other.protocol == packet.protocol() && other.outer == (outer, mark) && other.remote == remote
            })
        };
        let mark = match rule.kind {
            Kind::Map { ports: Some(ports) } => {
                let (first, last) = ports.range.unwrap_or((1024, 65535));
                (first..=last).find(|&port| !taken(port)).ok_or(Untranslatable)?
            }
            _ if taken(near) => return Err(Untranslatable),
            _ => near,
        };
        self.0.push(Translation {
            interface: interface.to_owned(),
            protocol: packet.protocol(),
            inner: (packet.source, near),
            outer: (outer, mark),
            remote,
        });
        packet.set_source(outer, mark);
        Ok(())
    }

    /// An arriving packet: before the filter sees it.
    pub fn arrive(&mut self, network: &Network, interface: &str, packet: &mut Packet) {
        if packet.is_v6() {
            return;
        }
        if let Some(about) = packet.error_about() {
            let (near, far) = about.marks();
            let known = self.0.iter().find(|known| {
                known.interface == interface
                    && known.protocol == about.protocol()
                    && known.outer == (about.source, near)
                    && known.remote == (about.destination, far)
            });
            if let (Some(known), Payload::Icmp { about: Some(about), .. }) = (known, &mut packet.payload) {
                about.set_source(known.inner.0, known.inner.1);
                packet.destination = known.inner.0;
            }
            return;
        }
        let (far, near) = packet.marks();
        let known = self.0.iter().find(|known| {
            known.interface == interface
                && known.protocol == packet.protocol()
                && known.outer == (packet.destination, near)
                && known.remote == (packet.source, far)
        });
        if let Some(known) = known {
            let (address, mark) = known.inner;
            packet.set_destination(address, mark);
            return;
        }
        let Some(inner) = network.nat.iter().find_map(|rule| redirects(rule, interface, packet)) else {
            return;
        };
        self.0.push(Translation {
            interface: interface.to_owned(),
            protocol: packet.protocol(),
            inner,
            outer: (packet.destination, near),
            remote: (packet.source, far),
        });
        packet.set_destination(inner.0, inner.1);
    }
}

/// Whether a rule maps the source of a leaving packet.
fn maps(rule: &Rule, interface: &str, packet: &Packet) -> bool {
    rule.interface == interface
        && match rule.kind {
            Kind::Map { ports } => ports.is_none_or(|ports| ports.protocol.has(packet.protocol())),
            Kind::Bimap => true,
            Kind::Redirect { .. } => false,
        }
        && under_mask(packet.source, rule.matches)
}

/// Where a rule redirects an arriving packet to.
fn redirects(rule: &Rule, interface: &str, packet: &Packet) -> Option<(IpAddr, u16)> {
    if rule.interface != interface {
        return None;
    }
    let (_, near) = packet.marks();
    match rule.kind {
        Kind::Redirect { ports: (first, last), to, protocol } => (protocol.has(packet.protocol())
            && under_mask(packet.destination, rule.matches)
            && (first..=last).contains(&near))
        .then_some((rule.becomes.0, to)),
        Kind::Bimap => (packet.destination == rule.becomes.0).then_some((rule.matches.0, near)),
        Kind::Map { .. } => None,
    }
}
