//! Disks, pools and mounts that are real: block devices, the ZFS and the FAT driver of the machine that runs the simulator.
//!
//! When a [`Disk`](crate::Disk) names a device, `zpool`, `zfs`, `mount` and `umount` are handed to that machine's own programs.
//! Names are translated both ways: `c1t0d0` is `/dev/sdb` there, and its `s0` or `p1` is the first partition; paths of the
//! guest lie below its ramdisk, which pools are told by their alternate root. Everything else is played as usual.
//!
//! Only root can do this, and only one machine at a time should be on: a kernel has one list of pools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::unistd::{chdir, chroot};

use crate::commands::options::Options;
use crate::storage::Mount;
use crate::{Reply, World};

/// The place in the machine's folder where the boot's first process mounts the list of processes, itself in it as number 1.
pub(crate) const PROCESSES: &str = "boot/processes";

/// The programs of the machine that runs the simulator are found here.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What plays a command with real disks, if that is another function than with disks that are played.
pub(crate) fn by_name(name: &str) -> Option<fn(&mut World, &[&str]) -> Reply> {
    Some(match name {
        "zpool" => zpool,
        "zfs" => zfs,
        "mount" => mount,
        "umount" => umount,
        "swap" => swap,
        "dumpadm" => dumpadm,
        _ => return None,
    })
}

impl World {
    /// Whether disks of the machine are real.
    pub fn has_real_disks(&self) -> bool {
        self.hardware.disks.iter().any(|disk| disk.device.is_some())
    }

    /// Leaves the guest's root, so that the programs, devices and mounts of the machine around it are within reach.
    pub(crate) fn step_out(&mut self) -> Result<()> {
        let outside = self.machine.join(PROCESSES).join("1/root");
        chroot(&outside).context("cannot leave the guest's root")?;
        chdir("/")?;
        self.machine = self.runtime.host.machine.clone().into();
        self.root = self.machine.join("boot/root");
        Ok(())
    }

    /// The guest's disk with the name, and what it is outside.
    fn real_disks(&self) -> impl Iterator<Item = (&str, &str)> {
        let visible = &self.runtime.storage.visible;
        let named = self.hardware.disks.iter().filter(|disk| visible.contains(&disk.name));
        named.filter_map(|disk| Some((disk.name.as_str(), disk.device.as_deref()?)))
    }

    /// What the guest calls `c1t0d0`, `/dev/dsk/c1t0d0s0` or `/dev/dsk/c1t0d0p1`, by its name outside.
    fn outside(&self, word: &str) -> Option<String> {
        let name = word.strip_prefix("/dev/dsk/").unwrap_or(word);
        self.real_disks().find_map(|(disk, device)| {
            Some(match name.strip_prefix(disk)? {
                "" | "p0" => device.to_owned(),
                "s0" | "p1" => format!("{device}1"),
                _ => return None,
            })
        })
    }

