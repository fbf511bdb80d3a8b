//! `/etc/ssh/sshd_config`. SunSSH gets the one of the image. That of OpenSSH changes with its releases, so there the
//! platform's own stays, but for logins by password (smartos-live, `overlay/generic/etc/ssh/sshd_config`, allows them). An
//! overlay of the owner's may have replaced either; what would lock the owner out, or let others in by password, is mended.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result};

use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};
use crate::image::Image;

const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

/// The longest that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The step.
pub struct SshServer;

impl Step for SshServer {
    fn name(&self) -> &'static str {
        "ssh-server"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let whose = Whose::now(guest);
        let mended = mended(&read()?, guest.platform.has_openssh(), whose);
        Ok(mended.map_or(Finding::Done, |mended| Finding::Needed(mended.told(whose))))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let whose = Whose::now(guest);
        let Some(mended) = mended(&read()?, guest.platform.has_openssh(), whose) else { return Ok(()) };
        let owner = match fs::metadata(SSHD_CONFIG) {
            Ok(found) => Owner { mode: 0o644, ids: Some((found.uid(), found.gid())) },
            Err(_) => Owner::root(0o644),
        };
        if whose == Whose::Image {
            guest.log.warn(&mended.told(whose));
        }
        files::replace(Path::new(SSHD_CONFIG), mended.text.as_bytes(), owner)
            .with_context(|| format!("cannot write {SSHD_CONFIG}"))
    }
}

/// Who brought the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Its server, so the two fit.
    Platform,
    /// The image, or an overlay of the owner's.
    Image,
}

impl Whose {
    /// By the record of the image. Without one somebody put the program here by hand, and may have put the file here too.
    fn now(guest: &mut Guest<'_>) -> Self {
        match Image::read() {
            Ok(Some(image)) if !image.brought(SSHD_CONFIG) => Self::Platform,
            Ok(_) => Self::Image,
            Err(error) => {
                guest.log.line(&format!("{error:#}"));
                Self::Image
            }
        }
    }
}

fn read() -> Result<String> {
    match files::read(Path::new(SSHD_CONFIG), LONGEST) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {SSHD_CONFIG}")),
    }
}

/// A rule for one keyword. The first line of a keyword counts, to both servers.
struct Rule {
    keyword: &'static str,
    /// Values that are fine; the first is written where another is.
    good: &'static [&'static str],
    /// Whether it must be there, because the server's own default is another.
    is_needed: bool,
}

