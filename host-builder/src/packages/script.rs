//! The `+INSTALL` script of a package, read as what it mostly is: data.
//!
//! pkgsrc makes the script of parts (`mk/pkginstall`). Helper scripts are unpacked from here-documents in it when it runs with the
//! word `UNPACK`; what they work on stands in comments of the script, `# FILE: ` and others; and generated lines call them. All of
//! that can be done without a shell. What the author of a package wrote between these parts cannot, and is left to the first boot.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};

use super::packing_list::parse_mode;

/// What a script says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// Groups: name and number.
    pub(super) groups: Vec<(String, Option<u32>)>,
    /// Users.
    pub(super) users: Vec<User>,
    /// Folders to make.
    pub(super) folders: Vec<Folder>,
    /// Files to copy from examples.
    pub(super) files: Vec<Example>,
    /// Files and folders with owners and modes of their own.
    pub(super) permissions: Vec<(Vec<u8>, Owner)>,
    /// Shells to register, below the prefix.
    pub(super) shells: Vec<Vec<u8>>,
    /// Manifests of services to import, below the prefix.
    pub(super) manifests: Vec<Vec<u8>>,
    /// The helper scripts by name, as they are unpacked.
    pub(super) helpers: BTreeMap<String, Vec<u8>>,
    /// Why the script has to run, if it does: what it has beyond data.
    pub(super) beyond: Option<String>,
    /// Home and shell of users for whom none are given.
    pub(super) defaults: (String, String),
}

/// A user that a package needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) uid: Option<u32>,
    pub(super) description: String,
    pub(super) home: String,
    pub(super) shell: String,
}

/// An owner and a mode; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) mode: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    /// The three as they stand in the script, in the order mode, user, group; missing ones are empty.
    pub(super) text: [String; 3],
}

/// A folder that a package needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) path: Vec<u8>,
    /// Whether it is made; else it is only counted.
    pub(super) make: bool,
    pub(super) owner: Owner,
}

/// A file that is copied from an example where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) path: Vec<u8>,
    /// What it is copied from.
    pub(super) source: Vec<u8>,
    /// Whether it is copied; else it is only counted.
    pub(super) copy: bool,
    pub(super) owner: Owner,
}

/// Helpers whose work is data, as their names after `+`.
const INTERPRETED: [&str; 5] = ["USERGROUP", "DIRS", "FILES", "PERMS", "SHELL"];

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// A line of data is none.
    pub(super) fn read(text: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(text);
        let mut script = Self::default();
        let documents = Documents::of(&text);
        script.defaults = (
            quoted_default(&text, "home").unwrap_or("/nonexistent").to_owned(),
            quoted_default(&text, "shell").unwrap_or("/usr/bin/false").to_owned(),
        );
        let config = switch(&text, "PKG_CONFIG", true);
        let rc_scripts = switch(&text, "PKG_RCD_SCRIPTS", false);
        for (tag, line) in data(&text) {
            script
                .take(tag, line, config, rc_scripts)
                .with_context(|| format!("+INSTALL: # {tag}: {}", line.escape_debug()))?;
        }
        for (name, tags, body) in &documents.helpers {
            let mut helper = body.clone();
            for tag in tags {
                let begin = format!("# {tag}: ");
                text.lines().filter(|line| line.starts_with(&begin)).for_each(|line| {
                    helper.push_str(line);
                    helper.push('\n');
                });
            }
            script.helpers.insert((*name).to_owned(), helper.into_bytes());
        }
        script.look_beyond(&documents);
        Ok(script)
    }

    fn take(&mut self, tag: &str, line: &str, config: bool, rc_scripts: bool) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        let path = |index: usize| checked(word(index));
        match tag {
            "GROUP" => {
                let (name, number) = line.split_once(':').unwrap_or((line, ""));
                self.groups.push((account(name)?, number_of(number)?));
            }
            "USER" => {
                let mut fields = line.splitn(6, ':').map(str::trim_end);
                let mut next = || fields.next().unwrap_or_default().to_owned();
                let (name, group, uid, description, home, shell) =
                    (next(), next(), next(), next(), next(), next());
                let (name, group) = (account(&name)?, account(&group)?);
                self.users.push(User { name, group, uid: number_of(&uid)?, description, home, shell });
            }
            "DIR" if word(1).contains('m') => {
                let make = word(1).contains('f') || config;
                let owner = Owner::of([word(2), word(3), word(4)])?;
                self.folders.push(Folder { path: path(0)?, make, owner });
            }
            "FILE" if word(1).contains('c') && !word(2).is_empty() => {
                let flags = word(1);
                let copy = flags.contains('f') || config && (rc_scripts || !flags.contains('r'));
                let owner = Owner::of([word(3), word(4), word(5)])?;
                self.files.push(Example { path: path(0)?, source: path(2)?, copy, owner });
            }
            "PERMS" => self.permissions.push((path(0)?, Owner::of([word(1), word(2), word(3)])?)),
            // pkgsrc registers no shells outside the prefix.
            "SHELL" if !word(0).starts_with('/') => self.shells.push(path(0)?),
            _ => {}
        }
        Ok(())
    }

    /// Looks for what is no data.
    fn look_beyond(&mut self, documents: &Documents<'_>) {
        let other = documents.helpers.iter().find(|(name, tags, _)| {
            let known = INTERPRETED.iter().any(|known| *name == format!("+{known}"));
            !known && tags.iter().any(|tag| data_of(documents.text, tag).next().is_some())
        });
        if let Some((name, ..)) = other {
            self.beyond = Some(format!("what its helper {name} does needs the system itself"));
        }
        for line in &documents.rest {
            if let Some(manifest) = manifest(line) {
                self.manifests.push(manifest.as_bytes().to_vec());
            } else if !generated(line) && self.beyond.is_none() {
                self.beyond = Some(format!("its author wrote: {}", shortened(line)));
            }
        }
        // A script that runs anyway imports its manifests itself.
        if self.beyond.is_some() {
            self.manifests.clear();
        }
    }
}

