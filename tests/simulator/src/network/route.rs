//! Routes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Network;
use super::inet::{Family, Prefix};
use super::interface::Interface;

/// A route that somebody added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where packets go.
    pub destination: Prefix,
    /// By whom.
    pub gateway: IpAddr,
    /// Whether it is for one host.
    pub host: bool,
    /// The interface that it is bound to.
    pub interface: Option<String>,
    /// Whether the destination is on the link of the interface whose address the gateway is: an interface route.
    #[serde(default)]
    pub direct: bool,
}

impl Route {
    /// A default route.
    pub fn default_by(gateway: IpAddr) -> Self {
        let family = Family::of(gateway);
        let destination = Prefix::new(family.unspecified(), 0);
        Self { destination, gateway, host: false, interface: None, direct: false }
    }
}

/// Where a packet goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The interface by which it leaves.
    pub interface: String,
    /// The gateway; none when the destination is on the interface's network.
    pub gateway: Option<IpAddr>,
    /// The address of the interface that packets of this machine have as source.
    pub source: IpAddr,
}

impl Network {
    /// The interface whose network an address is on, with the longest prefix.
    pub fn on_link(&self, address: IpAddr) -> Option<Hop> {
        self.interfaces
            .iter()
            .flat_map(|interface| interface.up().map(move |logical| (interface, logical)))
            .filter(|(_, logical)| logical.prefix.contains(address))
            .max_by_key(|(_, logical)| logical.prefix.length)
            .map(|(interface, logical)| Hop {
                interface: interface.name.clone(),
                gateway: None,
                source: logical.prefix.address,
            })
    }

    /// Where a packet to an address goes.
    pub fn hop(&self, address: IpAddr) -> Option<Hop> {
        let direct = self.on_link(address);
        let longest = self
            .interfaces
            .iter()
            .flat_map(Interface::up)
            .filter_map(|logical| logical.prefix.contains(address).then_some(logical.prefix.length));
        let direct_length = longest.max();
        let routed = self
            .routes
            .iter()
            .filter(|route| route.destination.contains(address))
            .max_by_key(|route| route.destination.length)
            .filter(|route| direct_length.is_none_or(|length| route.destination.length > length));
        match routed {
            Some(route) if route.direct => {
                let interface = self.interface_of(route.gateway)?.to_owned();
                Some(Hop { interface, gateway: None, source: route.gateway })
            }
            Some(route) => {
                let hop = self.on_link(route.gateway)?;
                Some(Hop { gateway: Some(route.gateway), ..hop })
            }
            None => direct,
        }
    }

    /// Whether an address is one of the machine's own that are up.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interface_of(address).is_some()
    }

    /// The interface that has an address, and has it up.
    pub fn interface_of(&self, address: IpAddr) -> Option<&str> {
        let has = |interface: &&Interface| interface.up().any(|logical| logical.prefix.address == address);
        self.interfaces.iter().find(has).map(|interface| interface.name.as_str())
    }

    /// Forgets the routes whose gateway no interface reaches any more, as the kernel does when an address goes down.
    pub fn drop_dead_routes(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        self.routes = routes
            .into_iter()
            .filter(|route| {
                let hop = self.on_link(route.gateway);
                (!route.direct || self.is_local(route.gateway))
                    && hop.is_some_and(|hop| {
                        route.interface.as_ref().is_none_or(|interface| *interface == hop.interface)
                    })
            })
            .collect();
    }
}
