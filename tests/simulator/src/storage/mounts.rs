//! What is mounted where. Mounts are real: bind mounts in the boot's mount namespace, so that busy, stacking and hiding are.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};

use super::pool::Kind;
use crate::World;

/// A line of /etc/mnttab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The resource: a dataset, a device, a folder.
    pub special: String,
    /// Where it is.
    pub dir: String,
    /// The type of the file system.
    pub kind: String,
    /// Its options.
    pub options: String,
    /// Seconds since 1970.
    pub time: u64,
    /// The folder that is shown there, as the host names it.
    #[serde(default)]
    pub source: PathBuf,
}

/// Why something cannot be mounted or unmounted, as illumos' strerror(3C) says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountError(pub Errno);

impl MountError {
    /// illumos' words.
    pub fn text(self) -> &'static str {
        match self.0 {
            Errno::EBUSY => "Device busy",
            Errno::ENOENT => "No such file or directory",
            Errno::ENOTDIR => "Not a directory",
            Errno::EINVAL => "Invalid argument",
            Errno::EPERM => "Not owner",
            Errno::EROFS => "Read-only file system",
            _ => "I/O error",
        }
    }
}

/// What is mounted before anything of ours runs: usr/src/uts/common/fs/vfs.c vfs_mountroot, and svc:/system/filesystem/root.
const AT_BOOT: &str = "\
/devices/ramdisk:a\t/\tufs\trw,intr,largefiles,logging,noquota,xattr,nodfratime,onerror=panic,dev=2740000\t0
/devices\t/devices\tdevfs\tdev=8b80000\t0
/dev\t/dev\tdev\tdev=8bc0000\t0
ctfs\t/system/contract\tctfs\tdev=8c40001\t0
proc\t/proc\tproc\tdev=8c00000\t0
mnttab\t/etc/mnttab\tmntfs\tdev=8c80001\t0
swap\t/etc/svc/volatile\ttmpfs\txattr,dev=8cc0001\t0
objfs\t/system/object\tobjfs\tdev=8d00001\t0
sharefs\t/etc/dfs/sharetab\tsharefs\tdev=8d40001\t0
";

impl World {
    /// Whether something is mounted on the folder, and what: the topmost.
    pub fn mounted_on(&self, dir: &str) -> Option<&Mount> {
        self.runtime.storage.mounts.iter().rev().find(|mount| mount.dir == dir)
    }

    /// Mounts `source`, a path of this process, on `dir`, a path of the root.
    ///
    /// # Errors
    /// EBUSY when something is mounted there and `overlay` is not asked for; ENOENT, ENOTDIR.
    pub fn mount(
        &mut self,
        source: &Path,
        mut entry: Mount,
        overlay: bool,
        read_only: bool,
    ) -> Result<(), MountError> {
        let dir = self.path(&entry.dir);
        let metadata = fs::metadata(&dir).map_err(|_| MountError(Errno::ENOENT))?;
        let from = fs::metadata(source).map_err(|_| MountError(Errno::ENOENT))?;
        if metadata.is_dir() != from.is_dir() {
            return Err(MountError(Errno::ENOTDIR));
        }
        if !overlay && self.mounted_on(&entry.dir).is_some() {
            return Err(MountError(Errno::EBUSY));
        }
        if self.in_files() {
            let none = None::<&str>;
            mount(Some(source), &dir, none, MsFlags::MS_BIND, none).map_err(MountError)?;
            if read_only {
                let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(none, &dir, none, flags, none).map_err(MountError)?;
            }
        }
        entry.source = self.on_host(source);
        self.runtime.storage.mounts.push(entry);
        self.write_mnttab();
        Ok(())
    }

