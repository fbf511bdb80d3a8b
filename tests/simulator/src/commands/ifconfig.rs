//! `ifconfig`: usr/src/cmd/cmd-inet/usr.sbin/ifconfig/ifconfig.c as it is since libipadm (2010), the same 2013 to 2022 in what
//! is played here.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::network::dhcp::Request;
use crate::network::inet::{Family, Prefix, mask_length};
use crate::network::interface::{Interface, Logical};
use crate::network::link::Class;
use crate::{Reply, World};

/// How long `ifconfig IF dhcp` waits without `wait`, in seconds: usr/src/man/man1m/ifconfig.1m.
const DHCP_WAIT: u32 = 30;

/// How a call ends early.
type Ended = Result<(), Reply>;

/// Runs `ifconfig`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let Some(&name) = argv.get(1) else { return Reply::refuse("is not known without an interface") };
    let mut words = &argv[2..];
    let family = match words.first().copied() {
        Some("inet") => Some(Family::Inet),
        Some("inet6") => Some(Family::Inet6),
        _ => None,
    };
    if family.is_some() {
        words = &words[1..];
    }
    if let Some(options) = name.strip_prefix('-') {
        return all(world, options, family, words);
    }
    if name.len() > 31 {
        return Reply::fail(1, format!("{name}: interface name too long"));
    }
    if words.is_empty() {
        return status(world, name, family);
    }
    let mut call = Call {
        world,
        base: name,
        number: number_of(name),
        family: family.unwrap_or(Family::Inet),
        said: String::new(),
        warned: String::new(),
    };
    let ended = call.words(words);
    let mut reply = ended.err().unwrap_or_default();
    reply.stdout.splice(0..0, call.said.into_bytes());
    reply.stderr.splice(0..0, call.warned.into_bytes());
    reply
}

/// `ifconfig -a[u][4|6]`.
fn all(world: &mut World, options: &str, family: Option<Family>, words: &[&str]) -> Reply {
    if !options.contains('a') || options.chars().any(|option| !"au46".contains(option)) {
        return Reply::refuse(format!("is not played with -{options}"));
    }
    if words.first() == Some(&"dhcp") && words.get(1) == Some(&"status") {
        return Reply::refuse("dhcp status is not played");
    }
    if !words.is_empty() {
        return Reply::refuse("is not played with -a and commands");
    }
    let mut text = String::new();
    for (wanted, option) in [(Family::Inet, '4'), (Family::Inet6, '6')] {
        let other = if option == '4' { '6' } else { '4' };
        if family.is_some_and(|family| family != wanted)
            || (options.contains(other) && !options.contains(option))
        {
            continue;
        }
        for interface in
            world.runtime.network.interfaces.iter().filter(|interface| interface.family == wanted)
        {
            for logical in interface.addresses.iter().filter(|logical| logical.up || !options.contains('u')) {
                text += &print(world, interface, logical, family.is_none());
            }
        }
    }
    Reply::text(text)
}

fn print(world: &World, interface: &Interface, logical: &Logical, ether: bool) -> String {
    let network = &world.runtime.network;
    let router = match interface.family {
        Family::Inet => network.forwarding.v4,
        Family::Inet6 => network.forwarding.v6,
    };
    let mac = network.link(&interface.name).map(|link| link.mac.as_str()).filter(|_| ether);
    interface.print(logical, router, mac)
}

