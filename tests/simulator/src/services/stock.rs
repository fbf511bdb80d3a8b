//! The services that platforms have, as far as a guest's first boot touches them.

use super::{Dependency, Grouping, Service, State};
use crate::Era;

const ALL: Grouping = Grouping::RequireAll;
const OPTIONAL: Grouping = Grouping::OptionalAll;

/// A service: its name below `svc:/`, the path and arguments of its start method (empty when it is only a milestone, or what
/// it does touches nothing of ours), what it waits for, since when platforms have it (empty: always), and whether it is on.
struct Stock {
    name: &'static str,
    start: &'static str,
    dependencies: &'static [(Grouping, &'static [&'static str])],
    since: &'static str,
    enabled: bool,
}

const fn service(
    name: &'static str,
    start: &'static str,
    dependencies: &'static [(Grouping, &'static [&'static str])],
) -> Stock {
    Stock { name, start, dependencies, since: "", enabled: true }
}

/// The order of the boot: usr/src/cmd/svc/milestone of illumos-joyent and overlay/generic of smartos-live, 2013 to 2022.
const STOCK: &[Stock] = &[
    service("system/filesystem/root:default", "/lib/svc/method/fs-root", &[]),
    service("system/filesystem/usr:default", "/lib/svc/method/fs-usr", &[(ALL, &["system/filesystem/root"])]),
    service("system/device/local:default", "", &[(ALL, &["system/filesystem/usr"])]),
    service(
        "system/filesystem/smartdc:default",
        "/lib/svc/method/fs-joyent",
        &[(ALL, &["system/filesystem/usr"])],
    ),
    service(
        "system/smartdc/config:default",
        "/lib/svc/method/smartdc-config %m",
        &[(ALL, &["system/filesystem/smartdc"])],
    ),
    service(
        "system/filesystem/minimal:default",
        "/lib/svc/method/fs-minimal",
        &[(ALL, &["system/filesystem/smartdc", "system/device/local"])],
    ),
    service(
        "system/manifest-import:default",
        "/lib/svc/method/manifest-import",
        &[(ALL, &["system/filesystem/minimal"]), (OPTIONAL, &["system/smartdc/config"])],
    ),
    service("network/loopback:default", "/lib/svc/method/net-loopback", &[(ALL, &["system/filesystem/usr"])]),
    service(
        "network/routing-setup:default",
        "/lib/svc/method/net-routing-setup",
        &[(ALL, &["network/physical", "network/loopback"]), (OPTIONAL, &["system/filesystem/minimal"])],
    ),
    Stock {
        since: "20200201",
        ..service(
            "network/early-admin:default",
            "",
            &[(ALL, &["network/loopback", "system/filesystem/smartdc"])],
        )
    },
    service(
        "network/physical:default",
        "/lib/svc/method/net-physical",
        &[
            (ALL, &["network/loopback", "system/filesystem/smartdc"]),
            (OPTIONAL, &["network/early-admin", "system/smartdc/config"]),
        ],
    ),
    service(
        "system/identity:node",
        "/lib/svc/method/identity-node",
        &[
            (ALL, &["network/loopback", "network/physical", "system/filesystem/minimal"]),
            (OPTIONAL, &["system/smartdc/config"]),
        ],
    ),
    service("system/identity:domain", "", &[(ALL, &["system/filesystem/minimal"])]),
    service(
        "network/ipfilter:default",
        "/lib/svc/method/ipfilter %m",
        &[(
            ALL,
            &[
                "system/filesystem/minimal",
                "network/physical",
                "system/identity:node",
                "system/identity:domain",
            ],
        )],
    ),
    service(
        "milestone/sysconfig:default",
        "",
        &[(ALL, &["system/identity:node"]), (OPTIONAL, &["system/smartdc/config"])],
    ),
    service(
        "milestone/single-user:default",
        "",
        &[(ALL, &["system/manifest-import", "system/identity:node", "milestone/sysconfig"])],
    ),
    service("system/filesystem/local:default", "", &[(ALL, &["milestone/single-user"])]),
    service("milestone/multi-user:default", "", &[(ALL, &["system/filesystem/local"])]),
    service("milestone/multi-user-server:default", "", &[(ALL, &["milestone/multi-user"])]),
    service(
        "system/console-login:default",
        "",
        &[(ALL, &["system/filesystem/minimal", "system/identity:node"])],
    ),
    service("system/console-login:vt2", "", &[(ALL, &["system/filesystem/minimal"])]),
    service("system/console-login:vt3", "", &[(ALL, &["system/filesystem/minimal"])]),
    service("system/console-login:vt4", "", &[(ALL, &["system/filesystem/minimal"])]),
    service("system/console-login:vt5", "", &[(ALL, &["system/filesystem/minimal"])]),
    service("system/console-login:vt6", "", &[(ALL, &["system/filesystem/minimal"])]),
    service("system/sysevent:default", "", &[(ALL, &["system/filesystem/minimal"])]),
    service(
        "network/ssh:default",
        "/lib/svc/method/sshd %m",
        &[(ALL, &["system/filesystem/local", "system/smartdc/config", "network/physical"])],
    ),
    service(
        "network/ntp:default",
        "/lib/svc/method/ntp %m",
        &[(ALL, &["system/filesystem/local", "system/smartdc/config", "network/physical"])],
    ),
    service("network/dns/multicast:default", "", &[(ALL, &["milestone/multi-user"])]),
    service("network/smtp:sendmail", "", &[(ALL, &["system/filesystem/local"])]),
    service("network/sendmail-client:default", "", &[(ALL, &["system/filesystem/local"])]),
    // smartos-live's first manifest of the agent (2015-04) has the first name. Which platforms have the second is not known, so
    // guests meet both.
    Stock {
        since: "20150401",
        ..service("system/smartdc/ur:default", "", &[(ALL, &["milestone/single-user"])])
    },
    Stock {
        since: "20150401",
        ..service("smartdc/agent/ur:default", "", &[(ALL, &["milestone/single-user"])])
    },
    Stock {
        since: VMINFOD,
        ..service("system/smartdc/vminfod:default", "", &[(ALL, &["system/filesystem/local"])])
    },
    // smartos-live src/vm/smf/system-vmadmd.xml; the platforms before vminfod do not have that one to wait for.
    service(
        "system/smartdc/vmadmd:default",
        "",
        &[(ALL, &["system/smartdc/init"]), (OPTIONAL, &["system/smartdc/vminfod"])],
    ),
    service(
        "system/zones:default",
        "/lib/svc/method/svc-zones %m",
        &[(ALL, &["milestone/multi-user-server"])],
    ),
    service(
        "system/smartdc/init:default",
        "/lib/svc/method/smartdc-init %m",
        &[(ALL, &["system/zones", "network/physical"])],
    ),
];

/// The date from which vmadmd has vminfod beside it, and waits for it: smartos-live src/vm/smf/system-vminfod.xml.
const VMINFOD: &str = "20180101";

/// The instances of a platform, none of them started.
pub fn stock(era: &Era) -> Vec<Service> {
    let mut services: Vec<Service> = STOCK
        .iter()
        .filter(|stock| era.since_or_always(stock.since))
        .map(|stock| {
            let mut service = Service::new(&format!("svc:/{}", stock.name));
            service.enabled = stock.enabled;
            service.state = if stock.enabled { State::Offline } else { State::Disabled };
            if !stock.start.is_empty() {
                service.methods.insert("start".into(), stock.start.into());
            }
            let dependency = |(grouping, names): &(Grouping, &[&str])| Dependency {
                grouping: *grouping,
                fmris: names.iter().map(|name| format!("svc:/{name}")).collect(),
            };
            service.dependencies = stock.dependencies.iter().map(dependency).collect();
            service
        })
        .collect();
    for service in &mut services {
        let properties: &[(&str, &str)] = match service.fmri.as_str() {
            "svc:/system/smartdc/init:default" => &[("config/zpool", "zones")],
            "svc:/system/filesystem/smartdc:default" => {
                &[("joyentfs/usb_mountpoint", "mnt/usbkey"), ("joyentfs/usb_copy_path", "/usbkey")]
            }
            "svc:/network/ipfilter:default" => &[("firewall_config_default/policy", "custom")],
            _ => &[],
        };
        for (name, value) in properties {
            service.groups.extend(name.split('/').next().map(str::to_owned));
            service.properties.insert((*name).to_owned(), (*value).to_owned());
        }
        service.running = service.properties.clone();
    }
    services
}
