//! One line of an `authorized_keys` file.

use guest_mdata::wire;

use crate::platform::Platform;

/// The longest line that is taken for a key, in bytes. The servers of 2013 to 2022 read lines of 8 KiB, and continue in the
/// middle of a longer one as if a new line began there.
const LONGEST: usize = 8000;

/// The day from which on platforms have a server with security keys and without DSA.
const SECURITY_KEYS: &str = "20210101";

/// A public key that may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The whole line, without white space around it.
    pub text: &'a [u8],
    /// What is allowed to those who have it, such as `no-pty,from="10.0.0.*"`; mostly empty.
    options: &'a [u8],
    /// The type, such as `ssh-rsa`.
    pub kind: &'a str,
}

impl<'a> Key<'a> {
    /// The key in a line, if it is one: options or none, a type, the key in base64, a comment. A key tells its type in itself
    /// too (RFC 4253, section 6.6), and the two have to agree, so types that are invented later need no list here.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let text = line.trim_ascii();
        let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if text.is_empty() || text[0] == b'#' || text.len() > LONGEST || !text.iter().all(is_text) {
            return None;
        }
        if let Some(kind) = kind_of(text) {
            return Some(Self { text, options: b"", kind });
        }
        let end = end_of_options(text)?;
        let kind = kind_of(text[end..].trim_ascii_start())?;
        Some(Self { text, options: &text[..end], kind })
    }

    /// Whether somebody who has it gets a shell on this platform.
    pub fn opens_a_shell(&self, platform: &Platform) -> bool {
        let is_limited = options(self.options).any(|option| {
            let name = option.split(|&byte| byte == b'=').next().unwrap_or_default();
            [&b"command"[..], b"cert-authority"].iter().any(|limit| name.eq_ignore_ascii_case(limit))
        });
        !is_limited && is_known(self.kind, platform)
    }
}

/// Whether the SSH server of this platform knows keys of this type.
///
/// SunSSH knows two types; OpenSSH took its place on 2015-08-14 with more of them. Security keys came with OpenSSH 8.2, and
/// DSA had gone from the defaults, by 2021.
fn is_known(kind: &str, platform: &Platform) -> bool {
    match kind {
        "ssh-rsa" => true,
        "ssh-dss" => !platform.is_since(SECURITY_KEYS),
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" | "ssh-ed25519" => {
            platform.has_openssh()
        }
        "sk-ssh-ed25519@openssh.com" | "sk-ecdsa-sha2-nistp256@openssh.com" => {
            platform.is_since(SECURITY_KEYS)
        }
        _ => false,
    }
}

/// The types that the SSH server of this platform knows, in words.
pub fn known_kinds(platform: &Platform) -> &'static str {
    if platform.is_since(SECURITY_KEYS) {
        "RSA, ECDSA, Ed25519 and security (sk-...)"
    } else if platform.has_openssh() {
        "RSA, DSA, ECDSA and Ed25519"
    } else {
        "RSA and DSA"
    }
}

/// The types of keys in the lines of a file that the SSH server of this platform passes over, each once.
pub fn ignored_kinds<'a>(contents: &'a [u8], platform: &Platform) -> Vec<&'a str> {
    let mut kinds: Vec<&str> = Vec::new();
    for key in contents.split(|&byte| byte == b'\n').filter_map(Key::parse) {
        if !is_known(key.kind, platform) && !kinds.contains(&key.kind) {
            kinds.push(key.kind);
        }
    }
    kinds
}

/// The type of the key that `text` begins with.
fn kind_of(text: &[u8]) -> Option<&str> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let kind = std::str::from_utf8(words.next()?).ok()?;
    let blob = wire::base64_decode(words.next()?)?;
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let (name, key) = rest.split_at_checked(length)?;
    (name == kind.as_bytes() && !key.is_empty()).then_some(kind)
}