    /// What a program outside wrote, with the guest's names in it.
    fn inside(&self, text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(text);
        let root = self.root.to_string_lossy();
        let text = text.replace(&format!("{root}/"), "/").replace(root.as_ref(), "/");
        let mut inside = String::new();
        for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
            let (word, rest) = word.split_at(end);
            match self.disk_named(word) {
                Some(name) => {
                    if inside.ends_with("/dev/") {
                        inside.push_str("dsk/");
                    }
                    inside.push_str(&name);
                }
                None => inside.push_str(word),
            }
            inside.push_str(rest);
        }
        inside.into_bytes()
    }

    /// The guest's name of what is called `sdb` or `sdb1` outside. The first partition of an EFI label is slice 0.
    fn disk_named(&self, word: &str) -> Option<String> {
        self.real_disks().find_map(|(disk, device)| {
            match word.strip_prefix(device.strip_prefix("/dev/")?)? {
                "" => Some(disk.to_owned()),
                number => {
                    number.parse::<u8>().ok().map(|number| format!("{disk}s{}", number.saturating_sub(1)))
                }
            }
        })
    }

    /// Runs a program outside and gives its answer in the guest's words.
    fn run_outside(&self, program: &str, arguments: &[String]) -> Reply {
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) => Reply {
                status: output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
                stdout: self.inside(&output.stdout),
                stderr: self.inside(&output.stderr),
                complaint: None,
            },
            Err(error) => Reply::refuse(format!("cannot start the real {program}: {error}")),
        }
    }

    /// The paths of the real disks and their partitions, as `zpool import` takes them. Of other disks it then looks only at
    /// those that are named in the labels it finds.
    fn search_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for (_, device) in self.real_disks() {
            let partitions = (1..=9).map(|number| format!("{device}{number}"));
            let nodes = std::iter::once(device.to_owned()).chain(partitions);
            paths.extend(
                nodes.filter(|path| Path::new(path).exists()).flat_map(|path| ["-d".to_owned(), path]),
            );
        }
        paths
    }

    /// Makes the list of mounts say what is really mounted.
    fn see_mounts(&mut self) -> Result<()> {
        let table = fs::read_to_string("/proc/self/mountinfo").context("no list of mounts")?;
        let root = format!("{}/", self.root.to_string_lossy());
        let now = self.now();
        let mut real = Vec::new();
        for line in table.lines() {
            let Some((mount, file_system)) = line.split_once(" - ") else { continue };
            let mount: Vec<&str> = mount.split(' ').collect();
            let file_system: Vec<&str> = file_system.split(' ').collect();
            let ([_, _, _, _, dir, options, ..], [kind, special, ..]) = (&mount[..], &file_system[..]) else {
                continue;
            };
            let Some(dir) = dir.strip_prefix(&root) else { continue };
            let access = if options.split(',').any(|word| word == "ro") { "ro" } else { "rw" };
            let (kind, options) = match *kind {
                "zfs" => ("zfs", "devices,setuid,nonbmand,exec,xattr,atime"),
                "vfat" => ("pcfs", "hidden,foldcase,noclamptime"),
                _ => continue,
            };
            let special = String::from_utf8(self.inside(special.as_bytes()))?;
            // The first partition is called so by pcfs.
            let special = if kind == "pcfs" { special.replace("s0", "p1") } else { special };
            let options = format!("{access},{options},{}", self.device_number());
            let dir = format!("/{dir}");
            let source = PathBuf::new();
            real.push(Mount { special, dir, kind: kind.into(), options, time: now, source });
        }
        let mounts = &mut self.runtime.storage.mounts;
        mounts.retain(|mount| mount.kind != "zfs" && mount.kind != "pcfs");
        mounts.extend(real);
        self.write_mnttab();
        Ok(())
    }

    /// The answer to a command that may have changed mounts, once the list of mounts says so.
    fn with_mounts(&mut self, reply: Reply) -> Reply {
        match self.see_mounts() {
            Ok(()) => reply,
            Err(error) => Reply::refuse(format!("cannot tell what is mounted: {error:#}")),
        }
    }

    /// Whether a path of /dev/zvol/dsk names a volume.
    fn is_real_volume(&self, path: &str) -> bool {
        path.strip_prefix("/dev/zvol/dsk/").is_some_and(|name| {
            let words = ["list", "-H", "-t", "volume", "-o", "name", name].map(str::to_owned);
            self.run_outside("zfs", &words).status == 0
        })
    }
}

fn zpool(world: &mut World, argv: &[&str]) -> Reply {
    let Some((&verb, rest)) = argv.get(1..).and_then(<[&str]>::split_first) else {
        return Reply::refuse("needs to know what to do");
    };
    let mut arguments = vec![verb.to_owned()];
    if verb == "import" {
        arguments.extend(world.search_paths());
    }
    // Without a pool, it only looks.
    let names_pool = rest.iter().any(|word| !word.starts_with('-') && !word.contains('='));
    if verb == "create" || (verb == "import" && names_pool) {
        arguments.extend(["-R".to_owned(), world.root.to_string_lossy().into_owned()]);
    }
    arguments.extend(rest.iter().map(|word| world.outside(word).unwrap_or_else(|| (*word).to_owned())));
    let reply = world.run_outside("zpool", &arguments);
    world.with_mounts(reply)
}

