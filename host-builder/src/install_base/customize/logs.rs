//! What runs by the clock, and what is logged where.

use anyhow::Result;

use super::outcome;
use crate::install_base::config::PREFIX;
use crate::install_base::lines::{changed, with, without};
use crate::install_base::proto::Proto;
use crate::report::Outcome;

/// Root's table of what runs by the clock.
const CRONTAB: &str = "/var/spool/cron/crontabs/root";
/// How the rotation of logs tells the logging daemon, whichever it is, that its files are new ones.
const TELL_DAEMON: &str = r"kill -HUP `cat /var/run/*syslog*.pid`";

/// Looks for known holes in packages every morning, and for logs to rotate every hour instead of once a night.
pub fn crontab(proto: &mut Proto) -> Result<Outcome<()>> {
    let changes = proto.edit(CRONTAB, 0o600, |text| {
        let text = without(&text, |line| line.contains("fetch-pkg-vulnerabilities"));
        let text =
            changed(&text, |line| if line.contains("logadm") { hourly(line) } else { line.to_owned() });
        with(text, &format!("0 5 * * * {PREFIX}/sbin/pkg_admin fetch-pkg-vulnerabilities >/dev/null 2>&1"))
    })?;
    Ok(outcome(changes, CRONTAB))
}

/// A line of a crontab, every hour; comments stay.
fn hourly(line: &str) -> String {
    let mut fields: Vec<&str> = line.split_whitespace().collect();
    match fields.get_mut(1) {
        Some(hour) if !line.trim_start().starts_with('#') => *hour = "*",
        _ => return line.to_owned(),
    }
    fields.join(" ")
}

/// Gives the logs of logins and mail the names that illumos has for them, and leaves logging to rsyslog where it is installed.
pub fn system_log(proto: &mut Proto) -> Result<Outcome<()>> {
    let renamed = |text: String| text.replace("/auth.log", "/authlog").replace("/postfix.log", "/maillog");
    let mut changes = false;
    for path in ["/etc/rsyslog.conf", "/etc/syslog.conf"] {
        changes |= proto.edit_if_there(path, renamed)?;
    }
    for name in ["auth", "courier", "postfix"] {
        changes |= proto.remove(&format!("/var/log/{name}.log"));
    }
    // Daemons write to logs that are there, and make none.
    for (name, permissions) in [("authlog", 0o600), ("maillog", 0o644), ("syslog", 0o644)] {
        changes |= proto.write_new(&format!("/var/log/{name}"), permissions, "")?;
    }
    let detail = if proto.has_package("rsyslog") {
        let switch = ["disable -s svc:/system/system-log:default", "enable svc:/pkgsrc/rsyslog:default"];
        let switch = switch.map(|words| format!("/usr/sbin/svcadm {words}"));
        proto.later("rsyslog logs in place of the system's own daemon", &switch);
        "log files; rsyslog takes over at the first boot"
    } else {
        "log files"
    };
    Ok(outcome(changes, detail))
}

/// Rotates the logs of logins and mail as well.
pub fn rotation(proto: &mut Proto) -> Result<Outcome<()>> {
    let path = "/etc/logadm.conf";
    let ours = ["authlog", "maillog"]
        .map(|name| (format!("/var/log/{name} "), format!("-C 5 -a '{TELL_DAEMON}' -s 100m")));
    let changes = proto.edit_if_there(path, |text| {
        let text = without(&text, |line| ours.iter().any(|(log, _)| line.starts_with(log.as_str())));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let after = lines
            .iter()
            .position(|line| line.starts_with("/var/adm/messages"))
            .map_or(lines.len(), |at| at + 1);
        lines.splice(after..after, ours.iter().map(|(log, how)| format!("{log}{how}")));
        lines.join("\n") + "\n"
    })?;
    Ok(outcome(changes, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn the_crontab_is_changed_once() {
        let before = "# logadm: 10 3\n10 3 * * * /usr/sbin/logadm\n30 3 * * * [ -x /x ] && /x\n";
        let mut proto = proto("minimal-64", &[(CRONTAB, before)]);
        crontab(&mut proto).unwrap();
        let after = proto.text(CRONTAB).unwrap().unwrap();
        assert_eq!(
            after,
            "# logadm: 10 3\n10 * * * * /usr/sbin/logadm\n30 3 * * * [ -x /x ] && /x\n\
             0 5 * * * /opt/local/sbin/pkg_admin fetch-pkg-vulnerabilities >/dev/null 2>&1\n"
        );
        crontab(&mut proto).unwrap();
        assert_eq!(proto.text(CRONTAB).unwrap().unwrap(), after);
    }

    #[test]
    fn logs_have_the_names_of_illumos() {
        let files = [
            ("/etc/syslog.conf", "auth.info\t/var/log/auth.log\nmail\t/var/log/postfix.log\n"),
            ("/etc/logadm.conf", "# rotation\n/var/adm/messages -C 4\n/var/log/syslog -C 8\n"),
            ("/var/log/auth.log", "x"),
        ];
        let mut proto = proto("minimal-64", &files);
        system_log(&mut proto).unwrap();
        rotation(&mut proto).unwrap();
        let text = |proto: &Proto, path: &str| proto.text(path).unwrap().unwrap();
        assert_eq!(text(&proto, "/etc/syslog.conf"), "auth.info\t/var/log/authlog\nmail\t/var/log/maillog\n");
        assert_eq!(proto.names("/var/log"), ["authlog", "maillog", "syslog"]);
        let after = text(&proto, "/etc/logadm.conf");
        assert_eq!(
            after,
            "# rotation\n/var/adm/messages -C 4\n\
             /var/log/authlog -C 5 -a 'kill -HUP `cat /var/run/*syslog*.pid`' -s 100m\n\
             /var/log/maillog -C 5 -a 'kill -HUP `cat /var/run/*syslog*.pid`' -s 100m\n\
             /var/log/syslog -C 8\n"
        );
        rotation(&mut proto).unwrap();
        assert_eq!(text(&proto, "/etc/logadm.conf"), after);
    }
}
