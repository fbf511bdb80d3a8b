//! Guests that boot: images as `kiln retro` makes them, on the simulator, with `kiln metadata serve` behind their second serial
//! port.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kiln_harness::scratch;
use kiln_shim::Settings;
use kiln_simulator::{Boot, BootOptions, Hardware, Machine, static_program};
use kiln_ufs::{FileSystem, FileType};
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::Lab;
use crate::metadata::Server;

/// How much faster than real the clocks of guests run: boots wait for services and hosts.
const TIME_SCALE: u32 = 50;

/// The guest's program in its ramdisk.
pub const PROGRAM: &str = "/lib/svc/method/guest-init";

/// What an image of one platform gives to its guests.
pub struct Image {
    lab: Lab,
    machines: TempDir,
    stamp: String,
}

/// The least room, in bytes, for machines in memory.
const ROOM: u64 = 512 << 20;

/// A folder for machines, whose files are small and change often: in memory, if there is room and programs may be run from
/// there. On a disk, most of the time of a boot goes into the host's file system.
fn folder_for_machines() -> TempDir {
    let memory = "/dev/shm";
    let is_fit = statvfs(memory).is_ok_and(|about| {
        about.f_bavail.saturating_mul(about.f_frsize) >= ROOM
            && !about.f_flag.contains(StatVfsMountFlags::NOEXEC)
    });
    let in_memory = || tempfile::Builder::new().prefix("kiln-machines.").tempdir_in(memory).ok();
    is_fit.then(in_memory).flatten().unwrap_or_else(|| scratch::folder("machines"))
}

impl Image {
    /// The image of a stand-in platform with this stamp, which tests that run at the same time share; `None` after a loud skip.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn shared(stamp: &'static str) -> Option<Arc<Self>> {
        static SHARED: Mutex<BTreeMap<&str, Weak<Image>>> = Mutex::new(BTreeMap::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = shared.get(stamp).and_then(Weak::upgrade) {
            return Some(image);
        }
        let image = Arc::new(Self::build(stamp)?);
        shared.insert(stamp, Arc::downgrade(&image));
        Some(image)
    }