/// Where the options at the beginning of `text` end: at the first white space that is not in quotes.
fn end_of_options(text: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (place, byte) in text.iter().enumerate() {
        match byte {
            b' ' | b'\t' if !is_quoted => return Some(place),
            b'"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = *byte == b'\\' && !is_escaped;
    }
    None
}

/// Each of the options, which commas outside quotes separate.
fn options(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    text.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line with a key of this type whose other bytes begin with `seed`.
    pub fn line(kind: &str, seed: u8) -> String {
        let mut blob = (kind.len() as u32).to_be_bytes().to_vec();
        blob.extend_from_slice(kind.as_bytes());
        blob.extend_from_slice(&[0, 0, 0, 4, seed, 1, 2, 3]);
        format!("{kind} {}", String::from_utf8(wire::base64_encode(&blob)).expect("base64 is text"))
    }

    pub fn platform(stamp: &str) -> Platform {
        Platform::of_kernel(&format!("joyent_{stamp}T000000Z")).expect("a platform")
    }

    #[test]
    fn keys_with_options_and_comments() {
        let key = line("ssh-ed25519", 7);
        for (text, options) in [
            (key.clone(), ""),
            (format!("  {key} me@home over there \r"), ""),
            (format!("no-pty,from=\"10.0.0.*\" {key}"), "no-pty,from=\"10.0.0.*\""),
            (format!("command=\"echo \\\"a b\\\" c\"\t{key} x"), "command=\"echo \\\"a b\\\" c\""),
        ] {
            let parsed = Key::parse(text.as_bytes()).expect("a key");
            assert_eq!(parsed.kind, "ssh-ed25519");
            assert_eq!(parsed.options, options.as_bytes());
            assert_eq!(parsed.text, text.trim().as_bytes());
        }
        let latin = [line("ssh-rsa", 1).as_bytes(), b" J\xfcrgen"].concat();
        assert_eq!(Key::parse(&latin).expect("a comment may be anything").text, latin);
    }

    #[test]
    fn what_is_no_key() {
        let key = line("ssh-rsa", 1);
        let other_type = key.replacen("ssh-rsa", "ssh-dss", 1);
        let endless = format!("{key} {}", "c".repeat(LONGEST));
        for text in [
            "",
            "# ssh-rsa AAAA",
            "ssh-rsa",
            "ssh-rsa not!base64",
            "ssh-rsa AAAA",
            "2048 65537 1234567890 me@home",
            "from=\"unfinished ssh-rsa AAAA",
            "<html><body>404</body></html>",
            "ssh-rsa AAAAB3NzaC1yc2E=",
            &other_type,
            &endless,
            &format!("{key} a\u{1b}[2J"),
            &format!("{key}\0"),
        ] {
            assert_eq!(Key::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn hazard_21_every_type_is_a_key_and_ages_differ_in_which_log_in() {
        let all = [
            "ssh-rsa",
            "ssh-dss",
            "ecdsa-sha2-nistp256",
            "ssh-ed25519",
            "sk-ssh-ed25519@openssh.com",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "ssh-later@example.com",
        ];
        for (stamp, usable) in [
            ("20130506", &all[..2]),
            ("20141030", &all[..2]),
            ("20151126", &all[..4]),
            ("20180315", &all[..4]),
            ("20210107", &[all[0], all[2], all[3], all[4], all[5]]),
        ] {
            for kind in all {
                let text = line(kind, 1);
                let key = Key::parse(text.as_bytes()).expect("each is a key");
                assert_eq!(key.opens_a_shell(&platform(stamp)), usable.contains(&kind), "{kind} on {stamp}");
            }
        }
    }

    #[test]
    fn types_that_a_server_ignores_are_named_once() {
        let file = ["ssh-rsa", "ssh-ed25519", "ssh-dss", "ssh-ed25519", "sk-ssh-ed25519@openssh.com"]
            .map(|kind| format!("# ssh-later\n{}\n", line(kind, 1)))
            .concat();
        for (stamp, ignored) in [
            ("20130506", &["ssh-ed25519", "sk-ssh-ed25519@openssh.com"][..]),
            ("20151126", &["sk-ssh-ed25519@openssh.com"]),
            ("20210107", &["ssh-dss"]),
        ] {
            assert_eq!(ignored_kinds(file.as_bytes(), &platform(stamp)), ignored, "{stamp}");
        }
        for kind in ["ssh-rsa", "ssh-dss", "ssh-ed25519", "sk-ssh-ed25519@openssh.com"] {
            for stamp in ["20130506", "20151126", "20210107"] {
                let word = match kind {
                    "ssh-rsa" => "RSA",
                    "ssh-dss" => "DSA",
                    "ssh-ed25519" => "Ed25519",
                    _ => "sk-",
                };
                let platform = platform(stamp);
                let is_named = known_kinds(&platform).split([' ', ',', '(']).any(|own| own.starts_with(word));
                assert_eq!(is_named, is_known(kind, &platform), "{kind} {stamp}");
            }
        }
    }

    #[test]
    fn keys_for_a_command_open_no_shell() {
        for (options, opens) in [
            ("no-pty,from=\"a,command=b\" ", true),
            ("no-pty,COMMAND=\"scp -t /x\" ", false),
            ("cert-authority ", false),
        ] {
            let text = format!("{options}{}", line("ssh-rsa", 1));
            let key = Key::parse(text.as_bytes()).expect("a key");
            assert_eq!(key.opens_a_shell(&platform("20141030")), opens, "{options}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(0_u8.., 0..300)) {
            if let Some(key) = Key::parse(&bytes) {
                proptest::prop_assert!(key.text.len() <= bytes.len());
            }
        }
    }
}
