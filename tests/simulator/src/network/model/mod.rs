//! What becomes of packets: translation, filter and forwarding as IP Filter 4.1.9 and illumos' IP do them.
//!
//! The model knows the state of the network alone, not who configured it how. It sends packets through it, one at a time
//! ([`Model::arrive`], [`Model::depart`]) or as a whole connection with its answers ([`Model::connect`]).
//!
//! In: translation, then states, then rules. Out: states, then rules, then translation. What no rule matches passes. Packets
//! within the machine meet no filter.

mod connect;
mod packet;
mod states;
mod translation;

pub use connect::{From, Outcome, Service, Verdict};
pub use packet::{ACK, Packet, Payload, RST, SYN};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::Network;
use super::filter::rule::{Action, Rule};
use super::inet::Family;
use super::interface::Interface;
use packet::rule_matches;
use states::States;
use translation::Translations;

/// The network and the connections that go through it.
#[derive(Debug, Clone)]
pub struct Model {
    network: Network,
    states: States,
    translations: Translations,
    /// The number of the next connection, of which its ports are made.
    connections: u16,
}

/// What a packet met on its way through an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The interface.
    pub interface: String,
    /// Whether it left there.
    pub out: bool,
    /// What decided.
    pub by: By,
}

/// What decided about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A rule, as ipf prints it.
    Rule(String),
    /// A state that this rule had kept.
    State(String),
    /// No rule matched.
    Nothing,
    /// The filter does not run.
    NoFilter,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The machine itself got it.
    Delivered(Packet),
    /// It left.
    Left {
        /// By which interface.
        interface: String,
        /// As it was then.
        packet: Packet,
    },
    /// The filter dropped it at the last step.
    Blocked,
    /// It was lost otherwise.
    Lost(String),
}

/// A packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// What it met.
    pub steps: Vec<Step>,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.out { "out by" } else { "in by" };
        write!(f, "{direction} {}: ", self.interface)?;
        match &self.by {
            By::Rule(rule) => write!(f, "rule \"{rule}\""),
            By::State(rule) => write!(f, "state of \"{rule}\""),
            By::Nothing => f.write_str("no rule"),
            By::NoFilter => f.write_str("no filter runs"),
        }
    }
}

impl Model {
    /// A model of the network without any connection.
    pub fn new(network: &Network) -> Self {
        Self {
            network: network.clone(),
            states: States::default(),
            translations: Translations::default(),
            connections: 0,
        }
    }

    /// Takes over what changed in the network. Connections stay, unless their tables were flushed or the filter stopped.
    pub fn update(&mut self, network: &Network) {
        if !network.filter.running || network.filter.state_flushes != self.network.filter.state_flushes {
            self.states = States::default();
        }
        if !network.filter.running || network.nat_flushes != self.network.nat_flushes {
            self.translations = Translations::default();
        }
        self.network = network.clone();
    }

    /// The network as it is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A packet comes in by an interface.
    pub fn arrive(&mut self, interface: &str, packet: Packet) -> Trip {
        let mut steps = Vec::new();
        let fate = self.arriving(interface, packet, &mut steps);
        Trip { steps, fate }
    }

    fn arriving(&mut self, interface: &str, mut packet: Packet, steps: &mut Vec<Step>) -> Fate {
        let family = Family::of(packet.destination);
        if self.network.interface(interface, family).is_none() {
            return Fate::Lost(format!("{interface} is not plumbed for {family:?}"));
        }
        if self.network.filter.running {
            self.translations.arrive(&self.network, interface, &mut packet);
        }
        if !self.filter(interface, false, &packet, steps) {
            return Fate::Blocked;
        }
        if self.is_for_us(interface, &packet) {
            return Fate::Delivered(packet);
        }
        let forwards = if packet.is_v6() { self.network.forwarding.v6 } else { self.network.forwarding.v4 };
        if !forwards {
            return Fate::Lost(format!("{packet}: not forwarded"));
        }
        let Some(hop) = self.network.hop(packet.destination) else {
            return Fate::Lost(format!("{packet}: no route"));
        };
        self.leave(&hop.interface, packet, steps)
    }

