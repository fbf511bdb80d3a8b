//! The boot menu: its model, the retro image's three entries, and the `menu.lst` of GRUB legacy.
//!
//! Paths are written with exactly the case they are stored with: GRUB legacy compares long file names
//! case-sensitively.

use std::fmt::Write as _;

use thiserror::Error;

/// Longest line GRUB legacy 0.97 reads from its menu, in bytes (its heap for one line is 1500; `NEW_HEAPSIZE`
/// in stage2/shared.h).
const MAX_LINE: usize = 1499;
/// Longest time in seconds that GRUB legacy waits for a key that tells which terminal shows the menu.
const LONGEST_TERMINAL_CHOICE: u32 = 5;
/// [`Menu::parse`] looks at no more than this much of a file.
const MAX_PARSED_BYTES: usize = 256 << 10;
/// [`Menu::parse`] keeps no more entries than this, and no more modules in each.
const MAX_PARSED_ITEMS: usize = 64;

/// A boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    /// Seconds until the default entry starts by itself.
    pub timeout_seconds: u32,
    /// Index into `entries` of the entry that starts when nobody chooses.
    pub default: usize,
    /// The entries, in the order shown.
    pub entries: Vec<MenuEntry>,
}

/// One choice of a boot menu: a multiboot kernel with its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuEntry {
    /// What the menu shows.
    pub title: String,
    /// Absolute path of the kernel in the boot file system; empty in a parsed menu when the entry starts no
    /// kernel.
    pub kernel: String,
    /// Everything after the kernel's path on its line, verbatim: the kernel gets `kernel`, one blank,
    /// `arguments`.
    pub arguments: String,
    /// Absolute path of each module, in load order. In a parsed menu a module's own arguments follow its path
    /// after a blank, as they stand in the file.
    pub modules: Vec<String>,
}

/// The global lines a rendered `menu.lst` starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MenuStyle {
    /// The menu shows on the first serial port or the screen, whichever answers first. Works with stock GRUB
    /// 0.97.
    #[default]
    FirstSerialPort,
    /// The lines of the original image, written for the illumos fork of GRUB. Stock GRUB 0.97 skips those it
    /// does not know, takes COM2 from the list of units and shows its menu on the screen alone.
    Original,
}

/// Why a menu cannot be built or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MenuError {
    /// A menu without entries, or whose default is not one of them.
    #[error("the default entry {default} is not one of the {entries} menu entries")]
    NoDefault {
        /// The index asked for.
        default: usize,
        /// How many entries there are.
        entries: usize,
    },
    /// A title, path or argument that `menu.lst` cannot carry.
    #[error("{field} {value:?} cannot stand in a boot menu: {reason}")]
    Unwritable {
        /// Which field is at fault.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn unwritable(field: &'static str, value: &str, reason: &'static str) -> MenuError {
    MenuError::Unwritable { field, value: value.to_owned(), reason }
}

impl Menu {
    /// The three entries of a retro image for the platform `stamp` (`YYYYMMDDThhmmssZ`), stored under
    /// `/os/<stamp>`.
    ///
    /// `rescue_password_hash` is the crypt(3C) hash root logs in with after the rescue entry.
    /// `extra_properties` are `name=value` boot properties appended to every entry. The archive's hash is the second
    /// module; whoever lays out the disk makes it, because platforms before November 2012 may lack the file.
    pub fn retro(
        stamp: &str,
        rescue_password_hash: &str,
        extra_properties: &[String],
        timeout_seconds: u32,
    ) -> Result<Menu, MenuError> {
        if stamp.is_empty() || !stamp.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(unwritable("stamp", stamp, "only letters, digits and dashes are allowed"));
        }
        // The kernel ends a quoted property value at the next quote and has no way to escape one.
        if !rescue_password_hash.bytes().all(|b| b.is_ascii_graphic() && b != b'\'' && b != b'\\') {
            return Err(unwritable(
                "password hash",
                rescue_password_hash,
                "it holds a blank, quote or backslash",
            ));
        }
        for property in extra_properties {
            check_property(property)?;
        }

