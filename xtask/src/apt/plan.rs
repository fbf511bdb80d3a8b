//! Which packages to install from which suite, and whether a source must be added first.
//!
//! The one difficulty is QEMU: its programs and its disk tools come from one source package and do not mix across
//! major versions. Where the disk tools came from backports, the plain candidate of the emulator conflicts with them,
//! and apt resolves that by failing or, worse, by removing them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::policy::{Policy, Simulation};
use super::sources::{self, Source};

/// Packages that are built from QEMU's source and must have one version.
pub const QEMU: &[&str] = &["qemu-system-x86", "qemu-utils"];

/// Packages of the archive's component contrib: free themselves, but made for what Debian does not ship.
const CONTRIB: &[&str] = &["libzfslinux-dev"];

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// A source to add first.
    pub source: Option<NewSource>,
    /// Installations, each one call of `apt-get install`.
    pub installs: Vec<Install>,
}

/// A source that the machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSource {
    /// Its file's name in /etc/apt/sources.list.d.
    pub file: String,
    /// What the file says.
    pub source: Source,
    /// Why it is needed, as a sentence.
    pub reason: String,
}

/// One call of `apt-get install`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The suite that is preferred to all others, for what is not in the default one.
    pub suite: Option<String>,
    /// Names of packages.
    pub packages: Vec<String>,
}

impl Install {
    /// The arguments of `apt-get`. It must rather fail than remove what somebody uses: zfs-fuse, for one, conflicts
    /// with the programs of the kernel's ZFS.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["install", "--yes", "--no-remove", "--no-install-recommends"].map(str::to_owned).into();
        arguments.extend(self.suite.iter().flat_map(|suite| ["--target-release".to_owned(), suite.clone()]));
        arguments.extend(self.packages.iter().cloned());
        arguments
    }
}

/// The source of contrib, if one of `missing` is there and no source of the machine gives it. It has to be added before
/// anything can be planned.
///
/// # Errors
/// There is no archive to take it from.
pub fn contrib(
    missing: &[&str],
    codename: &str,
    sources: &[Source],
    policies: &BTreeMap<String, Policy>,
) -> Result<Option<NewSource>> {
    let unknown = |package: &&&str| policies.get(**package).is_none_or(|policy| policy.candidate.is_none());
    let Some(package) = CONTRIB.iter().filter(|package| missing.contains(*package)).find(unknown) else {
        return Ok(None);
    };
    let source = sources::extra(sources, codename, "", "contrib").with_context(|| {
        format!("no source in /etc/apt gives {codename}, so there is none for its component contrib")
    })?;
    let reason = format!("{package} is in Debian's component contrib");
    Ok(Some(NewSource { file: "kiln-contrib.sources".to_owned(), source, reason }))
}