    /// Builds an image of a stand-in platform with this stamp and unpacks its boot partition and its boot archive; `None` after
    /// a loud skip when there is no kiln to test.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn build(stamp: &str) -> Option<Self> {
        Self::build_with(stamp, &[])
    }

    /// The same with an overlay of the owner's: files with their contents, by paths in the boot archive.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn build_with(stamp: &str, overlay: &[(&str, &str)]) -> Option<Self> {
        let lab = Lab::open()?;
        fs::create_dir_all(lab.join("data")).expect("the scratch folder is writable");
        let tarball = format!("data/platform-{stamp}.tgz");
        lab.kiln_ok(&["demo", "platform", "--stamp", stamp, "--output", &tarball]);
        for (path, text) in overlay {
            let to = lab.join("overlay").join(path);
            fs::create_dir_all(to.parent().expect("it has a folder"))
                .expect("the scratch folder is writable");
            fs::write(to, text).expect("the scratch folder is writable");
        }
        let mut build = vec!["retro", stamp, "--version", "test"];
        if !overlay.is_empty() {
            build.extend(["--overlay", "overlay"]);
        }
        lab.kiln_ok(&build);
        let image = format!("output/smartos-retro-{stamp}-test.zvol.gz");
        lab.kiln_ok(&["verify", &image]);
        let archive = format!("os/{stamp}/platform/i86pc/amd64/boot_archive");
        for path in ["custom.tgz", &archive] {
            let to = lab.join("key").join(path);
            fs::create_dir_all(to.parent().expect("it has a folder"))
                .expect("the scratch folder is writable");
            let mut cat = lab.command();
            cat.args(["cat", &format!("{image}:/{path}")]).stdout(File::create(&to).expect("writable"));
            assert!(cat.status().expect("kiln starts").success(), "{path}");
        }
        let path = lab.join("key").join(&archive);
        let file = File::open(&path).expect("it was just written");
        let length = file.metadata().expect("readable").len();
        let archive = FileSystem::open(file, length).expect("kiln's own boot archives can be read");
        unpack(&archive, &lab.join("ramdisk"));
        // The loader alone reads it, and each guest has a key of its own.
        drop(archive);
        fs::write(&path, "the boot archive\n").expect("the scratch folder is writable");
        Some(Self { lab, machines: folder_for_machines(), stamp: stamp.to_owned() })
    }

    /// A guest of this image on a machine made for its platform, with what `vmadm get` on its host prints.
    ///
    /// # Panics
    /// The machine cannot be made.
    pub fn guest(&self, name: &str, hardware: &Hardware, metadata: &Value) -> Guest<'_> {
        let machine = Machine::new(&self.machines.path().join(name), hardware).expect("the machine is made");
        copy(&self.lab.join("key"), &machine.key());
        let guest = Guest { image: self, machine, name: name.to_owned(), host: None };
        guest.set_metadata(metadata);
        guest
    }

    /// Another guest with the disks of this one, which is switched off, and the same host.
    ///
    /// # Panics
    /// They cannot be copied.
    pub fn twin(&self, name: &str, of: &Guest<'_>) -> Guest<'_> {
        let folder = self.lab.join(name);
        let copied = Command::new("cp")
            .arg("-a")
            .arg("--sparse=always")
            .arg(of.machine.folder())
            .arg(&folder)
            .status();
        assert!(copied.expect("cp starts").success(), "cannot copy {}", of.name);
        let hardware = of.machine.hardware().expect("the machine has hardware");
        let machine = Machine::new(&folder, &hardware).expect("the machine is there");
        let guest = Guest { image: self, machine, name: name.to_owned(), host: None };
        fs::copy(of.data(), guest.data()).expect("the scratch folder is writable");
        guest
    }

    /// A guest of this image on the usual machine, with the usual metadata.
    pub fn usual_guest(&self, name: &str) -> Guest<'_> {
        self.guest(name, &Hardware::usual(&self.stamp), &metadata())
    }

    /// A file of text in its boot archive.
    ///
    /// # Panics
    /// There is none.
    pub fn file(&self, path: &str) -> String {
        fs::read_to_string(self.lab.join("ramdisk").join(path)).expect("the boot archive has it")
    }

    /// The stamp of its platform.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }
}

/// What `vmadm get` prints for a guest with one card, a key, and settings left alone.
pub fn metadata() -> Value {
    json!({
        "uuid": "564d1e9e-5a0c-4f0b-8a4c-3b8a4b1c7d2e", "hostname": "oldskool", "alias": "oldskool",
        "dns_domain": "example.com", "resolvers": ["192.0.2.53", "192.0.2.54"],
        "nics": [{
            "interface": "net0", "mac": "52:54:00:12:34:56", "nic_tag": "external", "primary": true, "model": "e1000",
            "ip": "192.0.2.10", "netmask": "255.255.255.0", "gateway": "192.0.2.1",
            "ips": ["192.0.2.10/24"], "gateways": ["192.0.2.1"],
        }],
        "routes": {},
        "customer_metadata": { "root_authorized_keys": RSA_KEY },
        "internal_metadata": {},
    })
}

/// A key that every platform takes.
pub const RSA_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDc+I3svPS/z1+f/s/Y55kGO32D1srqs7W5rFC7nw6lGElStbGL2cOBavmanjC9\
Yj8v1P6FgpCOJLH5F/VTUqC1lx2Sna6CBshSQ92P7KfLu6pt0iYeKQv2syb2oYJ5qaRbb42Iqw5c1WIZS5N8ULMYwIOLDiPeh0cSqvaRBcSvMA7L/HbhHY\
s3ULPfojv8ni6oxaOAu44iUg2xjTfa5I44dhFsRDO4qC5FJOLNNST+zpdrkpmZp2ftYRO2Q5xm3LZnQrGJCQkilnyBYPEkJPavQhowLxveOMnwrLgjInQG\
eXWKzDpcpDNrQGcKSc2sAgxGHHkrId+sR1ZXH3baIMrV owner@example.com";

