//! `/etc/inet/ntp.conf`: the image brings the one that suits its platform, and the settings change it.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use ipnet::Ipv4Net;

use super::settings::{self, NAT_SUBNET, Settings};
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};

const NTP_CONF: &str = "/etc/inet/ntp.conf";

/// The file as the image brought it, from which each change starts.
const ORIGINAL: &str = "/etc/svc/volatile/guest-init/ntp.conf";

/// The longest that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Owned by root and the group sys, as the platform's own.
const OWNER: Owner = Owner { mode: 0o644, ids: Some((0, 3)) };

/// The step.
pub struct TimeServers;

impl Step for TimeServers {
    fn name(&self) -> &'static str {
        "time-servers"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        look(&settings::load(guest))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        write(&settings::load(guest))
    }
}

/// Whether the file follows the settings.
pub fn look(settings: &Settings) -> Result<Finding> {
    let Some(original) = original()? else {
        return Ok(Finding::Done);
    };
    let wanted = adapted(&original, settings);
    if files::read(Path::new(NTP_CONF), LONGEST).is_ok_and(|text| text == wanted.as_bytes()) {
        return Ok(Finding::Done);
    }
    Ok(Finding::Needed(format!("{NTP_CONF} is to follow the settings")))
}

/// Makes the file follow the settings.
pub fn write(settings: &Settings) -> Result<()> {
    let Some(original) = original()? else { return Ok(()) };
    files::keep(Path::new(ORIGINAL), original.as_bytes(), Owner::root(0o644))
        .with_context(|| format!("cannot write {ORIGINAL}"))?;
    files::replace(Path::new(NTP_CONF), adapted(&original, settings).as_bytes(), OWNER)
        .with_context(|| format!("cannot write {NTP_CONF}"))
}

/// The file as the image brought it, if it did.
fn original() -> Result<Option<String>> {
    for path in [ORIGINAL, NTP_CONF] {
        match files::read(Path::new(path), LONGEST) {
            Ok(text) => {
                return String::from_utf8(text).map(Some).with_context(|| format!("{path} is not text"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        }
    }
    Ok(None)
}

/// The text of the file with these settings: zones may ask for the time from the network that they have, and the servers
/// are those that were set.
pub fn adapted(original: &str, settings: &Settings) -> String {
    let mut text = String::with_capacity(original.len());
    let mut servers_are_in = settings.ntp_hosts.is_empty();
    for line in original.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["restrict", address, "mask", mask, ref rest @ ..] if is_default_subnet(address, mask) => {
                if settings.nat {
                    let subnet = settings.nat_subnet;
                    let (address, mask) = (subnet.network(), subnet.netmask());
                    add_line(&mut text, &format!("restrict {address} mask {mask} {}", rest.join(" ")));
                }
            }
            ["server" | "pool", ..] if !settings.ntp_hosts.is_empty() => {
                if !servers_are_in {
                    add_servers(&mut text, &settings.ntp_hosts);
                    servers_are_in = true;
                }
            }
            _ => add_line(&mut text, line),
        }
    }
    if !servers_are_in {
        add_servers(&mut text, &settings.ntp_hosts);
    }
    text
}

fn add_servers(text: &mut String, hosts: &[String]) {
    for host in hosts {
        add_line(text, &format!("server {host} iburst"));
    }
}

fn add_line(text: &mut String, line: &str) {
    *text += line;
    text.push('\n');
}

fn is_default_subnet(address: &str, mask: &str) -> bool {
    let subnet = || Ipv4Net::with_netmask(address.parse::<Ipv4Addr>().ok()?, mask.parse().ok()?).ok();
    subnet() == Some(NAT_SUBNET)
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::settings::{Given, choose};
    use super::*;

    const POOL: &str = include_str!("../../../../overlays/boot_archive/etc/inet/ntp.conf.pool");
    const SERVERS: &str = include_str!("../../../../overlays/boot_archive/etc/inet/ntp.conf.servers");

    fn settings(config: &str) -> Settings {
        let config = Config::parse(config.as_bytes());
        choose(&Given { config: &config, keys: &[], name: None, occupied: &[] }).0
    }

    #[test]
    fn without_settings_nothing_changes() {
        for original in [POOL, SERVERS] {
            assert_eq!(adapted(original, &settings("")), original);
        }
    }

    #[test]
    fn zones_are_served_in_their_network() {
        let text = adapted(POOL, &settings("nat_subnet=10.9.8.0/22\n"));
        assert!(
            text.contains("\nrestrict 10.9.8.0 mask 255.255.252.0 nomodify nopeer noquery notrap\n"),
            "{text}"
        );
        assert!(!text.contains("172.16.9.0"));
        let text = adapted(POOL, &settings("nat=no\n"));
        assert!(!text.contains(" mask ") && text.contains("\nrestrict 127.0.0.1\n"), "{text}");
    }

    #[test]
    fn servers_that_were_set_take_the_place_of_the_others() {
        for original in [POOL, SERVERS, ""] {
            let text = adapted(original, &settings("ntp_hosts=time.example,10.0.0.7\n"));
            let servers: Vec<&str> =
                text.lines().filter(|line| line.starts_with("server") || line.starts_with("pool")).collect();
            assert_eq!(servers, ["server time.example iburst", "server 10.0.0.7 iburst"]);
            assert_eq!(text.contains("driftfile"), !original.is_empty());
        }
    }
}
