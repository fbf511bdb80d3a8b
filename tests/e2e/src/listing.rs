//! Everything in a boot archive, entry by entry, as a foreign reader, kiln, or a test's own reckoning has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Lab;

/// The body of a shell function for the guest of ring 3: mounts the archive `$1` read-only with Linux' UFS driver and
/// prints a line of JSON for each entry, with the members of `kiln ls --json` and the SHA-256 of each file.
pub const SEEN_BY_LINUX: &str = r#"
set -euo pipefail
mount -t ufs -o ro,loop,ufstype=sunx86 "$1" /mnt
cat >/tmp/listing.py <<'END'
import hashlib, json, os, stat, time
KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}
def show(path):
    status = os.lstat(path)
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "%o" % stat.S_IFMT(status.st_mode))
    target = os.readlink(path) if kind == "symlink" else None
    sha256 = None
    if kind == "file":
        with open(path, "rb") as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
    print(json.dumps({
        "path": path[4:] or "/", "kind": kind, "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "uid": status.st_uid, "gid": status.st_gid, "size": status.st_size,
        "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime)),
        "target": target, "sha256": sha256}))
def fail(error):
    raise error
show("/mnt")
for folder, folders, files in os.walk("/mnt", onerror=fail):
    for name in folders + files:
        show(os.path.join(folder, name))
END
python3 -X utf8 /tmp/listing.py
umount /mnt
"#;

/// What is known of an entry. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `file`, `directory`, `symlink`, or another word for what no test puts there.
    pub kind: String,
    /// Permission bits in octal, four digits.
    pub mode: String,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Length of a file's contents, a link's target or a directory.
    pub size: u64,
    /// Time of the last change in UTC, `2026-01-01T00:00:00Z`.
    pub mtime: String,
    /// A file's SHA-256 in hexadecimal, a link's target, nothing otherwise.
    pub content: String,
}

impl Entry {
    /// A file of root's with this mode and contents.
    pub fn file(mode: &str, content: &[u8], mtime: &str) -> Entry {
        Entry::new("file", mode, content.len(), mtime, sha256(content))
    }

    /// A directory of root's with this mode, whose names fit one piece of 512 bytes.
    pub fn directory(mode: &str, mtime: &str) -> Entry {
        Entry::new("directory", mode, 512, mtime, String::new())
    }

    /// A symbolic link of root's.
    pub fn symlink(target: &str, mtime: &str) -> Entry {
        Entry::new("symlink", "0777", target.len(), mtime, target.to_owned())
    }

    fn new(kind: &str, mode: &str, size: usize, mtime: &str, content: String) -> Entry {
        let (kind, mode, mtime) = (kind.to_owned(), mode.to_owned(), mtime.to_owned());
        Entry { kind, mode, uid: 0, gid: 0, size: size as u64, mtime, content }
    }

    /// The same with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u64, gid: u64) -> Entry {
        (self.uid, self.gid) = (uid, gid);
        self
    }
}

/// All entries of an archive by their paths, `/` among them.
pub type Listing = BTreeMap<String, Entry>;

/// Reads lines of JSON, from [`SEEN_BY_LINUX`] or from `kiln ls --json`; the latter give no SHA-256.
///
/// # Panics
/// A line is not what it should be, or two are about one path.
pub fn parse(lines: &str) -> Listing {
    let mut listing = Listing::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let must = |name: &str| text(name).unwrap_or_else(|| panic!("no {name}: {line}"));
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name}: {line}"));
        let entry = Entry {
            kind: must("kind"),
            mode: must("mode"),
            uid: number("uid"),
            gid: number("gid"),
            size: number("size"),
            mtime: must("mtime"),
            content: text("target").or_else(|| text("sha256")).unwrap_or_default(),
        };
        let earlier = listing.insert(must("path"), entry);
        assert!(earlier.is_none(), "listed twice: {line}");
    }
    listing
}

/// What kiln reads in a bare boot archive.
///
/// # Panics
/// kiln cannot read it.
pub fn seen_by_kiln(lab: &Lab, archive: &Path) -> Listing {
    let archive = archive.to_str().expect("the lab's name is UTF-8");
    let mut listing = parse(&lab.kiln_ok(&["ls", "--json", "-R", &format!("{archive}:/")]));
    for (path, entry) in listing.iter_mut().filter(|(_, entry)| entry.kind == "file") {
        let said = lab.command().args(["cat", &format!("{archive}:{path}")]).output().expect("kiln starts");
        assert!(said.status.success(), "{path}: {}", String::from_utf8_lossy(&said.stderr));
        entry.content = sha256(&said.stdout);
    }
    listing
}

/// Fails unless both are the same; the message has every entry that is not.
///
/// # Panics
/// They differ.
pub fn assert_same(what: &str, left: &Listing, right: &Listing) {
    let mut said = String::new();
    for path in left.keys().chain(right.keys().filter(|path| !left.contains_key(*path))) {
        let (a, b) = (left.get(path), right.get(path));
        if a != b {
            writeln!(said, "{path}\n  left  {a:?}\n  right {b:?}").expect("writing to a string succeeds");
        }
    }
    assert!(said.is_empty(), "{what} differ:\n{said}");
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-01T00:00:00Z";

    fn listing(entries: [(&str, Entry); 2]) -> Listing {
        entries.into_iter().map(|(path, entry)| (path.to_owned(), entry)).collect()
    }

    #[test]
    fn a_line_of_kiln_and_one_of_the_guest_are_read_alike() {
        let line = "{\"path\":\"/a\",\"kind\":\"file\",\"mode\":\"4711\",\"uid\":70000,\"gid\":3,\"size\":1,\
                    \"mtime\":\"2026-01-01T00:00:00Z\",\"target\":null";
        let sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let theirs = parse(&format!("{line},\"sha256\":\"{sum}\"}}\n"));
        assert_eq!(theirs["/a"], Entry::file("4711", b"x", TIME).owned_by(70_000, 3));
        let ours = parse(&format!("{line},\"device\":null}}\n"));
        assert_eq!(ours["/a"].content, "");
    }

    #[test]
    #[should_panic(expected = "/b\n  left  None\n  right Some")]
    fn one_entry_more_is_told() {
        let both = listing([("/a", Entry::directory("0755", TIME)), ("/b", Entry::symlink("a", TIME))]);
        let mut one = both.clone();
        one.remove("/b");
        assert_same("they", &one, &both);
    }

    #[test]
    #[should_panic(expected = "/b\n  left  Some")]
    fn another_owner_is_told() {
        let ours = listing([("/a", Entry::directory("0755", TIME)), ("/b", Entry::symlink("a", TIME))]);
        let mut theirs = ours.clone();
        theirs.insert("/b".into(), Entry::symlink("a", TIME).owned_by(1, 0));
        assert_same("they", &ours, &theirs);
    }
}
