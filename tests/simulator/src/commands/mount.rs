//! `mount` and `umount`: usr/src/cmd/fs.d/{mount,umount}.c and the parts for pcfs, lofs, tmpfs and zfs; the same 2013 to 2022.

use std::path::PathBuf;

use nix::errno::Errno;

use super::options::Options;
use crate::storage::{Kind, Mount};
use crate::{Reply, World};

/// `mount [-p]` lists; `mount -F TYPE [-O] [-o OPTIONS] SPECIAL DIR` mounts.
pub fn mount(world: &mut World, argv: &[&str]) -> Reply {
    play(world, argv.get(1..).unwrap_or_default()).unwrap_or_else(|reply| reply)
}

fn play(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "F:Oo:")?;
    let (special, dir) = match *options.operands.as_slice() {
        [] if arguments.is_empty() => {
            let line = |mount: &Mount| {
                format!(
                    "{} on {} {} on Thu Jan  1 00:00:00 1970\n",
                    mount.dir,
                    mount.special,
                    mount.options.replace(',', "/")
                )
            };
            return Ok(Reply::text(world.runtime.storage.mounts.iter().map(line).collect::<String>()));
        }
        [special, dir] => (special, dir),
        _ => return Err(Reply::refuse("is played with a resource and a folder only")),
    };
    let words: Vec<&str> = options.values('o').flat_map(|words| words.split(',')).collect();
    if !dir.starts_with('/') {
        return Err(Reply::fail(1, format!("mount: Mount point {dir} is not an absolute pathname.")));
    }
    let dir = if dir.len() > 1 { dir.trim_end_matches('/') } else { dir };
    let kind = options.value('F').ok_or_else(|| Reply::refuse("is played with -F only"))?;
    let request = Request { special, dir, overlay: options.has('O'), words: &words };
    match kind {
        "zfs" => zfs(world, &request),
        "pcfs" => pcfs(world, &request),
        "lofs" => lofs(world, &request),
        "tmpfs" => tmpfs(world, &request),
        _ => Err(Reply::refuse(format!("-F {kind} is not played"))),
    }
}

/// A mount that is asked for.
struct Request<'a> {
    special: &'a str,
    dir: &'a str,
    overlay: bool,
    words: &'a [&'a str],
}

impl Request<'_> {
    /// Whether it is to be read-only; words that the type does not know are refused.
    fn read_only(&self, known: &[&str]) -> Result<bool, Reply> {
        match self.words.iter().find(|word| !known.contains(word) && !["ro", "rw", "remount"].contains(word))
        {
            Some(word) => Err(Reply::refuse(format!("does not know -o {word}"))),
            None => Ok(self.words.contains(&"ro")),
        }
    }

    fn is_remount(&self) -> bool {
        self.words.contains(&"remount")
    }
}

/// manual_mount of usr/src/cmd/zfs/zfs_main.c.
fn zfs(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let Request { special, dir, .. } = *request;
    let read_only = request.read_only(&["devices", "nodevices", "setuid", "nosuid", "noatime", "atime"])?;
    let missing = || Reply::fail(1, format!("cannot open '{special}': dataset does not exist"));
    let (_, dataset) = world.dataset(special).ok_or_else(missing)?;
    if dataset.kind != Kind::Filesystem {
        return Err(Reply::fail(
            1,
            format!("cannot open '{special}': operation not applicable to datasets of this type"),
        ));
    }
    if world.property(special, "mountpoint", true).value != "legacy" {
        return Err(Reply::fail(1, format!("filesystem '{special}' cannot be mounted using 'mount -F zfs'"))
            .with_stderr(format!("Use 'zfs set mountpoint={dir}' instead."))
            .with_stderr("If you must use 'mount -F zfs' or /etc/vfstab, use 'zfs set mountpoint=legacy'.")
            .with_stderr("See zfs(1M) for more information."));
    }
    let done = if request.is_remount() {
        world.remount(dir, read_only)
    } else {
        world.mount_dataset(special, dir, request.overlay, read_only)
    };
    done.map_err(|error| Reply::fail(1, format!("mount failed: {}", error.text())))?;
    Ok(Reply::ok())
}

