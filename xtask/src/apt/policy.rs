//! What `apt-cache policy` and a simulated `apt-get install` say, in the C locale.

use std::collections::BTreeMap;

/// The versions of one package that apt would keep or install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The version on this machine.
    pub installed: Option<String>,
    /// The version that a plain installation would choose.
    pub candidate: Option<String>,
}

impl Policy {
    /// Whether the version on this machine comes from the backports of some release: their versions end in
    /// `~bpo`, the release and a number.
    pub fn is_backport(&self) -> bool {
        self.installed.as_deref().is_some_and(|version| version.contains("~bpo"))
    }
}

/// Parses the output of `apt-cache policy PACKAGE…`. A package that apt has never heard of does not appear.
pub fn parse(text: &str) -> BTreeMap<String, Policy> {
    let mut found = BTreeMap::<String, Policy>::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            current = Some(found.entry(name.to_owned()).or_default());
        } else if let Some(policy) = &mut current {
            let version = |value: &str| Some(value.trim().to_owned()).filter(|value| value != "(none)");
            if let Some(value) = line.strip_prefix("  Installed:") {
                policy.installed = version(value);
            } else if let Some(value) = line.strip_prefix("  Candidate:") {
                policy.candidate = version(value);
            }
        }
    }
    found
}

/// How a simulated installation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulation {
    /// It would install, and remove nothing.
    Clean,
    /// It would fail, or remove packages of the machine.
    Conflict,
}

/// Judges `apt-get install --simulate` by whether it succeeded and by its standard output.
pub fn judge(succeeded: bool, output: &str) -> Simulation {
    if succeeded && !output.lines().any(|line| line.starts_with("Remv ")) {
        Simulation::Clean
    } else {
        Simulation::Conflict
    }
}

#[cfg(test)]
pub mod captured {
    //! Output of apt on Debian 12, where `qemu-utils` had come from backports.

    /// `apt-cache policy qemu-system-x86 qemu-utils mtools` without QEMU, without the suite of backports.
    pub const WITHOUT_BACKPORTS: &str = "\
qemu-system-x86:
  Installed: (none)
  Candidate: 1:7.2+dfsg-7+deb12u18+b3
  Version table:
     1:7.2+dfsg-7+deb12u18+b3 500
        500 http://archive.example/debian bookworm/main amd64 Packages
     1:7.2+dfsg-7+deb12u15 500
        500 http://archive.example/debian-security bookworm-security/main amd64 Packages
qemu-utils:
  Installed: 1:10.0.2+ds-2+deb13u1~bpo12+1
  Candidate: 1:10.0.2+ds-2+deb13u1~bpo12+1
  Version table:
 *** 1:10.0.2+ds-2+deb13u1~bpo12+1 100
        100 /var/lib/dpkg/status
     1:7.2+dfsg-7+deb12u18+b3 500
        500 http://archive.example/debian bookworm/main amd64 Packages
     1:7.2+dfsg-7+deb12u15 500
        500 http://archive.example/debian-security bookworm-security/main amd64 Packages
mtools:
  Installed: (none)
  Candidate: 4.0.33-1+really4.0.32-1
  Version table:
     4.0.33-1+really4.0.32-1 500
        500 http://archive.example/debian bookworm/main amd64 Packages
";

    /// `apt-get install --simulate qemu-system-x86 mtools` on the same machine: it succeeds.
    pub const REMOVES_QEMU_UTILS: &str = "\
Reading package lists...
Building dependency tree...
Reading state information...
The following packages will be REMOVED:
  qemu-utils
The following NEW packages will be installed:
  libsndio7.0 libspice-server1 mtools qemu-system-common qemu-system-data qemu-system-x86
0 upgraded, 6 newly installed, 1 to remove and 130 not upgraded.
Remv qemu-utils [1:10.0.2+ds-2+deb13u1~bpo12+1]
Inst mtools (4.0.33-1+really4.0.32-1 Debian:12.15/oldstable [amd64])
Inst qemu-system-common (1:7.2+dfsg-7+deb12u18+b3 Debian:12.15/oldstable [amd64])
Inst qemu-system-x86 (1:7.2+dfsg-7+deb12u18+b3 Debian:12.15/oldstable [amd64])
";

    /// The same with the suite of backports among the sources: it fails.
    pub const BREAKS_QEMU_UTILS: &str = "\
Reading package lists...
Building dependency tree...
Reading state information...
The following packages have unmet dependencies:
 qemu-utils : Breaks: qemu-system-common (< 1:8.0+dfsg-5~) but 1:7.2+dfsg-7+deb12u18+b3 is to be installed
";

    /// `apt-get install --simulate mtools`.
    pub const INSTALLS_MTOOLS: &str = "\
Reading package lists...
The following NEW packages will be installed:
  mtools
0 upgraded, 1 newly installed, 0 to remove and 130 not upgraded.
Inst mtools (4.0.33-1+really4.0.32-1 Debian:12.15/oldstable [amd64])
Conf mtools (4.0.33-1+really4.0.32-1 Debian:12.15/oldstable [amd64])
";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let policies = parse(captured::WITHOUT_BACKPORTS);
        assert_eq!(policies.len(), 3);
        assert_eq!(policies["mtools"].installed, None);
        assert_eq!(policies["mtools"].candidate.as_deref(), Some("4.0.33-1+really4.0.32-1"));
        assert!(policies["qemu-utils"].is_backport());
        assert!(!policies["qemu-system-x86"].is_backport());
    }

    #[test]
    fn an_installation_that_removes_something_is_a_conflict() {
        assert_eq!(judge(true, captured::INSTALLS_MTOOLS), Simulation::Clean);
        assert_eq!(judge(true, captured::REMOVES_QEMU_UTILS), Simulation::Conflict);
        assert_eq!(judge(false, captured::BREAKS_QEMU_UTILS), Simulation::Conflict);
    }
}