/// A script for [`Guest::options_with_interpreter`].
pub const INTERPRETED: &str = "#!/usr/bin/interpreter\n";

/// A machine that boots an image.
pub struct Guest<'a> {
    image: &'a Image,
    /// The machine.
    pub machine: Machine,
    name: String,
    host: Option<Server>,
}

impl Guest<'_> {
    /// Changes what the host says from its next start on.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set_metadata(&self, metadata: &Value) {
        fs::write(self.data(), metadata.to_string()).expect("the scratch folder is writable");
    }

    /// What the host keeps, with what the guest has put.
    ///
    /// # Panics
    /// It is no JSON.
    pub fn kept(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data()).expect("the host keeps it")).expect("it is JSON")
    }

    fn data(&self) -> PathBuf {
        self.image.machines.path().join(format!("{}.json", self.name))
    }

    /// Switches the host's side of the metadata channel on.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_host(&mut self) {
        let mut kiln = self.image.lab.command();
        let data = self.data();
        kiln.args(["metadata", "serve", "--listen", "pty", "--persist", "--data"]).arg(data);
        self.host = Some(Server::run(&mut kiln));
    }

    /// Switches it off.
    pub fn stop_host(&mut self) {
        self.host = None;
    }

    /// Takes the machine apart.
    ///
    /// # Panics
    /// It cannot be removed.
    pub fn scrap(mut self) {
        self.stop_host();
        fs::remove_dir_all(self.machine.folder()).expect("the machine's folder can be removed");
    }

    /// How the machine is switched on, to be refined: with the image's ramdisk, and the host behind the second serial port.
    pub fn options(&self) -> BootOptions {
        let mut settings = Settings::default().time_scale(TIME_SCALE);
        if let Some(host) = &self.host {
            settings = settings.device("/dev/term/b", host.place());
        }
        BootOptions {
            settings,
            overlays: vec![(self.image.lab.join("ramdisk"), "/".into())],
            ..BootOptions::default()
        }
    }

    /// The same with an interpreter for scripts that are [`INTERPRETED`], which runs `program` whatever is in them: a command a
    /// line, as the simulator's program `scripted` takes them.
    ///
    /// # Panics
    /// The files cannot be written.
    pub fn options_with_interpreter(&self, program: &str) -> BootOptions {
        let folder = self.machine.folder().join("interpreter");
        let scripts = folder.join("etc/scripted");
        fs::create_dir_all(&scripts).expect("the scratch folder is writable");
        fs::write(scripts.join("interpreter"), program).expect("the scratch folder is writable");
        let mut options = self.options();
        options.overlays.push((folder, "/".into()));
        let interpreter = static_program("scripted").expect("it is built");
        options.programs.push((interpreter, "/usr/bin/interpreter".into()));
        options
    }

    /// Switches the machine on and off again. The simulator must have known everything that it was asked for.
    ///
    /// # Panics
    /// It cannot be switched on, hangs, or asks for what its platform does not know.
    pub fn boot(&self, options: &BootOptions) -> Boot {
        let boot = self.machine.boot(options).expect("the machine is switched on");
        assert_eq!(boot.complaints, [""; 0], "{}", logs(&boot));
        assert_eq!(boot.hung, None, "{}", logs(&boot));
        boot
    }

    /// Everything that outlasts a power cycle: pools with their properties, and each file with mode, owner and digest. What
    /// counts boots or tells the time is left out.
    ///
    /// # Panics
    /// Something cannot be read.
    pub fn lasting(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for pool in self.machine.pools().expect("pools can be read") {
            for (name, dataset) in &pool.datasets {
                let dataset_name = format!("{}/{name}", pool.name);
                for (property, setting) in &dataset.properties {
                    found.insert(format!("{dataset_name} {property}"), format!("{setting:?}"));
                }
                let files = pool.files(self.machine.folder(), dataset);
                if files.is_dir() {
                    list(&files, &dataset_name, &mut found);
                }
            }
        }
        list(&self.machine.key(), "key", &mut found);
        found.retain(|path, _| !counts_boots(path));
        found
    }
}

