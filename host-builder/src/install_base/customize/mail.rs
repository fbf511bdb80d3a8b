//! Mail: postfix delivers what the zone itself sends.

use anyhow::Result;

use super::outcome;
use crate::install_base::config::{PREFIX, SYSCONFDIR};
use crate::install_base::lines::with;
use crate::install_base::proto::Proto;
use crate::report::Outcome;

/// Settings of main.cf: names and values, `@` for the folder of postfix' tables (source of the choices: imagetools, `customize`).
const SETTINGS: &[(&str, &[&str])] = &[
    ("alias_database", &["hash:@/aliases"]),
    ("alias_maps", &["$alias_database"]),
    ("canonical_maps", &["hash:@/canonical"]),
    ("default_database_type", &["hash"]),
    ("home_mailbox", &["Maildir/"]),
    ("inet_interfaces", &["loopback-only"]),
    ("inet_protocols", &["all"]),
    ("mailbox_size_limit", &["102400000"]),
    ("message_size_limit", &["51200000"]),
    ("mynetworks", &["$myhostname, 127.0.0.0/8"]),
    ("owner_request_special", &["no"]),
    ("queue_minfree", &["76800000"]),
    ("recipient_canonical_maps", &["hash:@/recipient_canonical"]),
    ("recipient_delimiter", &["+"]),
    ("sender_canonical_maps", &["hash:@/sender_canonical"]),
    ("smtpd_banner", &["$myhostname ESMTP"]),
    (
        "smtpd_client_restrictions",
        &["permit_mynetworks", "permit_sasl_authenticated", "reject_unknown_reverse_client_hostname"],
    ),
    (
        "smtpd_data_restrictions",
        &["permit_mynetworks", "reject_unauth_pipelining", "permit_sasl_authenticated"],
    ),
    ("smtpd_helo_required", &["yes"]),
    (
        "smtpd_helo_restrictions",
        &[
            "permit_mynetworks",
            "permit_sasl_authenticated",
            "reject_invalid_helo_hostname",
            "reject_non_fqdn_helo_hostname",
        ],
    ),
    (
        "smtpd_recipient_restrictions",
        &[
            "permit_mynetworks",
            "permit_sasl_authenticated",
            "reject_unlisted_recipient",
            "reject_non_fqdn_recipient",
            "reject_unauth_destination",
            "reject_unknown_recipient_domain",
            "check_recipient_access hash:@/filtered_domains",
        ],
    ),
    (
        "smtpd_sender_restrictions",
        &[
            "permit_mynetworks",
            "permit_sasl_authenticated",
            "reject_unlisted_sender",
            "reject_non_fqdn_sender",
            "reject_unknown_sender_domain",
        ],
    ),
    ("strict_rfc821_envelopes", &["yes"]),
    ("virtual_alias_maps", &["hash:@/virtual"]),
];

/// Tables that are there and empty, for their owners to fill.
const TABLES: [&str; 7] = [
    "canonical",
    "filtered_domains",
    "maillists",
    "recipient_canonical",
    "sender_canonical",
    "transport",
    "virtual",
];

/// The line above the settings.
const HEADING: &str = "# Settings of this image.";

/// Configures postfix where it is installed. Its tables are databases of Berkeley DB, which the first boot makes.
pub fn configure(proto: &mut Proto) -> Result<Outcome<()>> {
    if !proto.has_package("postfix") {
        return Ok(outcome(false, "postfix is not in the image"));
    }
    let folder = format!("{SYSCONFDIR}/postfix");
    proto.edit(&format!("{folder}/main.cf"), 0o644, |text| with_settings(&text, &folder))?;
    let mut commands: Vec<String> = Vec::new();
    for table in TABLES {
        proto.write_new(&format!("{folder}/{table}"), 0o644, "")?;
        commands.push(format!("{PREFIX}/sbin/postmap hash:{folder}/{table}"));
    }
    commands.push(format!("{PREFIX}/bin/newaliases"));
    proto.later("postfix' tables become databases", &commands);
    let sendmail = format!("set sendmail={PREFIX}/sbin/sendmail");
    proto.edit("/etc/mail/mailx.rc", 0o644, |text| {
        if text.lines().any(|line| line == sendmail) { text } else { with(text, &sendmail) }
    })?;
    Ok(outcome(true, format!("{folder}/main.cf; {} tables at the first boot", TABLES.len() + 1)))
}

/// A main.cf with the settings at its end and nowhere else. A setting goes on in lines that begin with a blank, over lines of blanks
/// alone (postconf(5)).
fn with_settings(text: &str, folder: &str) -> String {
    let mut kept = String::new();
    let mut replaced = false;
    for line in text.lines().filter(|line| *line != HEADING) {
        if line.trim().is_empty() {
            kept = with(kept, line);
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            let name = line.split_once('=').map_or("", |(name, _)| name.trim_end());
            replaced = SETTINGS.iter().any(|(ours, _)| *ours == name);
        }
        if !replaced {
            kept = with(kept, line);
        }
    }
    let kept = kept.trim_end();
    let mut text = if kept.is_empty() { String::new() } else { format!("{kept}\n\n") };
    text = with(text, HEADING);
    for (name, values) in SETTINGS {
        let line = match values {
            [value] => format!("{name} = {value}"),
            values => format!("{name} =\n    {}", values.join(",\n    ")),
        };
        text = with(text, &line.replace('@', folder));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn settings_stand_once_at_the_end() {
        let before = "# Postfix\ninet_protocols = ipv4\nmail_owner = postfix\nmynetworks =\n  10.0.0.0/8\n\n  more\n#alias_maps = x\n";
        let once = with_settings(before, "/etc/postfix");
        assert!(once.starts_with(
            "# Postfix\nmail_owner = postfix\n\n#alias_maps = x\n\n# Settings of this image.\nalias_database = hash:/etc/postfix/aliases\n"
        ), "{once}");
        assert!(once.contains(
            "\nsmtpd_data_restrictions =\n    permit_mynetworks,\n    reject_unauth_pipelining,\n"
        ));
        assert!(once.ends_with("\nvirtual_alias_maps = hash:/etc/postfix/virtual\n"));
        assert_eq!(with_settings(&once, "/etc/postfix"), once);
    }

    #[test]
    fn without_postfix_there_is_no_mail() {
        let mut proto = proto("minimal-64", &[]);
        configure(&mut proto).unwrap();
        assert_eq!(proto.names("/etc"), [""; 0]);
    }
}
