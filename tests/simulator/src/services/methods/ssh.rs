//! The start method of network/ssh: host keys, and whether the daemon takes its configuration.
//!
//! SunSSH until OS-4688 (2015-08-14), then OpenSSH: usr/src/cmd/ssh of illumos-joyent, openssh of illumos-extra.

use std::fs;

use super::CONFIG_ERROR;
use crate::{Era, Reply, World};

/// Words of sshd_config(4) of SunSSH. OpenSSH on SmartOS still takes all of them, some without effect.
const SUNSSH: &str = "allowgroups allowtcpforwarding allowusers authorizedkeysfile banner chrootdirectory ciphers \
    clientalivecountmax clientaliveinterval compression denygroups denyusers gatewayports gssapiauthentication \
    gssapikeyexchange gssapistoredelegatedcredentials hostbasedauthentication hostbasedusesnamefrompacketonly hostkey \
    ignorerhosts ignoreuserknownhosts kbdinteractiveauthentication keepalive keyregenerationinterval listenaddress \
    logingracetime loglevel lookupclienthostnames macs maxauthtries maxauthtrieslog maxstartups \
    pamauthenticationviakbdint passwordauthentication permitemptypasswords permitrootlogin permituserenvironment port \
    preuserauthhook printlastlog printmotd protocol pubkeyauthentication rhostsauthentication \
    rhostsrsaauthentication rsaauthentication serverkeybits strictmodes subsystem syslogfacility useopensslengine \
    verifyreversemapping x11displayoffset x11forwarding x11uselocalhost xauthlocation usefips140 \
    challengeresponseauthentication";

/// Words that only OpenSSH has, with the date of the first platform that does.
const OPENSSH: &[(&str, &str)] = &[
    (
        "acceptenv addressfamily allowagentforwarding authenticationmethods authorizedkeyscommand \
      authorizedkeyscommanduser authorizedprincipalsfile forcecommand fingerprinthash hostcertificate \
      hostkeyalgorithms ipqos kexalgorithms maxsessions match permitopen permittunnel permittty permituserrc pidfile \
      pubkeyacceptedkeytypes rekeylimit revokedkeys tcpkeepalive trustedusercakeys usedns uselogin usepam \
      useprivilegeseparation versionaddendum x11uselocalhost",
        "20150814",
    ),
    ("casignaturealgorithms setenv include pubkeyauthoptions securitykeyprovider", "20200601"),
    ("pubkeyacceptedalgorithms", "20210401"),
];

/// Whether the platform's daemon is SunSSH.
pub fn is_sun(era: &Era) -> bool {
    !era.since("20150814")
}

fn knows(era: &Era, word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let openssh = OPENSSH
        .iter()
        .any(|(words, since)| era.since(since) && words.split_whitespace().any(|known| known == word));
    openssh || SUNSSH.split_whitespace().any(|known| known == word)
}

/// Makes host keys and reads the configuration.
pub fn start(world: &mut World, argv: &[&str]) -> Reply {
    if argv.get(1) == Some(&"stop") {
        return Reply::ok();
    }
    let Ok(text) = fs::read_to_string(world.path("/etc/ssh/sshd_config")) else {
        return Reply::fail(CONFIG_ERROR, "/etc/ssh/sshd_config: No such file or directory");
    };
    let era = world.era().clone();
    let mut keys: Vec<String> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
        let Some(word) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        if !knows(&era, word) {
            let text = format!("/etc/ssh/sshd_config: line {}: Bad configuration option: {word}", at + 1);
            return Reply::fail(CONFIG_ERROR, text)
                .with_stderr("/etc/ssh/sshd_config: terminating, 1 bad configuration options");
        }
        if word.eq_ignore_ascii_case("hostkey") {
            keys.extend(words.next().map(str::to_owned));
        }
    }
    if keys.is_empty() || is_sun(&era) {
        // SunSSH's method makes these two whatever is configured.
        keys.extend(["/var/ssh/ssh_host_rsa_key".to_owned(), "/var/ssh/ssh_host_dsa_key".to_owned()]);
    }
    for key in keys {
        let kind = key
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_prefix("ssh_host_"))
            .and_then(|name| name.strip_suffix("_key"));
        let known: &[&str] = if is_sun(&era) { &["rsa", "dsa"] } else { &["rsa", "dsa", "ecdsa", "ed25519"] };
        let Some(kind) = kind.filter(|kind| known.contains(kind)) else {
            return Reply::fail(CONFIG_ERROR, format!("Could not load host key: {key}"));
        };
        let path = world.path(&key);
        if path.exists() {
            continue;
        }
        let made = fs::write(&path, format!("a private host key of type {kind}\n"))
            .and_then(|()| fs::write(path.with_extension("pub"), format!("ssh-{kind} AAAA simulated\n")));
        if made.is_err() {
            return Reply::fail(CONFIG_ERROR, format!("open {key} failed: No such file or directory."))
                .with_stderr(format!("failed to create {kind} host key"));
        }
    }
    Reply::ok()
}