impl Owner {
    fn of([mode, user, group]: [&str; 3]) -> Result<Self> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            mode: given(mode).map(|mode| parse_mode(&mode)).transpose()?,
            user: given(user),
            group: given(group),
            text: [mode, user, group].map(ToOwned::to_owned),
        })
    }
}

/// A script taken apart: helper scripts, and all lines that are not inside here-documents.
struct Documents<'a> {
    text: &'a str,
    /// Name, tags of its data, and text of each helper.
    helpers: Vec<(&'a str, Vec<&'a str>, String)>,
    /// Lines of the script itself, without comments and blanks at both ends.
    rest: Vec<&'a str>,
}

impl<'a> Documents<'a> {
    fn of(text: &'a str) -> Self {
        let mut documents = Self { text, helpers: Vec::new(), rest: Vec::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = line.trim();
            if let Some((tag, helper)) = appended(line) {
                let known = documents.helpers.iter_mut().find(|(name, ..)| *name == helper);
                if let Some((_, tags, _)) = known {
                    tags.push(tag);
                }
            }
            if let Some((command, end)) = here_document(line) {
                let mut body = String::new();
                for line in lines.by_ref().take_while(|line| *line != end) {
                    body.push_str(line);
                    body.push('\n');
                }
                match command.trim_end().strip_prefix("${CAT} > ./").filter(|name| name.starts_with('+')) {
                    Some(helper) => documents.helpers.push((helper, Vec::new(), body)),
                    None => documents.rest.push(command.trim()),
                }
            } else if !line.is_empty() && !line.starts_with('#') {
                documents.rest.push(line);
            }
        }
        documents
    }
}

/// The command before a here-document, and the line that ends it.
fn here_document(line: &str) -> Option<(&str, &str)> {
    let (command, word) = line.split_once("<<")?;
    let word = word.trim().trim_matches(['\'', '"']);
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain.then_some((command, word))
}

/// The tag and helper of a line that appends data to a helper: `${SED} -n "/^\# TAG: /p" ${SELF} >> ./+HELPER`.
fn appended(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("${SED} -n \"/^\\# ")?;
    let (tag, rest) = rest.split_once(": /p\"")?;
    let (self_file, helper) = rest.split_once(">> ./")?;
    matches!(self_file.trim(), "${SELF}" | "\"${SELF}\"").then_some((tag, helper.trim()))
}