fn number_of(name: &str) -> u32 {
    name.split_once(':').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// `Perror0` of ifconfig.c for ENXIO.
fn no_such(command: &str, name: &str) -> Reply {
    Reply::fail(1, format!("ifconfig: {command}: {name}: no such interface"))
}

/// `ifconfig IF [inet | inet6]`. Whoever asks lets a second pass for a lease that he may be waiting for.
fn status(world: &mut World, name: &str, family: Option<Family>) -> Reply {
    let base = name.split(':').next().unwrap_or(name);
    let hardware = world.hardware.clone();
    world.runtime.network.pass_time(&hardware, base, 1);
    let wanted = family.unwrap_or(Family::Inet);
    let Some(interface) = world.runtime.network.interface(base, wanted) else {
        return no_such("status: SIOCGLIFFLAGS", name);
    };
    match interface.addresses.iter().find(|logical| logical.number == number_of(name)) {
        Some(logical) => Reply::text(print(world, interface, logical, family.is_none())),
        None => no_such("status: SIOCGLIFFLAGS", name),
    }
}

/// One call with commands for an interface.
struct Call<'a, 'b> {
    world: &'a mut World,
    /// The interface's name as it was given, without a number while `number` is 0.
    base: &'b str,
    /// The number of the address that commands are about.
    number: u32,
    family: Family,
    said: String,
    warned: String,
}

impl Call<'_, '_> {
    fn name(&self) -> &str {
        self.base.split(':').next().unwrap_or(self.base)
    }

    fn shown(&self) -> String {
        if self.number == 0 { self.name().to_owned() } else { format!("{}:{}", self.name(), self.number) }
    }

    fn logical(&mut self, command: &str) -> Result<&mut Logical, Reply> {
        let missing = no_such(command, &self.shown());
        let (name, number, family) = (self.name().to_owned(), self.number, self.family);
        let interface = self.world.runtime.network.interface_mut(&name, family);
        interface.and_then(|interface| interface.logical(number)).ok_or(missing)
    }

    fn words(&mut self, words: &[&str]) -> Ended {
        if matches!(words[0], "dhcp" | "auto-dhcp") {
            return self.dhcp(&words[1..]);
        }
        // The mask is looked for first, because an address is set with it: the "hack" that ifconfig.c explains.
        let mut mask = None;
        for pair in words.windows(2).filter(|pair| pair[0] == "netmask") {
            mask = Some(self.mask(pair[1])?);
        }
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "plumb" => self.plumb()?,
                "unplumb" => self.unplumb()?,
                "up" | "down" => self.flags(word == "up")?,
                "mtu" => self.mtu(words.next())?,
                "netmask" => {
                    let length = self.mask(words.next().unwrap_or_default())?;
                    self.logical("SIOCSLIFNETMASK")?.prefix.length = length;
                }
                "preferred" if self.family == Family::Inet6 => {
                    self.logical("setifflags: SIOCGLIFFLAGS")?.preferred = true;
                }
                "addif" => {
                    let Some(address) = words.next() else {
                        return Err(Reply::fail(1, "ifconfig: no argument for addif"));
                    };
                    self.addif(address, mask)?;
                }
                "removeif" => {
                    let address = words.next().unwrap_or_default();
                    self.removeif(address)?;
                }
                _ if word.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':')
                    && word.contains(['.', ':']) =>
                {
                    let prefix = self.prefix(word, mask)?;
                    self.logical("error")?.prefix = prefix;
                    self.world.runtime.network.drop_dead_routes();
                }
                other => return Err(Reply::refuse(format!("is not played with {other}"))),
            }
        }
        Ok(())
    }

    fn mask(&self, text: &str) -> Result<u8, Reply> {
        if self.family == Family::Inet6 {
            return Err(Reply::fail(1, "ifconfig: Operation netmask not supported for inet6"));
        }
        let bits = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match bits.map(Ipv4Addr::from).or_else(|| text.parse().ok()) {
            None if text == "+" => Err(Reply::refuse("is not played with netmask +")),
            None => Err(Reply::fail(1, format!("ifconfig: {text}: bad address"))),
            Some(mask) => {
                mask_length(mask).ok_or_else(|| Reply::refuse(format!("is not known with the mask {text}")))
            }
        }
    }

    /// An address and its prefix, which stands with it or came from `netmask`; the former counts.
    fn prefix(&self, text: &str, mask: Option<u8>) -> Result<Prefix, Reply> {
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => {
                let length = length.parse::<u8>().ok().filter(|length| *length <= self.family.bits());
                let length =
                    length.ok_or_else(|| Reply::fail(1, format!("ifconfig: Bad prefix length in {text}")))?;
                (address, Some(length))
            }
        };
        let parsed: Option<IpAddr> = match self.family {
            Family::Inet => address.parse().ok().map(IpAddr::V4),
            Family::Inet6 => address.parse().ok().map(IpAddr::V6),
        };
        let address = parsed.ok_or_else(|| Reply::fail(1, format!("ifconfig: {text}: bad address")))?;
        match length.or(mask) {
            Some(length) => Ok(Prefix::new(address, length)),
            // The kernel then goes by classes of addresses.
            None => Err(Reply::refuse(format!("is not known with the address {text} and no mask"))),
        }
    }

    /// Since libipadm a repeated plumb says so and yet succeeds: `inetplumb` of ifconfig.c.
    fn plumb(&mut self) -> Ended {
        let (name, family) = (self.base.to_owned(), self.family);
        if name.contains(':') {
            return Err(Reply::refuse("is not played with plumb of a logical interface"));
        }
        let network = &mut self.world.runtime.network;
        let cannot = |why: &str| format!("ifconfig: cannot plumb {name}: {why}");
        if network.interface(&name, family).is_some() {
            self.warned += &cannot("Interface already exists");
            self.warned.push('\n');
            return Ok(());
        }
        let link = network.link(&name).filter(|link| link.class != Class::Etherstub);
        let Some(link) = link.cloned() else {
            return Err(Reply::fail(1, cannot("Could not open DLPI link")));
        };
        let other = network.interfaces.iter().find(|interface| interface.name == name);
        let index = other.map_or(network.counter + 1, |interface| interface.index);
        network.counter = network.counter.max(index);
        network.interfaces.push(Interface::plumbed(&name, family, index, link.mtu, &link.mac));
        Ok(())
    }

    fn unplumb(&mut self) -> Ended {
        let (name, family, number) = (self.name().to_owned(), self.family, self.number);
        let network = &mut self.world.runtime.network;
        let Some(interface) = network.interface_mut(&name, family) else {
            return Err(Reply::fail(
                1,
                format!("ifconfig: cannot unplumb {}: Interface does not exist", self.base),
            ));
        };
        if number == 0 {
            network.interfaces.retain(|interface| interface.name != name || interface.family != family);
            network.pending.retain(|pending| pending.interface != name || family == Family::Inet6);
        } else {
            interface.addresses.retain(|logical| logical.number != number);
        }
        network.drop_dead_routes();
        Ok(())
    }

    fn flags(&mut self, up: bool) -> Ended {
        let shown = self.shown();
        let name = self.name().to_owned();
        let prefix = self.logical("setifflags: SIOCGLIFFLAGS")?.prefix;
        if up {
            let (number, network) = (self.number, &self.world.runtime.network);
            // ip_addr_availability_check() of usr/src/uts/common/inet/ip/ip_if.c.
            let taken = network.interfaces.iter().any(|interface| {
                interface.up().any(|logical| {
                    logical.prefix.address == prefix.address
                        && (interface.name != name || logical.number != number)
                })
            });
            if taken {
                return Err(Reply::fail(
                    1,
                    format!("ifconfig: setifflags: SIOCSLIFFLAGS: {shown}: Cannot assign requested address"),
                ));
            }
        }
        self.logical("setifflags: SIOCGLIFFLAGS")?.up = up;
        if up && self.family == Family::Inet6 && self.number == 0 {
            let hardware = self.world.hardware.clone();
            self.world.runtime.network.autoconfigure(&hardware, &name);
        }
        self.world.runtime.network.drop_dead_routes();
        Ok(())
    }

    /// From 68 (IPv6: 1280) bytes to what the link takes. usr/src/uts/common/inet/ip/ip_if.c, `ip_sioctl_mtu`.
    fn mtu(&mut self, text: Option<&str>) -> Ended {
        let Some(text) = text else { return Err(Reply::fail(1, "ifconfig: no argument for mtu")) };
        let Ok(mtu) = text.parse::<u32>() else {
            return Err(Reply::refuse(format!("is not known with mtu {text}")));
        };
        let (name, family, shown) = (self.name().to_owned(), self.family, self.shown());
        let network = &mut self.world.runtime.network;
        let most = network.link(&name).map_or(0, |link| link.mtu);
        let least = if family == Family::Inet { 68 } else { 1280 };
        let Some(interface) = network.interface_mut(&name, family) else {
            return Err(no_such("setifmtu: SIOCSLIFMTU", &shown));
        };
        if !(least..=most).contains(&mtu) {
            return Err(Reply::fail(
                1,
                format!("ifconfig: setifmtu: SIOCSLIFMTU: {shown}: Invalid argument"),
            ));
        }
        interface.mtu = mtu;
        Ok(())
    }

    fn addif(&mut self, address: &str, mask: Option<u8>) -> Ended {
        if self.base.contains(':') {
            return Err(Reply::fail(
                1,
                format!("ifconfig: addif: bad physical interface name {}", self.base),
            ));
        }
        let prefix = self.prefix(address, mask)?;
        let (name, family) = (self.name().to_owned(), self.family);
        let Some(interface) = self.world.runtime.network.interface_mut(&name, family) else {
            return Err(no_such("addif: SIOCLIFADDIF", &name));
        };
        self.number = interface.add_logical();
        if let Some(logical) = interface.logical(self.number) {
            logical.prefix = prefix;
        }
        let _ = writeln!(self.said, "Created new logical interface {}", self.shown());
        Ok(())
    }

    fn removeif(&mut self, address: &str) -> Ended {
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(Reply::fail(1, format!("ifconfig: {address}: bad address")));
        };
        let (name, family) = (self.name().to_owned(), self.family);
        let network = &mut self.world.runtime.network;
        let Some(interface) = network.interface_mut(&name, family) else {
            return Err(no_such("error", &name));
        };
        match interface.addresses.iter().position(|logical| logical.prefix.address == address) {
            Some(0) => {
                return Err(Reply::fail(1, format!("ifconfig: removeif: cannot remove interface: {name}")));
            }
            Some(place) => interface.addresses.remove(place),
            None => {
                return Err(Reply::fail(
                    1,
                    format!("ifconfig: removeif: SIOCLIFREMOVEIF: {name}: Cannot assign requested address"),
                ));
            }
        };
        network.drop_dead_routes();
        Ok(())
    }

    /// `dhcp [start] [primary] [wait SECONDS]`, `dhcp release|drop`. Texts: usr/src/lib/libdhcpagent/common/dhcpagent_ipc.c;
    /// statuses: 2 the interface failed, 3 wrong arguments, 4 the wait was not long enough.
    fn dhcp(&mut self, words: &[&str]) -> Ended {
        if self.family == Family::Inet6 {
            return Err(Reply::refuse("is not played with DHCPv6"));
        }
        let name = self.base.to_owned();
        let mut wait = DHCP_WAIT;
        let mut words = words.iter().copied();
        let mut start = true;
        while let Some(word) = words.next() {
            match word {
                "primary" | "start" => {}
                "release" | "drop" => start = false,
                "wait" => match words.next() {
                    Some("forever") => wait = u32::MAX,
                    Some(seconds) if seconds.parse::<u32>().is_ok() => wait = seconds.parse().unwrap_or(0),
                    _ => return Err(Reply::refuse("is not played with such a wait")),
                },
                other => return Err(Reply::refuse(format!("is not played with dhcp {other}"))),
            }
        }
        let hardware = self.world.hardware.clone();
        let network = &mut self.world.runtime.network;
        let says = |status: u8, why: &str| Err(Reply::fail(status, format!("ifconfig: {name}: {why}")));
        let Some(interface) = network.interface_mut(&name, Family::Inet) else {
            return says(2, "interface does not exist or cannot be managed using DHCP");
        };
        if !start {
            let held = interface.logical(0).filter(|logical| logical.dhcp);
            let had = held.map(|logical| *logical = Logical::unset(0, Family::Inet)).is_some();
            let asked = network.pending.iter().any(|pending| pending.interface == name);
            network.pending.retain(|pending| pending.interface != name);
            network.drop_dead_routes();
            return if had || asked { Ok(()) } else { says(2, "interface is not under DHCP control") };
        }
        match network.request_lease(&hardware, &name, wait) {
            Request::Granted => Ok(()),
            Request::Running => says(2, "DHCP is already running"),
            Request::Waiting if wait == 0 => Ok(()),
            Request::Waiting => says(4, "wait timed out, operation still pending..."),
        }
    }
}
