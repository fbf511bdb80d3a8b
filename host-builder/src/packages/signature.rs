//! Who signed a package: OpenPGP signatures against the keys of a keyring.

use std::io::Read as _;

use anyhow::{Context, Result, anyhow, bail, ensure};
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Packet, PacketParser, SignatureType};
use pgp::types::KeyDetails as _;

use crate::report::Hint;

/// Largest keyring, in bytes.
pub(super) const KEYRING_LIMIT: u64 = 16 << 20;
/// How the text form of OpenPGP data begins.
const ARMOR: &[u8] = b"-----BEGIN PGP ";

/// Public keys whose signatures are trusted.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

/// The key that made a good signature.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// Fingerprint of its primary key, lower-case hex.
    pub fingerprint: String,
    /// Its first user, when it names one.
    pub user: Option<String>,
}

impl Keyring {
    /// Reads the keys in a file: binary, as GnuPG keeps them in `pubring.gpg` and pkgsrc in its package pkgsrc-gnupg-keys, or as
    /// text, several blocks one after the other.
    ///
    /// # Errors
    /// It holds no keys, or damaged ones.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut keys = Vec::new();
        if let Some(first) = find(bytes, ARMOR) {
            let mut rest = &bytes[first..];
            while !rest.is_empty() {
                let next = find(&rest[1..], ARMOR).map_or(rest.len(), |at| at + 1);
                let mut binary = Vec::new();
                pgp::armor::Dearmor::new(&rest[..next])
                    .take(KEYRING_LIMIT)
                    .read_to_end(&mut binary)
                    .context("a block of keys in text form is damaged")?;
                read_keys(&binary, &mut keys)?;
                rest = &rest[next..];
            }
        } else {
            read_keys(bytes, &mut keys)?;
        }
        if keys.is_empty() {
            return Err(anyhow!("there are no OpenPGP keys in it"))
                .hint("export the keys of those who sign the packages: gpg --export KEY > keyring");
        }
        Ok(Self { keys })
    }

    /// Checks a detached signature, binary or text, of `text`.
    ///
    /// Whether the key has expired since is not asked: packages outlive the keys that signed them, and the answer would depend on
    /// the day of the build. Keys that were revoked sign nothing.
    ///
    /// # Errors
    /// It is no signature, was made by none of the keys, or is wrong.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> Result<Signer> {
        let mut binary = Vec::new();
        let binary = match find(signature, ARMOR) {
            Some(at) => {
                let armored = pgp::armor::Dearmor::new(&signature[at..]);
                armored.take(1 << 20).read_to_end(&mut binary).context("the signature is damaged")?;
                &binary[..]
            }
            None => signature,
        };
        let signatures = DetachedSignature::from_bytes_many(binary).context("the signature is damaged")?;
        let mut signers = Vec::new();
        let mut seen = 0;
        for signature in signatures.take(16) {
            let signature = signature.context("the signature is damaged")?;
            seen += 1;
            for key in &self.keys {
                match self::verify(key, &signature, text) {
                    Verdict::Good => return Ok(signer(key)),
                    Verdict::OtherKey => {}
                    Verdict::Bad(why) => bail!("{why}"),
                }
            }
            signers.extend(signature.signature.issuer_key_id().iter().map(ToString::to_string));
            signers.extend(signature.signature.issuer_fingerprint().iter().map(ToString::to_string));
        }
        ensure!(seen > 0, "there is no signature in +PKG_GPG_SIGNATURE");
        let signers =
            if signers.is_empty() { "a key that it does not name".into() } else { signers.join(", ") };
        Err(anyhow!("it is signed by {signers}, which is not in the keyring"))
            .hint("give the keyring that has this key, if you trust it, with --keyring")
    }
}

enum Verdict {
    Good,
    OtherKey,
    Bad(String),
}

/// What one key says about a signature.
fn verify(key: &SignedPublicKey, signature: &DetachedSignature, text: &[u8]) -> Verdict {
    let names = |id: &pgp::types::KeyId, fingerprint: &pgp::types::Fingerprint| {
        let ids = signature.signature.issuer_key_id();
        let fingerprints = signature.signature.issuer_fingerprint();
        let unnamed = ids.is_empty() && fingerprints.is_empty();
        unnamed || ids.contains(&id) || fingerprints.contains(&fingerprint)
    };
    let binary_or_text =
        matches!(signature.signature.typ(), Some(SignatureType::Binary | SignatureType::Text));
    let revoked = || {
        let mut revocations = key.details.revocation_signatures.iter();
        revocations.any(|revocation| revocation.verify_key(&key.primary_key).is_ok())
    };
    let judge = |checked: pgp::errors::Result<()>| match checked {
        _ if !binary_or_text => Verdict::Bad("the signature is not one of a document".into()),
        Err(_) => Verdict::Bad(format!("the signature is not that of {}", described(key))),
        Ok(()) if revoked() => Verdict::Bad(format!("{} was revoked", described(key))),
        Ok(()) => Verdict::Good,
    };
    let unnamed =
        signature.signature.issuer_key_id().is_empty() && signature.signature.issuer_fingerprint().is_empty();
    let primary = &key.primary_key;
    if names(&primary.legacy_key_id(), &primary.fingerprint()) {
        let verdict = judge(signature.verify(primary, text));
        if !unnamed || matches!(verdict, Verdict::Good) {
            return verdict;
        }
    }
    for subkey in key.public_subkeys.iter().filter(|subkey| signs(key, subkey)) {
        if names(&subkey.key.legacy_key_id(), &subkey.key.fingerprint()) {
            let verdict = judge(signature.verify(&subkey.key, text));
            if !unnamed || matches!(verdict, Verdict::Good) {
                return verdict;
            }
        }
    }
    Verdict::OtherKey
}

/// Whether a subkey belongs to its key, may sign, and was not revoked.
fn signs(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> bool {
    let may_sign = subkey.signatures.iter().any(|signature| {
        signature.typ() == Some(SignatureType::SubkeyBinding) && signature.key_flags().sign()
    });
    let revoked =
        subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    may_sign && !revoked && subkey.verify_bindings(&key.primary_key).is_ok()
}

fn signer(key: &SignedPublicKey) -> Signer {
    let user = key.details.users.first().and_then(|user| Some(user.id.as_str()?.to_owned()));
    Signer { fingerprint: key.primary_key.fingerprint().to_string(), user }
}

fn described(key: &SignedPublicKey) -> String {
    let Signer { fingerprint, user } = signer(key);
    format!("the key {fingerprint}{}", user.map_or(String::new(), |user| format!(" ({user})")))
}

/// Takes the keys out of binary OpenPGP data.
fn read_keys(binary: &[u8], keys: &mut Vec<SignedPublicKey>) -> Result<()> {
    let packets = PacketParser::new(binary).filter(|packet| match packet {
        // GnuPG's own notes, between the packets of a key.
        Ok(Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_)) => false,
        Ok(_) => true,
        // Packets of versions that are unknown say nothing about those that are known.
        Err(error) => !unsupported(error),
    });
    for key in SignedPublicKey::from_packets(packets.peekable()) {
        keys.push(key.context("a key in it is damaged")?);
    }
    Ok(())
}

fn unsupported(error: &pgp::errors::Error) -> bool {
    use pgp::errors::Error;
    match error {
        Error::Unsupported { .. } => true,
        Error::InvalidPacketContent { source } => unsupported(source),
        _ => false,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