/// The lines of data: tag and text, sorted and each once, as the helpers read them.
fn data(text: &str) -> Vec<(&'static str, &str)> {
    let tags = ["GROUP", "USER", "DIR", "FILE", "PERMS", "SHELL"];
    let mut lines: Vec<_> = Vec::new();
    for tag in tags {
        let mut of_tag: Vec<_> = data_of(text, tag).collect();
        of_tag.sort_unstable();
        of_tag.dedup();
        lines.extend(of_tag.into_iter().filter(|line| !line.trim().is_empty()).map(|line| (tag, line)));
    }
    lines
}

fn data_of<'a>(text: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("# {tag}: ");
    text.lines().filter_map(move |line| line.strip_prefix(&begin))
}

/// The manifest of a line that imports one: `/usr/sbin/svccfg import ${PKG_PREFIX}/PATH`.
fn manifest(line: &str) -> Option<&str> {
    let path = line.strip_prefix("/usr/sbin/svccfg import ${PKG_PREFIX}/")?;
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte));
    (plain && checked(path).is_ok()).then_some(path)
}

/// Whether a line is one of those that pkgsrc generates around the data (`mk/pkginstall/header`, `install`, `install-post`,
/// `deinstall-pre`, `deinstall`, `footer`, `mk/install/install-smf`), or does nothing by itself.
fn generated(line: &str) -> bool {
    const LINES: [&str; 38] = [
        "shift 2",
        "CURDIR=`${PWD_CMD}`",
        ": ${PKG_METADATA_DIR=${CURDIR}}",
        "case ${STAGE} in",
        "case \"${STAGE},$1\" in",
        "PRE-INSTALL)",
        "POST-INSTALL)",
        "VIEW-INSTALL)",
        "DEINSTALL)",
        "POST-DEINSTALL)",
        "VIEW-DEINSTALL)",
        "${SH} ${SELF} ${PKGNAME} UNPACK",
        ";;",
        "esac",
        "else",
        "fi",
        "fi; }",
        ":",
        "exit 0",
        "exit 1",
        "if ./+USERGROUP CHECK-ADD ${PKG_METADATA_DIR}; then",
        "{ ./+USERGROUP ADD ${PKG_METADATA_DIR}",
        "if [ \"${PKG_INSTALLATION_TYPE}\" = \"overwrite\" ]; then",
        "${SETENV} PKG_PREFIX=\"${PKG_PREFIX}\" \\",
        "$0 ${PKGNAME} VIEW-INSTALL",
        "$0 ${PKGNAME} VIEW-DEINSTALL",
        "case ${PKG_PREFIX} in",
        "case ${VIEW} in",
        "\"\")\tPKG_SYSCONFVIEWBASE=\"${PKG_SYSCONFBASE}\" ;;",
        "*)\tPKG_SYSCONFVIEWBASE=\"${PKG_SYSCONFBASE}/${VIEW}\" ;;",
        "${LOCALBASE}/*)\tVIEW=\"${PKG_PREFIX#${LOCALBASE}/}\" ;;",
        "*)\t\tVIEW=\"\" ;;",
        "[Yy][Ee][Ss]|[Tt][Rr][Uu][Ee]|[Oo][Nn]|1)",
        "[Nn][Oo]|[Ff][Aa][Ll][Ss][Ee]|[Oo][Ff][Ff]|0)",
        "if [ -z \"${PKG_SKIP_SMF}\" ]; then",
        "done",
        "cat",
        "${CAT}",
    ];
    LINES.contains(&line) || assignment(line) || unpacking(line) || helper_call(line) || loop_over_names(line)
}

/// An assignment of a constant, or of a switch to its default.
fn assignment(line: &str) -> bool {
    let harmless = !line.contains('`') && !line.contains("$(") && !line.contains(';') && !line.contains('&');
    let name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let assigned = line.split_once('=').is_some_and(|(left, right)| {
        let quoted = right.len() >= 2
            && right.starts_with('"')
            && right.ends_with('"')
            && right.matches('"').count() == 2;
        name(left) && (quoted || !right.contains(char::is_whitespace))
    });
    let switched = line.strip_prefix("case \"${PKG_").and_then(|rest| rest.strip_suffix("}\" in")).is_some();
    harmless && (assigned || switched)
}