        let platform = format!("/os/{stamp}/platform/i86pc");
        let archive = format!("{platform}/amd64/boot_archive");
        let modules = vec![archive.clone(), format!("{archive}.hash")];
        let entry = |title: &str, words: &str, rescue: &str| {
            let mut arguments = format!(
                "{words}-B console=ttya,ttya-mode=\"115200,8,n,1,-\",smartos=true{rescue},\
                 disable-ehci=true,disable-uhci=true,disable-kvm=true"
            );
            for property in extra_properties {
                arguments.push(',');
                arguments.push_str(property);
            }
            MenuEntry {
                title: title.to_owned(),
                kernel: format!("{platform}/kernel/amd64/unix"),
                arguments,
                modules: modules.clone(),
            }
        };
        let rescue = format!(",root_shadow='{rescue_password_hash}',noimport=true");
        Ok(Menu {
            timeout_seconds,
            default: 0,
            entries: vec![
                entry("Live 64-bit", "", ""),
                entry("Live 64-bit Rescue (no importing zpool)", "", &rescue),
                entry("Live 64-bit +kmdb", "-kd ", ""),
            ],
        })
    }

    /// Writes the menu as a `menu.lst`.
    pub fn render(&self, style: MenuStyle) -> Result<String, MenuError> {
        self.validate()?;
        let mut text = format!("default {}\ntimeout {}\n", self.default, self.timeout_seconds);
        match style {
            // Never a unit other than 0: the second serial port is the guest's metadata channel. The choice of a
            // terminal comes before the menu, and waits no longer than that.
            MenuStyle::FirstSerialPort => {
                let seconds = self.timeout_seconds.min(LONGEST_TERMINAL_CHOICE);
                let _ = writeln!(
                    text,
                    "serial --unit=0 --speed=115200\nterminal --timeout={seconds} serial console"
                );
            }
            MenuStyle::Original => text.push_str(
                "min_mem64 1024\n\
                 serial --speed=115200 --unit=1,0,2,3 --word=8 --parity=no --stop=1\n\
                 terminal composite\n",
            ),
        }
        for entry in &self.entries {
            let _ = write!(text, "\ntitle {}\nkernel {}", entry.title, entry.kernel);
            if !entry.arguments.is_empty() {
                let _ = write!(text, " {}", entry.arguments);
            }
            text.push('\n');
            for module in &entry.modules {
                let _ = writeln!(text, "module {module}");
            }
        }
        Ok(text)
    }

    /// Checks what every loader relies on: a default that exists, and fields that each fit on one line.
    pub fn validate(&self) -> Result<(), MenuError> {
        if self.default >= self.entries.len() {
            return Err(MenuError::NoDefault { default: self.default, entries: self.entries.len() });
        }
        for entry in &self.entries {
            check_text("menu title", &entry.title)?;
            // GRUB skips equal signs between a command and its value.
            if entry.title.is_empty() || entry.title.starts_with('=') {
                return Err(unwritable(
                    "menu title",
                    &entry.title,
                    "it is empty or starts with an equal sign",
                ));
            }
            check_path("kernel path", &entry.kernel)?;
            check_text("kernel arguments", &entry.arguments)?;
            let kernel_line = "kernel ".len() + entry.kernel.len() + 1 + entry.arguments.len();
            if kernel_line > MAX_LINE {
                return Err(unwritable(
                    "kernel arguments",
                    &entry.arguments,
                    "the line is longer than 1499 bytes",
                ));
            }
            for module in &entry.modules {
                let path = module.split(' ').next().unwrap_or_default();
                check_path("module path", path)?;
                check_text("module path", module)?;
            }
        }
        Ok(())
    }

    /// Reads a `menu.lst`, ours or foreign, as far as it describes multiboot entries; everything else is
    /// skipped.
    ///
    /// The first 256 KiB and at most 64 entries with 64 modules each are looked at. Both `name value` and
    /// `name=value` are understood, and the `kernel$` and `module$` of the illumos fork. A default that is
    /// not a number counts as 0.
    pub fn parse(bytes: &[u8]) -> Menu {
        let text = String::from_utf8_lossy(bytes.get(..MAX_PARSED_BYTES).unwrap_or(bytes));
        let mut menu = Menu { timeout_seconds: 0, default: 0, entries: Vec::new() };
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            let Some((command, value)) = line.split_once([' ', '\t', '=']) else { continue };
            let value = value.trim_start_matches([' ', '\t', '=']);
            if command == "title" {
                if menu.entries.len() == MAX_PARSED_ITEMS {
                    break;
                }
                menu.entries.push(MenuEntry {
                    title: value.to_owned(),
                    kernel: String::new(),
                    arguments: String::new(),
                    modules: Vec::new(),
                });
                continue;
            }
            match (command, menu.entries.last_mut()) {
                ("default", None) => menu.default = value.parse().unwrap_or(0),
                ("timeout", None) => menu.timeout_seconds = value.parse().unwrap_or(0),
                ("kernel" | "kernel$", Some(entry)) => {
                    let line = without_options(value);
                    let (path, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
                    path.clone_into(&mut entry.kernel);
                    arguments.trim_start().clone_into(&mut entry.arguments);
                }
                ("module" | "module$", Some(entry)) if entry.modules.len() < MAX_PARSED_ITEMS => {
                    entry.modules.push(value.to_owned());
                }
                _ => {}
            }
        }
        menu
    }
}

