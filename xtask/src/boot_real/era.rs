//! What depends on the age of a platform: its network card, and how an SSH client of today talks to its server.

use anyhow::{Result, ensure};

/// A platform's build time, such as `20141030T081701Z`. Stamps sort as dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(String);

/// What a stamp looks like; digits stand for any digit.
const FORM: &[u8; 16] = b"00000000T000000Z";

impl Stamp {
    /// The stamp of this text.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(is_stamp(text.as_bytes()), "'{text}' is no platform stamp, such as 20141030T081701Z");
        Ok(Self(text.to_owned()))
    }

    /// The last stamp in a file's name: `platform-release-20141030-20141030T081701Z.tgz` has one.
    pub fn in_name(name: &str) -> Option<Self> {
        let found = name.as_bytes().windows(FORM.len()).rev().find(|window| is_stamp(window))?;
        Some(Self(String::from_utf8_lossy(found).into_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the platform was built on this day (`20150814`) or later.
    fn is_since(&self, day: &str) -> bool {
        self.0.as_str() >= day
    }

    /// The network card that the platform has a driver for: virtio's came on 2015-07-15 (illumos-joyent).
    pub fn nic(&self) -> Nic {
        if self.is_since("20150715") { Nic::Virtio } else { Nic::E1000 }
    }

    /// Whether its SSH server is surely OpenSSH rather than SunSSH, which it replaced on 2015-08-14 (smartos-live OS-4688). What
    /// a client does for SunSSH works with OpenSSH too.
    pub fn has_openssh(&self) -> bool {
        self.is_since("20150815")
    }

    /// Whether a global zone has a working `mdata-get` of the platform's own (from 2013-10-24, first in platforms of 2014).
    pub fn has_mdata(&self) -> bool {
        self.is_since("20140101")
    }

    /// The kind of key to log in with, as `ssh-keygen -t` names it. SunSSH knows RSA and DSA alone.
    pub fn key_kind(&self) -> &'static str {
        if self.has_openssh() { "ed25519" } else { "rsa" }
    }

    /// Options for an OpenSSH client of today. SunSSH signs with SHA-1 only and has no newer key exchange than group 14
    /// with SHA-1; a client leaves all of that out unless it is told to take it. Its counter-mode ciphers and `hmac-sha1`
    /// are still among a client's own.
    pub fn ssh_options(&self) -> &'static [&'static str] {
        if self.has_openssh() {
            &[]
        } else {
            &[
                "HostKeyAlgorithms=+ssh-rsa",
                "PubkeyAcceptedAlgorithms=+ssh-rsa",
                "KexAlgorithms=+diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1",
            ]
        }
    }
}

fn is_stamp(text: &[u8]) -> bool {
    text.len() == FORM.len()
        && text.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            letter => byte == letter,
        })
}

/// A model of network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nic {
    /// Intel's gigabit card.
    E1000,
    /// virtio's.
    Virtio,
}

impl Nic {
    /// QEMU's name for it.
    pub fn device(self) -> &'static str {
        match self {
            Self::E1000 => "e1000",
            Self::Virtio => "virtio-net-pci",
        }
    }

    /// What illumos calls the first one.
    pub fn link(self) -> &'static str {
        match self {
            Self::E1000 => "e1000g0",
            Self::Virtio => "vioif0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_in_names_of_files() {
        let stamp = |name| Stamp::in_name(name).map(|stamp| stamp.0);
        let expected = Some("20141030T081701Z".to_owned());
        assert_eq!(stamp("platform-20141030T081701Z.tgz"), expected);
        assert_eq!(stamp("platform-release-20141030-20141030T081701Z.tgz"), expected);
        assert_eq!(stamp("platform-latest.tgz"), None);
        assert_eq!(stamp(""), None);
        assert!(Stamp::parse("20141030T081701Zx").is_err());
    }

    #[test]
    fn each_era_has_its_card_and_its_ssh() {
        let of = |text| {
            let stamp = Stamp::parse(text).unwrap();
            (stamp.nic(), stamp.key_kind(), stamp.ssh_options().is_empty(), stamp.has_mdata())
        };
        assert_eq!(of("20130506T000000Z"), (Nic::E1000, "rsa", false, false));
        assert_eq!(of("20141030T081701Z"), (Nic::E1000, "rsa", false, true));
        assert_eq!(of("20150714T235959Z"), (Nic::E1000, "rsa", false, true));
        assert_eq!(of("20150715T000000Z"), (Nic::Virtio, "rsa", false, true));
        assert_eq!(of("20150814T235959Z"), (Nic::Virtio, "rsa", false, true));
        assert_eq!(of("20150815T000000Z"), (Nic::Virtio, "ed25519", true, true));
        assert_eq!(of("20151126T062538Z"), (Nic::Virtio, "ed25519", true, true));
        assert_eq!(of("20240101T000000Z"), (Nic::Virtio, "ed25519", true, true));
    }
}
