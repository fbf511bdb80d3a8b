//! The certificates that programs trust: one file for each, with the links by which OpenSSL finds it, and one with all of them.

use anyhow::Result;

use super::outcome;
use super::subject_hash::subject_hash;
use crate::install_base::proto::Proto;
use crate::report::Outcome;

/// Where OpenSSL of pkgsrc looks for certificates.
const FOLDER: &str = "/opt/local/etc/openssl/certs";
/// The certificates of the package mozilla-rootcerts.
const BUNDLE: &str = "/opt/local/share/mozilla-rootcerts/cacert.pem";
/// Where programs look for all certificates in one file.
const ALL: &str = "/etc/ssl/certs/ca-certificates.crt";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Unpacks the certificates of mozilla-rootcerts, unless mozilla-rootcerts-openssl has brought them, links them, and joins them.
pub fn install(proto: &mut Proto) -> Result<Outcome<()>> {
    let mut files = certificates(proto);
    if files.is_empty() {
        let bundle = proto.text(BUNDLE)?.unwrap_or_default();
        for (number, certificate) in blocks(&bundle).enumerate() {
            proto.write(&format!("{FOLDER}/mozilla-rootcert-{number}.pem"), 0o644, certificate)?;
        }
        files = certificates(proto);
    }
    if files.is_empty() {
        let command = "/opt/local/sbin/mozilla-rootcerts install".to_owned();
        proto.later("the certificates of mozilla-rootcerts are in no file known", &[command]);
        return Ok(outcome(false, "no certificates are in the image; the first boot asks mozilla-rootcerts"));
    }
    let mut all = String::new();
    let mut links = 0;
    for file in &files {
        let text = proto.text(&format!("{FOLDER}/{file}"))?.unwrap_or_default();
        let certificate = blocks(&text).next().and_then(|block| decoded(&block));
        if let Some(hash) = certificate.and_then(|der| subject_hash(&der)) {
            links += usize::from(link(proto, &hash, file)?);
        }
        all.push_str(&text);
        if !all.ends_with('\n') {
            all.push('\n');
        }
    }
    let joined = proto.write_new(ALL, 0o644, all)?;
    Ok(outcome(joined || links > 0, format!("{} certificates, {links} new links", files.len())))
}

/// The files of certificates, sorted by name, as a shell would list them.
fn certificates(proto: &Proto) -> Vec<String> {
    let mut names = proto.names(FOLDER);
    names.retain(|name| name.as_bytes().ends_with(b".pem"));
    names
}

/// Links `HASH.N` to a file, N the first that is free, unless one of them is that link already; says whether it was made.
fn link(proto: &mut Proto, hash: &str, file: &str) -> Result<bool> {
    for number in 0.. {
        let path = format!("{FOLDER}/{hash}.{number}");
        match proto.link_target(&path) {
            Some(target) if target == file.as_bytes() => return Ok(false),
            Some(_) => {}
            None if proto.node(&path).is_some() => {}
            None => {
                proto.link(&path, file)?;
                break;
            }
        }
    }
    Ok(true)
}

/// The certificates in a text, each from its first to its last line.
fn blocks(text: &str) -> impl Iterator<Item = String> {
    text.split(BEGIN).skip(1).filter_map(|block| {
        let (body, _) = block.split_once(END)?;
        Some(format!("{BEGIN}{body}{END}\n"))
    })
}

/// The bytes in a block of base64 (RFC 4648), line ends left out.
fn decoded(block: &str) -> Option<Vec<u8>> {
    let body = block.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let digits: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for group in digits.chunks(4) {
        let used = group.iter().position(|&digit| digit == b'=').unwrap_or(group.len());
        let bits = group[..used].iter().try_fold(0, |bits: u32, digit| Some(bits << 6 | value(*digit)?))?;
        let bits = bits << (6 * (4 - used)) << 8;
        bytes.extend(bits.to_be_bytes().iter().take(used * 6 / 8));
    }
    Some(bytes)
}

/// The value of a digit of base64.
fn value(digit: u8) -> Option<u32> {
    Some(
        match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }
        .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom_archive::ca_bundle;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn mozillas_roots_are_unpacked_linked_and_joined() {
        let bundle = ca_bundle::mozilla();
        let count = bundle.matches(BEGIN).count();
        let mut proto = proto("minimal-64", &[(BUNDLE, &bundle)]);
        install(&mut proto).unwrap();
        let names = proto.names(FOLDER);
        assert_eq!(names.iter().filter(|name| name.as_bytes().ends_with(b".pem")).count(), count);
        assert_eq!(names.len(), 2 * count, "as many links as certificates");
        // ISRG Root X1, by what `openssl x509 -hash` prints.
        let linked = proto.text(&format!("{FOLDER}/4042bcee.0")).unwrap().unwrap();
        let block = blocks(&linked).next().unwrap();
        assert_eq!(linked, block, "one certificate and nothing else");
        assert!(
            bundle.contains(&block)
                && bundle
                    .split(&*block)
                    .next()
                    .unwrap()
                    .ends_with("\n\n# CN=ISRG Root X1, O=Internet Security Research Group, C=US\n")
        );
        let all = proto.text(ALL).unwrap().unwrap();
        assert_eq!(all.matches(BEGIN).count(), count);
        // What mozilla-rootcerts-openssl has brought stays.
        install(&mut proto).unwrap();
        assert_eq!(proto.names(FOLDER), names);
    }

    #[test]
    fn two_certificates_of_one_subject_have_two_links() {
        let mut proto = proto("minimal-64", &[]);
        for (file, new) in [("a.pem", true), ("b.pem", true), ("a.pem", false), ("b.pem", false)] {
            assert_eq!(link(&mut proto, "01234567", file).unwrap(), new, "{file}");
        }
        assert_eq!(proto.names(FOLDER), ["01234567.0", "01234567.1"]);
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v\nYmE=\n", "fooba"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(decoded(&format!("{BEGIN}\n{text}{END}\n")).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decoded(&format!("{BEGIN}Zm9*{END}")), None);
        assert_eq!(decoded("Zm9v"), None);
    }
}