/// Drops the options GRUB allows between `kernel` and the path, such as `--type=multiboot`.
fn without_options(mut line: &str) -> &str {
    while line.starts_with("--") {
        line = line.split_once([' ', '\t']).map_or("", |(_, rest)| rest.trim_start());
    }
    line
}

/// A boot property as the kernel's early property parser takes it: a bare word without `=` would end the list
/// (uts/i86pc/os/fakebop.c).
fn check_property(property: &str) -> Result<(), MenuError> {
    let name = property.split('=').next().unwrap_or_default();
    if name.is_empty() || name.len() == property.len() {
        return Err(unwritable("boot property", property, "it is not of the form name=value"));
    }
    if !name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'"' | b'\'')) {
        return Err(unwritable("boot property", property, "its name holds a blank, comma or quote"));
    }
    check_text("boot property", property)?;
    let value = &property[name.len() + 1..];
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) if value.len() < 2 || value[1..].find(quote) != Some(value.len() - 2) => {
            Err(unwritable("boot property", property, "its quotes do not enclose the whole value"))
        }
        Some('"' | '\'') => Ok(()),
        _ if value.contains([' ', ',']) => {
            Err(unwritable("boot property", property, "a value with a blank or comma must be quoted"))
        }
        _ => Ok(()),
    }
}

fn check_text(field: &'static str, value: &str) -> Result<(), MenuError> {
    if value.chars().any(|c| c.is_ascii_control()) {
        return Err(unwritable(field, value, "it holds a control character"));
    }
    if value.trim() != value {
        return Err(unwritable(field, value, "it starts or ends with a blank"));
    }
    if value.ends_with('\\') {
        return Err(unwritable(field, value, "a backslash at the end would join it with the next line"));
    }
    if value.len() > MAX_LINE - "module ".len() {
        return Err(unwritable(field, value, "it is longer than the menu's lines may be"));
    }
    Ok(())
}

