//! The keys of the metadata and the lines of the owner in one file.
//!
//! Ours are between two marker lines, and are what the metadata say: a key that is removed there is removed here. Lines outside
//! of the markers are the owner's, and stay as they are, to the byte.

use std::collections::HashSet;

use super::line::Key;

/// The line before our keys.
pub const BEGIN: &str = "# BEGIN keys from metadata: guest-init replaces what is between these lines";
/// The line after our keys.
pub const END: &str = "# END keys from metadata";

/// The most keys that are taken from the metadata.
const MOST_KEYS: usize = 512;
/// The most bytes that are taken from the metadata.
const MOST_BYTES: usize = 256 << 10;

/// The keys in the value of `root_authorized_keys`, and what has to be told about other lines.
pub fn wanted(value: &[u8]) -> (Vec<Key<'_>>, Vec<String>) {
    let mut keys: Vec<Key<'_>> = Vec::new();
    let mut warnings = Vec::new();
    let mut bytes = 0;
    for (index, line) in value.split(|&byte| byte == b'\n').enumerate() {
        let text = line.trim_ascii();
        if text.is_empty() || text[0] == b'#' {
            continue;
        }
        let Some(key) = Key::parse(text) else {
            warnings.push(format!("line {} of root_authorized_keys is no SSH key: left out", index + 1));
            continue;
        };
        bytes += text.len();
        if keys.len() == MOST_KEYS || bytes > MOST_BYTES {
            warnings.push(format!(
                "root_authorized_keys has more than {MOST_KEYS} keys or {MOST_BYTES} bytes of them: \
                 line {} and all after it are left out",
                index + 1
            ));
            break;
        }
        if !keys.iter().any(|known| known.text == key.text) {
            keys.push(key);
        }
    }
    // A value that is something else altogether is not worth a line for each of its lines.
    if warnings.len() > 10 {
        let others = warnings.len() - 10;
        warnings.truncate(10);
        warnings.push(format!("{others} more lines of root_authorized_keys are left out"));
    }
    (keys, warnings)
}

/// A file as it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged {
    /// Its bytes.
    pub contents: Vec<u8>,
    /// How many keys in it open a shell.
    pub usable: usize,
    /// Whether keys that the metadata no longer have are kept, because without them nobody could log in.
    pub keeps_removed: bool,
}

