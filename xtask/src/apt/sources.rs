//! apt's sources, in both of their formats: deb822 (`*.sources`) and one line each (`sources.list`, `*.list`).
//!
//! The formats are described in sources.list(5).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

/// One enabled stanza or line that gives binary packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Base addresses of the archive.
    pub uris: Vec<String>,
    /// Suites such as `bookworm` or `bookworm-security`.
    pub suites: Vec<String>,
    /// Components such as `main`; empty for a flat archive, whose suite ends in a slash.
    pub components: Vec<String>,
    /// Keyring that signs the archive. A key that stands in the stanza itself is left out.
    pub signed_by: Option<String>,
}

impl Source {
    /// The source in the one-line format, one line for each address and suite.
    pub fn one_line(&self) -> Vec<String> {
        let option = self.signed_by.as_ref().map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
        let components = self.components.join(" ");
        self.uris
            .iter()
            .flat_map(|uri| self.suites.iter().map(move |suite| (uri, suite)))
            .map(|(uri, suite)| format!("deb {option}{uri} {suite} {components}"))
            .collect()
    }

    /// The source as a deb822 stanza.
    pub fn deb822(&self) -> String {
        let key = self.signed_by.as_ref().map(|key| format!("Signed-By: {key}\n")).unwrap_or_default();
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n{key}",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" "),
        )
    }
}

/// Reads every source of the machine whose apt configuration is below `root` (`/` outside tests).
pub fn read_all(root: &Path) -> Result<Vec<Source>> {
    let apt = root.join("etc/apt");
    let mut found = Vec::new();
    match fs::read_to_string(apt.join("sources.list")) {
        Ok(text) => found.extend(parse_list(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("cannot read /etc/apt/sources.list"),
    }
    let parts = apt.join("sources.list.d");
    let entries = match fs::read_dir(&parts) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", parts.display())),
    };
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let read = || fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => found.extend(parse_deb822(&read()?)),
            Some("list") => found.extend(parse_list(&read()?)),
            // apt ignores files with other extensions as well.
            _ => {}
        }
    }
    Ok(found)
}

/// Parses the deb822 format. Stanzas that are disabled or give no binary packages are left out.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut fields = BTreeMap::<String, String>::new();
    let mut last = None;
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(from_fields(&fields));
            fields.clear();
            last = None;
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name: &String| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            fields.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    found
}

