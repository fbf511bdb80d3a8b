//! The files that say what the zone is, and those that say where it is: nowhere yet.

use anyhow::Result;

use super::outcome;
use crate::install_base::proto::Proto;
use crate::report::Outcome;

/// Shells of the platform (source: shells(5) of illumos).
const SHELLS: &str =
    "/bin/bash\n/bin/csh\n/bin/ksh\n/bin/sh\n/usr/bin/bash\n/usr/bin/csh\n/usr/bin/ksh\n/usr/bin/sh\n";

/// Writes the names of product, release and packages.
pub fn describe(proto: &mut Proto) -> Result<Outcome<()>> {
    let variables = proto.wanted.variables();
    let value = |name: &str| &variables[name];
    let packages = format!("release: {}\narchitecture: {}\n", value("IMAGE_BRANCH"), value("IMAGE_ARCH"));
    proto.write("/etc/pkgsrc_version", 0o644, packages)?;
    let product = format!(
        "Name: {}\nImage: {} {}\nDocumentation: {}\n",
        value("IMAGE_PRODUCT"),
        value("IMAGE_NAME"),
        value("IMAGE_VERSION"),
        value("IMAGE_DOC")
    );
    proto.write("/etc/product", 0o644, product)?;
    let release =
        "                        SmartOS x86_64\n       `uname -v` says which platform the zone runs on.\n";
    proto.write("/etc/release", 0o644, release)?;
    proto.write_new("/etc/shells", 0o644, SHELLS)?;
    proto.remove("/etc/issue");
    Ok(outcome(true, format!("/etc/product: {} {}", value("IMAGE_NAME"), value("IMAGE_VERSION"))))
}

/// Gives the zone the network files of one that has no addresses yet.
pub fn network_files(proto: &mut Proto) -> Result<Outcome<()>> {
    let ipadm = proto.write_new("/etc/ipadm/ipadm.conf", 0o644, "")?;
    let hosts =
        proto.edit("/etc/hosts", 0o644, |_| "::1\t\tlocalhost\n127.0.0.1\tlocalhost loghost\n".to_owned())?;
    // zoneinit locks the tables of accounts there while it sets passwords.
    proto.make_folder("/var/lock", 0o755)?;
    Ok(outcome(ipadm || hosts, "/etc/hosts and /etc/ipadm/ipadm.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn files_of_another_machine_are_replaced_and_own_ones_kept() {
        let mut proto = proto(
            "base-64",
            &[("/etc/shells", "/bin/zsh\n"), ("/etc/issue", "hello"), ("/etc/hosts", "10.0.0.1 me\n")],
        );
        describe(&mut proto).unwrap();
        network_files(&mut proto).unwrap();
        let text = |path: &str| proto.text(path).unwrap();
        assert_eq!(text("/etc/shells").unwrap(), "/bin/zsh\n");
        assert_eq!(text("/etc/issue"), None);
        assert_eq!(text("/etc/hosts").unwrap(), "::1\t\tlocalhost\n127.0.0.1\tlocalhost loghost\n");
        assert_eq!(text("/etc/ipadm/ipadm.conf").unwrap(), "");
        assert_eq!(text("/etc/pkgsrc_version").unwrap(), "release: 2023Q4\narchitecture: x86_64\n");
        assert_eq!(
            text("/etc/product").unwrap(),
            "Name: SmartOS Instance\nImage: base-64 23.4.0\nDocumentation: https://docs.smartos.org/\n"
        );
    }
}