/// A line that unpacks a helper.
fn unpacking(line: &str) -> bool {
    let helper =
        |name: &str| name.starts_with('+') && name[1..].bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let pattern =
        line.strip_prefix("UNPACK,|UNPACK,").and_then(|rest| rest.strip_suffix(')')).is_some_and(helper);
    let made = line.strip_prefix("${CHMOD} +x ./").is_some_and(helper);
    pattern || made || appended(line).is_some_and(|(_, name)| helper(name))
}

/// A call of a helper that is there.
fn helper_call(line: &str) -> bool {
    let test = line.strip_prefix("${TEST} ! -x ./+").and_then(|rest| rest.strip_suffix(" ||"));
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b == b'-')
    };
    let call = line.strip_prefix("./+").and_then(|rest| rest.strip_suffix("${PKG_METADATA_DIR}"));
    test.is_some_and(word) || call.is_some_and(|words| words.split_whitespace().all(word))
}

/// `for svc in NAME...; do`.
fn loop_over_names(line: &str) -> bool {
    let names = line.strip_prefix("for svc in ").and_then(|rest| rest.strip_suffix("; do"));
    names.is_some_and(|names| names.bytes().all(|b| b.is_ascii_alphanumeric() || b" _-".contains(&b)))
}

/// What a switch of the installation is when nobody sets it: `case "${NAME:-yes}" in`.
fn switch(text: &str, name: &str, otherwise: bool) -> bool {
    let begin = format!("${{{name}:-");
    let value = text.split_once(&begin).and_then(|(_, rest)| rest.split_once('}')).map(|(value, _)| value);
    match value.map(str::to_ascii_lowercase).as_deref() {
        Some("yes" | "true" | "on" | "1") => true,
        Some("no" | "false" | "off" | "0") => false,
        _ => otherwise,
    }
}

/// `: ${NAME:="VALUE"}`.
fn quoted_default<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("${{{name}:=\""))?;
    rest.split_once('"')
        .map(|(value, _)| value)
        .filter(|value| value.starts_with('/') && !value.contains(':'))
}

/// A path that leads nowhere upwards, absolute or below the prefix.
fn checked(path: &str) -> Result<Vec<u8>> {
    let up = path.split('/').any(|name| name == "..");
    ensure!(!path.is_empty() && !up && !path.contains('\0'), "{path:?} is no path of a package");
    Ok(path.as_bytes().to_vec())
}

/// A name of a user or group (illumos passwd(5)).
fn account(name: &str) -> Result<String> {
    let name = name.trim();
    let fit = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let begin = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (fit && begin && name.len() <= 32)
        .then(|| name.to_owned())
        .ok_or_else(|| anyhow!("{name:?} is no name of a user or group"))
}

fn number_of(text: &str) -> Result<Option<u32>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // The numbers from 2^31 on are those of strangers (illumos MAXUID).
    let number = text.parse().ok().filter(|&number: &u32| i32::try_from(number).is_ok());
    number.map(Some).ok_or_else(|| anyhow!("{text:?} is no number of a user or group"))
}

fn shortened(line: &str) -> String {
    let short: String = line.chars().take(60).collect();
    if short.len() < line.len() { format!("{short}...") } else { short }
}

#[cfg(test)]
mod tests {
    use kiln_test_packages::Package;
    use proptest::prelude::*;

    use super::*;