/// usr/src/cmd/fs.d/pcfs/mount/mount.c; which partitions are FAT is pcfs_mount's affair.
fn pcfs(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let Request { special, dir, .. } = *request;
    let read_only = request.read_only(&[
        "foldcase",
        "nofoldcase",
        "hidden",
        "nohidden",
        "noatime",
        "atime",
        "clamptime",
        "noclamptime",
    ])?;
    let fail = |errno: Errno| {
        let text = match errno {
            Errno::EBUSY => format!("mount: {special} is already mounted or {dir} is busy"),
            Errno::EINVAL => format!("mount: {special} is not a DOS filesystem."),
            Errno::ENXIO => "mount: No such device or address".to_owned(),
            Errno::ENOENT => "mount: No such file or directory".to_owned(),
            other => format!("mount: {}", crate::storage::MountError(other).text()),
        };
        Reply::fail(32, text)
    };
    // Partition 1 is p1; p0:1 and p0:c name the first logical drive of the whole disk.
    let device = special.strip_prefix("/dev/dsk/").ok_or_else(|| fail(Errno::ENOENT))?;
    let parsed = device.rsplit_once('p').filter(|(disk, _)| world.visible_disk(disk).is_some());
    let (disk, partition) = parsed.ok_or_else(|| fail(Errno::ENOENT))?;
    let is_key = world.hardware.disk(disk).is_some_and(|disk| disk.key);
    match partition {
        "1" | "0:1" | "0:c" | "0:C" if is_key => {}
        "1" | "2" | "3" | "4" if !is_key || partition != "1" => return Err(fail(Errno::ENXIO)),
        _ => return Err(fail(Errno::EINVAL)),
    }
    let is_mounted = world
        .runtime
        .storage
        .mounts
        .iter()
        .any(|mount| mount.kind == "pcfs" && mount.special.starts_with(&format!("/dev/dsk/{disk}p")));
    if request.is_remount() {
        world.remount(dir, read_only).map_err(|error| fail(error.0))?;
        return Ok(Reply::ok());
    }
    if is_mounted {
        return Err(fail(Errno::EBUSY));
    }
    let fold = if request.words.contains(&"foldcase") { "foldcase" } else { "nofoldcase" };
    let access = if read_only { "ro" } else { "rw" };
    let entry = Mount {
        special: special.to_owned(),
        dir: dir.to_owned(),
        kind: "pcfs".into(),
        options: format!("{access},nohidden,{fold},clamptime,noatime,timezone=0,{}", world.device_number()),
        time: world.now(),
        source: PathBuf::new(),
    };
    let source = world.machine.join("key");
    world.mount(&source, entry, request.overlay, read_only).map_err(|error| fail(error.0))?;
    Ok(Reply::ok())
}

/// usr/src/cmd/fs.d/lofs/mount/mount.c.
fn lofs(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let Request { special, dir, .. } = *request;
    let read_only = request.read_only(&["nosub", "devices", "nodevices", "setuid", "nosuid"])?;
    let access = if read_only { "ro" } else { "rw" };
    let entry = Mount {
        special: special.to_owned(),
        dir: dir.to_owned(),
        kind: "lofs".into(),
        options: format!("{access},devices,setuid,nbmand,exec,{}", world.device_number()),
        time: world.now(),
        source: PathBuf::new(),
    };
    let source: PathBuf = world.path(special);
    world.mount(&source, entry, request.overlay, read_only).map_err(|error| {
        let text = match error.0 {
            Errno::EBUSY => format!(
                "mount: {special} is already mounted, {dir} is busy,\n\tor the allowable number of mount points has been \
                 exceeded"
            ),
            Errno::ENOENT => format!("mount: Mount point {dir} or {special} does not exist."),
            _ => format!("mount: {special}: {}", error.text()),
        };
        Reply::fail(33, text)
    })?;
    Ok(Reply::ok())
}

/// usr/src/cmd/fs.d/tmpfs/mount.c: `swap` as the resource.
fn tmpfs(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let Request { special, dir, words, .. } = *request;
    if special != "swap"
        || !words.iter().all(|word| word.starts_with("size=") || *word == "rw" || word.starts_with("mode="))
    {
        return Err(Reply::refuse("of tmpfs is played for swap with a size only"));
    }
    world.mount_memory(dir, request.overlay).map_err(|error| {
        let text = match error.0 {
            Errno::EBUSY => format!("mount: {dir} is already mounted or swap is busy"),
            _ => format!("mount: {}", error.text()),
        };
        Reply::fail(32, text)
    })?;
    Ok(Reply::ok())
}

/// `umount [-f] DIR|SPECIAL`: the topmost mount there.
pub fn umount(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    let [what] = options.operands.as_slice() else {
        return Reply::refuse("is played with one folder or resource");
    };
    let mounts = &world.runtime.storage.mounts;
    let Some(mount) = mounts.iter().rev().find(|mount| mount.dir == *what || mount.special == *what).cloned()
    else {
        return Reply::fail(1, format!("umount: warning: {what} not in mnttab"))
            .with_stderr(format!("umount: {what} not mounted"));
    };
    if mount.kind == "zfs" && world.property(&mount.special, "mountpoint", true).value != "legacy" {
        // manual_unmount of zfs_main.c unmounts these as well.
        return match world.unmount_dataset(&mount.special) {
            Ok(()) => Reply::ok(),
            Err(text) => Reply::fail(1, text),
        };
    }
    match world.unmount(&mount.dir) {
        Ok(()) => Reply::ok(),
        Err(error) if error.0 == Errno::EBUSY => Reply::fail(1, format!("umount: {} busy", mount.dir)),
        Err(error) => Reply::fail(1, format!("umount: {}: {}", mount.dir, error.text())),
    }
}
