//! A test of the tests here: what the shell scripts of older images would have run, before the same judges.
//!
//! Each hazard is played with the commands that the scripts came to in it, on the machine alone: programs that run those
//! commands stand at the paths of the methods. What a boot owes must be lacking then, or the hazard's test could not fail.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};

use kiln_e2e::first_boot::{RSA_KEY, logs};
use kiln_harness::scratch;
use kiln_simulator::storage::{Condition, Pool, PoolState, Source};
use kiln_simulator::{Action, Boot, BootOptions, Fault, Hardware, Machine, Nic, static_program};

use tempfile::TempDir;

use super::stage::{DATA, OLD, OWN, add_disks, disk, fails, fault, on_disks, plant_own, set};
use super::{HAZARDS, access, owed};

/// A hazard as the scripts met it.
#[derive(Clone, Copy)]
struct Case {
    hazard: u32,
    /// What there is before.
    scene: fn(&Machine),
    /// What is in `/usbkey/config`.
    config: &'static str,
    /// Files in the ramdisk.
    files: &'static [(&'static str, &'static str)],
    /// What each boot runs, by method, and its troubles.
    boots: &'static [(Scripts, Option<Trouble>)],
    /// What is typed in the end.
    typed: &'static [&'static [&'static str]],
    /// What is lacking.
    lacking: fn(&Played) -> Vec<String>,
    /// Words of it.
    says: &'static str,
}

/// What methods run, by their names.
type Scripts = &'static [(&'static str, &'static str)];

/// What goes wrong in a boot: the calls of a command with these words.
#[derive(Clone, Copy)]
enum Trouble {
    Fails(&'static str, &'static [&'static str]),
    PowerFailsAfter(&'static str, &'static [&'static str]),
}

impl Trouble {
    fn fault(self) -> Fault {
        match self {
            Self::Fails(command, words) => fails(command, words),
            Self::PowerFailsAfter(command, words) => fault(command, words, Action::DieAfter),
        }
    }
}

/// What became of a hazard.
struct Played {
    machine: Machine,
    before: BTreeMap<String, String>,
    /// The pools that there were.
    pools: Vec<u64>,
    boots: Vec<Boot>,
    /// Where all of it is.
    folder: TempDir,
}

impl Played {
    fn last(&self) -> &Boot {
        self.boots.last().expect("there was one")
    }

    fn file(&self, path: &str) -> String {
        fs::read_to_string(self.machine.ramdisk().join(path)).unwrap_or_default()
    }
}

const CONFIG: &str = "admin_nic=52:54:00:12:34:56\nadmin_ip=192.0.2.10\nadmin_netmask=255.255.255.0\n\
                      admin_gateway=192.0.2.1\nheadnode_default_gateway=192.0.2.1\netherstub=vswitch0\n";

/// A machine with what most hazards have, where nothing has been run.
const CASE: Case = Case {
    hazard: 0,
    scene: |_| {},
    config: CONFIG,
    files: &[],
    boots: &[],
    typed: &[],
    lacking: |_| Vec::new(),
    says: "",
};

const MANIFESTS: [(&str, &str); 2] = [
    ("setup.xml", include_str!("../../../../smf/guest-setup.xml")),
    ("userscript.xml", include_str!("../../../../smf/guest-userscript.xml")),
];

const METHODS: [&str; 5] =
    ["fs-joyent", "smartdc-config", "smartdc-init", "smartos-setup", "smartos-userscript"];

/// The network for zones, by the script's way: a card on the switch, rules line by line, translation by the first card.
const ZONES: &str = "/usr/sbin/dladm create-vnic -t -l vswitch0 vnic0
/usr/sbin/ifconfig vnic0 plumb 172.16.9.1/24 up
/usr/sbin/routeadm -u -e ipv4-forwarding
/usr/sbin/ipf -E
/usr/sbin/ipnat -CF -f /etc/ipf/ipnat.conf";

const TRANSLATION: (&str, &str) = (
    "etc/ipf/ipnat.conf",
    "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/udp auto\nmap e1000g0 172.16.9.0/24 -> 0/32\n",
);

/// What the scripts came to, hazard by hazard. A line that begins with a dash is one whose status they did not look at.
const CASES: [Case; HAZARDS as usize + 1] = [
    // The links of the pool's disk were not ready: no pool, so one is made.
    Case {
        hazard: 1,
        scene: |machine| {
            plant_own(machine, DATA);
            add_disks(machine, &[disk("c3t0d0", 10 << 30)]);
            change(machine, |hardware| hardware.disks[1].late = true);
        },
        boots: &[(
            &[("fs-joyent", "- /usr/sbin/zpool import -f zones\n/usr/sbin/zpool create zones c3t0d0")],
            None,
        )],
        lacking: |played| owed::untouched(&played.machine, &played.before),
        says: "disks/c3t0d0",
        ..CASE
    },
    // One that is destroyed is not listed, and zpool create takes its disk.
    Case {
        hazard: 1,
        scene: |machine| {
            machine.plant_pool("zones", &[DATA], &["var"], |pool| pool.state = PoolState::Destroyed).unwrap();
        },
        boots: &[(&[("fs-joyent", "/usr/sbin/zpool create zones c2t0d0")], None)],
        lacking: |played| owed::untouched(&played.machine, &played.before),
        says: "disks/c2t0d0",
        ..CASE
    },
    Case {
        hazard: 2,
        scene: |machine| {
            let file = File::options().write(true).open(machine.disk(DATA)).unwrap();
            file.write_all_at(b"LUKS\xba\xbe", 0).unwrap();
        },
        boots: &[(&[("fs-joyent", "/usr/sbin/zpool create zones c2t0d0")], None)],
        lacking: |played| owed::untouched(&played.machine, &played.before),
        says: "disks/c2t0d0",
        ..CASE
    },
    // The second boot finds the pool and makes nothing any more.
    Case {
        hazard: 3,
        boots: &[
            (&[("fs-joyent", FIRST_BOOT)], Some(Trouble::Fails("zfs", &["create", "zones/config"]))),
            (&[("fs-joyent", LATER_BOOT)], None),
        ],
        lacking: |played| owed::datasets(&played.machine),
        says: "zones/config is not there",
        ..CASE
    },
    // As mirrors, caches and logs; which of them is no matter.
    Case {
        hazard: 4,
        scene: |machine| add_disks(machine, &[disk("c3t0d0", 10 << 30), disk("c4t0d0", 1 << 30)]),
        boots: &[(&[("fs-joyent", "/usr/sbin/zpool create zones c2t0d0 c3t0d0 c4t0d0")], None)],
        lacking: |played| owed::untouched(&played.machine, &played.before),
        says: "disks/c4t0d0",
        ..CASE
    },
    Case {
        hazard: 5,
        scene: |machine| {
            plant_own(machine, DATA);
            add_disks(machine, &[disk("c3t0d0", 10 << 30)]);
            let over_usr = |pool: &mut Pool| set(pool, "", "mountpoint", "/usr", Source::Local);
            machine.plant_pool("tank", &["c3t0d0"], &[], over_usr).unwrap();
        },
        boots: &[(&[("fs-joyent", "/usr/sbin/zpool import -f zones\n/usr/sbin/zpool import -f tank")], None)],
        lacking: |played| owed::no_strangers(played.last(), played.pools[0]),
        says: "is imported",
        ..CASE
    },
    Case {
        hazard: 6,
        scene: |machine| {
            plant_own(machine, DATA);
            add_disks(machine, &[disk("c3t0d0", 10 << 30), disk("c4t0d0", 10 << 30)]);
            plant_own(machine, "c3t0d0");
        },
        boots: &[(
            &[("fs-joyent", "- /usr/sbin/zpool import -f zones\n/usr/sbin/zpool create zones c4t0d0")],
            None,
        )],
        lacking: |played| owed::untouched(&played.machine, &played.before),
        says: "disks/c4t0d0",
        ..CASE
    },
    Case { hazard: 7, ..DESTROYED },
    Case { hazard: 8, ..DESTROYED },
    Case {
        hazard: 9,
        boots: &[
            (&[("fs-joyent", FIRST_BOOT)], Some(Trouble::PowerFailsAfter("zpool", &["create"]))),
            (&[("fs-joyent", LATER_BOOT)], None),
        ],
        lacking: |played| owed::services(played.last()),
        says: "system/filesystem/smartdc is maintenance",
        ..CASE
    },
    // Stopped when the labels were written and no more: a pool that cannot be imported, on a disk that is not free.
    Case {
        hazard: 10,
        scene: |machine| {
            let unborn = |pool: &mut Pool| pool.condition = Condition::Corrupted;
            machine.plant_pool("zones", &[DATA], &[], unborn).unwrap();
        },
        boots: &[(&[("fs-joyent", FIRST_BOOT)], None)],
        lacking: |played| owed::datasets(&played.machine),
        says: "zones/var is not there",
        ..CASE
    },
    Case {
        hazard: 11,
        boots: &[
            (
                &[(
                    "fs-joyent",
                    "/usr/sbin/zpool create zones c2t0d0
/usr/sbin/zfs create -o mountpoint=legacy zones/var
/usr/sbin/mount -F zfs zones/var /mnt
write /mnt/the-first-file x
/usr/sbin/umount /mnt",
                )],
                Some(Trouble::PowerFailsAfter("umount", &["/mnt"])),
            ),
            (
                &[("fs-joyent", "/usr/sbin/zpool import -f zones\n/usr/sbin/mount -F zfs zones/var /var")],
                None,
            ),
        ],
        lacking: |played| owed::whole_var(&played.machine),
        says: "/var lacks adm",
        ..CASE
    },
    Case {
        hazard: 12,
        boots: &[
            (
                &[(
                    "fs-joyent",
                    "/usr/sbin/zpool create zones c2t0d0
/usr/sbin/zfs create -o mountpoint=legacy zones/opt
/usr/sbin/mount -F zfs zones/opt /opt
write /opt/what-could-be-unpacked x",
                )],
                None,
            ),
            (
                &[("fs-joyent", "/usr/sbin/zpool import -f zones\n/usr/sbin/mount -F zfs zones/opt /opt")],
                None,
            ),
        ],
        lacking: |played| owed::custom(&played.machine),
        says: "zone.json.tmpl is not there",
        ..CASE
    },
    Case {
        hazard: 13,
        boots: &[(&[("fs-joyent", FIRST_BOOT)], Some(Trouble::Fails("swap", &["-a"])))],
        lacking: |played| owed::services(played.last()),
        says: "network/ssh is offline",
        ..CASE
    },
    // A disk smaller than twice the memory is refused when the pool is made already.
    Case {
        hazard: 14,
        scene: |machine| resize(machine, SMALL),
        boots: &[(&[("fs-joyent", "/usr/sbin/zpool create zones c2t0d0\nexit 95")], None)],
        lacking: |played| owed::services(played.last()),
        says: "system/filesystem/smartdc is maintenance",
        ..CASE
    },
    // Swap as large as the memory, and wholly reserved, has no room.
    Case {
        hazard: 15,
        scene: |machine| resize(machine, TINY),
        boots: &[(&[("fs-joyent", FIRST_BOOT)], None)],
        lacking: |played| [owed::datasets(&played.machine), owed::services(played.last())].concat(),
        says: "zones/swap is not there",
        ..CASE
    },
    // The file exists, and that is enough.
    Case { hazard: 16, config: "", boots: &[(&[], None)], ..UNREACHED },
    Case {
        hazard: 17,
        scene: |machine| change(machine, |hardware| hardware.nics[0].mac = "52:54:00:ab:cd:ef".into()),
        boots: &[(&[], None)],
        ..UNREACHED
    },
    // errexit, and mdata-get has no answer.
    Case {
        hazard: 18,
        boots: &[(&[("smartdc-config", "exit 1")], None)],
        lacking: |played| owed::services(played.last()),
        says: "network/ssh is offline",
        ..CASE
    },
    Case {
        hazard: 19,
        config: "admin_ip=192.0.2.10\nadmin_netmask=255.255.255.0\nadmin_gateway=192.0.2.1\n",
        boots: &[(&[], None)],
        ..UNREACHED
    },
    Case {
        hazard: 20,
        config: "admin_nic=52:54:00:12:34:56\nadmin_ip=192.0.2.10\nadmin_netmask=255.255.255.0\n\
                 hostname=x$(touch canary)\n",
        boots: &[(&[], None)],
        lacking: |played| owed::harmless(played.file("usbkey/config").as_bytes()),
        says: "there is a file canary",
        ..CASE
    },
    // What begins with ssh or ecdsa goes into the file, at each boot.
    Case {
        hazard: 21,
        files: &[("root/.ssh/authorized_keys", RSA_KEY)],
        boots: &[(&[], None)],
        lacking: |played| {
            let text = played.file("root/.ssh/authorized_keys");
            owed::keys(&text, &[RSA_KEY, access::SECURITY_KEY, access::RESTRICTED], &[])
        },
        says: "not let in: sk-ssh-ed25519",
        ..CASE
    },
    Case {
        hazard: 22,
        scene: |machine| {
            plant_own(machine, DATA);
            let opt = machine.dataset("zones/opt").unwrap();
            fs::create_dir_all(opt.join("custom/root/.ssh")).unwrap();
            fs::write(opt.join("custom/root/.ssh/authorized_keys"), RSA_KEY).unwrap();
            for path in access::WAY_TO_THE_KEYS {
                fs::set_permissions(opt.join(path), fs::Permissions::from_mode(0o777)).unwrap();
            }
        },
        boots: &[(
            &[("fs-joyent", "/usr/sbin/zpool import -f zones\n/usr/sbin/mount -F zfs zones/opt /opt")],
            None,
        )],
        lacking: |played| {
            let opt = played.machine.dataset("zones/opt").unwrap();
            owed::closed(&opt, &access::WAY_TO_THE_KEYS, rustix::process::geteuid().as_raw())
        },
        says: "custom/root/.ssh: 777",
        ..CASE
    },
    // The first link that dladm lists is not the one of admin_nic.
    Case {
        hazard: 23,
        scene: |machine| {
            let inside =
                Nic { link: "e1000g0".into(), mac: "52:54:00:00:00:01".into(), up: true, dhcp: None };
            change(machine, |hardware| {
                hardware.nics[0].link = "e1000g1".into();
                hardware.nics.insert(0, inside);
            });
        },
        files: &[TRANSLATION],
        boots: &[(&[("smartos-setup", ZONES)], None)],
        lacking: |played| owed::way_out(played.last(), "172.16.9.3"),
        says: "zones do not get out",
        ..CASE
    },
    // Rule after rule, the one in the middle being none.
    Case {
        hazard: 24,
        files: &[
            TRANSLATION,
            ("etc/ipf/1", "pass in quick on e1000g0 proto tcp from any to any port = 22\n"),
            ("etc/ipf/2", "pass in quick on e1000g0 proto tcp from 192.0.2.999 to any port = 80\n"),
            ("etc/ipf/3", "block in log first quick on e1000g0 all\n"),
        ],
        boots: &[(
            &[(
                "smartos-setup",
                "/usr/sbin/ipf -E
/usr/sbin/ipf -Fa
/usr/sbin/ipf -f /etc/ipf/1
/usr/sbin/ipf -f /etc/ipf/2
/usr/sbin/ipf -f /etc/ipf/3",
            )],
            None,
        )],
        lacking: |played| owed::whole_filter(&played.machine, played.last()),
        says: "port 111 is open",
        ..CASE
    },
    // The platform's mdata-get cannot be asked, and the answer is passed on as it is.
    Case {
        hazard: 25,
        scene: |machine| change(machine, |hardware| hardware.bios_vendor = "BHYVE".into()),
        boots: &[(&[], None)],
        typed: &[&["/usr/sbin/smbios", "-t", "1"]],
        lacking: |played| {
            let uuid = played.machine.hardware().unwrap().uuid;
            owed::uuid(&played.last().outputs, &uuid)
        },
        says: "smbios says",
        ..CASE
    },
    Case {
        hazard: 26,
        boots: &[(&[("smartos-userscript", "/usr/bin/hostname renamed\nexit 1")], None)],
        lacking: |played| owed::run_once(played.last()),
        says: "maintenance after 3 runs",
        ..CASE
    },
    Case {
        hazard: 27,
        files: &[TRANSLATION],
        boots: &[
            (&[("smartos-setup", ZONES)], None),
            (
                &[("smartos-setup", ZONES), ("smartos-userscript", "/usr/sbin/svcadm restart smartos/setup")],
                None,
            ),
        ],
        lacking: |played| owed::same_network(&played.boots[0], played.last()),
        says: "smartos/setup is maintenance",
        ..CASE
    },
];

/// Pool and datasets, whatever comes of them; swap is a must.
const FIRST_BOOT: &str = "- /usr/sbin/zpool create zones c2t0d0
- /usr/sbin/zfs create -o mountpoint=legacy zones/config
- /usr/sbin/zfs create -o mountpoint=legacy zones/opt
- /usr/sbin/zfs create -o mountpoint=legacy zones/var
- /usr/sbin/zfs create zones/cores
- /usr/sbin/zfs create zones/cores/global
- /usr/sbin/zfs create -V 1g zones/swap
/usr/sbin/swap -a /dev/zvol/dsk/zones/swap
- /usr/sbin/zfs create -V 512m zones/dump";

/// There is a pool, so all of it is there.
const LATER_BOOT: &str = "/usr/sbin/zpool import -f zones\n/usr/sbin/swap -a /dev/zvol/dsk/zones/swap";

/// Whatever pool is there goes, for a property that came from anywhere, or for a word in the boot menu.
const DESTROYED: Case = Case {
    scene: |machine| {
        plant_own(machine, DATA);
    },
    boots: &[(&[("fs-joyent", "/usr/sbin/zpool import -f zones\n/usr/sbin/zpool destroy -f zones")], None)],
    lacking: |played| owed::pools(&played.machine, &[played.pools[0]]),
    says: "is destroyed",
    ..CASE
};

/// The platform's network service gives up.
const UNREACHED: Case = Case {
    lacking: |played| {
        [owed::services(played.last()), owed::login(&played.machine, played.last(), OWN)].concat()
    },
    says: "network/physical is maintenance",
    ..CASE
};

/// Bytes of a disk for which the memory is too large, and of one on which there is no room for it.
pub const SMALL: u64 = 1536 << 20;
pub const TINY: u64 = 768 << 20;

fn change(machine: &Machine, change: impl FnOnce(&mut Hardware)) {
    let mut hardware = machine.hardware().unwrap();
    change(&mut hardware);
    machine.set_hardware(&hardware).unwrap();
}

/// Gives the disk for data another size.
pub fn resize(machine: &Machine, bytes: u64) {
    change(machine, |hardware| hardware.disks[1].bytes = bytes);
    File::options().write(true).open(machine.disk(DATA)).unwrap().set_len(bytes).unwrap();
}

fn play(case: &Case) -> Played {
    let folder = scratch::folder("old");
    let machine = Machine::new(&folder.path().join("machine"), &Hardware::usual(OLD)).unwrap();
    (case.scene)(&machine);
    let before = on_disks(&machine);
    let pools = machine.pools().unwrap().iter().map(|pool| pool.guid).collect();
    let mut played = Played { machine, before, pools, boots: Vec::new(), folder };
    for (at, (scripts, trouble)) in case.boots.iter().enumerate() {
        let overlay = played.folder.path().join(format!("overlay{at}"));
        let put = |path: String, text: &str| {
            let path = overlay.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("usbkey/config".into(), case.config);
        for (name, text) in MANIFESTS {
            put(format!("lib/svc/manifest/site/{name}"), text);
        }
        for (path, text) in case.files {
            put((*path).into(), text);
        }
        for (method, script) in *scripts {
            // The first thing that the scripts did, always.
            let begin = if *method == "fs-joyent" { "/usr/sbin/devfsadm -c disk\n" } else { "" };
            put(format!("etc/scripted/{method}"), &format!("{begin}{script}"));
        }
        let faults: Vec<Fault> = trouble.map(Trouble::fault).into_iter().collect();
        played.machine.set_faults(&faults).unwrap();
        let program = static_program("scripted").unwrap();
        let words = |words: &&[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let options = BootOptions {
            programs: METHODS.map(|name| (program.clone(), format!("/lib/svc/method/{name}"))).into(),
            overlays: vec![(overlay, "/".into())],
            commands: case.typed.iter().map(words).collect(),
            ..BootOptions::default()
        };
        let boot = played.machine.boot(&options).unwrap();
        // A configuration that a shell evaluates is itself a complaint.
        assert!(boot.complaints.is_empty() || case.hazard == 20, "{:?}\n{}", boot.complaints, logs(&boot));
        assert_eq!(boot.power_failed, !matches!(trouble, None | Some(Trouble::Fails(..))), "{}", logs(&boot));
        played.boots.push(boot);
    }
    played
}

#[test]
fn what_the_scripts_did_is_found_wanting() {
    for hazard in 1..=HAZARDS {
        assert!(CASES.iter().any(|case| case.hazard == hazard), "hazard {hazard} is not played");
    }
    for case in &CASES {
        let played = play(case);
        let lacking = (case.lacking)(&played);
        let says = lacking.iter().any(|line| line.contains(case.says));
        assert!(
            says,
            "hazard {}: not {:?} but {lacking:#?}\n{}",
            case.hazard,
            case.says,
            logs(played.last())
        );
    }
}
