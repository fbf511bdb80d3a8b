//! Links, addresses, routes, forwarding and packet filter.
//!
//! * [`link`], [`interface`], [`dhcp`], [`route`]: the state that `dladm`, `ifconfig` and `route` work on.
//! * [`filter`], [`nat`]: the rules of ipf and ipnat, read and printed as the platform does.
//! * [`model`]: what becomes of packets, given all of that.
//! * [`config`], [`physical`], [`ipfilter`]: the platform's services that configure the network, played.

pub mod config;
pub mod dhcp;
pub mod filter;
pub mod inet;
pub mod interface;
pub mod ipfilter;
pub mod link;
pub mod model;
pub mod nat;
pub mod physical;
pub mod route;

use serde::{Deserialize, Serialize};

use crate::Hardware;
use crate::commands::{Command, always};
use crate::commands::{
    dladm, ifconfig, ipf, ipfstat, ipnat, ndd, netstat, ping, route as route_command, routeadm,
};
use inet::Family;
use interface::Interface;
use link::Link;
use route::Route;

/// The commands of this part. illumos has some of them at two places.
pub const COMMANDS: &[Command] = &[
    always("/usr/sbin/dladm", dladm::run),
    always("/sbin/dladm", dladm::run),
    always("/sbin/ifconfig", ifconfig::run),
    always("/usr/sbin/ifconfig", ifconfig::run),
    always("/usr/sbin/route", route_command::run),
    always("/sbin/route", route_command::run),
    always("/usr/bin/netstat", netstat::run),
    always("/usr/sbin/routeadm", routeadm::run),
    always("/sbin/routeadm", routeadm::run),
    always("/usr/sbin/ndd", ndd::run),
    always("/usr/sbin/ipf", ipf::run),
    always("/usr/sbin/ipnat", ipnat::run),
    always("/usr/sbin/ipfstat", ipfstat::run),
    always("/usr/sbin/ping", ping::run),
];

/// The state of the network since the machine was switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Datalinks. There are none of hardware before `dladm init-phys`.
    pub links: Vec<Link>,
    /// IP interfaces, IPv4's and IPv6's apart, in the order in which they were plumbed.
    pub interfaces: Vec<Interface>,
    /// Routes that were added; those of addresses follow from the interfaces.
    pub routes: Vec<Route>,
    /// Forwarding of IPv4 and IPv6.
    pub forwarding: Forwarding,
    /// `ip_strict_src_multihoming`: a packet leaves by the interface that has its source address.
    pub strict_source: bool,
    /// The packet filter.
    pub filter: filter::Filter,
    /// The rules of address translation.
    pub nat: Vec<nat::Rule>,
    /// How often the table of translations was flushed.
    pub nat_flushes: u64,
    /// Leases that were asked for and have not come.
    pub pending: Vec<dhcp::Pending>,
    /// The number of the interface plumbed last, and of links that were made.
    pub counter: u32,
}

/// Whether packets are forwarded, now and (by `routeadm`) at the service's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Forwarding {
    /// IPv4, now.
    pub v4: bool,
    /// IPv6, now.
    pub v6: bool,
    /// IPv4, as routeadm remembers.
    pub v4_configured: bool,
    /// IPv6, as routeadm remembers.
    pub v6_configured: bool,
}

impl Network {
    /// The link with the name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The interface with the name and family.
    pub fn interface(&self, name: &str, family: Family) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name && interface.family == family)
    }

    /// The same, to change it.
    pub fn interface_mut(&mut self, name: &str, family: Family) -> Option<&mut Interface> {
        self.interfaces.iter_mut().find(|interface| interface.name == name && interface.family == family)
    }

    /// Whether anything is plumbed on a link.
    pub fn is_plumbed(&self, name: &str) -> bool {
        self.interfaces.iter().any(|interface| interface.name == name)
    }

    /// `network/loopback`'s work: lo0 for both families. usr/src/cmd/svc/milestone/net-loopback.
    pub fn start_loopback(&mut self) {
        if !self.is_plumbed("lo0") {
            self.counter += 1;
            for family in [Family::Inet, Family::Inet6] {
                self.interfaces.push(Interface::loopback(family, self.counter));
            }
        }
    }

    /// `dladm init-phys`: the hardware's devices become links.
    pub fn init_phys(&mut self, hardware: &Hardware) {
        for nic in &hardware.nics {
            if self.link(&nic.link).is_none() {
                self.links.push(Link::physical(nic));
            }
        }
    }
}