/// Puts the keys that are wanted into a file. `None` means that nobody knows which are wanted: what is there stays.
pub fn merge(
    existing: &[u8],
    wanted: Option<&[Key<'_>]>,
    opens_a_shell: impl Fn(&Key<'_>) -> bool,
) -> Merged {
    let parts = Parts::of(existing);
    // A file can have tens of thousands of keys.
    let mut known: HashSet<&[u8]> = HashSet::new();
    let mut own: Vec<Key<'_>> =
        wanted.unwrap_or(&parts.block).iter().copied().filter(|key| known.insert(key.text)).collect();
    let users: Vec<Key<'_>> = parts.lines().filter_map(Key::parse).collect();
    let mut keeps_removed = false;
    if !users.iter().chain(&own).any(&opens_a_shell) {
        let before = own.len();
        own.extend(parts.block.iter().filter(|key| known.insert(key.text)));
        keeps_removed = own.len() > before;
    }
    let usable = users.iter().chain(&own).filter(|key| opens_a_shell(key)).count();
    Merged { contents: parts.with(&own), usable, keeps_removed }
}

/// A file, taken apart.
#[derive(Default)]
struct Parts<'a> {
    /// Lines of the owner, with their line feeds, before our block.
    before: Vec<&'a [u8]>,
    /// Our keys.
    block: Vec<Key<'a>>,
    /// Lines of the owner after our block.
    after: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(contents: &'a [u8]) -> Self {
        let lines: Vec<&[u8]> = contents.split_inclusive(|&byte| byte == b'\n').collect();
        let is = |line: &[u8], marker: &str| line.trim_ascii() == marker.as_bytes();
        let mut parts = Self::default();
        let mut has_block = false;
        let mut index = 0;
        while index < lines.len() {
            let line = lines[index];
            index += 1;
            if is(line, BEGIN) {
                // A beginning without an end is a beginning of nothing: what follows might be the owner's.
                let marker = lines[index..].iter().position(|line| is(line, BEGIN) || is(line, END));
                if let Some(length) = marker.filter(|length| is(lines[index + length], END)) {
                    parts
                        .block
                        .extend(lines[index..index + length].iter().filter_map(|line| Key::parse(line)));
                    index += length + 1;
                    has_block = true;
                }
            } else if has_block {
                parts.after.push(line);
            } else {
                parts.before.push(line);
            }
        }
        parts
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.before.iter().chain(&self.after).copied()
    }

    fn with(&self, keys: &[Key<'_>]) -> Vec<u8> {
        let mut contents = self.before.concat();
        if !keys.is_empty() {
            if contents.last().is_some_and(|&byte| byte != b'\n') {
                contents.push(b'\n');
            }
            let own = keys.iter().map(|key| key.text);
            for line in [BEGIN.as_bytes()].into_iter().chain(own).chain([END.as_bytes()]) {
                contents.extend_from_slice(line);
                contents.push(b'\n');
            }
        }
        contents.extend(self.after.concat());
        contents
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::tests::{line, platform};
    use super::*;

    fn merged(existing: &str, value: Option<&str>) -> Merged {
        let platform = platform("20141030");
        let keys = value.map(|value| wanted(value.as_bytes()).0);
        merge(existing.as_bytes(), keys.as_deref(), |key| key.opens_a_shell(&platform))
    }

    fn contents(merged: &Merged) -> &str {
        std::str::from_utf8(&merged.contents).expect("text")
    }

    fn block(keys: &[&str]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", keys.join("\n"))
    }

    #[test]
    fn hazard_21_removed_keys_go_and_lines_of_the_owner_stay() {
        let (rsa, other, own) = (line("ssh-rsa", 1), line("ssh-rsa", 2), line("ssh-rsa", 3));
        let first = merged(&format!("# mine\n{own} me"), Some(&format!("{rsa}\r\n\n# c\n{other} x\n{rsa}")));
        assert_eq!(contents(&first), format!("# mine\n{own} me\n{}", block(&[&rsa, &format!("{other} x")])));
        assert_eq!((first.usable, first.keeps_removed), (3, false));
        let edited = format!("{}{own} later\r\n", contents(&first));
        let second = merged(&edited, Some(&other));
        assert_eq!(contents(&second), format!("# mine\n{own} me\n{}{own} later\r\n", block(&[&other])));
        let third = merged(contents(&second), Some(""));
        assert_eq!(contents(&third), format!("# mine\n{own} me\n{own} later\r\n"));
        assert_eq!(third.usable, 2);
    }

    #[test]
    fn hazard_21_the_last_key_stays() {
        let (rsa, modern) = (line("ssh-rsa", 1), line("ssh-ed25519", 2));
        let there = block(&[&rsa]);
        let emptied = merged(&there, Some("<html>no such page</html>"));
        assert_eq!((contents(&emptied), emptied.usable, emptied.keeps_removed), (&*there, 1, true));
        let unusable = merged(&there, Some(&modern));
        assert_eq!((contents(&unusable), unusable.usable), (&*block(&[&modern, &rsa]), 1));
        assert!(unusable.keeps_removed);
        let silent = merged(&there, None);
        assert_eq!((contents(&silent), silent.keeps_removed), (&*there, false));
        assert_eq!(merged("", Some(&modern)).usable, 0);
    }

    #[test]
    fn half_a_block_is_the_owners() {
        let (rsa, own) = (line("ssh-rsa", 1), line("ssh-rsa", 2));
        let cut = merged(&format!("{BEGIN}\n{own}\n"), Some(&rsa));
        assert_eq!(contents(&cut), format!("{own}\n{}", block(&[&rsa])));
        let twice = merged(&format!("{BEGIN}\n{}{own}\n{}", block(&[&own]), block(&[&own])), Some(&rsa));
        assert_eq!(contents(&twice), format!("{}{own}\n", block(&[&rsa])));
    }

    #[test]
    fn huge_and_hostile_values_are_bounded() {
        let long = |seed| format!("{} {}", line("ssh-rsa", seed), "c".repeat(2000));
        let many = (0..=255).map(long).collect::<Vec<_>>().join("\n");
        let (keys, warnings) = wanted(many.as_bytes());
        assert!(keys.len() > 100 && keys.iter().map(|key| key.text.len()).sum::<usize>() <= MOST_BYTES);
        assert!(warnings[0].contains("all after it are left out"), "{warnings:?}");
        let junk = "junk\n".repeat(20_000);
        let (keys, warnings) = wanted(junk.as_bytes());
        assert_eq!((keys.len(), warnings.len()), (0, 11));
        let endless = "x".repeat(1 << 20);
        let (keys, _) = wanted(endless.as_bytes());
        assert!(keys.is_empty());
    }

    #[test]
    fn a_block_of_many_keys_takes_no_time_to_speak_of() {
        // All of one length, so that each would be compared with each to its end: 10^10 bytes of that.
        let lines: Vec<String> =
            (0..50_000).map(|number| format!("{} {number:06}", line("ssh-rsa", 1))).collect();
        let there = block(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let silent = merged(&there, None);
        assert_eq!((contents(&silent), silent.usable), (&*there, 50_000));
        let emptied = merged(&there, Some(""));
        assert_eq!((contents(&emptied), emptied.keeps_removed), (&*there, true));
    }

    /// Lines as owners, editors and accidents leave them.
    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(BEGIN.as_bytes().to_vec()),
            Just(END.as_bytes().to_vec()),
            (0_u8..4).prop_map(|seed| line("ssh-rsa", seed).into_bytes()),
            (0_u8..4).prop_map(|seed| format!("{} c\r", line("ssh-ed25519", seed)).into_bytes()),
            proptest::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 0..20),
        ]
    }

    fn any_file() -> impl Strategy<Value = Vec<u8>> {
        (proptest::collection::vec(any_line(), 0..12), any::<bool>()).prop_map(|(lines, ends)| {
            let mut file = lines.join(&b'\n');
            if ends {
                file.push(b'\n');
            }
            file
        })
    }

    proptest! {
        #[test]
        fn merging_again_changes_nothing(file in any_file(), value in proptest::option::of(any_file())) {
            let platform = platform("20141030");
            let keys = value.as_ref().map(|value| wanted(value).0);
            let first = merge(&file, keys.as_deref(), |key| key.opens_a_shell(&platform));
            let second = merge(&first.contents, keys.as_deref(), |key| key.opens_a_shell(&platform));
            prop_assert_eq!(&second.contents, &first.contents);
            prop_assert_eq!(second.usable, first.usable);
        }

        #[test]
        fn lines_of_the_owner_stay_and_no_login_is_lost(file in any_file(), value in proptest::option::of(any_file())) {
            let platform = platform("20141030");
            let keys = value.as_ref().map(|value| wanted(value).0);
            let opens = |key: &Key<'_>| key.opens_a_shell(&platform);
            let merged = merge(&file, keys.as_deref(), opens);
            let users = |file: &[u8]| -> Vec<Vec<u8>> {
                Parts::of(file).lines().map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
            };
            prop_assert_eq!(users(&merged.contents), users(&file));
            let had = Parts::of(&file);
            let had_one = had.lines().filter_map(Key::parse).any(|key| opens(&key)) || had.block.iter().any(opens);
            prop_assert!(!had_one || merged.usable > 0);
            for key in keys.iter().flatten() {
                prop_assert!(Parts::of(&merged.contents).block.contains(key));
            }
        }
    }
}
