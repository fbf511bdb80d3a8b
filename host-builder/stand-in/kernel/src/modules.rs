//! Which module is the boot archive and which one its digest, by both rules that kernels have had.
//!
//! *By order* (November 2012 to November 2013): the first module is the ramdisk; of two and more, the last lists
//! the digests of those before it. *By type* (from November 2013 on, illumos issue 5886): a module's string says
//! what it is; one or two modules whose strings say nothing are a ramdisk and its digest.

use core::fmt::{self, Display};

use crate::multiboot::{Module, Modules};
use crate::sha1::Sha1;

/// 40 hexadecimal digits and the end of the line.
const LINE_BYTES: usize = 41;
const DIGITS: usize = 40;

/// What comparing a digest came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It is right.
    Good,
    /// It is wrong: kernels panic.
    Mismatch,
    /// There is none, or one too short, which kernels leave alone.
    None,
}

impl Check {
    /// Whether a kernel would panic.
    pub fn is_mismatch(self) -> bool {
        self == Self::Mismatch
    }
}

impl Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::Good => "ok",
            Self::Mismatch => "mismatch",
            Self::None => "none",
        })
    }
}

/// The value of `key` (with its `=`) in a module's string.
fn value(module: &Module, key: &[u8]) -> Option<&'static [u8]> {
    words(module.string).skip(1).find_map(|word| word.strip_prefix(key))
}

fn words(text: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// What a module is called: what `name=` says, else the first word.
fn name(module: &Module) -> &'static [u8] {
    value(module, b"name=").or_else(|| words(module.string).next()).unwrap_or_default()
}

/// Whether the strings say nothing and the order counts.
fn by_position(modules: &Modules) -> bool {
    modules.count() <= 2
        && modules
            .iter()
            .all(|module| value(&module, b"type=").is_none() && value(&module, b"hash=").is_none())
}

/// The module that becomes the ramdisk by the newer rule. With one or two plain modules that is the older
/// rule's, too.
pub fn ramdisk(modules: &Modules) -> Option<Module> {
    if by_position(modules) {
        return modules.iter().next();
    }
    modules.iter().find(|module| value(module, b"type=") == Some(b"rootfs"))
}

/// The older rule. `digest` is that of `ramdisk`, which takes too long to compute twice.
pub fn check_by_order(modules: &Modules, ramdisk: &Module, digest: &[u8; 20]) -> Check {
    let Some(digests) = modules.iter().next_back().filter(|_| modules.count() >= 2) else {
        return Check::None;
    };
    let digest_of = |module: &Module| {
        if core::ptr::eq(module.bytes, ramdisk.bytes) { *digest } else { Sha1::digest(module.bytes) }
    };
    let mut lines = digests.bytes.chunks(LINE_BYTES);
    let mut check = Check::None;
    for module in modules.iter().take(modules.count() as usize - 1) {
        match lines.next().filter(|line| line.len() == LINE_BYTES) {
            Some(line) if compare(line, &digest_of(&module)) => check = Check::Good,
            Some(_) => return Check::Mismatch,
            None => break,
        }
    }
    check
}

/// The newer rule, for `ramdisk`, whose digest is `digest`.
pub fn check_by_type(modules: &Modules, ramdisk: &Module, digest: &[u8; 20]) -> Check {
    let stated = if by_position(modules) {
        modules.iter().nth(1).map(|module| module.bytes)
    } else {
        let named = || {
            let is_its_hash =
                |module: &Module| value(module, b"type=") == Some(b"hash") && name(module) == name(ramdisk);
            modules.iter().find(is_its_hash).map(|module| module.bytes)
        };
        value(ramdisk, b"hash=").or_else(named)
    };
    match stated {
        Some(digits) if digits.len() >= DIGITS && compare(digits, digest) => Check::Good,
        Some(digits) if digits.len() >= DIGITS => Check::Mismatch,
        _ => Check::None,
    }
}

/// Whether `text` begins with the digits of `digest`.
fn compare(text: &[u8], digest: &[u8; 20]) -> bool {
    let digit = |place: usize| text.get(place).and_then(|&byte| char::from(byte).to_digit(16));
    digest.iter().enumerate().all(|(index, &byte)| {
        digit(2 * index) == Some(u32::from(byte >> 4)) && digit(2 * index + 1) == Some(u32::from(byte & 15))
    })
}