fn check_path(field: &'static str, path: &str) -> Result<(), MenuError> {
    if !path.starts_with('/') {
        return Err(unwritable(field, path, "it is not an absolute path"));
    }
    if path.contains(' ') {
        return Err(unwritable(field, path, "it holds a blank"));
    }
    check_text(field, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$5$2HOHRnK3$NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA";

    fn retro() -> Menu {
        Menu::retro("20141030T081701Z", HASH, &["disable-vmm=true".to_owned()], 10).unwrap()
    }

    #[test]
    fn the_retro_menu_is_the_originals() {
        let text = retro().render(MenuStyle::Original).unwrap();
        let expected = format!(
            "default 0
timeout 10
min_mem64 1024
serial --speed=115200 --unit=1,0,2,3 --word=8 --parity=no --stop=1
terminal composite

title Live 64-bit
kernel /os/20141030T081701Z/platform/i86pc/kernel/amd64/unix -B console=ttya,ttya-mode=\"115200,8,n,1,-\",\
smartos=true,disable-ehci=true,disable-uhci=true,disable-kvm=true,disable-vmm=true
module /os/20141030T081701Z/platform/i86pc/amd64/boot_archive
module /os/20141030T081701Z/platform/i86pc/amd64/boot_archive.hash

title Live 64-bit Rescue (no importing zpool)
kernel /os/20141030T081701Z/platform/i86pc/kernel/amd64/unix -B console=ttya,ttya-mode=\"115200,8,n,1,-\",\
smartos=true,root_shadow='{HASH}',noimport=true,disable-ehci=true,disable-uhci=true,disable-kvm=true,disable-vmm=true
module /os/20141030T081701Z/platform/i86pc/amd64/boot_archive
module /os/20141030T081701Z/platform/i86pc/amd64/boot_archive.hash

title Live 64-bit +kmdb
kernel /os/20141030T081701Z/platform/i86pc/kernel/amd64/unix -kd -B console=ttya,ttya-mode=\"115200,8,n,1,-\",\
smartos=true,disable-ehci=true,disable-uhci=true,disable-kvm=true,disable-vmm=true
module /os/20141030T081701Z/platform/i86pc/amd64/boot_archive
module /os/20141030T081701Z/platform/i86pc/amd64/boot_archive.hash
"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_default_style_never_names_a_second_port() {
        let text = retro().render(MenuStyle::FirstSerialPort).unwrap();
        assert!(text.starts_with(
            "default 0\ntimeout 10\nserial --unit=0 --speed=115200\nterminal --timeout=5 serial console\n\ntitle "
        ));
        assert_eq!(text.matches("serial --").count(), 1);
    }

    #[test]
    fn a_menu_that_waits_shortly_asks_shortly_for_the_terminal() {
        for (timeout, asked) in [(0, 0), (3, 3), (10, 5), (300, 5)] {
            let menu = Menu { timeout_seconds: timeout, ..retro() };
            let text = menu.render(MenuStyle::FirstSerialPort).unwrap();
            assert!(text.contains(&format!("\nterminal --timeout={asked} serial console\n")), "{text}");
            assert_eq!(Menu::parse(text.as_bytes()).timeout_seconds, timeout);
        }
    }

    #[test]
    fn rendered_menus_parse_back() {
        for style in [MenuStyle::FirstSerialPort, MenuStyle::Original] {
            let text = retro().render(style).unwrap();
            assert_eq!(Menu::parse(text.as_bytes()), retro());
        }
    }

    #[test]
    fn foreign_menus_are_understood() {
        let menu = Menu::parse(
            b"# comment\r\ndefault=1\r\ntimeout = 3\r\ntitle A\r\n  kernel$ --type=multiboot /p/unix  -v \r\n\tmodule$ /p/a type=rootfs\r\n\
              title chain\nrootnoverify (hd0)\nchainloader +1\n\xff\xfe junk\n",
        );
        assert_eq!((menu.default, menu.timeout_seconds, menu.entries.len()), (1, 3, 2));
        assert_eq!(menu.entries[0].kernel, "/p/unix");
        assert_eq!(menu.entries[0].arguments, "-v");
        assert_eq!(menu.entries[0].modules, ["/p/a type=rootfs"]);
        assert_eq!((menu.entries[1].title.as_str(), menu.entries[1].kernel.as_str()), ("chain", ""));
    }

    #[test]
    fn parsing_is_bounded() {
        let many = "title x\nkernel /k\n".repeat(40_000);
        assert_eq!(Menu::parse(many.as_bytes()).entries.len(), MAX_PARSED_ITEMS);
    }

    #[test]
    fn what_a_line_cannot_carry_is_refused() {
        for property in ["word", "=x", "a b=c", "a=b,c", "a=\"b", "a='b'c", "a=b\nc=d", "a="] {
            let built = Menu::retro("20141030T081701Z", HASH, &[property.to_owned()], 10);
            assert_eq!(built.is_ok(), property == "a=", "{property:?}");
        }
        assert!(Menu::retro("20141030T081701Z", "it's", &[], 10).is_err());
        assert!(Menu::retro("../etc", HASH, &[], 10).is_err());
        let mut long = retro();
        long.entries[1].arguments = "x".repeat(1500);
        assert!(long.render(MenuStyle::Original).is_err());
        let mut missing = retro();
        missing.default = 3;
        assert_eq!(missing.validate(), Err(MenuError::NoDefault { default: 3, entries: 3 }));
    }
}