fn zfs(world: &mut World, argv: &[&str]) -> Reply {
    let arguments: Vec<String> = argv.iter().skip(1).map(|&word| word.to_owned()).collect();
    let reply = world.run_outside("zfs", &arguments);
    world.with_mounts(reply)
}

/// `mount -F zfs` and `mount -F pcfs`; the others are played.
fn mount(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "F:Oo:") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    let (kind, special, dir) = match (options.value('F'), options.operands.as_slice()) {
        (Some("zfs"), [special, dir]) => ("zfs", (*special).to_owned(), *dir),
        (Some("pcfs"), [special, dir]) => match world.outside(special) {
            Some(device) if special.ends_with("p1") && Path::new(&device).exists() => ("vfat", device, *dir),
            _ => return Reply::fail(32, "mount: No such device or address"),
        },
        _ => return crate::commands::mount::mount(world, argv),
    };
    if !options.has('O') && world.mounted_on(dir).is_some() {
        return Reply::fail(
            if kind == "zfs" { 1 } else { 32 },
            format!("mount: {special} is already mounted or {dir} is busy"),
        );
    }
    let words: Vec<&str> = options.values('o').flat_map(|words| words.split(',')).collect();
    let access = if words.contains(&"ro") { "ro" } else { "rw" };
    let at = world.path(dir).to_string_lossy().into_owned();
    let arguments = ["-t", kind, "-o", access, &special, &at].map(str::to_owned);
    let reply = world.run_outside("mount", &arguments);
    world.with_mounts(reply)
}

/// `umount DIR` of what is really mounted; the others are played.
fn umount(world: &mut World, argv: &[&str]) -> Reply {
    let is_real =
        |dir: &str| world.mounted_on(dir).is_some_and(|mount| mount.kind == "zfs" || mount.kind == "pcfs");
    let [_, dir] = *argv else { return crate::commands::mount::umount(world, argv) };
    if !is_real(dir) {
        return crate::commands::mount::umount(world, argv);
    }
    let at = world.path(dir).to_string_lossy().into_owned();
    let mut reply = world.run_outside("umount", &[at]);
    if reply.status != 0 {
        reply = Reply::fail(1, format!("umount: {dir} busy"));
    }
    world.with_mounts(reply)
}

/// `swap -a PATH` of a real volume, which is not used: swapping to a volume can hang Linux.
fn swap(world: &mut World, argv: &[&str]) -> Reply {
    match *argv {
        [_, "-a", path] if world.is_real_volume(path) => {
            world.runtime.storage.swap.push(path.to_owned());
            Reply::ok()
        }
        [_, "-a", path] => Reply::fail(1, format!("{path}: No such file or directory")),
        _ => crate::commands::swap::run(world, argv),
    }
}

/// `dumpadm -y -d PATH` of a real volume, which is not used: Linux has no dump devices.
fn dumpadm(world: &mut World, argv: &[&str]) -> Reply {
    match *argv {
        [_, "-y", "-d", path] if world.is_real_volume(path) => {
            world.runtime.storage.dump = Some(path.to_owned());
            Reply::ok()
        }
        _ => crate::commands::dumpadm::run(world, argv),
    }
}

/// Lets programs in the guest's root find the way out: mounts the list of processes in the machine's folder, as
/// the first process of the boot.
#[cfg(target_env = "gnu")]
pub(crate) fn open_way_out(machine: &Path) -> Result<()> {
    let place = machine.join(PROCESSES);
    fs::create_dir_all(&place)?;
    let none = None::<&str>;
    nix::mount::mount(Some("proc"), &place, Some("proc"), nix::mount::MsFlags::empty(), none)
        .context("cannot mount the list of processes")
}
