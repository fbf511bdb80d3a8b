//! net-physical, identity-node and ipfilter.

use std::collections::BTreeMap;
use std::fs;

use super::CONFIG_ERROR;
use crate::commands::call;
use crate::{Reply, World};

/// The settings of /usbkey/config, after the file that it may include: /lib/sdc/config.sh.
fn config(world: &World) -> Option<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    let own = fs::read_to_string(world.path("/usbkey/config")).ok()?;
    let included = fs::read_to_string(world.path("/usbkey/config.inc/generic")).unwrap_or_default();
    for line in included.lines().chain(own.lines()) {
        let line = line.trim_start();
        if line.starts_with(|first: char| first.is_ascii_alphabetic())
            && let Some((key, value)) = line.split_once('=')
        {
            settings.insert(key.to_owned(), value.to_owned());
        }
    }
    Some(settings)
}

/// What the script's shell would execute in place of taking it as a value: load_sdc_config evals every line.
fn evaluated(settings: &BTreeMap<String, String>) -> Option<&str> {
    let special = |c: char| " \t$`;&|<>()'\"\\*?[]#~!{}".contains(c);
    settings
        .iter()
        .find(|(key, value)| key.contains(special) || value.contains(special))
        .map(|(key, _)| key.as_str())
}

/// An address without leading zeros and in lower case, as dladm and the script's normalisation have it.
fn plain_mac(text: &str) -> String {
    let octet = |octet: &str| {
        u8::from_str_radix(octet, 16).map_or_else(|_| octet.to_owned(), |octet| format!("{octet:x}"))
    };
    text.split(':').map(octet).collect::<Vec<_>>().join(":")
}

/// net-physical: links first, then the addresses that /usbkey/config has.
pub fn physical(world: &mut World, _: &[&str]) -> Reply {
    let first = call(world, &["dladm", "init-phys"]);
    if first.status != 0 {
        return first;
    }
    let Some(settings) = config(world) else {
        world.console("NOTICE: net-physical: no configuration");
        return Reply::ok();
    };
    if let Some(key) = evaluated(&settings) {
        return Reply::refuse(format!("would have the shell evaluate the value of {key} in /usbkey/config"));
    }
    for name in
        settings.get("etherstub").map_or("", String::as_str).split(',').filter(|name| !name.is_empty())
    {
        let made = call(world, &["dladm", "create-etherstub", "-t", name]);
        if made.status != 0 {
            return made;
        }
    }
    let Some(nic) = settings.get("admin_nic") else { return Reply::ok() };
    let link = world
        .hardware
        .nics
        .iter()
        .find(|own| plain_mac(&own.mac) == plain_mac(nic))
        .map(|own| own.link.clone());
    let Some(link) = link else {
        world.console("ERROR: admin NIC not found");
        return Reply::fail(CONFIG_ERROR, format!("admin NIC not found: {nic}"));
    };
    match admin(world, &settings, &link) {
        Ok(()) => Reply::ok(),
        Err(reply) => reply,
    }
}

