//! The DHCP server and the router of a device's network, as the hardware's description has them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::inet::{Family, Prefix, interface_address};
use super::interface::Logical;
use super::route::Route;
use super::{Network, inet};
use crate::Hardware;

/// What a device's network gives: the words of [`crate::Nic::dhcp`], `ADDRESS/PREFIX [GATEWAY] [late=SECONDS]
/// [ra=PREFIX,ROUTER]`, all of them optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The address that DHCP gives.
    pub lease: Option<Prefix>,
    /// The router that DHCP gives.
    pub gateway: Option<Ipv4Addr>,
    /// After how many seconds the answer comes.
    pub late: u32,
    /// The IPv6 prefix that a router announces, and the router's link-local address.
    pub announced: Option<(Prefix, std::net::Ipv6Addr)>,
}

impl Server {
    /// Reads the description.
    ///
    /// # Panics
    /// When it is none, which is an error of the test that wrote it.
    pub fn parse(text: &str) -> Self {
        let mut server = Self::default();
        for word in text.split_whitespace() {
            let understood = if let Some(seconds) = word.strip_prefix("late=") {
                seconds.parse().map(|seconds| server.late = seconds).is_ok()
            } else if let Some((prefix, router)) = word.strip_prefix("ra=").and_then(|ra| ra.split_once(','))
            {
                server.announced = Prefix::parse(prefix).zip(router.parse().ok());
                server.announced.is_some()
            } else if word.contains('/') {
                server.lease = Prefix::parse(word);
                server.lease.is_some()
            } else {
                server.gateway = word.parse().ok();
                server.gateway.is_some()
            };
            assert!(understood, "{word} says nothing of a network device's surroundings");
        }
        server
    }

    /// What the network of a device gives.
    pub fn of(hardware: &Hardware, link: &str) -> Self {
        let nic = hardware.nics.iter().find(|nic| nic.link == link);
        nic.and_then(|nic| nic.dhcp.as_deref()).map(Self::parse).unwrap_or_default()
    }
}

/// A lease that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The interface.
    pub interface: String,
    /// After how many seconds it comes; none is never.
    pub seconds: Option<u32>,
}

/// What became of a request for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The lease is there.
    Granted,
    /// It may come later.
    Waiting,
    /// DHCP runs on the interface already.
    Running,
}

impl Network {
    /// Asks for a lease and waits for it for so many seconds. Time is only counted, never spent.
    pub fn request_lease(&mut self, hardware: &Hardware, name: &str, wait: u32) -> Request {
        let holds = |logical: &Logical| logical.dhcp;
        let held =
            self.interface(name, Family::Inet).is_some_and(|interface| interface.addresses.iter().any(holds));
        if held || self.pending.iter().any(|pending| pending.interface == name) {
            return Request::Running;
        }
        let server = Server::of(hardware, name);
        self.pending.push(Pending { interface: name.to_owned(), seconds: server.lease.map(|_| server.late) });
        self.pass_time(hardware, name, wait);
        if self.pending.iter().any(|pending| pending.interface == name) {
            Request::Waiting
        } else {
            Request::Granted
        }
    }

    /// Lets seconds pass for a pending lease of an interface, which comes when they are enough.
    pub fn pass_time(&mut self, hardware: &Hardware, name: &str, seconds: u32) {
        let Some(place) = self.pending.iter().position(|pending| pending.interface == name) else { return };
        let Some(left) = self.pending[place].seconds else { return };
        if left > seconds {
            self.pending[place].seconds = Some(left - seconds);
            return;
        }
        self.pending.remove(place);
        let server = Server::of(hardware, name);
        let (Some(lease), Some(interface)) = (server.lease, self.interface_mut(name, Family::Inet)) else {
            return;
        };
        if let Some(first) = interface.logical(0) {
            *first = Logical { prefix: lease, up: true, dhcp: true, ..Logical::unset(0, Family::Inet) };
        }
        if let Some(gateway) = server.gateway {
            // usr/src/cmd/cmd-inet/sbin/dhcpagent/states.c binds the route to the interface.
            let mut route = Route::default_by(gateway.into());
            route.interface = Some(name.to_owned());
            if !self.routes.contains(&route) {
                self.routes.push(route);
            }
        }
    }

    /// What in.ndpd does when an IPv6 interface comes up and a router announces a prefix: an address of it, and the router as
    /// default route. usr/src/cmd/cmd-inet/usr.lib/in.ndpd.
    pub fn autoconfigure(&mut self, hardware: &Hardware, name: &str) {
        let Some((prefix, router)) = Server::of(hardware, name).announced else { return };
        let mac = self.link(name).map(|link| link.mac.clone()).unwrap_or_default();
        let Some(address) = inet::mac(&mac).and_then(|mac| interface_address(prefix, &mac)) else { return };
        let Some(interface) = self.interface_mut(name, Family::Inet6) else { return };
        if interface.addresses.iter().any(|logical| logical.addrconf) {
            return;
        }
        let number = interface.add_logical();
        if let Some(logical) = interface.logical(number) {
            logical.prefix = Prefix::new(address.into(), prefix.length);
            logical.up = true;
            logical.addrconf = true;
        }
        let mut route = Route::default_by(router.into());
        route.interface = Some(name.to_owned());
        self.routes.push(route);
    }
}
