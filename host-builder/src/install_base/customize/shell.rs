//! What people find who log in: the SSH server's rules, locale, home, search paths, and a place of their own.

use anyhow::{Context, Result};
use kiln_zstream::fs::tree::{Attributes, Kind};

use super::outcome;
use crate::install_base::config::{PATH, PREFIX};
use crate::install_base::lines::{with_variable, with_word, without};
use crate::install_base::proto::Proto;
use crate::report::Outcome;
use crate::units;
use crate::zone::area::Area;

/// Lets people in with keys only, those of the data centre included.
pub fn ssh_server(proto: &mut Proto) -> Result<Outcome<()>> {
    let xauth = format!("{PREFIX}/bin/xauth");
    let settings = [
        ("PasswordAuthentication", "no"),
        ("PermitRootLogin", "without-password"),
        // So that ~/.ssh/environment counts.
        ("PermitUserEnvironment", "yes"),
        ("XAuthLocation", &xauth),
        // Asks the data centre for the keys of a zone's owner.
        ("PubKeyPlugin", "libsmartsshd.so"),
    ];
    let path = "/etc/ssh/sshd_config";
    let set = |text: String| {
        settings.iter().fold(text, |text, (word, value)| with_word(&text, word, value, "Match"))
    };
    let changes = proto.edit_if_there(path, set)?;
    Ok(outcome(changes, path))
}

/// Sets the locale of all services.
pub fn locale(proto: &mut Proto) -> Result<Outcome<()>> {
    let path = "/etc/default/init";
    let changes = proto.edit(path, 0o644, |text| with_variable(&text, "LANG", "C"))?;
    Ok(outcome(changes, format!("{path}: LANG=C")))
}

/// Copies the hidden files of `/etc/skel` to root's home, and takes those of other systems' names out of it.
pub fn home_of_root(proto: &mut Proto) -> Result<Outcome<()>> {
    for name in proto.names("/etc/skel") {
        if name.starts_with("local.") {
            proto.remove(&format!("/etc/skel/{name}"));
        }
    }
    proto.make_folder("/root", 0o700)?;
    let mut count = 0;
    for from in proto.files_below("/etc/skel") {
        let below = from.strip_prefix("/etc/skel/").unwrap_or_default();
        if !below.starts_with('.') {
            continue;
        }
        let Some(node) = proto.node(&from) else { continue };
        let node = proto.tree.node(node).clone();
        let Kind::File(_) = node.kind else { continue };
        let attributes = Attributes { uid: 0, gid: 0, ..node.attributes };
        let place = proto.resolve(&format!("/root/{below}"))?;
        proto
            .area()
            .put(&place, attributes, node.kind)
            .with_context(|| format!("cannot copy {from} to /root"))?;
        count += 1;
    }
    Ok(outcome(count > 0, format!("{} of /etc/skel", units::count(count, "file"))))
}

/// Sets where cron and su look for commands.
pub fn search_paths(proto: &mut Proto) -> Result<Outcome<()>> {
    let names = ["PATH", "SUPATH"];
    let set = |text: String| names.iter().fold(text, |text, name| with_variable(&text, name, PATH));
    let cron = proto.edit("/etc/default/cron", 0o644, set)?;
    // There they stand as comments that show what may be set.
    let commented = |line: &str| {
        line.split_once('=').is_some_and(|(before, _)| names.contains(&before.trim_start_matches('#').trim()))
    };
    let su = proto.edit("/etc/default/su", 0o644, |text| set(without(&text, commented)))?;
    Ok(outcome(cron || su, "/etc/default/cron and /etc/default/su"))
}

/// Makes the folders of `/usr/local`. The zone sees the host's `/usr`, and below it, in place of `local`, the folder of that name
/// beside its own root (source: illumos-joyent, `usr/src/lib/brand/joyent/zone/platform.xml`).
pub fn usr_local(proto: &mut Proto) -> Result<Outcome<()>> {
    let folder = proto.attributes(0o755, 0, 0);
    let link = proto.attributes(0o777, 0, 0);
    let top = proto.tree.root();
    let mut dataset = Area::new(&mut proto.tree, top);
    for name in ["bin", "etc", "include", "lib", "sbin", "share/man", "src"] {
        dataset.make_folders(format!("local/{name}").as_bytes(), folder)?;
    }
    if dataset.find(b"local/man").is_none() {
        dataset.put(b"local/man", link, Kind::Symlink(b"share/man".to_vec()))?;
    }
    Ok(outcome(true, "local, beside the zone's root"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn homes_get_the_hidden_files_of_the_skeleton() {
        let skeleton = [
            ("/etc/skel/.profile", "p\n"),
            ("/etc/skel/.ssh/environment", "e\n"),
            ("/etc/skel/local.login", ""),
            ("/etc/skel/x", ""),
        ];
        let mut proto = proto("minimal-64", &skeleton);
        home_of_root(&mut proto).unwrap();
        assert_eq!(proto.files_below("/root"), ["/root/.profile", "/root/.ssh/environment"]);
        assert_eq!(
            proto.files_below("/etc/skel"),
            ["/etc/skel/.profile", "/etc/skel/.ssh/environment", "/etc/skel/x"]
        );
        let node = proto.tree.node(proto.node("/root/.profile").unwrap());
        assert_eq!((node.attributes.permissions, node.attributes.uid), (0o640, 0));
    }

    #[test]
    fn search_paths_are_set_once() {
        let su = "# PATH sets the initial shell PATH variable\n#\n#PATH=/usr/bin:\n#\n#SUPATH=/usr/sbin\nSYSLOG=YES\n";
        let mut proto = proto("minimal-64", &[("/etc/default/su", su)]);
        search_paths(&mut proto).unwrap();
        let after = proto.text("/etc/default/su").unwrap().unwrap();
        let comments = "# PATH sets the initial shell PATH variable\n#\n#\nSYSLOG=YES\n";
        assert_eq!(after, format!("{comments}PATH={PATH}\nSUPATH={PATH}\n"));
        assert_eq!(
            proto.text("/etc/default/cron").unwrap().unwrap(),
            format!("PATH={PATH}\nSUPATH={PATH}\n")
        );
        search_paths(&mut proto).unwrap();
        assert_eq!(proto.text("/etc/default/su").unwrap().unwrap(), after);
    }

    #[test]
    fn passwords_let_nobody_in_and_keys_do() {
        let before = "PasswordAuthentication yes\nPermitRootLogin yes\n#XAuthLocation /x\n";
        let mut proto = proto("minimal-64", &[("/etc/ssh/sshd_config", before)]);
        ssh_server(&mut proto).unwrap();
        assert_eq!(
            proto.text("/etc/ssh/sshd_config").unwrap().unwrap(),
            "PasswordAuthentication no\nPermitRootLogin without-password\n#XAuthLocation /x\nPermitUserEnvironment yes\n\
             XAuthLocation /opt/local/bin/xauth\nPubKeyPlugin libsmartsshd.so\n"
        );
    }
}