/// Plans the installation of `missing` on a machine of the release `codename` that has `sources`. `policies` tells of
/// the packages of [`QEMU`] and of `missing`; `simulation` is how a plain installation of `missing` would go.
///
/// # Errors
/// When no source gives a package, or when there is no archive to take backports from.
pub fn plan(
    missing: &[&str],
    codename: &str,
    sources: &[Source],
    policies: &BTreeMap<String, Policy>,
    simulation: Simulation,
) -> Result<Plan> {
    for &package in missing {
        let known = policies.get(package).is_some_and(|policy| policy.candidate.is_some());
        ensure!(known, "no source of this machine gives the package {package}");
    }
    let owned = |packages: &[&str]| packages.iter().map(|&package| package.to_owned()).collect::<Vec<_>>();
    let (qemu, others): (Vec<&str>, Vec<&str>) = missing.iter().partition(|package| QEMU.contains(package));

    let half_is_backported = QEMU.iter().any(|&name| policies.get(name).is_some_and(Policy::is_backport));
    if qemu.is_empty() || (simulation == Simulation::Clean && !half_is_backported) {
        let installs = (!missing.is_empty()).then(|| Install { suite: None, packages: owned(missing) });
        return Ok(Plan { source: None, installs: installs.into_iter().collect() });
    }

    let suite = format!("{codename}-backports");
    let source = if sources::has_suite(sources, &suite) {
        None
    } else {
        let source = sources::extra(sources, codename, "-backports", "main").with_context(|| {
            format!("no source in /etc/apt gives {codename}, so there is none for {suite}")
        })?;
        let reason = format!(
            "{} must have the version of the other packages of QEMU on this machine, which came from {suite}",
            qemu.join(" and ")
        );
        Some(NewSource { file: format!("kiln-{suite}.sources"), source, reason })
    };
    let mut installs = vec![Install { suite: Some(suite), packages: owned(&qemu) }];
    if !others.is_empty() {
        installs.push(Install { suite: None, packages: owned(&others) });
    }
    Ok(Plan { source, installs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::policy::{captured, judge, parse};

    const SOURCES: &str = "Types: deb\nURIs: http://archive.example/debian\nSuites: bookworm bookworm-updates\n\
                           Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";

    fn calls(plan: &Plan) -> Vec<String> {
        plan.installs.iter().map(|install| install.arguments().join(" ")).collect()
    }

    #[test]
    fn nothing_missing_needs_nothing() {
        let plan = plan(&[], "bookworm", &[], &BTreeMap::new(), Simulation::Clean).unwrap();
        assert_eq!(plan, Plan { source: None, installs: Vec::new() });
    }

    #[test]
    fn ordinary_packages_are_installed_plainly() {
        let policies = parse(captured::WITHOUT_BACKPORTS);
        let simulation = judge(true, captured::INSTALLS_MTOOLS);
        let plan = plan(&["mtools"], "bookworm", &[], &policies, simulation).unwrap();
        assert_eq!(plan.source, None);
        assert_eq!(calls(&plan), ["install --yes --no-remove --no-install-recommends mtools"]);
    }

    #[test]
    fn an_emulator_beside_backported_disk_tools_comes_from_backports_too() {
        let sources = sources::parse_deb822(SOURCES);
        let policies = parse(captured::WITHOUT_BACKPORTS);
        let simulation = judge(true, captured::REMOVES_QEMU_UTILS);
        let plan = plan(&["qemu-system-x86", "mtools"], "bookworm", &sources, &policies, simulation).unwrap();
        let added = plan.source.as_ref().unwrap();
        assert_eq!(added.file, "kiln-bookworm-backports.sources");
        assert_eq!(added.source.suites, ["bookworm-backports"]);
        assert_eq!(added.source.uris, ["http://archive.example/debian"]);
        assert_eq!(
            calls(&plan),
            [
                "install --yes --no-remove --no-install-recommends --target-release bookworm-backports qemu-system-x86",
                "install --yes --no-remove --no-install-recommends mtools",
            ]
        );
    }

    #[test]
    fn backports_that_the_machine_has_are_not_added_again() {
        let sources = sources::parse_deb822(&format!(
            "{SOURCES}\nTypes: deb\nURIs: http://archive.example/debian\nSuites: bookworm-backports\nComponents: main\n"
        ));
        let policies = parse(captured::WITHOUT_BACKPORTS);
        let simulation = judge(false, captured::BREAKS_QEMU_UTILS);
        let plan = plan(&["qemu-system-x86"], "bookworm", &sources, &policies, simulation).unwrap();
        assert_eq!(plan.source, None);
        assert_eq!(plan.installs[0].suite.as_deref(), Some("bookworm-backports"));
    }

    #[test]
    fn a_machine_without_qemu_takes_its_own_release() {
        let policies = parse(&captured::WITHOUT_BACKPORTS.replace("1:10.0.2+ds-2+deb13u1~bpo12+1", "(none)"));
        let sources = sources::parse_deb822(SOURCES);
        let clean = plan(&["qemu-system-x86"], "bookworm", &sources, &policies, Simulation::Clean).unwrap();
        assert_eq!(clean.source, None);
        assert_eq!(clean.installs[0].suite, None);
    }

    #[test]
    fn contrib_is_added_for_what_is_there_and_nowhere_else() {
        let sources = sources::parse_deb822(SOURCES);
        let known =
            "libzfslinux-dev:\n  Installed: (none)\n  Candidate: 2.1.11-1+deb12u1\n  Version table:\n";
        let none = BTreeMap::new();
        let added = contrib(&["mtools", "libzfslinux-dev"], "bookworm", &sources, &none).unwrap().unwrap();
        assert_eq!(added.file, "kiln-contrib.sources");
        assert_eq!(
            added.source.deb822(),
            "Types: deb\nURIs: http://archive.example/debian\nSuites: bookworm\nComponents: contrib\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        assert_eq!(contrib(&["mtools"], "bookworm", &sources, &none).unwrap(), None);
        assert_eq!(contrib(&["libzfslinux-dev"], "bookworm", &sources, &parse(known)).unwrap(), None);
        assert!(contrib(&["libzfslinux-dev"], "bookworm", &[], &none).is_err());
    }

    #[test]
    fn packages_that_no_source_gives_are_named() {
        let policies = parse("mtools:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n");
        for package in ["mtools", "unheard-of"] {
            let error = plan(&[package], "bookworm", &[], &policies, Simulation::Conflict).unwrap_err();
            assert_eq!(error.to_string(), format!("no source of this machine gives the package {package}"));
        }
    }

    #[test]
    fn backports_need_an_archive_of_the_release() {
        let policies = parse(captured::WITHOUT_BACKPORTS);
        let error = plan(&["qemu-system-x86"], "bookworm", &[], &policies, Simulation::Conflict).unwrap_err();
        assert!(error.to_string().contains("bookworm-backports"), "{error}");
    }
}