/// The configuration that the platform comes with, without its comments: smartos-live `overlay/generic/etc/ssh/sshd_config`, of
/// 46d53e3 for SunSSH (with the host keys in /var/ssh, where the service's method makes them) and of 99a442d for OpenSSH.
#[cfg(target_env = "gnu")]
pub fn stock_config(era: &Era) -> String {
    let kinds: &[&str] = if is_sun(era) { &["rsa", "dsa"] } else { &["rsa", "dsa", "ecdsa", "ed25519"] };
    let keys: String = kinds.iter().map(|kind| format!("HostKey /var/ssh/ssh_host_{kind}_key\n")).collect();
    let both = "Port 22\nGatewayPorts no\nX11Forwarding yes\nX11DisplayOffset 10\nX11UseLocalhost yes\nPrintMotd no\n\
                KeepAlive yes\nSyslogFacility auth\nLogLevel info\nPermitEmptyPasswords no\nPasswordAuthentication yes\n\
                PermitRootLogin yes\nSubsystem\tsftp\tinternal-sftp\n";
    let own = if is_sun(era) {
        "Protocol 2\nLookupClientHostnames no\nVerifyReverseMapping no\nListenAddress ::\nServerKeyBits 768\n\
         KeyRegenerationInterval 3600\nStrictModes yes\nLoginGraceTime 600\nMaxAuthTries\t6\nMaxAuthTriesLog\t3\n\
         IgnoreRhosts yes\nRhostsAuthentication no\nRhostsRSAAuthentication no\nRSAAuthentication yes\n\
         GSSAPIAuthentication no\nGSSAPIKeyExchange no\n"
    } else {
        "AuthorizedKeysFile\t.ssh/authorized_keys\nUsePrivilegeSeparation sandbox\n"
    };
    format!("{keys}{both}{own}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hardware;

    fn started(era: &str, config: &str) -> (Reply, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/ssh")).unwrap();
        fs::create_dir_all(root.path().join("var/ssh")).unwrap();
        fs::write(root.path().join("etc/ssh/sshd_config"), config).unwrap();
        let mut world = World::switched_on(Hardware::usual(era), root.path());
        (start(&mut world, &["sshd", "start"]), root)
    }

    #[test]
    fn each_platform_starts_with_its_own_configuration() {
        for era in Era::ALL {
            let (reply, root) = started(era, &stock_config(&Era::new(era)));
            assert_eq!(reply, Reply::ok(), "{era}");
            assert!(root.path().join("var/ssh/ssh_host_rsa_key").exists());
            let ed25519 = root.path().join("var/ssh/ssh_host_ed25519_key").exists();
            assert_eq!(ed25519, era >= "20150814", "{era}");
        }
    }

    #[test]
    fn sunssh_refuses_what_openssh_knows_and_openssh_takes_what_sunssh_knew() {
        assert_eq!(started(Era::ALL[1], "UsePAM yes\n").0.status, 96);
        assert_eq!(started(Era::ALL[2], "UsePAM yes\nLookupClientHostnames yes\n").0.status, 0);
        assert_eq!(started(Era::ALL[0], "HostKey /var/ssh/ssh_host_ed25519_key\n").0.status, 96);
        assert_eq!(started(Era::ALL[5], "NoSuchWord 1\n").0.status, 96);
    }
}