/// What differs between two answers of [`Guest::lasting`].
pub fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let about = |name: &&String| (before.get(*name) != after.get(*name)).then(|| (*name).clone());
    let changed = names.iter().filter_map(about);
    changed.map(|name| format!("{name}: {:?} became {:?}", before.get(&name), after.get(&name))).collect()
}

/// Whether a file differs after each boot: logs, and what platform ran last.
fn counts_boots(path: &str) -> bool {
    ["/log/", "/svc/log", "/currbooted", "/lastbooted"].iter().any(|part| path.contains(part))
}

fn list(folder: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder of the machine can be read") {
        let path = entry.expect("readable").path();
        let shown = format!("{name}/{}", path.file_name().expect("entries have names").to_string_lossy());
        let about = fs::symlink_metadata(&path).expect("it is there");
        let contents = if about.is_symlink() {
            format!("-> {}", fs::read_link(&path).expect("a link").display())
        } else if about.is_file() {
            format!("{:?}", Sha256::digest(fs::read(&path).expect("readable")))
        } else {
            String::new()
        };
        found.insert(
            shown.clone(),
            format!("{:o} {}:{} {contents}", about.mode() & 0o17_7777, about.uid(), about.gid()),
        );
        if about.is_dir() {
            list(&path, &shown, found);
        }
    }
}

/// All that a boot wrote, for messages of failing tests.
pub fn logs(boot: &Boot) -> String {
    let services =
        boot.logs.iter().map(|(service, log)| format!("{service} ({}):\n{log}\n", boot.state(service)));
    let calls = boot.calls.iter().map(|call| format!("{call:?}\n"));
    [format!("console:\n{}\n", boot.console)].into_iter().chain(services).chain(calls).collect()
}

/// Writes a boot archive's files into a folder, with owners where the user may give files away.
fn unpack(archive: &FileSystem<File>, folder: &Path) {
    let mut folders = Vec::new();
    for entry in archive.walk(b"/").expect("it has a root") {
        let entry = entry.expect("kiln's own boot archives can be read");
        let inside = entry.path.strip_prefix(b"/").unwrap_or(&entry.path);
        let path = folder.join(OsStr::from_bytes(inside));
        let about = &entry.metadata;
        fs::create_dir_all(path.parent().unwrap_or(folder)).expect("the scratch folder is writable");
        match about.kind {
            FileType::Directory => {
                fs::create_dir_all(&path).expect("the scratch folder is writable");
                folders.push((path, about.mode));
                continue;
            }
            FileType::Regular => {
                let bytes = archive.read(&entry.path, about.size).expect("readable");
                fs::write(&path, bytes).expect("the scratch folder is writable");
                fs::set_permissions(&path, fs::Permissions::from_mode(about.mode.into())).expect("ours");
            }
            FileType::Symlink => {
                let target = archive.read_link(&entry.path).expect("readable");
                symlink(OsStr::from_bytes(&target), &path).expect("the scratch folder is writable");
            }
            // The kernel of the machine that the simulator plays has its own devices.
            _ => continue,
        }
        if rustix::process::geteuid().is_root() && about.kind == FileType::Regular {
            chown(&path, Some(about.uid), Some(about.gid)).expect("root may");
        }
    }
    for (path, mode) in folders {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode.into())).expect("ours");
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-R").arg(from.join(".")).arg(to).status();
    assert!(copied.expect("cp starts").success(), "cannot copy {}", from.display());
}
