//! Steps about files.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::{Seen, ensure};

/// A folder of this process, removed at the end of the step.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("kiln-probe-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Without success a folder stays behind, which harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn files() -> Seen {
    let scratch = Scratch::new("files")?;
    let path = scratch.0.join("a");
    fs::write(&path, b"one\ntwo\n")?;
    let mut file = OpenOptions::new().append(true).open(&path)?;
    file.write_all(b"three\n")?;
    file.sync_all()?;
    drop(file);
    ensure(fs::metadata(&path)?.len() == 14, "the length is wrong")?;
    fs::set_permissions(&path, Permissions::from_mode(0o640))?;
    ensure(fs::metadata(&path)?.mode() == 0o100_640, "the mode is wrong")?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    ensure(BufReader::new(file.try_clone()?).lines().count() == 3, "a duplicate reads something else")?;
    file.write_all_at(b"ONE", 0)?;
    file.set_len(7)?;
    let mut text = String::new();
    let mut reader = File::open(&path)?;
    reader.seek(SeekFrom::Start(0))?;
    reader.read_to_string(&mut text)?;
    ensure(text == "ONE\ntwo", "the contents are wrong")?;
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_367_883_003);
    file.set_modified(then)?;
    ensure(fs::metadata(&path)?.modified()? == then, "the time is wrong")?;
    let moved = scratch.0.join("b");
    fs::rename(&path, &moved)?;
    symlink("b", scratch.0.join("link"))?;
    ensure(fs::read_link(scratch.0.join("link"))?.as_os_str() == "b", "the link leads elsewhere")?;
    ensure(scratch.0.join("link").canonicalize()? == moved.canonicalize()?, "the link's real path is wrong")?;
    fs::hard_link(&moved, scratch.0.join("second"))?;
    ensure(fs::metadata(&moved)?.nlink() == 2, "the number of links is wrong")?;
    fs::copy(&moved, scratch.0.join("copy"))?;
    ensure(fs::read(scratch.0.join("copy"))? == b"ONE\ntwo", "the copy differs")?;
    Ok("written, read, renamed, linked, copied".to_owned())
}

/// Removes a tree with one entry of each kind. On platforms without O_DIRECTORY only guest-rt makes that possible.
pub fn tree() -> Seen {
    let scratch = Scratch::new("tree")?;
    let top = scratch.0.join("top");
    fs::create_dir_all(top.join("x/y/z"))?;
    fs::write(top.join("x/file"), b"")?;
    symlink("/", top.join("x/root"))?;
    mkfifo(&top.join("x/y/fifo"), Mode::from_bits_truncate(0o600))?;
    let mut names: Vec<_> =
        fs::read_dir(top.join("x"))?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    names.sort();
    ensure(names == ["file", "root", "y"], "the folder lists other names")?;
    fs::remove_dir_all(&top)?;
    ensure(!top.exists(), "the tree is still there")?;
    Ok("made, listed and removed".to_owned())
}

/// Locks of fcntl, the kind that the oldest platform has.
pub fn locks() -> Seen {
    use nix::fcntl::{FcntlArg, fcntl};

    let scratch = Scratch::new("locks")?;
    let file = File::create(scratch.0.join("lock"))?;
    // SAFETY: zeros are a valid value of this structure of numbers.
    let mut lock: nix::libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = nix::libc::F_WRLCK as _;
    lock.l_whence = nix::libc::SEEK_SET as _;
    fcntl(&file, FcntlArg::F_SETLK(&lock))?;
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))?;
    ensure(i64::from(lock.l_type) == i64::from(nix::libc::F_UNLCK), "the lock's owner meets its own lock")?;
    Ok("taken".to_owned())
}
