//! How a zone tells its host that it is provisioned: what a seed has until the tools of an image on top of it do that.

use anyhow::Result;
use kiln_zstream::fs::tree::Time;

use crate::zone::area::{Area, attributes};

/// What vmadm reads before it provisions: whether the image renames `/var/svc/provisioning`, and whether it reboots. The version is
/// that of the zoneinit whose behaviour this is (imagetools, `include/zoneinit.json`).
const ZONEINIT: &str = "{\n  \"version\": \"1.5.1\",\n  \"features\": {\n    \"var_svc_provisioning\": true,\n    \"reboot\": true\n  }\n}\n";

/// The script of the first boot, which makes that of the second. Init runs it last of its run level.
const FINAL: &str = include_str!("S99final");

/// Puts both into the image.
///
/// # Errors
/// Something is in the way.
pub fn lay(area: &mut Area<'_>, time: Time) -> Result<()> {
    area.write(b"var/zoneinit/zoneinit.json", attributes(0o644, 0, 0, time), ZONEINIT.into())?;
    area.write(b"etc/rc2.d/S99final", attributes(0o755, 0, 0, time), FINAL.into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// A script with the paths of the zone moved below a folder, and programs that only note how they were called.
    fn run(script: &str, zone: &Path) {
        let here = zone.display().to_string();
        let mut script = script.replace("/usr/bin/", "");
        for path in ["/etc/rc2.d", "/var/svc", "/etc/svc"] {
            script = script.replace(path, &format!("{here}{path}"));
        }
        let script = script.replace("PATH=/usr/bin:/usr/sbin:/sbin", &format!("PATH={here}/bin:$PATH"));
        assert!(Command::new("sh").arg("-euc").arg(script).status().unwrap().success());
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_first_boot_sets_services_and_reboots_and_the_second_tells_the_host() {
        let zone = tempfile::tempdir().unwrap();
        let zone = zone.path();
        let calls = zone.join("calls");
        for program in ["svcadm", "svccfg", "reboot"] {
            let note = format!("#!/bin/sh\necho {program} \"$@\" >>{}\n", calls.display());
            write(&zone.join("bin").join(program), &note);
        }
        write(&zone.join("etc/rc2.d/S99final"), FINAL);
        write(&zone.join("var/svc/provisioning"), "");
        write(&zone.join("var/svc/manifest/site/one.xml"), "");
        write(&zone.join("etc/svc/profile/site.xml"), "");

        run(FINAL, zone);
        let said = fs::read_to_string(&calls).unwrap().replace(&zone.display().to_string(), "");
        let expected = "svcadm disable svc:/network/dns/multicast:default\nsvcadm disable svc:/network/physical:nwam\n\
                        svcadm disable svc:/network/rpc/bind:default\nsvcadm disable svc:/system/rcap:default\n\
                        svcadm enable svc:/system/sac:default\nsvccfg import /var/svc/manifest/site/one.xml\n\
                        svccfg apply /etc/svc/profile/site.xml\nreboot\n";
        assert_eq!(said, expected);
        let names = || {
            let entries = fs::read_dir(zone.join("etc/rc2.d")).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["S98mdata"]);
        assert!(zone.join("var/svc/provisioning").exists());
        let second = zone.join("etc/rc2.d/S98mdata");
        assert_eq!(fs::metadata(&second).unwrap().permissions().mode() & 0o7777, 0o755);

        // The paths in it are the zone's already.
        let script = fs::read_to_string(&second).unwrap().replace("/usr/bin/", "");
        assert!(Command::new("sh").arg("-euc").arg(script).status().unwrap().success());
        assert_eq!(names(), [""; 0]);
        assert!(!zone.join("var/svc/provisioning").exists());
        assert!(zone.join("var/svc/provision_success").exists());
    }
}
