//! What a list of manifests comes to in an image: manifests for `/var/svc/manifest/site` and the profile `site.xml`.
//!
//! A zone imports the manifests of its site by itself, and applies that profile after all others (source: illumos
//! `usr/src/cmd/svc/milestone/manifest-import`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::Manifest;
use super::list::Entry;

/// Name of the profile in its folder.
pub const PROFILE: &str = "site.xml";

/// Largest manifest that is read, in bytes; the largest of illumos has 60,000.
pub const MANIFEST_LIMIT: u64 = 1 << 20;

/// The instance whose state a list gives.
const DEFAULT: &str = "default";

/// A manifest as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its text.
    pub bytes: Vec<u8>,
    /// Where it was found, for people.
    pub place: String,
    /// Whether zones see it without our doing, in their `/lib/svc/manifest`.
    pub in_zones: bool,
}

/// One manifest of the list, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its path in the list.
    pub path: String,
    /// Where it was found.
    pub place: String,
    /// Whether its default instance is to run.
    pub enabled: bool,
    /// The services in it.
    pub services: Vec<String>,
    /// Its name among the manifests of the site; none when zones see it anyway, or it is not to be imported.
    pub copied: Option<String>,
}

/// What goes into an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The profile.
    pub profile: String,
    /// The manifests by the names of their files.
    pub manifests: BTreeMap<String, Vec<u8>>,
    /// What became of each manifest of the list.
    pub taken: Vec<Taken>,
    /// What people should know though nothing is wrong, each with its place.
    pub notes: Vec<String>,
}

/// Looks up, checks and takes what a list names. `find` gives the manifest of a path of the list.
///
/// # Errors
/// `find` fails. What is wrong with the list or the manifests is the inner error: every defect with its file and line.
pub fn make(
    list: &str,
    entries: &[Entry],
    mut find: impl FnMut(&str) -> Result<Option<Found>>,
) -> Result<Result<Site, Vec<String>>> {
    let mut site = Site::default();
    let mut problems = Vec::new();
    let mut states = String::new();
    for entry in entries {
        let Entry { line, path, enabled, .. } = entry;
        let Some(found) = find(path)? else {
            problems.push(format!("{list}: line {line}: there is no manifest {path}"));
            continue;
        };
        let Found { bytes, place, in_zones } = found;
        let manifest =
            match std::str::from_utf8(&bytes).map_err(anyhow::Error::from).and_then(Manifest::parse) {
                Ok(manifest) => manifest,
                Err(error) => {
                    problems.push(format!("{place}: {error:#}"));
                    continue;
                }
            };
        problems.extend(manifest.violations.iter().map(|violation| format!("{place}: {violation}")));
        let mut copied = None;
        if entry.import {
            for service in &manifest.services {
                if service.instances.iter().any(|instance| instance == DEFAULT) {
                    let (name, kind, version) = (&service.name, &service.kind, &service.version);
                    state(&mut states, [name, kind, version], *enabled);
                } else {
                    let name = &service.name;
                    site.notes.push(format!(
                        "{list}: line {line}: {name} has no instance '{DEFAULT}', so those that it has stay as {place} says"
                    ));
                }
            }
            if !in_zones {
                let name = path.replace('/', "-");
                if name == PROFILE || site.manifests.insert(name.clone(), bytes).is_some() {
                    problems
                        .push(format!("{list}: line {line}: {path} would be the second file called {name}"));
                }
                copied = Some(name);
            }
        }
        let services = manifest.services.into_iter().map(|service| service.name).collect();
        site.taken.push(Taken { path: path.clone(), place, enabled: *enabled, services, copied });
    }
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    site.profile = format!(
        "<?xml version='1.0'?>\n<!DOCTYPE service_bundle SYSTEM '/usr/share/lib/xml/dtd/service_bundle.dtd.1'>\n\
         <service_bundle type='profile' name='site'>\n{states}</service_bundle>\n"
    );
    Ok(Ok(site))
}

/// Writes the state of a default instance. Names, kinds and versions come out of a manifest that was found good, so nothing in them
/// needs an escape but a version, which the grammar leaves free.
fn state(profile: &mut String, [name, kind, version]: [&str; 3], enabled: bool) {
    let version = quick_xml::escape::escape(version);
    write!(
        profile,
        "  <service name='{name}' version='{version}' type='{kind}'>\n    \
         <instance name='{DEFAULT}' enabled='{enabled}'/>\n  </service>\n"
    )
    .expect("a text takes every write");
}

