//! A tree as files and folders of this machine.
//!
//! Every name is made new, in a folder that was opened when it was made, and nothing is followed: no path of the image can lead
//! to another place. What an ordinary user may not make is left out and said.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::files::{self, Item, Losses, Step, Totals};
use crate::contents::tree::{self, Kind, Node, Tree};
use crate::report::Progress;

/// Widths of the numbers of a device on Linux (source: linux/kdev_t.h).
const MAJOR_BITS: u32 = 12;
const MINOR_BITS: u32 = 20;

/// Set-uid and set-gid.
const SET_ID: u32 = 0o6000;

/// Extracts everything below `top`, which is a directory, into `folder`, which is empty and gets the attributes of `top`.
///
/// # Errors
/// The tree cannot be read, or something cannot be made for another reason than that the user may not.
pub fn extract(
    tree: &dyn Tree,
    top: &Node,
    folder: File,
    losses: &mut Losses,
    progress: &Progress<'_>,
) -> Result<Totals> {
    let mut extraction = Extraction {
        tree,
        root: folder.try_clone().context("cannot open the new folder twice")?,
        open: vec![folder],
        losses,
        progress,
    };
    let mut totals = Totals::default();
    files::walk(tree, top, &mut |step| match step {
        Step::Enter(item) => {
            totals.add(item);
            extraction.enter(item).with_context(|| format!("cannot extract {}", item.node.shown()))
        }
        Step::Leave(item) => {
            extraction.leave(item).with_context(|| format!("cannot finish the folder {}", item.node.shown()))
        }
    })?;
    Ok(totals)
}

struct Extraction<'a> {
    tree: &'a dyn Tree,
    /// The folder that everything goes to.
    root: File,
    /// The folders on the way to the present place, the top one first; empty at the end.
    open: Vec<File>,
    losses: &'a mut Losses,
    progress: &'a Progress<'a>,
}