    /// The machine sends a packet. An unspecified source becomes that of the interface by which it leaves.
    pub fn depart(&mut self, mut packet: Packet) -> Trip {
        let mut steps = Vec::new();
        let fate = if self.network.is_local(packet.destination) {
            Fate::Delivered(packet)
        } else {
            match self.network.hop(packet.destination) {
                None => Fate::Lost(format!("{packet}: no route")),
                Some(hop) => {
                    if packet.source.is_unspecified() {
                        packet.source = hop.source;
                    }
                    let own = self.interface_of(packet.source, packet.destination);
                    let interface = own.filter(|_| self.network.strict_source).unwrap_or(hop.interface);
                    self.leave(&interface, packet, &mut steps)
                }
            }
        };
        Trip { steps, fate }
    }

    /// The interface that has a source address, if a destination can be reached by it: the one that
    /// `ip_strict_src_multihoming` prefers.
    fn interface_of(&self, source: IpAddr, destination: IpAddr) -> Option<String> {
        let on_it = |interface: &Interface, address| interface.up().any(|own| own.prefix.contains(address));
        self.network
            .interfaces
            .iter()
            .filter(|interface| interface.up().any(|own| own.prefix.address == source))
            .find(|interface| {
                on_it(interface, destination)
                    || self.network.routes.iter().any(|route| {
                        route.destination.contains(destination) && on_it(interface, route.gateway)
                    })
            })
            .map(|interface| interface.name.clone())
    }

    /// The machine sends a packet by an interface, whatever its routes say: a DHCP client does.
    pub fn depart_by(&mut self, interface: &str, packet: Packet) -> Trip {
        let mut steps = Vec::new();
        let fate = self.leave(interface, packet, &mut steps);
        Trip { steps, fate }
    }

    fn leave(&mut self, interface: &str, mut packet: Packet, steps: &mut Vec<Step>) -> Fate {
        if !self.filter(interface, true, &packet, steps) {
            return Fate::Blocked;
        }
        if self.network.filter.running
            && self.translations.leave(&self.network, interface, &mut packet).is_err()
        {
            return Fate::Lost(format!("{packet}: cannot be translated"));
        }
        Fate::Left { interface: interface.to_owned(), packet }
    }

    fn is_for_us(&self, interface: &str, packet: &Packet) -> bool {
        let broadcast = |address: Ipv4Addr| {
            address.is_broadcast()
                || self
                    .network
                    .interface(interface, Family::Inet)
                    .is_some_and(|own| own.up().any(|logical| logical.prefix.broadcast() == Some(address)))
        };
        let to_all = match packet.destination {
            IpAddr::V4(address) => address.is_multicast() || broadcast(address),
            IpAddr::V6(address) => address.is_multicast(),
        };
        to_all || self.network.is_local(packet.destination) || self.unconfigured(interface)
    }

    /// Whether an interface has no address yet: then a DHCP client takes what comes.
    fn unconfigured(&self, interface: &str) -> bool {
        let own = self.network.interface(interface, Family::Inet);
        own.is_some_and(|own| own.up().next().is_none())
            && self.network.pending.iter().any(|pending| pending.interface == interface)
    }

    /// Whether the filter passes a packet, and notes why.
    fn filter(&mut self, interface: &str, out: bool, packet: &Packet, steps: &mut Vec<Step>) -> bool {
        let (by, passes) = self.decide(interface, out, packet);
        steps.push(Step { interface: interface.to_owned(), out, by });
        passes
    }

    fn decide(&mut self, interface: &str, out: bool, packet: &Packet) -> (By, bool) {
        if !self.network.filter.running {
            return (By::NoFilter, true);
        }
        if let Some(state) = self.states.find(interface, out, packet) {
            return (By::State(state.rule.clone()), state.passes);
        }
        let rules = self.network.filter.active().rules(packet.is_v6(), out);
        let mut decided: Option<&Rule> = None;
        let mut kept = false;
        let mut skip = 0;
        for rule in rules {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if !rule_matches(rule, interface, packet) {
                continue;
            }
            match rule.action {
                Action::Skip(count) => skip = count,
                Action::Count | Action::Log => {}
                Action::Pass | Action::Block(_) => {
                    if rule.quick && rule.keep_state {
                        // A state that cannot be kept makes a quick rule one that does not match.
                        if !self.states.add(rule, interface, out, packet) {
                            continue;
                        }
                        kept = true;
                    }
                    decided = Some(rule);
                    if rule.quick {
                        break;
                    }
                }
            }
        }
        let Some(rule) = decided else { return (By::Nothing, true) };
        let mut passes = rule.action == Action::Pass;
        if rule.keep_state && !kept && !self.states.add(rule, interface, out, packet) {
            passes = false;
        }
        (By::Rule(rule.to_string()), passes)
    }
}
