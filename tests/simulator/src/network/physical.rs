//! The methods of `network/physical` in the global zone and of `network/routing-setup`: net-physical of smartos-live
//! `overlay/generic/lib/svc/method` (to 2019) and illumos-joyent usr/src/cmd/svc/milestone, and net-routing-setup there.
//!
//! Time is only counted: a wait for a lease takes none.

use std::fmt::Write;
use std::fs;

use super::config::Config;
use super::inet::{self, Family};
use super::interface::Logical;
use super::link::Class;
use crate::{Reply, World, commands};

/// SMF's statuses: not to be tried again, and a configuration that cannot work.
const ERR_FATAL: u8 = 95;
const ERR_CONFIG: u8 = 96;

/// How long net-physical waits for a lease, in seconds. Since 2014.
const LEASE_WAIT: u32 = 300;

/// How a method ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Its exit status.
    pub status: u8,
    /// What it wrote to its log.
    pub log: String,
    /// How many seconds it waited.
    pub seconds: u32,
}

/// What a method writes.
#[derive(Debug, Default)]
pub struct Log {
    /// The text so far.
    pub text: String,
}

impl Log {
    /// Adds a line.
    pub fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }
}

/// Runs a command as a method's script does, its output going to the log. What the simulator refuses becomes a complaint.
pub fn call(world: &mut World, log: &mut Log, argv: &[&str]) -> Reply {
    log.line(&format!("+ {}", argv.join(" ")));
    let Some(command) = argv.first().and_then(|name| commands::by_name(name)) else {
        return Reply::refuse("is not played");
    };
    let reply = (command.run)(world, argv);
    log.text += &String::from_utf8_lossy(&reply.stdout);
    log.text += &String::from_utf8_lossy(&reply.stderr);
    if let Some(complaint) = &reply.complaint {
        // A machine within one process has no file for complaints; its log has the line.
        let line = format!("a method's {} {complaint}", argv.join(" "));
        log.line(&line);
        let _ = world.complain(&line);
    }
    reply
}

/// Why a method ends before its last line.
type Ended = Result<(), u8>;

/// Plays net-physical.
pub fn start(world: &mut World) -> Played {
    let mut script = Script { config: Config::of(world), log: Log::default(), seconds: 0, world };
    let status = script.run().err().unwrap_or_else(|| script.verdict());
    Played { status, log: script.log.text, seconds: script.seconds }
}

struct Script<'a> {
    world: &'a mut World,
    config: Config,
    log: Log,
    seconds: u32,
}

