//! The packing list of a package, `+CONTENTS`: what is where, what it needs, and what is run.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use pkgsrc::plist::PlistEntry;

/// Most lines of a packing list.
const LINES: usize = 2_000_000;

/// A packing list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PackingList {
    /// Name and version.
    pub(super) name: String,
    /// Where it is installed, an absolute path without a slash at its end.
    pub(super) prefix: Vec<u8>,
    /// Patterns of what it needs.
    pub(super) depends: Vec<String>,
    /// Patterns of what it cannot be installed beside.
    pub(super) conflicts: Vec<String>,
    /// What is done to install it, in order.
    pub(super) steps: Vec<Step>,
    /// Lines that are not understood. pkg_install passes over such lines with a warning.
    pub(super) unknown: Vec<String>,
}

/// A step of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A file or link is put in place.
    File(File),
    /// A folder is managed by the package (`@pkgdir`): made, and kept while it is installed. A path below the prefix or an absolute
    /// one.
    Folder(Vec<u8>),
    /// A command of a shell (`@exec`), already completed.
    Run(Vec<u8>),
}

/// A file or link of a packing list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Path below the prefix.
    pub(super) path: Vec<u8>,
    /// Permissions that take the place of those in the archive.
    pub(super) mode: Option<u16>,
    /// Owner by name, likewise.
    pub(super) owner: Option<String>,
    /// Group by name, likewise.
    pub(super) group: Option<String>,
    /// What is known about its contents.
    pub(super) check: Option<Check>,
}

/// What a packing list knows about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The MD5 of its contents, lower-case hex.
    Md5(String),
    /// The target of a symbolic link.
    Symlink(Vec<u8>),
}

impl PackingList {
    /// Reads `+CONTENTS`.
    ///
    /// # Errors
    /// There is no name or no prefix, or one that is none, a mode that is no number, or there are too many lines.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let mut list = Self::default();
        let (mut mode, mut owner, mut group) = (None, None, None);
        let (mut ignore, mut last_file) = (false, None::<Vec<u8>>);
        for (number, entry) in pkgsrc::plist::parse(text).enumerate() {
            ensure!(number < LINES, "the packing list has more than {LINES} lines");
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    list.unknown.push(error.to_string());
                    continue;
                }
            };
            if std::mem::take(&mut ignore) {
                // @ignore hides the entry behind it, whatever it is.
                continue;
            }
            match entry {
                PlistEntry::Ignore => ignore = true,
                PlistEntry::Name(name) if list.name.is_empty() => {
                    checked_name(&name)?.clone_into(&mut list.name);
                }
                // The first one counts, as to pkg_add.
                PlistEntry::Cwd(prefix) if list.prefix.is_empty() => list.prefix = checked_prefix(&prefix)?,
                PlistEntry::Mode(text) => {
                    let parsed = text.as_deref().map(parse_mode).transpose();
                    mode = parsed.with_context(|| format!("@mode {}", text.unwrap_or_default()))?;
                }
                PlistEntry::Owner(name) => owner = name.map(String::from),
                PlistEntry::Group(name) => group = name.map(String::from),
                PlistEntry::PkgDep(pattern) => list.depends.push(pattern.into_owned()),
                PlistEntry::PkgCfl(pattern) => list.conflicts.push(pattern.into_owned()),
                PlistEntry::PkgDir(folder) => list.steps.push(Step::Folder(bytes(&folder))),
                PlistEntry::File(path) => {
                    let path = bytes(&path);
                    last_file = Some(path.clone());
                    let (owner, group) = (owner.clone(), group.clone());
                    list.steps.push(Step::File(File { path, mode, owner, group, check: None }));
                }
                PlistEntry::FileChecksum(md5) => list.check(Check::Md5(md5.to_ascii_lowercase())),
                PlistEntry::SymlinkTarget(target) => list.check(Check::Symlink(bytes(&target))),
                PlistEntry::Exec(command) => {
                    let command = complete(command.as_bytes(), &list.prefix, last_file.as_deref());
                    list.steps.push(Step::Run(command));
                }
                _ => {}
            }
        }
        ensure!(!list.name.is_empty(), "the packing list has no @name");
        ensure!(!list.prefix.is_empty(), "the packing list has no @cwd");
        Ok(list)
    }

    /// Takes note of what a comment says about the file before it.
    fn check(&mut self, check: Check) {
        if let Some(Step::File(file)) = self.steps.last_mut() {
            file.check = Some(check);
        }
    }

    /// Its files and links.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.steps.iter().filter_map(|step| match step {
            Step::File(file) => Some(file),
            _ => None,
        })
    }

    /// Its folders (`@pkgdir`), as absolute paths.
    pub(super) fn folders(&self) -> impl Iterator<Item = Vec<u8>> {
        self.steps.iter().filter_map(|step| match step {
            Step::Folder(folder) => Some(below(&self.prefix, folder)),
            _ => None,
        })
    }

    /// A path of the list as an absolute one.
    pub(super) fn absolute(&self, path: &[u8]) -> Vec<u8> {
        below(&self.prefix, path)
    }
}

/// A path below a folder, unless it is absolute itself.
pub(super) fn below(folder: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { [folder, b"/", path].concat() }
}

