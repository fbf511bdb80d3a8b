//! Long names, and the 8.3 aliases that stand beside them.

use std::collections::{HashMap, HashSet};

use super::ondisk::MAX_NAME_UNITS;

/// Why FAT cannot hold `name`, or `None` when it can.
pub(crate) fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name == "." || name == ".." {
        return Some("it is empty, `.` or `..`");
    }
    if name.chars().any(|c| c.is_ascii_control() || "\"*/:<>?\\|".contains(c)) {
        return Some("it holds a control character or one of \" * / : < > ? \\ |");
    }
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return Some("it starts with a blank, or ends with a blank or a dot");
    }
    if name.encode_utf16().count() > MAX_NAME_UNITS {
        return Some("it is longer than 255 UTF-16 units");
    }
    None
}

/// Whether a name read from a foreign volume can stand in a path without changing what the path means.
pub(crate) fn is_safe(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.chars().any(|c| c == '/' || c.is_control())
}

/// The form in which two names are compared: FAT keeps case but ignores it.
pub(crate) fn fold(name: &str) -> String {
    let upper = |c: char| {
        let mut mapped = c.to_uppercase();
        match (mapped.next(), mapped.next()) {
            (Some(single), None) => single,
            _ => c,
        }
    };
    name.chars().map(upper).collect()
}

/// Whether a short name found on a volume is one FAT allows: a first character, no lower case, nothing
/// forbidden, blanks only at the end of each part.
pub(crate) fn is_short(short: &[u8; 11]) -> bool {
    let allowed =
        |b: u8| b > b' ' && b != 0x7F && !b.is_ascii_lowercase() && !b"\"*+,./:;<=>?[\\]|".contains(&b);
    let part = |part: &[u8]| part.trim_ascii_end().iter().all(|&b| allowed(b));
    // 05 stands for E5, which would mean a deleted entry.
    let first = if short[0] == 0x05 { 0xE5 } else { short[0] };
    allowed(first) && part(&short[1..8]) && part(&short[8..])
}

/// The checksum of a short name that ties long entries to it.
pub(crate) fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0, |sum: u8, &byte| sum.rotate_right(1).wrapping_add(byte))
}

/// A short name as people write it: `NAME.EXT`.
pub(crate) fn display_short(short: &[u8; 11]) -> String {
    // Bytes above 7F are in a code page nobody recorded; Latin-1 at least keeps them apart. What no name may
    // hold (control characters, slashes) must not reach a path.
    let readable = |(index, &byte): (usize, &u8)| match byte {
        0x05 if index == 0 => '\u{E5}',
        0..=0x1F | 0x7F | b'/' | b'\\' => '_',
        _ => char::from(byte),
    };
    let (base, extension) = short.split_at(8);
    let text = |part: &[u8], skip: usize| -> String {
        let text: String = part.iter().enumerate().map(|(i, b)| readable((i + skip, b))).collect();
        text.trim_end_matches(' ').to_owned()
    };
    let (base, extension) = (text(base, 0), text(extension, 8));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// An 8.3 name made from a long one, before it is made unique.
struct Basis {
    base: String,
    extension: String,
    /// Whether something other than the case of letters was lost, so that the alias needs a numeric tail.
    lossy: bool,
}

/// Steps of the FAT specification: upper case, blanks and all dots but the last dropped, other characters
/// replaced.
fn basis(name: &str) -> Basis {
    let stripped = name.trim_start_matches('.');
    let (base, extension) = match stripped.rsplit_once('.') {
        Some((base, extension)) => (base, extension),
        None => (stripped, ""),
    };
    let mut lossy = stripped.len() != name.len();
    let mut convert = |part: &str, length: usize| {
        let mut short = String::new();
        for c in part.chars() {
            match c {
                ' ' | '.' => lossy = true,
                _ if c.is_ascii_alphanumeric() || "$%'-_@~`!(){}^#&".contains(c) => {
                    short.push(c.to_ascii_uppercase());
                }
                _ => {
                    lossy = true;
                    short.push('_');
                }
            }
        }
        if short.len() > length {
            lossy = true;
            short.truncate(length);
        }
        short
    };
    let (mut base, extension) = (convert(base, 8), convert(extension, 3));
    if base.is_empty() {
        base.push('_');
        lossy = true;
    }
    Basis { base, extension, lossy }
}

fn pack(base: &str, extension: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    short
}

/// The 8.3 aliases of a directory's names, in the same order.
///
/// A name that fits but for its case keeps its letters (`unix`, `UNIX`); all others get the first numeric
/// tail that is free (`BOOT_A~1`), in the order given, after those that fit have taken theirs.
pub(crate) fn aliases(names: &[&str]) -> Vec<[u8; 11]> {
    let bases: Vec<Basis> = names.iter().map(|name| basis(name)).collect();
    let mut taken: HashSet<[u8; 11]> =
        bases.iter().filter(|basis| !basis.lossy).map(|basis| pack(&basis.base, &basis.extension)).collect();
    let mut next_tail: HashMap<(String, String), u32> = HashMap::new();
    bases
        .into_iter()
        .map(|basis| {
            if !basis.lossy {
                return pack(&basis.base, &basis.extension);
            }
            let key = (basis.base.clone(), basis.extension.clone());
            let number = next_tail.entry(key).or_insert(1);
            loop {
                let tail = format!("~{number}");
                *number += 1;
                let kept = basis.base.len().min(8 - tail.len());
                let alias = pack(&format!("{}{tail}", &basis.base[..kept]), &basis.extension);
                if taken.insert(alias) {
                    return alias;
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&str]) -> Vec<String> {
        aliases(names).iter().map(display_short).collect()
    }

    #[test]
    fn aliases_are_those_of_windows() {
        assert_eq!(
            shown(&[
                "unix",
                "boot_archive",
                "boot_archive.hash",
                "menu.lst",
                ".joyliveusb",
                "i86pc",
                "a b.c.html"
            ]),
            ["UNIX", "BOOT_A~1", "BOOT_A~1.HAS", "MENU.LST", "JOYLIV~1", "I86PC", "ABC~1.HTM"]
        );
        assert_eq!(
            shown(&["fat_stage1_5", "jfs+x", "ä", "日本", "..."]),
            ["FAT_ST~1", "JFS_X~1", "_~1", "__~1", "_~2"]
        );
    }

    #[test]
    fn aliases_never_collide() {
        assert_eq!(
            shown(&["longname.1txt", "LONGNA~1.1TX", "longname.1txu"]),
            ["LONGNA~2.1TX", "LONGNA~1.1TX", "LONGNA~3.1TX"]
        );
        let names: Vec<String> = (0..1200).map(|n| format!("a long name {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let aliases = aliases(&names);
        assert_eq!(display_short(&aliases[9]), "ALONG~10");
        assert_eq!(aliases.iter().collect::<HashSet<_>>().len(), 1200);
    }

    #[test]
    fn faults_are_found() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a:", "nul\0", "dot.", "blank ", " blank", &"x".repeat(256)]
        {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
        for good in [".x", "a b", "+,;=[]", "日本", "\u{7f}x", &"x".repeat(255)] {
            assert_eq!(fault(good).is_none(), good != "\u{7f}x", "{good:?}");
        }
    }

    #[test]
    fn folding_ignores_case_only() {
        assert_eq!(fold("Äb.ß"), "ÄB.ß");
        assert_ne!(fold("a"), fold("á"));
    }
}