impl Script<'_> {
    fn since(&self, date: &str) -> bool {
        self.world.era().since(date)
    }

    fn get(&self, key: &str) -> Option<String> {
        self.config.get(key).map(str::to_owned)
    }

    /// A setting of the file, else of the boot loader.
    fn setting(&self, key: &str) -> Option<String> {
        self.get(key).or_else(|| self.world.hardware.boot_property(key).map(str::to_owned))
    }

    fn call(&mut self, argv: &[&str]) -> Reply {
        call(self.world, &mut self.log, argv)
    }

    /// A command whose failure ends the script, which runs with errexit.
    fn must(&mut self, argv: &[&str]) -> Ended {
        if self.call(argv).status == 0 { Ok(()) } else { Err(1) }
    }

    /// The link that has a tag: sysinfo's `NIC_TAG`, found by the address, however its octets are written.
    fn link_of(&self, tag: &str) -> Option<String> {
        let address = inet::mac(self.config.get(&format!("{tag}_nic"))?)?;
        let mut links = self.world.runtime.network.links.iter();
        links.find(|link| link.class == Class::Physical && link.mac == address).map(|link| link.name.clone())
    }

    fn write(&self, file: &str, text: &str) -> Ended {
        let path = self.world.path(file);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(path, text)).map_err(|_| 1)
    }

    fn run(&mut self) -> Ended {
        if !self.world.path("/etc/svc/volatile/.early_admin_setup").exists() {
            self.must(&["dladm", "init-phys"])?;
        }
        for stub in self.get("etherstub").unwrap_or_default().split(',').filter(|stub| !stub.is_empty()) {
            if self.call(&["dladm", "create-etherstub", "-t", stub]).status != 0 {
                self.log.line(&format!("ERROR: could not create etherstub {stub}."));
            }
        }
        if self.since("20140101") {
            self.tag_mtus()?;
        }
        let admin = self.admin_link()?;
        self.admin(&admin)?;
        self.external()?;
        self.default_route()?;
        self.extra_nics()?;
        if self.since("20220101") {
            self.resolvers()?;
        }
        self.must(&["ndd", "-set", "/dev/ip", "ip_strict_src_multihoming", "1"])
    }

    fn check_mtu(&mut self, tag: &str, mtu: &str) -> Ended {
        if mtu.parse::<u32>().is_ok_and(|mtu| (1500..=9000).contains(&mtu)) {
            return Ok(());
        }
        self.log.line(&format!("Invalid mtu specified for tag {tag}: {mtu}"));
        self.log.line("Valid MTU range is from 1500-9000");
        Err(ERR_FATAL)
    }

    fn tag_mtus(&mut self) -> Ended {
        let tags: Vec<String> = self.config.tags().map(|(tag, _)| tag.to_owned()).collect();
        for tag in tags {
            let Some(mtu) = self.get(&format!("{tag}_mtu")) else { continue };
            self.check_mtu(&tag, &mtu)?;
            let Some(link) = self.link_of(&tag) else {
                self.log.line(&format!("/usbkey/config error: Missing link name for {tag}"));
                return Err(ERR_FATAL);
            };
            let current = self.call(&["dladm", "show-linkprop", "-c", "-o", "value", "-p", "mtu", &link]);
            if current.stdout == format!("{mtu}\n").into_bytes() {
                continue;
            }
            if self.call(&["dladm", "set-linkprop", "-p", &format!("mtu={mtu}"), &link]).status != 0 {
                self.log.line(&format!("Failed to set mtu to {mtu} for link {link}"));
                return Err(ERR_FATAL);
            }
        }
        Ok(())
    }

    fn admin_link(&mut self) -> Result<String, u8> {
        let tag =
            self.get("admin_tag").filter(|_| self.since("20200101")).unwrap_or_else(|| "admin".to_owned());
        let found = self.link_of(&tag);
        let smartos = self.world.hardware.boot_property("smartos") == Some("true");
        let automatic =
            self.since("20180101") && smartos && self.config.get("admin_nic_autoselect") == Some("true");
        let first = || {
            let mut links = self.world.runtime.network.links.iter();
            links.find(|link| link.class == Class::Physical).map(|link| link.name.clone())
        };
        if let Some(link) = found.or_else(|| automatic.then(first).flatten()) {
            return Ok(link);
        }
        self.log.line("ERROR: admin NIC not found, unable to bring up admin network.");
        Err(ERR_CONFIG)
    }

    fn admin(&mut self, link: &str) -> Ended {
        if self.since("20180101") {
            let mtu = self.get("admin_mtu").unwrap_or_else(|| "1500".to_owned());
            self.must(&["ifconfig", link, "plumb", "mtu", &mtu])?;
        } else {
            self.must(&["ifconfig", link, "plumb"])?;
        }
        let address = self.setting("admin_ip");
        let netmask = self.setting("admin_netmask");
        match (address.as_deref(), netmask.as_deref()) {
            (Some("none"), _) if self.since("20180101") => {
                self.log.line("INFO: not configuring IP on admin interface (admin_ip=none)");
            }
            (Some("dhcp"), _) if !self.since("20140101") => {
                let complaint = "admin_ip=dhcp is not valid on this platform";
                self.log.line(complaint);
                let _ = self.world.complain(complaint);
                return Err(ERR_CONFIG);
            }
            (Some(address), Some(netmask)) => {
                self.must(&["ifconfig", link, "inet", address, "netmask", netmask, "up"])?;
                self.resolvers()?;
            }
            _ if self.world.hardware.boot_property("headnode") == Some("true") => {
                self.log.line("ERROR: headnode but no admin_{ip,netmask} in config");
                return Err(ERR_CONFIG);
            }
            _ => self.lease(link),
        }
        if let Some(address) = self.get("admin_ip6").filter(|_| self.since("20180101")) {
            self.must(&["ifconfig", link, "inet6", "plumb", "up"])?;
            self.static_v6(link, &address)?;
        }
        Ok(())
    }

    fn static_v6(&mut self, link: &str, address: &str) -> Ended {
        if address == "addrconf" {
            return Ok(());
        }
        self.must(&["ifconfig", link, "inet6", "addif", address, "preferred", "up"])
    }

    /// The script asks for a lease, ignores how that ends, and since 2014 looks every second whether it came.
    fn lease(&mut self, link: &str) {
        let asked = self.call(&["ifconfig", link, "dhcp"]);
        if asked.status == 4 {
            self.seconds += 30;
        }
        if !self.since("20140101") {
            return;
        }
        let hardware = self.world.hardware.clone();
        let arrived = |world: &World| {
            let own = world.runtime.network.interface(link, Family::Inet);
            own.is_some_and(|own| own.up().next().is_some())
        };
        let mut left = LEASE_WAIT;
        while !arrived(self.world) && left > 0 {
            self.world.runtime.network.pass_time(&hardware, link, 1);
            left -= 1;
            self.seconds += 1;
        }
    }

    fn resolvers(&self) -> Ended {
        let (Some(domain), Some(resolvers)) = (self.get("dns_domain"), self.get("dns_resolvers")) else {
            return Ok(());
        };
        let mut text = format!("search {domain}\n");
        for resolver in resolvers.split(',').filter(|resolver| !resolver.is_empty()) {
            let _ = writeln!(text, "nameserver {resolver}");
        }
        self.write("/etc/resolv.conf", &text)
    }

    fn external(&mut self) -> Ended {
        let (Some(link), Some(address)) = (self.link_of("external"), self.get("external_ip")) else {
            return Ok(());
        };
        let mtu = self.get("external_mtu");
        self.vnic("external0", &link, "external", &address, mtu)
    }

    fn default_route(&mut self) -> Ended {
        let external = self.get("external_gateway").filter(|_| self.since("20180101"));
        let gateway =
            self.get("headnode_default_gateway").or_else(|| self.setting("admin_gateway")).or(external);
        if let Some(gateway) = gateway {
            self.write("/etc/defaultrouter", &format!("{gateway}\n"))?;
        }
        if let Some(gateway) = self.setting("admin_gateway6").filter(|_| self.since("20180101")) {
            self.must(&["route", "add", "-inet6", "default", &gateway])?;
        }
        Ok(())
    }

    /// A VNIC for each key `TAGn_ip`, and since 2018 `TAGn_ip6`.
    fn extra_nics(&mut self) -> Ended {
        let tags: Vec<String> = self.config.tags().map(|(tag, _)| tag.to_owned()).collect();
        let keys: Vec<String> = self.config.keys().map(str::to_owned).collect();
        for tag in tags {
            let Some(link) = self.link_of(&tag) else {
                self.log.line(&format!("WARNING: No link found with tag '{tag}'"));
                continue;
            };
            for (ending, v6) in [("_ip", false), ("_ip6", true)] {
                for key in &keys {
                    let number = key.strip_prefix(&tag).and_then(|rest| rest.strip_suffix(ending));
                    let numbered = number.is_some_and(|number| {
                        matches!(number.len(), 1 | 2) && number.bytes().all(|byte| byte.is_ascii_digit())
                    });
                    let Some(address) = self.get(key).filter(|_| numbered) else { continue };
                    let name = key.strip_suffix(ending).unwrap_or(key).to_owned();
                    if v6 && self.since("20180101") {
                        self.vnic_v6(&name, &link, &address)?;
                    } else if !v6 {
                        // Before, the argument went to another place and did nothing.
                        let mtu = self.get(&format!("{name}_mtu")).filter(|_| self.since("20180101"));
                        self.vnic(&name, &link, &name, &address, mtu)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn create_vnic(&mut self, name: &str, link: &str, keys: &str, mtu: Option<String>) -> Ended {
        if self.world.runtime.network.link(name).is_some() {
            return Ok(());
        }
        let mut argv = vec!["dladm".to_owned(), "create-vnic".to_owned()];
        if self.since("20180101") {
            argv.push("-t".to_owned());
        }
        argv.extend(["-l".to_owned(), link.to_owned()]);
        if let Some(mtu) = mtu {
            self.check_mtu(name, &mtu)?;
            argv.extend(["-p".to_owned(), format!("mtu={mtu}")]);
        }
        if let Some(vlan) = self.get(&format!("{keys}_vlan_id")).filter(|vlan| vlan != "0") {
            argv.extend(["-v".to_owned(), vlan]);
        }
        if let Some(mac) = self.get(&format!("{keys}_mac")) {
            argv.extend(["-m".to_owned(), mac]);
        }
        argv.push(name.to_owned());
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        if self.call(&argv).status != 0 {
            self.log.line(&format!("Failed to create VNIC {name}"));
            return Err(ERR_FATAL);
        }
        Ok(())
    }

    fn vnic(&mut self, name: &str, link: &str, keys: &str, address: &str, mtu: Option<String>) -> Ended {
        let netmask = self.get(&format!("{keys}_netmask"));
        let dhcp = address == "dhcp" && self.since("20140101");
        if !dhcp && netmask.is_none() {
            self.log.line(&format!("WARNING: not bringing up nic (insufficient configuration): {name}"));
            return Ok(());
        }
        self.create_vnic(name, link, keys, mtu)?;
        self.must(&["ifconfig", name, "plumb"])?;
        if dhcp {
            self.call(&["ifconfig", name, "dhcp"]);
            return Ok(());
        }
        self.must(&["ifconfig", name, "inet", address, "netmask", &netmask.unwrap_or_default(), "up"])
    }

    fn vnic_v6(&mut self, name: &str, link: &str, address: &str) -> Ended {
        let mtu = self.get(&format!("{name}_mtu"));
        self.create_vnic(name, link, name, mtu)?;
        self.must(&["ifconfig", name, "inet6", "plumb"])?;
        self.must(&["ifconfig", name, "inet6", "up"])?;
        self.static_v6(name, address)
    }

    /// What the script looks at in the end: whether any address is up or DHCP was begun.
    fn verdict(&self) -> u8 {
        let network = &self.world.runtime.network;
        let none = self.since("20180101") && self.setting("admin_ip").as_deref() == Some("none");
        let leased = |logical: &&Logical| logical.dhcp;
        let configured =
            network.interfaces.iter().filter(|interface| interface.name != "lo0").any(|interface| {
                interface.up().next().is_some() || interface.addresses.iter().find(leased).is_some()
            });
        if none || configured || !network.pending.is_empty() { 0 } else { ERR_CONFIG }
    }
}

/// Plays net-routing-setup: what routeadm remembers, the routers of `/etc/defaultrouter`, the routes of
/// `/etc/inet/static_routes`. A default route that is not in the file goes, a lease's too.
pub fn start_routing(world: &mut World) -> Played {
    let mut log = Log::default();
    call(world, &mut log, &["routeadm", "-u"]);
    let read = |world: &World, file: &str| fs::read_to_string(world.path(file)).unwrap_or_default();
    let text = read(world, "/etc/defaultrouter");
    let routers: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if !routers.is_empty() {
        let routes = world.runtime.network.routes.iter();
        let before: Vec<String> = routes
            .filter(|route| route.destination.length == 0 && route.gateway.is_ipv4())
            .map(|route| route.gateway.to_string())
            .take(1)
            .collect();
        for router in &routers {
            call(world, &mut log, &["route", "-n", "add", "default", "-gateway", router]);
        }
        for gateway in before.iter().filter(|gateway| !routers.contains(&gateway.as_str())) {
            call(world, &mut log, &["route", "-n", "delete", "default", "-gateway", gateway]);
        }
    }
    let text = read(world, "/etc/inet/static_routes");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut argv = vec!["route", "add"];
        argv.extend(line.split_whitespace());
        call(world, &mut log, &argv);
    }
    Played { status: 0, log: log.text, seconds: 0 }
}
