//! Boots with scripts in the places of the guest's programs.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;

use kiln_harness::scratch;
use kiln_simulator::{Action, Boot, BootOptions, Era, Fault, Hardware, Machine, static_program};
use tempfile::TempDir;

const SETUP: &str = "<service_bundle type='manifest' name='x'><service name='smartos/setup' type='service' version='1'>
<create_default_instance enabled='true'/>
<dependency name='n' grouping='require_all' restart_on='none' type='service'><service_fmri value='svc:/network/physical'/>
<service_fmri value='svc:/system/filesystem/local'/></dependency>
<dependency name='o' grouping='optional_all' restart_on='none' type='service'><service_fmri value='svc:/network/ipfilter'/></dependency>
<dependent name='z' grouping='optional_all' restart_on='none'><service_fmri value='svc:/system/zones'/></dependent>
<exec_method type='method' name='start' exec='/lib/svc/method/smartos-setup %m' timeout_seconds='0'/>
</service></service_bundle>";

const CONFIG: &str = "admin_nic=52:54:00:12:34:56\nadmin_ip=10.0.0.2\nadmin_netmask=255.255.255.0\n";

/// A machine whose methods are scripts.
struct Scripted {
    machine: Machine,
    folder: TempDir,
}

impl Scripted {
    fn new(era: &str, scripts: &[(&str, &str)]) -> Self {
        let folder = scratch::folder("simulator-boot");
        let machine = Machine::new(&folder.path().join("machine"), &Hardware::usual(era)).unwrap();
        let this = Self { machine, folder };
        let overlay = this.folder.path().join("overlay");
        fs::create_dir_all(overlay.join("etc/scripted")).unwrap();
        fs::create_dir_all(overlay.join("lib/svc/manifest/site")).unwrap();
        fs::create_dir_all(overlay.join("usbkey")).unwrap();
        fs::write(overlay.join("usbkey/config"), CONFIG).unwrap();
        fs::write(overlay.join("lib/svc/manifest/site/setup.xml"), SETUP).unwrap();
        for (name, script) in scripts {
            fs::write(overlay.join("etc/scripted").join(name), script).unwrap();
        }
        this
    }

    fn boot(&self) -> Boot {
        let program = static_program("scripted").unwrap();
        let methods = ["fs-joyent", "smartdc-config", "smartdc-init", "smartos-setup"];
        let options = BootOptions {
            programs: methods
                .iter()
                .map(|name| (program.clone(), format!("/lib/svc/method/{name}")))
                .collect(),
            overlays: vec![(self.folder.path().join("overlay"), "/".into())],
            ..BootOptions::default()
        };
        self.machine.boot(&options).unwrap()
    }
}

#[test]
fn services_start_in_order_and_var_run_is_hidden() {
    for era in Era::ALL {
        let scripted = Scripted::new(
            era,
            &[
                (
                    "fs-joyent",
                    "write /var/run/early x\nwrite /etc/svc/volatile/early x\nwrite /dev/console hello",
                ),
                ("smartdc-config", "/usr/bin/hostname early"),
                (
                    "smartos-setup",
                    "/usr/bin/hostname late\n/usr/sbin/svcadm disable network/ntp\n/usr/sbin/svcadm restart network/ssh",
                ),
            ],
        );
        let boot = scripted.boot();
        assert_eq!(boot.complaints, [""; 0]);
        let instances = boot.runtime.services.instances.keys();
        let waiting: Vec<_> = instances.filter(|fmri| boot.state(fmri) == "offline").collect();
        assert!(waiting.is_empty(), "{waiting:?} {:?} {:?}", boot.started, boot.logs);
        for service in ["system/filesystem/smartdc", "network/ssh", "smartos/setup", "system/smartdc/init"] {
            assert_eq!(boot.state(service), "online", "{era} {service}");
        }
        assert_eq!(boot.state("network/ntp"), "disabled");
        let at = |name: &str| {
            let full = format!("svc:/{name}:default");
            boot.started
                .iter()
                .position(|fmri| *fmri == full)
                .unwrap_or_else(|| panic!("{name} in {:?}", boot.started))
        };
        assert!(at("system/filesystem/smartdc") < at("system/smartdc/config"));
        assert!(at("system/smartdc/config") < at("network/physical"));
        assert!(at("network/physical") < at("smartos/setup"));
        assert!(at("smartos/setup") < at("system/zones"), "a dependent waits");
        assert_eq!(boot.started.iter().filter(|fmri| *fmri == "svc:/network/ssh:default").count(), 2);
        assert_eq!(boot.runtime.host.name, "late");
        assert_eq!(boot.command_count(), 4, "hostname twice, svcadm twice");
        assert!(boot.console.contains("hello"));
        assert!(boot.logs["svc:/smartos/setup:default"].contains("+ /usr/bin/hostname late"));
    }
}

