//! What every zone has to have of its own: keys, logs, histories, names, passwords (source of the list: smtools, `sm-prepare-image`).

use anyhow::{Context, Result};

use super::outcome;
use crate::install_base::lines;
use crate::install_base::proto::Proto;
use crate::report::Outcome;
use crate::units;

/// Folders whose files are removed.
const EMPTIED: [&str; 7] = [
    "/var/adm",
    "/var/cron",
    "/var/db/pkgin",
    "/var/spool/postfix/hold",
    "/var/spool/postfix/incoming",
    "/var/svc/log",
    "/var/tmp",
];
/// Files that are removed.
const REMOVED: [&str; 7] = [
    "/etc/defaultrouter",
    "/etc/hostid",
    "/etc/opasswd",
    "/etc/oshadow",
    "/etc/ouser_attr",
    "/root/zoneconfig",
    "/var/lib/dbus/machine-id",
];
/// Logs that are there and empty. Their number of owner and group is that of root, or adm where illumos has it.
const LOGS: [(&str, u16, u32); 5] = [
    ("/var/adm/messages", 0o644, 0),
    ("/var/adm/sulog", 0o600, 0),
    ("/var/adm/wtmpx", 0o644, 4),
    ("/var/cron/log", 0o600, 0),
    ("/var/log/syslog", 0o644, 0),
];
/// What programs leave in the homes of people.
const TRACES: [&str; 5] = [".gnupg", ".lesshst", ".subversion", ".viminfo", ".ssh/known_hosts"];
/// Homes of those who log in.
const HOMES: [&str; 2] = ["/root", "/home/admin"];

/// Takes all away that belongs to one zone.
pub fn clean_up(proto: &mut Proto) -> Result<Outcome<()>> {
    let mut gone: Vec<String> = REMOVED.iter().map(|&path| path.to_owned()).collect();
    for folder in EMPTIED {
        gone.extend(proto.files_below(folder));
    }
    let in_folder = |folder: &str, unwanted: &dyn Fn(&str) -> bool| {
        let names = proto.names(folder).into_iter().filter(|name| unwanted(name));
        names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    // In their pattern of files, `ssh_*key*`.
    let host_key = |name: &str| name.strip_prefix("ssh_").is_some_and(|rest| rest.contains("key"));
    gone.extend(in_folder("/etc/ssh", &host_key));
    gone.extend(in_folder("/var/ssh", &host_key));
    gone.extend(in_folder("/etc", &|name| name.starts_with("hostname.net")));
    for queue in in_folder("/var/spool/postfix", &|name| name.starts_with("defer")) {
        gone.extend(proto.files_below(&queue));
    }
    for home in HOMES {
        gone.extend(in_folder(home, &|name| name.starts_with('.') && name.ends_with("history")));
        gone.extend(TRACES.map(|name| format!("{home}/{name}")));
    }
    let rotated = |path: &String| path.rsplit('/').next().is_some_and(|name| name.contains("log."));
    let (old, logs): (Vec<_>, Vec<_>) = proto.files_below("/var/log").into_iter().partition(rotated);
    gone.extend(old);
    let removed = gone.iter().filter(|path| proto.remove(path)).count();
    for log in &logs {
        proto.set_contents(log, Vec::new());
    }
    for (path, permissions, owner) in LOGS {
        if proto.write_new(path, permissions, "")?
            && let Some(node) = proto.node(path)
        {
            let attributes = proto.tree.attributes_mut(node);
            (attributes.uid, attributes.gid) = (owner, owner);
        }
    }
    // sshd's keys are made there at the first boot.
    proto.make_folder("/var/ssh", 0o755)?;
    let detail =
        format!("{} removed, {} emptied", units::count(removed, "file"), units::count(logs.len(), "log"));
    Ok(outcome(true, detail))
}

/// Takes their passwords from those who log in, so that only keys let them in (`NP`, as `passwd -N` writes it).
pub fn passwords(proto: &mut Proto) -> Result<Outcome<()>> {
    let changes = proto
        .edit("/etc/shadow", 0o400, |text| {
            lines::changed(&text, |line| {
                let mut fields: Vec<&str> = line.split(':').collect();
                if let ["root" | "admin", password, ..] = &mut fields[..] {
                    *password = "NP";
                }
                fields.join(":")
            })
        })
        .context("the passwords of the seed stay as they are")?;
    Ok(outcome(changes, "root logs in with a key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn nothing_of_one_zone_stays() {
        let files = [
            ("/etc/ssh/ssh_host_rsa_key", "k"),
            ("/etc/ssh/ssh_config", "c"),
            ("/var/ssh/ssh_host_rsa_key.pub", "k"),
            ("/etc/hostname.net0", "x"),
            ("/etc/passwd", "x"),
            ("/root/.bash_history", "x"),
            ("/root/.profile", "x"),
            ("/root/.ssh/known_hosts", "x"),
            ("/root/.gnupg/random_seed", "x"),
            ("/var/adm/messages", "x"),
            ("/var/adm/messages.0", "x"),
            ("/var/log/authlog", "x"),
            ("/var/log/authlog.1", "x"),
            ("/var/log/sub/more", "x"),
            ("/var/spool/postfix/deferred/A/1", "x"),
            ("/var/spool/postfix/active/1", "x"),
        ];
        let mut proto = proto("minimal-64", &files);
        clean_up(&mut proto).unwrap();
        let mut left = proto.files_below("/");
        left.retain(|path| !LOGS.iter().any(|(log, ..)| log == path));
        assert_eq!(
            left,
            [
                "/etc/passwd",
                "/etc/ssh/ssh_config",
                "/root/.profile",
                "/var/log/authlog",
                "/var/log/sub/more",
                "/var/spool/postfix/active/1",
            ]
        );
        for (log, ..) in LOGS {
            assert_eq!(proto.text(log).unwrap().unwrap(), "", "{log}");
        }
        assert_eq!(proto.text("/var/log/sub/more").unwrap().unwrap(), "");
        let owner = |path: &str| proto.tree.node(proto.node(path).unwrap()).attributes.uid;
        assert_eq!((owner("/var/adm/wtmpx"), owner("/var/adm/sulog")), (4, 0));
    }

    #[test]
    fn passwords_are_taken_away() {
        let shadow = "root:$5$x:6445::::::\ndaemon:NP:6445::::::\nadmin::1::::::\nrooted:$5$y:1::::::\n";
        let mut proto = proto("minimal-64", &[("/etc/shadow", shadow)]);
        passwords(&mut proto).unwrap();
        assert_eq!(
            proto.text("/etc/shadow").unwrap().unwrap(),
            "root:NP:6445::::::\ndaemon:NP:6445::::::\nadmin:NP:1::::::\nrooted:$5$y:1::::::\n"
        );
    }
}
