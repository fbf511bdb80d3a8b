//! What a SmartOS image consists of: boot archives, menus and the loader that shows them.

use anyhow::{Context, Result};
use kiln_bootdisk::builtin::{self, Found};
use kiln_bootdisk::detect::{self, Loader};
use kiln_bootdisk::menu::Menu;
use serde::Serialize;

use super::disk::Disk;
use super::source::Source;
use super::tree::{self, Node, Tree, show};
use crate::digest;
use crate::platform::{MAX_HASH, stated_sha1};
use crate::report::Report;
use crate::stamp::Stamp;

/// Names under which boot archives are stored (source: smartos-live, tools/build_live).
const BOOT_ARCHIVE: &str = "boot_archive";
/// Where GRUB legacy looks for its menu.
pub const GRUB_MENU: &str = "/boot/grub/menu.lst";
/// Largest menu file that is read, in bytes.
const MAX_MENU: usize = 256 << 10;

/// A boot archive in an image.
#[derive(Clone)]
pub struct BootArchive {
    /// Where it is.
    pub node: Node,
    /// Its bytes.
    pub source: Source,
    /// The stamp of its platform, from the folders above it.
    pub stamp: Option<Stamp>,
    /// The hash file beside it, as text.
    pub hash: Option<String>,
}

impl BootArchive {
    /// The SHA-1 of the archive, lower-case hex.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn sha1(&self, report: &Report) -> Result<String> {
        let progress = report.progress("digesting", self.source.size());
        digest::sha1_of(progress.reader(self.source.reader()))
            .with_context(|| format!("cannot read {}", self.node.shown()))
    }

    /// The SHA-1 that the hash file states, lower case.
    pub fn stated_sha1(&self) -> Option<String> {
        self.hash.as_deref().map(|text| stated_sha1(text).to_ascii_lowercase())
    }
}

/// The boot archives in a tree, by path.
///
/// # Errors
/// The tree cannot be read.
pub fn boot_archives(tree: &dyn Tree) -> Result<Vec<BootArchive>> {
    let mut found = Vec::new();
    tree::walk(tree, &tree.root()?, &mut |node| {
        if node.is_file() && node.name().eq_ignore_ascii_case(BOOT_ARCHIVE.as_bytes()) {
            let source = tree.contents(node)?;
            let hash = tree::find(tree, &[&node.path, &b".hash"[..]].concat(), true)?;
            let hash = hash
                .filter(Node::is_file)
                .map(|hash| small_text(tree, &hash, MAX_HASH as usize))
                .transpose()?;
            found.push(BootArchive {
                node: node.clone(),
                source,
                stamp: Stamp::find_in(&show(&node.path)),
                hash,
            });
        }
        Ok(())
    })?;
    Ok(found)
}

fn small_text(tree: &dyn Tree, node: &Node, limit: usize) -> Result<String> {
    let bytes = tree.contents(node)?.head(limit).with_context(|| format!("cannot read {}", node.shown()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A boot menu as its loader shows it.
#[derive(Clone, Debug, Serialize)]
pub struct BootMenu {
    /// Where it is stored.
    pub place: String,
    /// Seconds until the default entry starts.
    pub timeout: u32,
    /// Number of the default entry, from 0.
    pub default: usize,
    /// The entries in order.
    pub entries: Vec<BootEntry>,
}

impl BootMenu {
    /// Whether the user sees and starts the same.
    pub fn same_as(&self, other: &BootMenu) -> bool {
        (self.timeout, self.default, &self.entries) == (other.timeout, other.default, &other.entries)
    }
}

/// An entry of a boot menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootEntry {
    /// What the menu shows.
    pub title: String,
    /// What the kernel gets, its path first; empty when the entry starts no kernel.
    pub command_line: String,
    /// The modules with their arguments, in load order.
    pub modules: Vec<String>,
}

/// What starts a disk.
#[derive(Debug)]
pub struct Boot {
    /// The loader.
    pub loader: Loader,
    /// The built-in loader's table; an error when it is damaged.
    pub builtin: Option<Result<Found>>,
    /// The menus: the built-in loader's table, and GRUB's file when there is one.
    pub menus: Vec<BootMenu>,
}

/// Finds out what starts a disk whose files are `tree`.
///
/// # Errors
/// The disk cannot be read.
pub fn boot(disk: &Disk, tree: Option<&dyn Tree>) -> Result<Boot> {
    let loader = detect::detect(disk.source()).context("cannot read the boot area")?;
    let builtin = match loader {
        Loader::Builtin { .. } => match builtin::read(disk.source()) {
            Ok(found) => found.map(Ok),
            Err(error) => Some(Err(error.into())),
        },
        _ => None,
    };
    let mut menus = Vec::new();
    if let Some(Ok(found)) = &builtin {
        menus.push(BootMenu {
            place: "boot table of the built-in loader".to_owned(),
            timeout: found.table.timeout_seconds.into(),
            default: found.table.default.into(),
            entries: found
                .table
                .entries
                .iter()
                .map(|entry| BootEntry {
                    title: entry.title.clone(),
                    command_line: entry.command_line.clone(),
                    modules: entry.modules.iter().map(|module| module.string.clone()).collect(),
                })
                .collect(),
        });
    }
    if let Some(tree) = tree
        && let Some(node) = tree::find(tree, GRUB_MENU.as_bytes(), true)?
        && node.is_file()
    {
        menus.push(grub_menu(&small_text(tree, &node, MAX_MENU)?));
    }
    Ok(Boot { loader, builtin, menus })
}

fn grub_menu(text: &str) -> BootMenu {
    let menu = Menu::parse(text.as_bytes());
    let entries = menu.entries.into_iter().map(|entry| BootEntry {
        title: entry.title,
        command_line: format!("{} {}", entry.kernel, entry.arguments).trim().to_owned(),
        modules: entry.modules,
    });
    BootMenu {
        place: GRUB_MENU.to_owned(),
        timeout: menu.timeout_seconds,
        default: menu.default,
        entries: entries.collect(),
    }
}