impl Extraction<'_> {
    fn enter(&mut self, item: &Item) -> Result<()> {
        // The top folder is there already.
        if item.path.is_empty() {
            return Ok(());
        }
        if !self.tree.extended(&item.node)?.is_empty() && item.first.is_none() {
            self.losses.add("things whose extended attributes were not extracted; --to tar keeps them", item);
        }
        let directory = self.open.last().context("the way through the image went astray")?;
        let name = item.node.name();
        if let Some(first) = &item.first {
            // A path of folders that were made here, from the top on; the last name is not followed.
            match rustix::fs::linkat(&self.root, first.as_slice(), directory, name, AtFlags::empty()) {
                // What it is another name of was left out.
                Err(Errno::NOENT) if may_be_left_out(item) => return Ok(()),
                result => return Ok(result?),
            }
        }
        match item.metadata().kind {
            Kind::Directory => {
                let private = Mode::from_raw_mode(0o700);
                rustix::fs::mkdirat(directory, name, private)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                self.open.push(File::from(made));
                Ok(())
            }
            Kind::File => self.file(item),
            Kind::Symlink => {
                let target = item.metadata().target.clone().unwrap_or_default();
                rustix::fs::symlinkat(target.as_slice(), directory, name)?;
                self.attributes_by_name(item)
            }
            Kind::Fifo => self.special(item, FileType::Fifo),
            Kind::Block => self.special(item, FileType::BlockDevice),
            Kind::Character => self.special(item, FileType::CharacterDevice),
            Kind::Socket | Kind::Door | Kind::Other => {
                self.losses.add("sockets and doors, which are made by those who use them", item);
                Ok(())
            }
        }
    }

    fn leave(&mut self, item: &Item) -> Result<()> {
        let directory = self.open.pop().context("the way through the image went astray")?;
        self.attributes(item, directory.as_fd())
    }

    fn file(&mut self, item: &Item) -> Result<()> {
        let directory = self.open.last().context("the way through the image went astray")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(directory, item.node.name(), flags, Mode::from_raw_mode(0o600))?;
        let file = File::from(made);
        let contents = self.tree.contents(&item.node)?;
        let stored = files::holes(self.tree, item, &contents)?;
        for stretch in stored.unwrap_or_else(|| tree::whole(contents.size())) {
            let mut at = stretch.start;
            files::copy(&contents, stretch, item, &mut |piece| {
                file.write_all_at(piece, at)?;
                at += piece.len() as u64;
                self.progress.add(piece.len() as u64);
                Ok(())
            })?;
        }
        file.set_len(contents.size())?;
        self.attributes(item, file.as_fd())
    }

    fn special(&mut self, item: &Item, kind: FileType) -> Result<()> {
        let directory = self.open.last().context("the way through the image went astray")?;
        let (major, minor) = item.metadata().device.unwrap_or((0, 0));
        // Others would be cut to these widths, and be those of another device.
        let fits = major < 1 << MAJOR_BITS && minor < 1 << MINOR_BITS;
        let made = if fits {
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(directory, item.node.name(), kind, Mode::from_raw_mode(0o600), device)
        } else {
            Err(Errno::INVAL)
        };
        match made {
            Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                self.losses.add(
                    "devices, which only root may make, and only with numbers that this system knows; --to mtree writes \
                     down what they are",
                    item,
                );
                Ok(())
            }
            result => {
                result?;
                self.attributes_by_name(item)
            }
        }
    }

    /// Gives an open file or folder its owner, mode and time, in this order: each change undoes what comes after it.
    fn attributes(&mut self, item: &Item, file: BorrowedFd<'_>) -> Result<()> {
        let changed = owner(item).and_then(|(uid, gid)| rustix::fs::fchown(file, Some(uid), Some(gid)));
        let owned = self.owned(item, changed)?;
        rustix::fs::fchmod(file, self.mode(item, owned))?;
        Ok(rustix::fs::futimens(file, &times(item))?)
    }

    /// The same for what cannot be opened: links and devices. Nobody else can reach the folder yet, so the name still means what
    /// was made.
    fn attributes_by_name(&mut self, item: &Item) -> Result<()> {
        let directory = self.open.last().context("the way through the image went astray")?;
        let name = item.node.name();
        let changed = owner(item).and_then(|(uid, gid)| {
            rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        });
        let owned = self.owned(item, changed)?;
        let mode = self.mode(item, owned);
        let directory = self.open.last().context("the way through the image went astray")?;
        if item.metadata().kind != Kind::Symlink {
            rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(directory, name, &times(item), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Whether the owner could be set.
    fn owned(&mut self, item: &Item, changed: Result<(), Errno>) -> io::Result<bool> {
        match changed {
            Ok(()) => Ok(true),
            // Numbers that have no place in a user namespace are invalid there.
            Err(Errno::PERM | Errno::INVAL) => {
                self.losses.add(
                    "things that do not belong to whom they do in the image, because only root may give them away; --to \
                     mtree writes down owners and modes",
                    item,
                );
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The mode; without the bits that would lend the rights of the wrong owner.
    fn mode(&mut self, item: &Item, owned: bool) -> Mode {
        let mut mode = item.mode();
        if !owned && mode & SET_ID != 0 && item.metadata().kind != Kind::Directory {
            self.losses.add("set-id bits that would lend the rights of another owner", item);
            mode &= !SET_ID;
        }
        Mode::from_raw_mode(mode)
    }
}

/// Whether the user may have been refused what this is.
fn may_be_left_out(item: &Item) -> bool {
    !matches!(item.metadata().kind, Kind::File | Kind::Directory | Kind::Symlink)
}

/// Owner and group, if they are any that a system knows: the largest number means none (source: chown(2)).
fn owner(item: &Item) -> Result<(Uid, Gid), Errno> {
    match item.owner() {
        (u32::MAX, _) | (_, u32::MAX) => Err(Errno::INVAL),
        (uid, gid) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
    }
}

fn times(item: &Item) -> Timestamps {
    let (seconds, nanoseconds) = item.time();
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}
