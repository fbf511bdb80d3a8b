//! Whole connections: a question, its answer, and for TCP the confirmation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{ACK, Fate, Model, Packet, Payload, SYN, Step, Trip};
use crate::network::inet::Family;
use crate::network::link::Class;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The machine itself.
    Host,
    /// A zone on an etherstub, with its address. Its default route is the machine's address there.
    Zone(IpAddr),
    /// Another host, whose packets come in by the interface.
    Outside {
        /// The interface.
        interface: String,
        /// The address that it says it has.
        address: IpAddr,
    },
}

impl From {
    /// A zone.
    ///
    /// # Panics
    /// When the text is no address.
    pub fn zone(address: &str) -> Self {
        Self::Zone(address.parse().expect("the zone's address is one"))
    }

    /// Another host.
    ///
    /// # Panics
    /// When the text is no address.
    pub fn outside(interface: &str, address: &str) -> Self {
        let address = address.parse().expect("the host's address is one");
        Self::Outside { interface: interface.to_owned(), address }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A TCP connection to a port.
    Tcp(u16),
    /// A UDP question to a port.
    Udp(u16),
    /// An ICMP echo.
    Echo,
    /// A packet of another protocol, and one back.
    Other(u8),
}

/// How a connection went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The question arrived and so did the answer.
    Passed,
    /// Both ends are on the same etherstub; the machine's filter saw nothing of it.
    Switched,
    /// The filter dropped a packet, at the last of the steps.
    Blocked {
        /// Whether that was the answer, or the confirmation.
        answer: bool,
    },
    /// A packet was lost otherwise.
    Lost(String),
}

/// How a connection went, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it went.
    pub outcome: Outcome,
    /// What its packets met, in order.
    pub steps: Vec<Step>,
    /// Whom the other end saw: address and port (of an echo its identifier).
    pub seen: Option<(IpAddr, u16)>,
    /// Whom the question reached: address and port.
    pub reached: Option<(IpAddr, u16)>,
}

impl Verdict {
    /// Whether question and answer arrived.
    pub fn is_passed(&self) -> bool {
        matches!(self.outcome, Outcome::Passed | Outcome::Switched)
    }

    /// Whether the filter dropped the question.
    pub fn is_blocked(&self) -> bool {
        self.outcome == Outcome::Blocked { answer: false }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.outcome)?;
        for step in &self.steps {
            write!(f, "\n  {step}")?;
        }
        Ok(())
    }
}

/// Where the two ends are.
enum Place {
    Machine,
    At(String),
}

impl Model {
    /// Makes a connection and tells how it went. Each call is a connection of its own; its state stays in the model.
    pub fn connect(&mut self, from: From, to: IpAddr, service: Service) -> Verdict {
        self.connections = self.connections.wrapping_add(1);
        let port = 49152 + self.connections % 16384;
        let v6 = to.is_ipv6();
        let payload = match service {
            Service::Tcp(destination) => Payload::Tcp { source: port, destination, flags: SYN },
            Service::Udp(destination) => Payload::Udp { source: port, destination },
            Service::Echo => Payload::Icmp { kind: if v6 { 128 } else { 8 }, code: 0, id: port, about: None },
            Service::Other(number) => Payload::Other(number),
        };
        let mut verdict = Verdict { outcome: Outcome::Passed, steps: Vec::new(), seen: None, reached: None };
        let (place, address) = match from {
            From::Host => (Place::Machine, Family::of(to).unspecified()),
            From::Outside { interface, address } => (Place::At(interface), address),
            From::Zone(address) => match self.zone_interface(address) {
                Err(why) => {
                    verdict.outcome = Outcome::Lost(why);
                    return verdict;
                }
                Ok((interface, network)) => {
                    if network.contains(to) && !self.network.is_local(to) {
                        verdict.outcome = Outcome::Switched;
                        return verdict;
                    }
                    (Place::At(interface), address)
                }
            },
        };
        verdict.outcome = self
            .converse(&place, &Packet::new(address, to, payload), &mut verdict)
            .err()
            .unwrap_or(Outcome::Passed);
        verdict
    }

    /// Whether an interface is a virtual device over an etherstub.
    fn on_etherstub(&self, name: &str) -> bool {
        let over = self.network.link(name).and_then(|link| link.over());
        over.and_then(|over| self.network.link(over)).is_some_and(|link| link.class == Class::Etherstub)
    }