/// A name of a package, `BASE-VERSION`, that is fit to be that of a folder, too.
///
/// # Errors
/// It is not.
pub(super) fn checked_name(name: &str) -> Result<&str> {
    let graphic = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    let parts = name.rsplit_once('-').is_some_and(|(base, version)| !base.is_empty() && !version.is_empty());
    let fit = graphic && parts && name.len() <= 200 && !name.starts_with(['.', '-', '+']);
    fit.then_some(name).ok_or_else(|| anyhow!("{name:?} is no name of a package, which is like perl-5.38.2"))
}

fn checked_prefix(path: &Path) -> Result<Vec<u8>> {
    let prefix = bytes(path);
    let clean = prefix.split(|&byte| byte == b'/').skip(1).all(|name| !matches!(name, b"" | b"." | b".."));
    let fit = prefix.starts_with(b"/") && clean && !prefix.contains(&0);
    fit.then_some(prefix).ok_or_else(|| anyhow!("{} is no prefix of packages", path.display()))
}

/// Permissions in octal digits.
///
/// # Errors
/// They are not, or have more than twelve bits.
pub(super) fn parse_mode(text: &str) -> Result<u16> {
    let mode = u16::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o7777);
    mode.ok_or_else(|| anyhow!("{text:?} is no mode in octal digits"))
}

/// The command of `@exec` with `%D` the prefix, `%F` and `%f` the file before it and its name, `%B` the folder that this is in
/// (pkg_install(1), `format_cmd`). They are the only letters that stand for something.
fn complete(command: &[u8], prefix: &[u8], last_file: Option<&[u8]>) -> Vec<u8> {
    let path = last_file.map(|file| below(prefix, file)).unwrap_or_default();
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (folder, name) = slash.map_or((&[][..], &path[..]), |at| (&path[..at], &path[at + 1..]));
    let mut done = Vec::with_capacity(command.len());
    let mut rest = command.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            done.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'D') => done.extend_from_slice(prefix),
            Some(b'F') => done.extend_from_slice(&path),
            Some(b'B') => done.extend_from_slice(folder),
            Some(b'f') => done.extend_from_slice(name),
            Some(other) => done.extend([b'%', other]),
            None => done.push(b'%'),
        }
    }
    done
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &[u8] = b"@comment words\n@name foo-1.0nb2\n@pkgdep bar>=1\n@blddep bar-1.2\n@pkgcfl baz-[0-9]*\n@cwd /opt/local\n\
        @ignore\n+BUILD_INFO\nbin/foo\n@comment MD5:900150983CD24FB0d6963f7d28e17f72\n@mode 4711\n@owner bin\n@group sys\nbin/su\n\
        @mode\n@owner\n@group\nbin/link\n@comment Symlink:foo\n@exec run %D %F %B %f %x %\n@pkgdir share/foo\n@option other\n";

    #[test]
    fn a_list_is_read_line_by_line() {
        let list = PackingList::parse(LIST).unwrap();
        assert_eq!((&*list.name, &*list.prefix), ("foo-1.0nb2", &b"/opt/local"[..]));
        assert_eq!(
            (list.depends.clone(), list.conflicts.clone()),
            (vec!["bar>=1".to_owned()], vec!["baz-[0-9]*".to_owned()])
        );
        let files: Vec<_> = list.files().cloned().collect();
        let plain =
            |path: &[u8], check| File { path: path.to_vec(), mode: None, owner: None, group: None, check };
        assert_eq!(files[0], plain(b"bin/foo", Some(Check::Md5("900150983cd24fb0d6963f7d28e17f72".into()))));
        let (owner, group) = (Some("bin".into()), Some("sys".into()));
        assert_eq!(files[1], File { mode: Some(0o4711), owner, group, ..plain(b"bin/su", None) });
        assert_eq!(files[2], plain(b"bin/link", Some(Check::Symlink(b"foo".to_vec()))));
        assert_eq!(
            list.steps[3],
            Step::Run(b"run /opt/local /opt/local/bin/link /opt/local/bin link %x %".to_vec())
        );
        assert_eq!(list.folders().collect::<Vec<_>>(), [b"/opt/local/share/foo"]);
        assert_eq!(list.unknown.len(), 1);
    }

    #[test]
    fn lists_without_what_every_package_has_are_refused() {
        let said = |text: &[u8]| format!("{:#}", PackingList::parse(text).unwrap_err());
        assert_eq!(said(b"@cwd /opt/local\n"), "the packing list has no @name");
        assert_eq!(said(b"@name foo-1\n"), "the packing list has no @cwd");
        assert!(said(b"@name foo\n@cwd /\n").starts_with("\"foo\" is no name of a package"));
        assert!(said(b"@name ../foo-1\n").contains("is no name"));
        assert_eq!(said(b"@name foo-1\n@cwd /opt/../local\n"), "/opt/../local is no prefix of packages");
        assert_eq!(said(b"@name foo-1\n@cwd opt\n"), "opt is no prefix of packages");
        assert_eq!(said(b"@mode u+s\n"), "@mode u+s: \"u+s\" is no mode in octal digits");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = PackingList::parse(&text);
        }

        #[test]
        fn files_come_back_in_order(names in proptest::collection::vec("[a-z]{1,8}(/[a-zA-Z0-9._+-]{1,8}){0,3}", 0..20)) {
            let text = format!("@name a-1\n@cwd /opt/local\n{}\n", names.join("\n"));
            let list = PackingList::parse(text.as_bytes()).unwrap();
            let read: Vec<_> = list.files().map(|file| String::from_utf8(file.path.clone()).unwrap()).collect();
            prop_assert_eq!(read, names);
        }
    }
}