#[cfg(test)]
mod tests {
    use super::super::list;
    use super::*;

    fn manifest(service: &str, inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE service_bundle SYSTEM \"/usr/share/lib/xml/dtd/service_bundle.dtd.1\">\n\
             <service_bundle type=\"manifest\" name=\"x\">\n<service name=\"{service}\" type=\"service\" version=\"1\">\n\
             {inside}\n</service>\n</service_bundle>\n"
        )
    }

    fn made(text: &str) -> Result<Site, Vec<String>> {
        let entries = list::parse(text).unwrap();
        let find = |path: &str| {
            let (text, in_zones) = match path {
                "network/ssh.xml" => {
                    (manifest("network/ssh", "<create_default_instance enabled=\"true\"/>"), true)
                }
                "system/sac.xml" => (
                    manifest(
                        "system/sac",
                        "<instance name='default' enabled='false'/><instance name='b' enabled='true'/>",
                    ),
                    false,
                ),
                "system-sac.xml" | "site.xml" => (manifest("system/other", ""), false),
                "broken.xml" => (manifest("bro ken", "<colour/>"), false),
                "torn.xml" => ("<service_bundle>".to_owned(), false),
                _ => return Ok(None),
            };
            Ok(Some(Found { bytes: text.into_bytes(), place: format!("lib/{path}"), in_zones }))
        };
        make("list", &entries, find).unwrap()
    }

    #[test]
    fn states_go_into_the_profile_and_manifests_that_zones_do_not_see_are_copied() {
        let site =
            made("network/ssh.xml disabled\nsystem/sac.xml enabled\nsystem-sac.xml enabled noimport\n")
                .unwrap();
        let head = "<?xml version='1.0'?>\n<!DOCTYPE service_bundle SYSTEM '/usr/share/lib/xml/dtd/service_bundle.dtd.1'>\n";
        let expected = "<service_bundle type='profile' name='site'>\n  \
            <service name='network/ssh' version='1' type='service'>\n    \
            <instance name='default' enabled='false'/>\n  </service>\n  \
            <service name='system/sac' version='1' type='service'>\n    \
            <instance name='default' enabled='true'/>\n  </service>\n</service_bundle>\n";
        assert_eq!(site.profile, format!("{head}{expected}"));
        // It is one that svccfg takes.
        assert_eq!(Manifest::parse(&site.profile).unwrap().violations, [""; 0]);
        assert_eq!(site.manifests.keys().collect::<Vec<_>>(), ["system-sac.xml"]);
        let copied: Vec<_> = site.taken.iter().map(|taken| taken.copied.as_deref()).collect();
        assert_eq!(copied, [None, Some("system-sac.xml"), None]);
        assert_eq!(site.taken[1].services, ["system/sac"]);
        assert_eq!(site.notes, [""; 0]);
    }

    #[test]
    fn services_without_a_default_instance_are_told() {
        let site = made("system-sac.xml enabled\n").unwrap();
        let note = "list: line 1: system/other has no instance 'default', so those that it has stay as lib/system-sac.xml says";
        assert_eq!(site.notes, [note]);
        assert!(!site.profile.contains("<service "));
    }

    #[test]
    fn defects_are_told_with_file_and_line() {
        let problems = made("missing.xml enabled\nbroken.xml enabled\ntorn.xml enabled\n").unwrap_err();
        assert_eq!(
            problems,
            [
                "list: line 1: there is no manifest missing.xml",
                "lib/broken.xml: line 5: <colour> cannot stand here in <service>",
                "lib/broken.xml: line 5: manifests have no element <colour>",
                "lib/broken.xml: line 4: 'bro ken' is no name of a service",
                "lib/torn.xml: line 1: <service_bundle> is never closed",
            ]
        );
        let problems =
            made("system/sac.xml enabled\nsystem-sac.xml enabled\nsite.xml enabled\n").unwrap_err();
        assert_eq!(
            problems,
            [
                "list: line 2: system-sac.xml would be the second file called system-sac.xml",
                "list: line 3: site.xml would be the second file called site.xml",
            ]
        );
    }
}
