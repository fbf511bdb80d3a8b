//! The services of the zone. Their states stand in a database that only illumos itself may change, and some of them are known there
//! only when the manifest of their package was imported, so all of this is done at the first boot.

use anyhow::Result;

use super::outcome;
use crate::install_base::config::{Family, PREFIX};
use crate::install_base::proto::Proto;
use crate::report::Outcome;

/// Scripts by which a bare seed ends its first boot; base images have zoneinit for that.
const OF_THE_SEED: [&str; 2] = ["/etc/rc2.d/S99final", "/etc/rc2.d/S98mdata"];
/// What those scripts do to services (source: imagetools, `include/S99final`).
const SWITCHES: [(&str, &str); 5] = [
    ("disable", "svc:/network/dns/multicast:default"),
    ("disable", "svc:/network/physical:nwam"),
    ("disable", "svc:/network/rpc/bind:default"),
    ("disable", "svc:/system/rcap:default"),
    ("enable", "svc:/system/sac:default"),
];
/// Manifests that a seed has beyond those of its platform, and the profile of its services.
const SITE: &str = "/var/svc/manifest/site";
const PROFILE: &str = "/etc/svc/profile/site.xml";
/// The manifest of the services that tell the host how the first boot ended.
const MDATA: &str = "/opt/local/lib/svc/manifest/mdata.xml";
/// The service that sets the zone up.
const ZONEINIT: &str = "svc:/smartdc/zoneinit:default";

/// Where people read what only they can do.
const TODO: &str = "/root/pkgbuild.txt";

/// Does what the scripts of the seed would do, and lets zoneinit end the first boot: on its service depends the one that tells the
/// host of the end by giving /var/svc/provisioning its other name.
pub fn arrange(proto: &mut Proto) -> Outcome<()> {
    for script in OF_THE_SEED {
        proto.remove(script);
    }
    let mut count = 0;
    // One by one: a service that a platform does not have fails, and must not keep the others from it.
    let mut later = |proto: &mut Proto, why: &str, command: String| {
        proto.later(why, &[command]);
        count += 1;
    };
    for (verb, service) in SWITCHES {
        later(
            proto,
            &format!("{verb} {service}, as in all zones"),
            format!("/usr/sbin/svcadm {verb} {service}"),
        );
    }
    for name in
        proto.names(SITE).iter().filter(|name| name.as_bytes().ends_with(b".xml") && !name.contains(' '))
    {
        later(proto, "a service of the seed's site", format!("/usr/sbin/svccfg import {SITE}/{name}"));
    }
    if proto.node(PROFILE).is_some() {
        later(proto, "the states of the seed's services", format!("/usr/sbin/svccfg apply {PROFILE}"));
    }
    if proto.node(MDATA).is_some() && !imports(proto, MDATA) {
        later(proto, "the services of metadata", format!("/usr/sbin/svccfg import {MDATA}"));
    }
    if proto.has_package("zoneinit") {
        later(
            proto,
            "zoneinit sets the zone up and ends its first boot",
            format!("/usr/sbin/svcadm enable {ZONEINIT}"),
        );
    }
    outcome(true, format!("{count} changes to services at the first boot"))
}

/// Whether the first boot imports a manifest already, because its package says so.
fn imports(proto: &Proto, manifest: &str) -> bool {
    let mut commands = proto.first_boot.entries().iter().flat_map(|entry| &entry.commands);
    commands.any(|command| {
        command.iter().any(|word| word == "import") && command.iter().any(|word| word == manifest)
    })
}

/// Says what a machine that builds packages needs and only a network gives.
pub fn package_building(proto: &mut Proto) -> Result<Outcome<()>> {
    if proto.wanted.family() < Family::Pkgbuild {
        return Ok(outcome(false, "only images called pkgbuild build packages"));
    }
    let branch = proto.wanted.git_branch();
    let text = format!(
        "What a machine that builds packages still needs, from the network:\n\n\
         {PREFIX}/bin/git clone -b {branch} https://github.com/TritonDataCenter/pkgsrc.git /data/pkgsrc\n\
         {PREFIX}/bin/git clone https://github.com/TritonDataCenter/pkgbuild.git /data/pkgbuild\n"
    );
    proto.write(TODO, 0o644, text)?;
    Ok(outcome(true, format!("the trees of pkgsrc come from the network: {TODO} says how")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn zoneinit_takes_the_place_of_the_seeds_scripts() {
        let files =
            [("/etc/rc2.d/S99final", ""), ("/var/svc/manifest/site/one.xml", ""), (PROFILE, ""), (MDATA, "")];
        let mut proto = proto("minimal-64", &files);
        proto.installed.insert("zoneinit".into(), "1".into());
        arrange(&mut proto);
        assert_eq!(proto.names("/etc/rc2.d"), [""; 0]);
        let commands: Vec<String> = proto
            .first_boot
            .entries()
            .iter()
            .flat_map(|entry| entry.commands.iter().map(|words| words.join(" ")))
            .collect();
        assert_eq!(
            commands[..2],
            [
                "/usr/sbin/svcadm disable svc:/network/dns/multicast:default",
                "/usr/sbin/svcadm disable svc:/network/physical:nwam",
            ]
        );
        assert_eq!(
            commands[4..],
            [
                "/usr/sbin/svcadm enable svc:/system/sac:default",
                "/usr/sbin/svccfg import /var/svc/manifest/site/one.xml",
                "/usr/sbin/svccfg apply /etc/svc/profile/site.xml",
                "/usr/sbin/svccfg import /opt/local/lib/svc/manifest/mdata.xml",
                "/usr/sbin/svcadm enable svc:/smartdc/zoneinit:default",
            ]
        );
        let before = commands.len();
        arrange(&mut proto);
        let imports =
            proto.first_boot.entries()[before..].iter().filter(|entry| entry.why.contains("metadata"));
        assert_eq!(imports.count(), 0, "it is imported once");
    }
}