fn from_fields(fields: &BTreeMap<String, String>) -> Option<Source> {
    let words = |name: &str| -> Vec<String> {
        fields
            .get(name)
            .map(|value| value.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let disabled = fields.get("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    let (uris, suites) = (words("uris"), words("suites"));
    if disabled || uris.is_empty() || suites.is_empty() || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let signed_by = fields.get("signed-by").filter(|value| value.starts_with('/')).cloned();
    Some(Source { uris, suites, components: words("components"), signed_by })
}

/// Parses the one-line format.
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    if !line.starts_with([' ', '\t']) {
        // deb-src.
        return None;
    }
    let line = line.trim_start();
    let (options, line) = match line.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", line),
    };
    let mut words = line.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options
        .split_whitespace()
        .filter_map(|option| option.strip_prefix("signed-by="))
        .find(|value| value.starts_with('/'))
        .map(str::to_owned);
    Some(Source { uris: vec![uri], suites: vec![suite], components: words.collect(), signed_by })
}

/// The sources among `sources` that carry the release `codename` itself, its updates or its security fixes,
/// each reduced to those suites.
pub fn of_release(sources: &[Source], codename: &str) -> Vec<Source> {
    let wanted = [codename.to_owned(), format!("{codename}-updates"), format!("{codename}-security")];
    sources
        .iter()
        .filter_map(|source| {
            let suites: Vec<_> =
                source.suites.iter().filter(|suite| wanted.contains(suite)).cloned().collect();
            (!suites.is_empty()).then(|| Source { suites, ..source.clone() })
        })
        .collect()
}

/// Sources for the release `guest`, from the archives that the machine uses for its own release `host`.
pub fn for_guest(sources: &[Source], host: &str, guest: &str, components: &[&str]) -> Vec<Source> {
    of_release(sources, host)
        .into_iter()
        .map(|source| Source {
            suites: source.suites.iter().map(|suite| suite.replacen(host, guest, 1)).collect(),
            components: components.iter().map(|&component| component.to_owned()).collect(),
            ..source
        })
        .collect()
}

/// The source that adds one component of the suite `suffix` (such as `-backports`, or nothing for the release itself) of
/// the release `codename`, taken from the archive that serves the release; nothing if the machine has no such archive.
pub fn extra(sources: &[Source], codename: &str, suffix: &str, component: &str) -> Option<Source> {
    sources.iter().find(|source| source.suites.iter().any(|suite| suite == codename)).map(|source| Source {
        suites: vec![format!("{codename}{suffix}")],
        components: vec![component.to_owned()],
        ..source.clone()
    })
}

/// Whether some source already gives `suite`.
pub fn has_suite(sources: &[Source], suite: &str) -> bool {
    sources.iter().any(|source| source.suites.iter().any(|known| known == suite))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// /etc/apt/sources.list.d/debian.sources of a Debian 12 container.
    const DEBIAN_SOURCES: &str = "\
Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

    /// /etc/apt/sources.list of a Debian 12 installation from a disc.
    const SOURCES_LIST: &str = "\
#deb cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 NETINST]/ bookworm main

deb http://archive.example/debian/ bookworm main non-free-firmware
deb-src http://archive.example/debian/ bookworm main non-free-firmware
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://security.debian.org/debian-security bookworm-security main # fixes
";

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn deb822_stanzas_are_read() {
        let sources = parse_deb822(DEBIAN_SOURCES);
        assert_eq!(sources.len(), 2);
        assert_eq!(
            sources[0],
            Source {
                uris: strings(&["http://archive.example/debian"]),
                suites: strings(&["bookworm", "bookworm-updates"]),
                components: strings(&["main"]),
                signed_by: Some("/usr/share/keyrings/debian-archive-keyring.gpg".to_owned()),
            }
        );
    }

    #[test]
    fn stanzas_that_give_no_binary_packages_are_left_out() {
        let disabled = format!("Enabled: no\n{DEBIAN_SOURCES}");
        assert_eq!(parse_deb822(&disabled).len(), 1);
        assert_eq!(parse_deb822(&DEBIAN_SOURCES.replace("Types: deb", "Types: deb-src")), []);
        assert_eq!(parse_deb822("Types: deb\nSuites: bookworm\n"), []);
    }

    #[test]
    fn a_key_inside_the_stanza_is_no_path() {
        let inline = "Types: deb\nURIs: http://a/\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        assert_eq!(parse_deb822(inline)[0].signed_by, None);
    }

    #[test]
    fn one_line_sources_are_read() {
        let sources = parse_list(SOURCES_LIST);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].components, strings(&["main", "non-free-firmware"]));
        assert_eq!(sources[0].signed_by, None);
        assert_eq!(sources[1].suites, strings(&["bookworm-security"]));
        assert_eq!(sources[1].signed_by.as_deref(), Some("/usr/share/keyrings/debian-archive-keyring.gpg"));
    }

    #[test]
    fn both_formats_are_written_as_they_are_read() {
        for source in parse_deb822(DEBIAN_SOURCES) {
            assert_eq!(parse_deb822(&source.deb822()), std::slice::from_ref(&source));
            let lines = source.one_line();
            assert_eq!(lines.len(), source.suites.len());
            let back = parse_list(&lines.join("\n"));
            assert!(back.iter().all(|line| line.uris == source.uris && line.signed_by == source.signed_by));
        }
    }

    #[test]
    fn the_machine_is_read_in_the_order_of_apt_and_other_files_are_ignored() {
        let root = tempfile::tempdir().unwrap();
        let parts = root.path().join("etc/apt/sources.list.d");
        std::fs::create_dir_all(&parts).unwrap();
        assert_eq!(read_all(root.path()).unwrap(), []);
        std::fs::write(root.path().join("etc/apt/sources.list"), SOURCES_LIST).unwrap();
        std::fs::write(parts.join("debian.sources"), DEBIAN_SOURCES).unwrap();
        std::fs::write(parts.join("other.sources.disabled"), DEBIAN_SOURCES).unwrap();
        let suites: Vec<_> =
            read_all(root.path()).unwrap().into_iter().map(|source| source.suites[0].clone()).collect();
        assert_eq!(suites, ["bookworm", "bookworm-security", "bookworm", "bookworm-security"]);
    }

    #[test]
    fn the_guest_uses_the_archives_of_the_machine() {
        let mut sources = parse_deb822(DEBIAN_SOURCES);
        sources.extend(parse_list("deb https://elsewhere.example/node nodistro main"));
        let lines = |host: &str, guest: &str, sources: &[Source]| -> Vec<String> {
            for_guest(sources, host, guest, &["main", "contrib"]).iter().flat_map(Source::one_line).collect()
        };
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        let expected = [
            format!("deb {key} http://archive.example/debian bookworm main contrib"),
            format!("deb {key} http://archive.example/debian bookworm-updates main contrib"),
            format!("deb {key} http://archive.example/debian-security bookworm-security main contrib"),
        ];
        assert_eq!(lines("bookworm", "bookworm", &sources), expected);

        let newer = parse_deb822(&DEBIAN_SOURCES.replace("bookworm", "trixie"));
        assert_eq!(lines("trixie", "bookworm", &newer), expected);
        assert!(for_guest(&newer, "bookworm", "bookworm", &["main"]).is_empty());
    }

    #[test]
    fn an_extra_source_comes_from_the_archive_of_the_release() {
        let sources = parse_deb822(DEBIAN_SOURCES);
        let backports = extra(&sources, "bookworm", "-backports", "main").unwrap();
        assert_eq!(
            backports.deb822(),
            "Types: deb\nURIs: http://archive.example/debian\nSuites: bookworm-backports\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        assert!(!has_suite(&sources, "bookworm-backports"));
        assert!(has_suite(&[backports], "bookworm-backports"));
        assert_eq!(extra(&sources, "trixie", "-backports", "main"), None);
    }
}