    /// Whether DHCP works on an interface: the machine asks anew, by broadcast, and renews what it has, with the server and
    /// with anyone. Tells the packet that was dropped.
    ///
    /// # Errors
    /// The packet, and what it met.
    pub fn lease(&mut self, interface: &str, server: Ipv4Addr) -> Result<(), String> {
        let own = self.network.interface(interface, Family::Inet).and_then(|own| own.up().next());
        let own = own.map_or(Ipv4Addr::UNSPECIFIED.into(), |logical| logical.prefix.address);
        let (nobody, everybody) = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
        // Asking anew, rebinding, renewing: from whom to whom, and to whom the answer goes.
        for (from, to, back) in
            [(nobody, everybody, everybody), (own, everybody, own), (own, server.into(), own)]
        {
            let asks = Packet::new(from, to, Payload::Udp { source: 68, destination: 67 });
            let says = Packet::new(server.into(), back, Payload::Udp { source: 67, destination: 68 });
            let trip = self.depart_by(interface, asks.clone());
            if !matches!(trip.fate, Fate::Left { .. }) {
                return Err(format!("{asks}: {trip:?}"));
            }
            let trip = self.arrive(interface, says.clone());
            if !matches!(trip.fate, Fate::Delivered(_)) {
                return Err(format!("{says}: {trip:?}"));
            }
        }
        Ok(())
    }

    /// The interface of the machine on a zone's etherstub, and the network there.
    fn zone_interface(&self, zone: IpAddr) -> Result<(String, crate::network::inet::Prefix), String> {
        self.network
            .interfaces
            .iter()
            .filter(|interface| self.on_etherstub(&interface.name))
            .find_map(|interface| {
                let here = interface.up().find(|logical| logical.prefix.contains(zone));
                here.map(|logical| (interface.name.clone(), logical.prefix.network()))
            })
            .ok_or_else(|| format!("no interface on an etherstub is on the network of {zone}"))
    }

    /// A packet from a place.
    fn send(&mut self, place: &Place, packet: Packet) -> Trip {
        match place {
            Place::Machine => self.depart(packet),
            Place::At(interface) => self.arrive(interface, packet),
        }
    }

    fn converse(&mut self, place: &Place, question: &Packet, verdict: &mut Verdict) -> Result<(), Outcome> {
        let (far, heard, asked) = self.pass(place, question, false, verdict)?;
        let marks = heard.marks();
        verdict.seen = Some((heard.source, marks.0));
        verdict.reached = Some((heard.destination, marks.1));
        // A zone answers by its default route, which is the machine. Whoever is outside answers to the machine's own
        // addresses: nothing leads to others behind it.
        if let Place::At(interface) = &far
            && !self.on_etherstub(interface)
            && !self.network.is_local(heard.source)
        {
            return Err(Outcome::Lost(format!(
                "left {interface} with the source {}, to which nobody there answers",
                heard.source
            )));
        }
        let (near, answer, _) = self.pass(&far, &heard.answer(), true, verdict)?;
        let back = match (&near, place) {
            (Place::Machine, Place::Machine) => true,
            (Place::At(left), Place::At(came)) => left == came,
            _ => false,
        };
        if !back || answer.destination != asked.source || answer.source != asked.destination {
            return Err(Outcome::Lost(format!("the answer went astray: {answer}")));
        }
        if let Payload::Tcp { .. } = question.payload {
            let mut confirmation = asked;
            if let Payload::Tcp { flags, .. } = &mut confirmation.payload {
                *flags = ACK;
            }
            self.pass(place, &confirmation, true, verdict)?;
        }
        Ok(())
    }

    /// Sends a packet; returns where it came to, as what, and as what it set out.
    fn pass(
        &mut self,
        place: &Place,
        packet: &Packet,
        answer: bool,
        verdict: &mut Verdict,
    ) -> Result<(Place, Packet, Packet), Outcome> {
        let mut sent = packet.clone();
        if let (Place::Machine, true) = (place, sent.source.is_unspecified()) {
            let hop = self.network.hop(sent.destination);
            sent.source = match hop {
                _ if self.network.is_local(sent.destination) => sent.destination,
                Some(hop) => hop.source,
                None => sent.source,
            };
        }
        let trip = self.send(place, sent.clone());
        verdict.steps.extend(trip.steps);
        match trip.fate {
            Fate::Delivered(packet) => Ok((Place::Machine, packet, sent)),
            Fate::Left { interface, packet } => Ok((Place::At(interface), packet, sent)),
            Fate::Blocked => Err(Outcome::Blocked { answer }),
            Fate::Lost(why) => Err(Outcome::Lost(why)),
        }
    }
}