    fn read(package: &Package) -> Script {
        Script::read(package.script().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn data_is_read_sorted_and_once() {
        let script = read(
            &Package::new("a-1")
                .data("GROUP: www:80")
                .data("GROUP: adm")
                .data("GROUP: www:80")
                .data("USER: www:www:80:World Wide\\ Web:/var/www:/bin/false")
                .data("DIR: /var/www mo 0750 www www")
                .data("DIR: share/seen o")
                .data("FILE: etc/a.conf c share/a.conf 0640 root adm")
                .data("FILE: /etc/rc.d/a cr share/rc/a 0755")
                .data("FILE: etc/b cf share/b")
                .data("PERMS: bin/a 4711 root adm")
                .data("SHELL: bin/ash")
                .data("SHELL: /bin/sh"),
        );
        assert_eq!(script.groups, [("adm".into(), None), ("www".into(), Some(80))]);
        let user = &script.users[0];
        assert_eq!((&*user.name, &*user.group, user.uid), ("www", "www", Some(80)));
        assert_eq!(
            (&*user.description, &*user.home, &*user.shell),
            ("World Wide\\ Web", "/var/www", "/bin/false")
        );
        let folders: Vec<_> = script.folders.iter().map(|folder| (&folder.path[..], folder.make)).collect();
        assert_eq!(folders, [(&b"/var/www"[..], true)]);
        assert_eq!(script.folders[0].owner.text, ["0750", "www", "www"]);
        let files: Vec<_> = script.files.iter().map(|file| (&file.path[..], file.copy)).collect();
        assert_eq!(files, [(&b"/etc/rc.d/a"[..], false), (b"etc/a.conf", true), (b"etc/b", true)]);
        assert_eq!(script.permissions[0].1.mode, Some(0o4711));
        assert_eq!(script.shells, [b"bin/ash"]);
        assert_eq!(script.defaults, ("/nonexistent".into(), "/usr/bin/false".into()));
        assert_eq!((script.beyond, script.manifests.len()), (None, 0));
    }

    #[test]
    fn switches_are_those_of_the_script() {
        let package = Package::new("a-1").data("FILE: a cr b").data("FILE: c c d").data("FILE: e cf f");
        let copied = |text: &str| -> Vec<bool> {
            Script::read(text.as_bytes()).unwrap().files.iter().map(|file| file.copy).collect()
        };
        let text = package.script().unwrap();
        assert_eq!(copied(&text), [false, true, true]);
        assert_eq!(copied(&text.replace("PKG_RCD_SCRIPTS:-no", "PKG_RCD_SCRIPTS:-YES")), [true, true, true]);
        assert_eq!(copied(&text.replace("PKG_CONFIG:-yes", "PKG_CONFIG:-no")), [false, false, true]);
    }

    #[test]
    fn services_are_imported_and_all_else_is_beyond() {
        let service = read(&Package::new("a-1").service("a"));
        assert_eq!((service.beyond, service.manifests), (None, vec![b"lib/svc/manifest/a.xml".to_vec()]));
        for (code, words) in [
            ("newaliases\n", "its author wrote: newaliases"),
            ("VALUE=`date`\n", "its author wrote: VALUE=`date`"),
            ("VALUE=1 run this\n", "its author wrote: VALUE=1 run this"),
            ("VALUE=\"a\" run \"this\"\n", "its author wrote: VALUE=\"a\" run \"this\""),
            ("/usr/sbin/svccfg import ${PKG_PREFIX}/../a.xml\n", "its author wrote: /usr/sbin/svccfg import"),
            ("/usr/sbin/svccfg import /a.xml\n", "its author wrote: /usr/sbin/svccfg import"),
            ("for svc in `ls`; do\n", "its author wrote: for svc in"),
            ("./+FILES ADD $(run)\n", "its author wrote: ./+FILES"),
        ] {
            let beyond = read(&Package::new("a-1").service("a").code(code));
            assert!(beyond.beyond.as_ref().unwrap().starts_with(words), "{code}: {:?}", beyond.beyond);
            assert_eq!(beyond.manifests.len(), 0);
        }
        // A document for a command of the author's own is no data.
        let document = read(&Package::new("a-1").code("run <<EOF\n# FILE: \nEOF\n"));
        assert_eq!(document.beyond.unwrap(), "its author wrote: run");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_script_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Script::read(&text);
        }

        #[test]
        fn any_data_is_taken_or_refused(lines in proptest::collection::vec("(GROUP|USER|DIR|FILE|PERMS|SHELL): [a-z0-7:/. ]{0,40}", 0..9)) {
            let package = lines.iter().fold(Package::new("a-1"), |package, line| package.data(line));
            if let Some(text) = package.script() {
                let _ = Script::read(text.as_bytes());
            }
        }
    }
}