const fn needed(keyword: &'static str, good: &'static [&'static str]) -> Rule {
    Rule { keyword, good, is_needed: true }
}

const fn optional(keyword: &'static str, good: &'static [&'static str]) -> Rule {
    Rule { keyword, good, is_needed: false }
}

/// For both servers.
const RULES: [Rule; 4] = [
    needed("PasswordAuthentication", &["no"]),
    needed("PermitRootLogin", &["without-password", "prohibit-password", "yes"]),
    optional("PubkeyAuthentication", &["yes"]),
    optional("PermitEmptyPasswords", &["no"]),
];

/// For OpenSSH. Its two words for a dialogue in which a password can be asked for became one in 8.7.
const OPENSSH_RULES: [Rule; 2] =
    [needed("ChallengeResponseAuthentication", &["no"]), optional("KbdInteractiveAuthentication", &["no"])];

/// For SunSSH, which does not know `prohibit-password` either.
const SUNSSH_RULES: [Rule; 3] = [
    needed("KbdInteractiveAuthentication", &["no"]),
    needed("PAMAuthenticationViaKBDInt", &["no"]),
    optional("PermitRootLogin", &["without-password", "yes"]),
];

/// The kinds of host keys that OpenSSH has; it may be built without DSA, and then does not start when one is listed.
const OPENSSH_KINDS: &[&str] = &["rsa", "ecdsa", "ed25519"];

/// The kinds that SunSSH has.
const SUNSSH_KINDS: &[&str] = &["rsa", "dsa"];

/// A text that was mended.
#[derive(Debug, PartialEq, Eq)]
pub struct Mended {
    /// The text.
    pub text: String,
    /// What was amiss.
    pub reasons: Vec<String>,
}

impl Mended {
    /// What is done, for people.
    fn told(&self, whose: Whose) -> String {
        let what = match whose {
            Whose::Platform => "the platform's, allows keys alone from now on",
            Whose::Image => "is mended",
        };
        format!("{SSHD_CONFIG} {what}: {}", self.reasons.join("; "))
    }
}

/// The text as it has to be; `None` if it is so already.
pub fn mended(text: &str, openssh: bool, whose: Whose) -> Option<Mended> {
    // What follows `Match` is for some connections only, and stays as it is.
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| is_keyword(line, "Match")).unwrap_or(lines.len());
    let (common, conditional) = lines.split_at(end);
    let mut common = common.to_vec();
    let mut added = String::new();
    let mut reasons = Vec::new();
    let more: &[Rule] = if openssh { &OPENSSH_RULES } else { &SUNSSH_RULES };
    for rule in RULES.iter().chain(more) {
        apply_rule(rule, &mut common, &mut added, &mut reasons);
    }
    // A server and the method that makes its keys agree about those in the platform's own file.
    if whose == Whose::Image || !common.iter().any(|line| is_keyword(line, "HostKey")) {
        let kinds = if openssh { OPENSSH_KINDS } else { SUNSSH_KINDS };
        host_keys(kinds, &mut common, &mut added, &mut reasons);
    }
    if reasons.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(text.len() + added.len());
    for line in common {
        text += line;
        text.push('\n');
    }
    text += &added;
    for line in conditional {
        text += line;
        text.push('\n');
    }
    Some(Mended { text, reasons })
}

fn apply_rule(rule: &Rule, common: &mut Vec<&str>, added: &mut String, reasons: &mut Vec<String>) {
    let keyword = rule.keyword;
    // A line that was just added is what the rules before this one wanted.
    if added.lines().any(|line| is_keyword(line, keyword)) {
        return;
    }
    let value = common.iter().find(|line| is_keyword(line, keyword)).map(|line| value(line));
    match value {
        Some(value) if rule.good.iter().any(|good| good.eq_ignore_ascii_case(value)) => return,
        Some(value) => reasons.push(format!("{keyword} was '{}'", value.escape_debug())),
        None if rule.is_needed => reasons.push(format!("{keyword} was missing")),
        None => return,
    }
    common.retain(|line| !is_keyword(line, keyword));
    // Writing to a string cannot fail.
    let _ = writeln!(added, "{keyword} {}", rule.good[0]);
}

/// Host keys are made by the service's method, those that are listed. One of a kind that the server does not know keeps
/// it from starting.
fn host_keys(kinds: &[&str], common: &mut Vec<&str>, added: &mut String, reasons: &mut Vec<String>) {
    let kind_of = |line: &str| -> Option<String> {
        let name = Path::new(value(line)).file_name()?.to_str()?;
        Some(name.strip_prefix("ssh_host_")?.strip_suffix("_key")?.to_owned())
    };
    common.retain(|line| {
        let unknown = is_keyword(line, "HostKey")
            && kind_of(line).is_some_and(|kind| !kind.is_empty() && !kinds.contains(&kind.as_str()));
        if unknown {
            reasons.push(format!("this server has no host key {}", value(line).escape_debug()));
        }
        !unknown
    });
    let listed: Vec<&str> = common.iter().copied().filter(|line| is_keyword(line, "HostKey")).collect();
    // Whoever lists keys of another name knows what keys there are.
    if listed.iter().any(|line| kind_of(line).is_none()) {
        return;
    }
    for kind in kinds {
        if !listed.iter().any(|line| kind_of(line).as_deref() == Some(kind)) {
            reasons.push(format!("the {kind} host key was not listed"));
            let _ = writeln!(added, "HostKey /var/ssh/ssh_host_{kind}_key");
        }
    }
}

/// Whether a line is of this keyword; keywords are the same in small and large letters.
fn is_keyword(line: &str, keyword: &str) -> bool {
    words(line).next().is_some_and(|word| word.eq_ignore_ascii_case(keyword))
}

fn value(line: &str) -> &str {
    words(line).nth(1).unwrap_or_default().trim_matches('"')
}

/// Between keyword and value there may be an equals sign.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| character.is_whitespace() || character == '=')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an owner may overlay.
    const OPENSSH: &str = "HostKey /var/ssh/ssh_host_rsa_key\nHostKey /var/ssh/ssh_host_ecdsa_key\nHostKey \
        /var/ssh/ssh_host_ed25519_key\nPermitRootLogin without-password\nPasswordAuthentication no\n\
        ChallengeResponseAuthentication no\nUseDNS no\n";
    /// The lines of the platforms' own that matter here (smartos-live 99a442d, `overlay/generic/etc/ssh/sshd_config`).
    const STOCK: &str = "Port 22\nHostKey /var/ssh/ssh_host_rsa_key\nHostKey /var/ssh/ssh_host_dsa_key\nHostKey \
        /var/ssh/ssh_host_ecdsa_key\nHostKey /var/ssh/ssh_host_ed25519_key\nPermitRootLogin yes\n\
        #PubkeyAuthentication yes\nPasswordAuthentication yes\nPermitEmptyPasswords no\n\
        #ChallengeResponseAuthentication yes\nUsePrivilegeSeparation sandbox\nSubsystem\tsftp\tinternal-sftp\n";
    const SUNSSH: &str = include_str!("../../../../overlays/boot_archive/etc/ssh/sshd_config.sunssh");

    /// As if the image had brought it.
    fn mended(text: &str, openssh: bool) -> Option<Mended> {
        super::mended(text, openssh, Whose::Image)
    }

    #[test]
    fn good_files_stay() {
        assert_eq!(mended(OPENSSH, true), None);
        assert_eq!(mended(SUNSSH, false), None);
    }

    #[test]
    fn a_platforms_own_file_keeps_all_but_logins_by_password() {
        let mended = super::mended(STOCK, true, Whose::Platform).expect("it allows them");
        let kept = STOCK.replace("PasswordAuthentication yes\n", "");
        assert_eq!(mended.text, kept + "PasswordAuthentication no\nChallengeResponseAuthentication no\n");
        assert_eq!(super::mended(&mended.text, true, Whose::Platform), None);
        // Keys that nobody lists are not made.
        let without: String =
            STOCK.split_inclusive('\n').filter(|line| !line.starts_with("HostKey")).collect();
        let mended = super::mended(&without, true, Whose::Platform).expect("it lists no keys");
        assert!(mended.text.ends_with("HostKey /var/ssh/ssh_host_ed25519_key\n"), "{}", mended.text);
    }

    #[test]
    fn passwords_are_never_taken() {
        for bad in [
            "PasswordAuthentication yes",
            "passwordauthentication=YES",
            "PasswordAuthentication",
            "#PasswordAuthentication no",
        ] {
            let text = OPENSSH.replace("PasswordAuthentication no", bad) + "PasswordAuthentication no\n";
            let mended = mended(&text, true);
            if bad.starts_with('#') {
                assert_eq!(mended, None, "the line at the end counts");
                continue;
            }
            let mended = mended.expect("bad");
            assert_eq!(mended.reasons.len(), 1, "{bad}");
            let lines: Vec<&str> =
                mended.text.lines().filter(|line| is_keyword(line, "PasswordAuthentication")).collect();
            assert_eq!(lines, ["PasswordAuthentication no"], "{bad}");
        }
    }

    #[test]
    fn root_and_keys_are_let_in() {
        let text = OPENSSH.replace("PermitRootLogin without-password", "PermitRootLogin no")
            + "Match User x\nPermitRootLogin no\n";
        let mended = mended(&text, true).expect("bad");
        assert!(
            mended.text.ends_with("\nPermitRootLogin without-password\nMatch User x\nPermitRootLogin no\n"),
            "{}",
            mended.text
        );
        assert_eq!(self::mended(&mended.text, true), None);
        let sun = SUNSSH.replace("PermitRootLogin without-password", "PermitRootLogin prohibit-password");
        assert_eq!(self::mended(&sun, false).expect("SunSSH does not know it").reasons.len(), 1);
        assert_eq!(self::mended(&OPENSSH.replace("without-password", "prohibit-password"), true), None);
    }

    #[test]
    fn each_server_has_the_host_keys_it_knows() {
        let kinds = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| is_keyword(line, "HostKey"))
                .map(|line| value(line).to_owned())
                .collect()
        };
        let mended_text = mended(SUNSSH, true).expect("a file for SunSSH").text;
        assert_eq!(
            kinds(&mended_text),
            ["/var/ssh/ssh_host_rsa_key", "/var/ssh/ssh_host_ecdsa_key", "/var/ssh/ssh_host_ed25519_key"]
        );
        let mended_text = mended(OPENSSH, false).expect("a file for OpenSSH").text;
        assert_eq!(kinds(&mended_text), ["/var/ssh/ssh_host_rsa_key", "/var/ssh/ssh_host_dsa_key"]);
        let own = "HostKey /etc/ssh/own\nPasswordAuthentication no\nPermitRootLogin yes\nChallengeResponseAuthentication no\n";
        assert_eq!(mended(own, true), None);
    }

    proptest! {
        #[test]
        fn a_mended_file_is_good(
            lines in prop::collection::vec(
                "(PasswordAuthentication|PermitRootLogin|HostKey|Match|kbdinteractiveauthentication|[a-zA-Z]{1,6})[ =]{0,2}(yes|no|/var/ssh/ssh_host_dsa_key|[ -~]{0,12})",
                0..12,
            ),
            openssh: bool,
            own: bool,
        ) {
            let whose = if own { Whose::Platform } else { Whose::Image };
            let text = lines.join("\n");
            if let Some(mended) = super::mended(&text, openssh, whose) {
                prop_assert_eq!(super::mended(&mended.text, openssh, whose), None, "{}", mended.text);
            }
        }
    }
}
