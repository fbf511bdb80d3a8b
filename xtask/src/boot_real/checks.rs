//! What guest-init promised, and how it is looked for: commands that every platform has, with absolute names.

use super::era::Stamp;
use super::judge::{Check, Expected};
use super::machine::{ADDRESS, MAC, ROUTER};
use super::metadata::{ALIAS, SCRIPT_LOG};

/// The network for zones, which no setting changes here, and the guest's own address in it.
const ZONES: &str = "172.16.9.0/24";
const ZONES_ROUTER: &str = "172.16.9.1";

fn has(text: impl Into<String>) -> Expected {
    Expected::Has(text.into())
}

/// What is promised for a boot, in the order in which a boot provides it.
///
/// `public_key` is the owner's key, as a line of `authorized_keys`; `boot` counts from 1.
pub fn table(stamp: &Stamp, public_key: &str, boot: u32) -> Vec<Check> {
    let link = stamp.nic().link();
    let lacks = |text: &str| Expected::Lacks(text.to_owned());
    let mut table = Vec::new();
    let mut add = |name, promise, command: &str, expected: Vec<Expected>, lasts| {
        table.push(Check { name, promise, command: command.to_owned(), expected, lasts });
    };

    add(
        "platform",
        "the platform that was put into the image runs",
        "/usr/bin/uname -v",
        vec![Expected::line(format!("joyent_{}", stamp.as_str()))],
        true,
    );
    add(
        "key disk",
        "the disk with the boot files is mounted",
        "/usr/bin/cut -f2,3 /etc/mnttab",
        vec![has("/usbkey pcfs")],
        false,
    );
    add(
        "pool",
        "there is one pool, and it is healthy",
        "/usr/sbin/zpool list -H -o name,health",
        vec![Expected::line("zones ONLINE")],
        true,
    );
    add(
        "pool's identity",
        "the pool is the one that the first boot made",
        "/usr/sbin/zpool list -H -o guid zones",
        vec![Expected::Number],
        true,
    );
    add(
        "journal",
        "the pool was made to its end",
        "/usr/sbin/zfs get -H -o value kiln:step zones",
        vec![Expected::line("complete")],
        true,
    );
    let datasets = ["config", "cores/global", "opt", "var", "swap", "dump"];
    let mut expected: Vec<Expected> =
        datasets.iter().map(|name| Expected::Times(1, format!("zones/{name}"))).collect();
    expected.push(lacks("zones/var.new"));
    add(
        "datasets",
        "the pool has each dataset once, and nothing half made",
        "/usr/sbin/zfs list -H -o name -t filesystem,volume -r zones",
        expected,
        true,
    );
    add(
        "mounts",
        "/var, /opt and /etc/zones are the pool's",
        "/usr/bin/cut -f1-3 /etc/mnttab",
        ["zones/var /var zfs", "zones/opt /opt zfs", "zones/config /etc/zones zfs"].map(has).to_vec(),
        false,
    );
    add(
        "swap",
        "the pool's swap device is in use",
        "/usr/sbin/swap -l",
        vec![has("zvol/dsk/zones/swap")],
        false,
    );
    add(
        "dump",
        "crashes are dumped to the pool",
        "/usr/sbin/dumpadm",
        vec![has("zvol/dsk/zones/dump")],
        false,
    );
    add(
        "own files",
        "the image's tree is in /opt/custom",
        "/usr/bin/ls /opt/custom/etc/zone.json.tmpl",
        vec![Expected::line("/opt/custom/etc/zone.json.tmpl")],
        true,
    );
    add(
        "configuration",
        "the network of the metadata is in /usbkey/config",
        "/usr/bin/cat /usbkey/config",
        vec![
            has(format!("admin_nic={MAC}")),
            has(format!("admin_ip={ADDRESS}")),
            has("admin_netmask=255.255.255.0"),
        ],
        true,
    );
    add(
        "root's password",
        "nobody logs in by password",
        "/usr/bin/cut -d: -f1,2 /etc/shadow",
        vec![has("root:NP")],
        true,
    );
    add(
        "links",
        "the network card is up",
        "/usr/sbin/dladm show-phys -p -o link,state",
        vec![has(format!("{link}:up"))],
        true,
    );
    add(
        "address",
        "the guest has its addresses, outside and in the network for zones",
        "/usr/sbin/ifconfig -a",
        vec![
            has(format!("inet {ADDRESS} netmask ffffff00")),
            has(format!("inet {ZONES_ROUTER} netmask ffffff00")),
        ],
        false,
    );
    add(
        "route",
        "the default route is the metadata's",
        "/usr/bin/netstat -rn",
        vec![has(format!("default {ROUTER}"))],
        false,
    );
    add(
        "outside",
        "packets get out, and answers come in",
        &format!("/usr/sbin/ping {ROUTER} 10"),
        vec![Expected::line(format!("{ROUTER} is alive"))],
        false,
    );
    add(
        "network for zones",
        "the guest's card hangs on a switch of its own",
        "/usr/sbin/dladm show-vnic -p -o link,over",
        vec![has("vnic0:vswitch0")],
        true,
    );
    add(
        "forwarding",
        "packets of zones are passed on",
        "/usr/sbin/routeadm -p ipv4-forwarding",
        vec![has("current=enabled")],
        false,
    );
    add(
        "filter",
        "SSH comes in, and what is not let in is blocked",
        "/usr/sbin/ipfstat -io",
        vec![
            has(format!("pass in quick on {link} proto tcp from any to any port = ssh")),
            has(format!("block in log first quick on {link}")),
        ],
        false,
    );
    add(
        "translation",
        "zones reach the outside with the guest's address",
        "/usr/sbin/ipnat -l",
        vec![has(format!("map {link} {ZONES} -> 0.0.0.0/32 portmap tcp/udp auto"))],
        false,
    );
    add(
        "keys",
        "the metadata's key is in root's authorized_keys",
        "/usr/bin/cat /root/.ssh/authorized_keys",
        vec![Expected::Times(1, public_key.to_owned())],
        true,
    );
    add(
        "hostname",
        "the guest is called what its host says",
        "/usr/bin/hostname",
        vec![Expected::line(ALIAS)],
        true,
    );
    let online = [
        "system/filesystem/smartdc",
        "system/smartdc/config",
        "network/ssh",
        "smartos/setup",
        "system/smartdc/init",
        "smartos/userscript",
    ];
    let names: Vec<String> = online.iter().map(|name| format!("svc:/{name}:default")).collect();
    add(
        "services",
        "guest-init's services and SSH are online",
        &format!("/usr/bin/svcs -H -o state,fmri {}", names.join(" ")),
        names.iter().map(|name| has(format!("online {name}"))).collect(),
        true,
    );
    add(
        "other services",
        "nothing is in maintenance, and mail is off",
        "/usr/bin/svcs -a -H -o state,fmri",
        vec![lacks("maintenance svc:"), lacks("online svc:/network/smtp:sendmail")],
        false,
    );
    let mdata = if stamp.has_mdata() { "/usr/sbin/mdata-get" } else { "/opt/custom/bin/mdata-get" };
    add(
        "metadata",
        "programs can ask for metadata",
        &format!("{mdata} sdc:alias"),
        vec![Expected::line(ALIAS)],
        true,
    );
    add(
        "user-script",
        "the owner's program ran once in each boot, and could ask for metadata",
        &format!("/usr/bin/cat {SCRIPT_LOG}"),
        vec![Expected::Times(boot as usize, format!("the user-script of {ALIAS} ran"))],
        false,
    );
    add(
        "status",
        "guest-init says of itself that all is well",
        "/lib/svc/method/guest-init status --json",
        vec![has("\"result\":\"ok\"")],
        false,
    );
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn table_of(stamp: &str, boot: u32) -> Vec<Check> {
        table(&Stamp::parse(stamp).unwrap(), "ssh-rsa AAAA kiln", boot)
    }

    #[test]
    fn commands_have_absolute_names_and_checks_have_names_of_their_own() {
        let table = table_of("20141030T081701Z", 1);
        let names: BTreeSet<&str> = table.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), table.len());
        for check in &table {
            assert!(check.command.starts_with('/') && !check.expected.is_empty(), "{check:?}");
            assert!(
                !check.command.contains(['\'', '"', ';', '|', '&', '$', '>']),
                "no work for a shell: {check:?}"
            );
        }
    }

    #[test]
    fn the_era_decides_links_and_the_place_of_mdata() {
        let text = |stamp| format!("{:?}", table_of(stamp, 1));
        let (old, new) = (text("20130506T000000Z"), text("20210101T000000Z"));
        assert!(old.contains("e1000g0:up") && old.contains("/opt/custom/bin/mdata-get"));
        assert!(new.contains("vioif0:up") && new.contains("/usr/sbin/mdata-get"));
    }
}