/// The first address, the default route and the resolver.
fn admin(world: &mut World, settings: &BTreeMap<String, String>, link: &str) -> Result<(), Reply> {
    let get = |key: &str| settings.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let done =
        |reply: Reply| if reply.status == 0 { Ok(()) } else { Err(Reply { status: CONFIG_ERROR, ..reply }) };
    done(call(world, &["ifconfig", link, "plumb"]))?;
    if let Some(mtu) = get("admin_mtu").filter(|_| world.era().since("20140101")) {
        if !mtu.parse::<u32>().is_ok_and(|mtu| (1500..=9000).contains(&mtu)) {
            return Err(Reply::fail(95, format!("invalid mtu: {mtu}")));
        }
        done(call(world, &["ifconfig", link, "mtu", mtu]))?;
    }
    match (get("admin_ip"), get("admin_netmask")) {
        (Some("dhcp"), _) if !world.era().since("20140101") => {
            return Err(Reply::fail(CONFIG_ERROR, "ifconfig: dhcp: bad address"));
        }
        (None | Some("dhcp"), _) => done(call(world, &["ifconfig", link, "dhcp"]))?,
        (Some("none"), _) if world.era().since("20180101") => {}
        (Some(ip), Some(mask)) => done(call(world, &["ifconfig", link, "inet", ip, "netmask", mask, "up"]))?,
        (Some(_), None) => return Err(Reply::fail(CONFIG_ERROR, "admin_netmask is missing")),
    }
    if let Some(gateway) = get("headnode_default_gateway").or(get("admin_gateway")) {
        let written = fs::write(world.path("/etc/defaultrouter"), format!("{gateway}\n"));
        written.map_err(|_| Reply::fail(CONFIG_ERROR, "cannot write /etc/defaultrouter"))?;
        // Repeating it after a restart fails, which the script does not look at.
        call(world, &["route", "-n", "add", "default", gateway]);
    }
    let is_static = get("admin_ip").is_some_and(|ip| ip != "dhcp");
    if let (Some(servers), Some(domain)) = (get("dns_resolvers"), get("dns_domain"))
        && (is_static || world.era().since("20220101"))
    {
        let mut text = format!("domain {domain}\nsearch {domain}\n");
        servers.split(',').for_each(|server| text += &format!("nameserver {server}\n"));
        // The script does not look whether it can be written.
        let _ = fs::write(world.path("/etc/resolv.conf"), text);
    }
    Ok(())
}

/// identity-node: the name in /etc/nodename, else `unknown`; what was set before is overwritten.
pub fn identity_node(world: &mut World, _: &[&str]) -> Reply {
    let name = fs::read_to_string(world.path("/etc/nodename")).unwrap_or_default();
    let name = name.lines().next().map_or("", str::trim);
    let name = if name.is_empty() { "unknown" } else { name };
    call(world, &["hostname", name])
}

/// ipfilter start and reload: nothing without files; else rules are loaded into the inactive set and swapped in if all of
/// them were taken.
pub fn ipfilter(world: &mut World, argv: &[&str]) -> Reply {
    if argv.get(1) == Some(&"stop") {
        return call(world, &["ipf", "-D"]);
    }
    if world.era().since("20131201") {
        for name in ["ipf.conf", "ipnat.conf"] {
            let (from, to) =
                (world.path(&format!("/var/fw/{name}")), world.path(&format!("/etc/ipf/{name}")));
            if from.exists() {
                let _ = fs::rename(&to, to.with_extension("conf.orig"));
                let _ = std::os::unix::fs::symlink(format!("/var/fw/{name}"), &to);
            }
        }
    }
    let (rules, nat) = ("/etc/ipf/ipf.conf", "/etc/ipf/ipnat.conf");
    let (has_rules, has_nat) = (world.path(rules).exists(), world.path(nat).exists());
    if !has_rules && !has_nat {
        return Reply::ok();
    }
    let mut steps: Vec<Vec<&str>> = vec![vec!["ipf", "-E"], vec!["ipf", "-IFa"]];
    if has_rules {
        steps.push(vec!["ipf", "-I", "-f", rules]);
    }
    steps.push(vec!["ipf", "-s", "-y"]);
    steps.push(vec!["ipnat", "-CF"]);
    if has_nat {
        steps.push(vec!["ipnat", "-f", nat]);
    }
    for step in steps {
        let reply = call(world, &step);
        if reply.status != 0 {
            return Reply { status: CONFIG_ERROR, ..reply };
        }
    }
    Reply::ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_take_apart_is_seen() {
        let with = |value: &str| BTreeMap::from([("hostname".to_owned(), value.to_owned())]);
        assert_eq!(evaluated(&with("box-1.example.org")), None);
        for value in ["a b", "$(reboot)", "`x`", "a;b", "'a'"] {
            assert_eq!(evaluated(&with(value)), Some("hostname"), "{value}");
        }
        assert_eq!(plain_mac("52:54:00:0A:01:02"), "52:54:0:a:1:2");
    }
}