#[test]
fn a_fatal_exit_of_the_first_service_stops_nearly_everything_and_another_failure_is_tried_again() {
    let boot = Scripted::new(Era::ALL[0], &[("fs-joyent", "exit 95")]).boot();
    assert_eq!(boot.state("system/filesystem/smartdc"), "maintenance");
    for service in
        ["system/filesystem/minimal", "network/physical", "network/ssh", "system/console-login:default"]
    {
        assert_eq!(boot.state(service), "offline", "{service}");
    }
    let boot = Scripted::new(Era::ALL[0], &[("smartdc-init", "/usr/bin/hostname again\nexit 1")]).boot();
    assert_eq!(boot.state("system/smartdc/init"), "maintenance");
    assert_eq!(
        boot.calls.iter().filter(|call| call.argv[0] == "/usr/bin/hostname").count(),
        3,
        "tried three times"
    );
    assert_eq!(boot.state("network/ssh"), "online");
}

#[test]
fn the_key_and_a_pool_outlast_a_power_cycle() {
    let scripted = Scripted::new(
        Era::ALL[1],
        &[(
            "fs-joyent",
            "/usr/sbin/devfsadm -c disk\n/usr/sbin/mount -F pcfs -o foldcase /dev/dsk/c1t0d0p1 /usbkey\nwrite /usbkey/config hostname=x\n\
         - /usr/sbin/zpool create zones c2t0d0\n- /usr/sbin/zpool import -f -N zones\n- /usr/sbin/zfs create -o mountpoint=legacy zones/var\n\
         /usr/sbin/mount -O -F zfs zones/var /var\nwrite /var/file x\n/usr/sbin/zfs set kiln:step=1 zones",
        )],
    );
    let first = scripted.boot();
    assert_eq!(first.complaints, [""; 0], "{:?}", first.logs);
    assert_eq!(first.state("system/filesystem/smartdc"), "online", "{:?}", first.logs);
    let second = scripted.boot();
    assert_eq!(second.complaints, [""; 0]);
    assert_eq!(second.state("system/filesystem/smartdc"), "online", "{:?}", second.logs);
    assert_eq!(scripted.machine.pools().unwrap().len(), 1);
    assert_eq!(fs::read_to_string(scripted.machine.key().join("config")).unwrap(), "hostname=x\n");
    assert_eq!(
        fs::read_to_string(scripted.machine.dataset("zones/var").unwrap().join("file")).unwrap(),
        "x\n"
    );
    assert!(!scripted.machine.ramdisk().join("var/file").exists(), "it was in the pool");
    // The pool's /var has neither /var/ssh nor /var/run: what a copy that is not made costs.
    assert_eq!(second.state("system/filesystem/minimal"), "maintenance");
}

#[test]
fn faults_hit_the_call_they_name() {
    let scripted = Scripted::new(
        Era::ALL[0],
        &[("fs-joyent", "- /usr/bin/hostname a\n- /usr/bin/hostname b\n- /usr/bin/hostname c")],
    );
    let fail = |nth, action| Fault { command: "hostname".into(), arguments: Vec::new(), nth, action };
    scripted.machine.set_faults(&[fail(2, Action::Fail { status: 7, stderr: "no".into() })]).unwrap();
    let boot = scripted.boot();
    let statuses: Vec<_> = boot
        .calls
        .iter()
        .filter(|call| call.argv[0] == "/usr/bin/hostname")
        .map(|call| call.status)
        .collect();
    assert_eq!(statuses, [Some(0), Some(7), Some(0)]);
    scripted.machine.set_faults(&[fail(2, Action::DieAfter)]).unwrap();
    let boot = scripted.boot();
    assert!(boot.power_failed && boot.hung.is_none());
    assert_eq!(boot.runtime.host.name, "b");
    assert_eq!(boot.state("system/filesystem/smartdc"), "offline");
}
