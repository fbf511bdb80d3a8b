//! The state table: usr/src/uts/common/inet/ipf/ip_state.c. TCP's windows and all timeouts are left out.

use std::net::IpAddr;

use super::packet::{Packet, Payload, RST};
use crate::network::filter::rule::{Action, Rule};

/// A kept state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    protocol: u8,
    source: IpAddr,
    /// None when any may answer: what was asked of a multicast address.
    destination: Option<IpAddr>,
    marks: (u16, u16),
    /// The type of an ICMP question.
    question: Option<u8>,
    /// By which interface packets go, for each of in and out, forward and backward; none is not known yet.
    interfaces: [Option<String>; 4],
    /// Whether its packets pass.
    pub passes: bool,
    /// The rule that made it.
    pub rule: String,
}

/// The type of the answer to an ICMP question of which a state can be kept: `fr_addstate`, `fr_matchicmpqueryreply`.
fn answer_type(v6: bool, kind: u8) -> Option<u8> {
    match (v6, kind) {
        (false, 8) => Some(0),
        // IPv4's time, information and mask requests; IPv6's echo, listener query, router and neighbour solicitation.
        (false, 13 | 15 | 17) | (true, 128 | 130 | 133 | 135) => Some(kind + 1),
        _ => None,
    }
}

/// The type of an ICMP message when that is what a packet is.
fn icmp_type(packet: &Packet) -> Option<u8> {
    match packet.payload {
        Payload::Icmp { kind, .. } => Some(kind),
        _ => None,
    }
}

/// Where the interface of a direction is noted: `(out << 1) + rev`.
fn slot(out: bool, backward: bool) -> usize {
    (usize::from(out) << 1) + usize::from(backward)
}

/// All states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States(pub Vec<State>);

impl States {
    /// Keeps a state for a packet. False when that cannot be: then a rule with `quick` counts as not matching, and without it
    /// the packet is blocked.
    pub fn add(&mut self, rule: &Rule, interface: &str, out: bool, packet: &Packet) -> bool {
        let question = icmp_type(packet);
        match packet.payload {
            // A reset begins nothing; any other TCP packet does, the middle of a connection too.
            Payload::Tcp { flags, .. } if flags & RST != 0 => return false,
            Payload::Icmp { kind, .. } if answer_type(packet.is_v6(), kind).is_none() => return false,
            _ => {}
        }
        let mut interfaces: [Option<String>; 4] = Default::default();
        interfaces[slot(out, true)] = rule.on.get(1).cloned();
        interfaces[slot(out, false)] = Some(interface.to_owned());
        let anybody = packet.is_v6() && question.is_some() && packet.destination.is_multicast();
        let state = State {
            protocol: packet.protocol(),
            source: packet.source,
            destination: (!anybody).then_some(packet.destination),
            marks: packet.marks(),
            question,
            interfaces,
            passes: !matches!(rule.action, Action::Block(_)),
            rule: rule.to_string(),
        };
        // An identical state is no reason to make another.
        let known = self.0.iter().any(|other| {
            (other.protocol, other.source, other.destination, other.marks)
                == (state.protocol, state.source, state.destination, state.marks)
        });
        if known {
            return false;
        }
        self.0.push(state);
        true
    }

    /// The state of a packet on an interface. Notes the interface where none was known.
    pub fn find(&mut self, interface: &str, out: bool, packet: &Packet) -> Option<&State> {
        // An error message goes with the state of what it is about, which went the other way.
        let (subject, out) = packet.error_about().map_or((packet, out), |about| (about, !out));
        let found = self.0.iter().position(|state| {
            state.direction(subject).is_some_and(|backward| {
                state.interfaces[slot(out, backward)].as_deref().is_none_or(|known| known == interface)
            })
        })?;
        let state = &mut self.0[found];
        if packet.error_about().is_none()
            && let Some(backward) = state.direction(subject)
        {
            state.interfaces[slot(out, backward)].get_or_insert_with(|| interface.to_owned());
        }
        Some(state)
    }
}

impl State {
    /// Whether a packet goes with the state, and if so whether backward.
    fn direction(&self, packet: &Packet) -> Option<bool> {
        if packet.protocol() != self.protocol {
            return None;
        }
        let (near, far) = packet.marks();
        let asks = |kind: u8| self.question == Some(kind);
        let answers =
            |kind: u8| self.question.and_then(|asked| answer_type(packet.is_v6(), asked)) == Some(kind);
        let kind = icmp_type(packet);
        let forward = packet.source == self.source
            && self
                .destination
                .is_none_or(|address| address == packet.destination || packet.destination.is_multicast())
            && (near, far) == self.marks
            && kind.is_none_or(asks);
        let backward = packet.destination == self.source
            && self.destination.is_none_or(|address| address == packet.source)
            && ((far, near) == self.marks || self.destination.is_none())
            && kind.is_none_or(answers);
        if forward {
            Some(false)
        } else if backward {
            Some(true)
        } else {
            None
        }
    }
}