    /// What the host calls a path of this process: below the machine's folder, or a folder of the root, in which something
    /// may be mounted.
    fn on_host(&self, path: &Path) -> PathBuf {
        let machine = Path::new(&self.runtime.host.machine);
        if let Ok(inside) = path.strip_prefix(&self.machine) {
            return machine.join(inside);
        }
        let inside = Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(path));
        let mounts = self.runtime.storage.mounts.iter().rev();
        let mut shown =
            mounts.filter_map(|mount| Some(mount.source.join(inside.strip_prefix(&mount.dir).ok()?)));
        shown
            .next()
            .unwrap_or_else(|| machine.join("boot/root").join(inside.strip_prefix("/").unwrap_or(&inside)))
    }

    /// Mounts an empty file system in memory; its files are in a folder of the boot's.
    ///
    /// # Errors
    /// As [`Self::mount`].
    pub fn mount_memory(&mut self, dir: &str, overlay: bool) -> Result<(), MountError> {
        let number = self.runtime.storage.mounts.len();
        let source = self.machine.join(format!("boot/memory-{number}{}", dir.replace('/', "-")));
        fs::create_dir_all(&source).map_err(|_| MountError(Errno::EIO))?;
        let entry = Mount {
            special: "swap".into(),
            dir: dir.to_owned(),
            kind: "tmpfs".into(),
            options: format!("xattr,{}", self.device_number()),
            time: self.now(),
            source: PathBuf::new(),
        };
        self.mount(&source, entry, overlay, false)
    }

    /// Makes what is mounted on a folder read-only or writable.
    ///
    /// # Errors
    /// EINVAL when nothing is; EBUSY when files are open for writing.
    pub fn remount(&mut self, dir: &str, read_only: bool) -> Result<(), MountError> {
        let path = self.path(dir);
        let in_files = self.in_files();
        let entry = self.runtime.storage.mounts.iter_mut().rev().find(|mount| mount.dir == dir);
        let entry = entry.ok_or(MountError(Errno::EINVAL))?;
        if in_files {
            let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
            flags.set(MsFlags::MS_RDONLY, read_only);
            mount(None::<&str>, &path, None::<&str>, flags, None::<&str>).map_err(MountError)?;
        }
        let (from, to) = if read_only { ("rw", "ro") } else { ("ro", "rw") };
        let options = entry.options.split(',').map(|word| if word == from { to } else { word });
        entry.options = options.collect::<Vec<_>>().join(",");
        self.write_mnttab();
        Ok(())
    }

    /// Unmounts the topmost of what is mounted on a folder.
    ///
    /// # Errors
    /// EINVAL when nothing is; EBUSY when it is in use.
    pub fn unmount(&mut self, dir: &str) -> Result<(), MountError> {
        let at = self.runtime.storage.mounts.iter().rposition(|mount| mount.dir == dir);
        let at = at.ok_or(MountError(Errno::EINVAL))?;
        // Something mounted further down keeps it busy; Linux says so too, but not within one process.
        let below = format!("{}/", dir.trim_end_matches('/'));
        if self.runtime.storage.mounts[at..].iter().any(|mount| mount.dir.starts_with(&below)) {
            return Err(MountError(Errno::EBUSY));
        }
        if self.in_files() {
            umount2(&self.path(dir), MntFlags::UMOUNT_NOFOLLOW).map_err(MountError)?;
            crate::program::durable(&self.machine.join("boot/power.log"), dir)
                .map_err(|_| MountError(Errno::EIO))?;
        }
        self.runtime.storage.mounts.remove(at);
        self.write_mnttab();
        Ok(())
    }

    /// Writes /etc/mnttab, and for the record of what a power failure would undo where the files of each mount are.
    pub fn write_mnttab(&self) {
        let mut text = AT_BOOT.to_owned();
        for mount in &self.runtime.storage.mounts {
            let Mount { special, dir, kind, options, time, .. } = mount;
            text += &format!("{special}\t{dir}\t{kind}\t{options}\t{time}\n");
        }
        // In place, as nobody can see half of it on illumos; readers that come between two commands see all of it.
        let _ =
            fs::File::create(self.path("/etc/mnttab")).and_then(|mut file| file.write_all(text.as_bytes()));
        let mounts = self.runtime.storage.mounts.iter();
        let places: String =
            mounts.map(|mount| format!("{}\t{}\n", mount.dir, mount.source.display())).collect();
        let _ = fs::write(self.machine.join("boot/power.log.mounts"), places);
    }

    /// A device number as the options in /etc/mnttab have it.
    pub fn device_number(&self) -> String {
        format!("dev=2d900{:02x}", self.runtime.storage.mounts.len() + 2)
    }

    /// Mounts a file system of a pool on a folder.
    ///
    /// # Errors
    /// As [`Self::mount`]; EBUSY when it is mounted already.
    pub fn mount_dataset(
        &mut self,
        name: &str,
        dir: &str,
        overlay: bool,
        read_only: bool,
    ) -> Result<(), MountError> {
        let (pool, dataset) = self.dataset(name).ok_or(MountError(Errno::ENOENT))?;
        let source = pool.files(&self.machine, dataset);
        // A new dataset's folder is made when the state is stored, and here it is needed before.
        fs::create_dir_all(&source).map_err(|_| MountError(Errno::EIO))?;
        let read_only = read_only || self.runtime.storage.read_only.contains(&pool.guid);
        if self.runtime.storage.mounts.iter().any(|mount| mount.special == name) {
            return Err(MountError(Errno::EBUSY));
        }
        let access = if read_only { "ro" } else { "rw" };
        let entry = Mount {
            special: name.to_owned(),
            dir: dir.to_owned(),
            kind: "zfs".into(),
            options: format!("{access},devices,setuid,nonbmand,exec,xattr,atime,{}", self.device_number()),
            time: self.now(),
            source: PathBuf::new(),
        };
        self.mount(&source, entry, overlay, read_only)
    }

    /// Mounts a file system where its property says, as `zfs mount` does: usr/src/lib/libzfs/common/libzfs_mount.c. Gives what
    /// libzfs says on failure.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount_by_property(&mut self, name: &str) -> Result<(), String> {
        let is_file_system = self.dataset(name).is_some_and(|(_, dataset)| dataset.kind == Kind::Filesystem);
        let dir = self.property(name, "mountpoint", true).value;
        let can = self.property(name, "canmount", true).value;
        if !is_file_system || !dir.starts_with('/') || can != "on" {
            return Ok(());
        }
        let path = self.path(&dir);
        if fs::metadata(&path).is_err() && fs::create_dir_all(&path).is_err() {
            return Err(format!("cannot mount '{dir}': failed to create mountpoint"));
        }
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(format!("cannot mount '{dir}': directory is not empty"));
        }
        let read_only = self.property(name, "readonly", true).value == "on";
        self.mount_dataset(name, &dir, false, read_only).map_err(|error| match error.0 {
            Errno::EBUSY => format!("cannot mount '{name}': mountpoint or dataset is busy"),
            _ => format!("cannot mount '{name}': {}", error.text()),
        })
    }

    /// Unmounts a file system of a pool, wherever it is mounted.
    ///
    /// # Errors
    /// What libzfs says.
    pub fn unmount_dataset(&mut self, name: &str) -> Result<(), String> {
        while let Some(mount) = self.runtime.storage.mounts.iter().find(|mount| mount.special == name) {
            let dir = mount.dir.clone();
            self.unmount(&dir).map_err(|error| format!("cannot unmount '{dir}': {}", error.text()))?;
        }
        Ok(())
    }
}
