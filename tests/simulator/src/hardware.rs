//! What a machine is made of.

use serde::{Deserialize, Serialize};

use crate::Era;

/// What a machine is made of, and what its boot loader says: `hardware.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The platform that it boots.
    pub era: Era,
    /// Its disks, in the order in which the platform finds them.
    pub disks: Vec<Disk>,
    /// Its network devices.
    pub nics: Vec<Nic>,
    /// Memory in bytes.
    pub memory: u64,
    /// The system's UUID, as the host has it.
    pub uuid: String,
    /// The serial number of SMBIOS structure type 1.
    pub serial: String,
    /// The manufacturer of SMBIOS structure type 1, `Joyent` on a SmartOS host.
    pub manufacturer: String,
    /// The vendor of SMBIOS structure type 0: `BHYVE` under bhyve.
    pub bios_vendor: String,
    /// Boot properties, in the loader's order.
    pub boot_properties: Vec<(String, String)>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The name that the platform gives it, such as `c1t0d0`.
    pub name: String,
    /// Its size in bytes, a multiple of 512.
    pub bytes: u64,
    /// Whether it says that it is removable.
    pub removable: bool,
    /// Whether its first fdisk partition holds the FAT file system that the machine's folder `key` stands for.
    pub key: bool,
    /// Whether its driver finds it at once; else it appears only after `devfsadm` ran twice, as a late disk does.
    #[serde(default)]
    pub late: bool,
    /// The block device of the machine that runs the simulator which it really is, as `/dev/sdb`; then all disks are. None for
    /// a disk that is played.
    #[serde(default)]
    pub device: Option<String>,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// The link's name: the driver's and a number, such as `e1000g0`, `vioif0`.
    pub link: String,
    /// The address, six octets in hexadecimal with colons and leading zeros.
    pub mac: String,
    /// Whether a cable is in it.
    pub up: bool,
    /// What a DHCP server and a router on its network give, as [`crate::network::dhcp::Server`] has it: `address/prefix gateway`
    /// and more; none when nobody answers.
    #[serde(default)]
    pub dhcp: Option<String>,
}

impl Hardware {
    /// A guest as a SmartOS host makes it: a key disk of 1 GiB, one blank data disk of 10 GiB, one network device, 1 GiB of
    /// memory.
    pub fn usual(era: &str) -> Self {
        let era = Era::new(era);
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            disks: vec![
                Disk {
                    name: "c1t0d0".into(),
                    bytes: 1 << 30,
                    removable: false,
                    key: true,
                    late: false,
                    device: None,
                },
                Disk {
                    name: "c2t0d0".into(),
                    bytes: 10 << 30,
                    removable: false,
                    key: false,
                    late: false,
                    device: None,
                },
            ],
            nics: vec![Nic {
                link: if era.since("20150715") { "vioif0".into() } else { "e1000g0".into() },
                mac: "52:54:00:12:34:56".into(),
                up: true,
                dhcp: None,
            }],
            memory: 1 << 30,
            uuid: "564d1e9e-5a0c-4f0b-8a4c-3b8a4b1c7d2e".into(),
            serial: "564d1e9e-5a0c-4f0b-8a4c-3b8a4b1c7d2e".into(),
            manufacturer: "Joyent".into(),
            bios_vendor: "Bochs".into(),
            boot_properties: vec![
                property("console", "ttya"),
                property("ttya-mode", "115200,8,n,1,-"),
                property("smartos", "true"),
                property("disable-ehci", "true"),
                property("disable-uhci", "true"),
                property("disable-kvm", "true"),
            ],
            era,
        }
    }

    /// The value of a boot property.
    pub fn boot_property(&self, name: &str) -> Option<&str> {
        self.boot_properties.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The disk with the name.
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == name)
    }
}

/// The node of the `at`-th disk below /devices, without the letter of the slice.
pub(crate) fn device_node(at: usize) -> String {
    format!("pci@0,0/pci1af4,2@{:x}/blkdev@0,0", at + 4)
}
