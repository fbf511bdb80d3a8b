//! Mozilla's root certificates as one PEM file.

use std::fmt::Write;

use crate::der::{self, SEQUENCE, element, expect};

/// All roots that Mozilla trusts for TLS servers, sorted by subject, each below a comment with it.
///
/// The order does not depend on that of the crate, so that a release which only reorders changes nothing.
pub fn mozilla() -> String {
    let mut roots: Vec<(String, &[u8])> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| (subject(der).unwrap_or_else(|| "(unnamed)".to_owned()), der.as_ref()))
        .collect();
    roots.sort_unstable();
    let mut text = String::from("# Root certificates that Mozilla trusts for TLS servers.\n");
    for (subject, der) in roots {
        text.push_str("\n# ");
        text.push_str(&subject);
        text.push_str("\n-----BEGIN CERTIFICATE-----\n");
        for line in der.chunks(48) {
            base64(line, &mut text);
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= group.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
}

/// The subject of a certificate, such as `CN=ISRG Root X1, O=Internet Security Research Group`: common name, unit,
/// organisation and country as far as given.
fn subject(certificate: &[u8]) -> Option<String> {
    let mut names = der::subject(certificate)?;
    let mut parts = Vec::new();
    while let Some((_, set, rest)) = element(names) {
        names = rest;
        let (attribute, _) = expect(SEQUENCE, set)?;
        let (_, identifier, value) = element(attribute)?;
        let (_, value, _) = element(value)?;
        // Attribute types 2.5.4.n of X.520.
        let (rank, label) = match identifier {
            [0x55, 0x04, 3] => (0, "CN"),
            [0x55, 0x04, 11] => (1, "OU"),
            [0x55, 0x04, 10] => (2, "O"),
            [0x55, 0x04, 6] => (3, "C"),
            _ => continue,
        };
        parts.push((rank, label, String::from_utf8_lossy(value).replace(char::is_control, " ")));
    }
    parts.sort_by_key(|&(rank, ..)| rank);
    let mut text = String::new();
    for (_, label, value) in parts {
        let separator = if text.is_empty() { "" } else { ", " };
        write!(text, "{separator}{label}={value}").expect("a String takes every write");
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, expected) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut text = String::new();
            base64(bytes.as_bytes(), &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn every_root_has_a_subject_and_a_certificate() {
        let text = mozilla();
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.len();
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----\n").count(), roots);
        assert!(text.contains("\n# CN=ISRG Root X1, O=Internet Security Research Group, C=US\n-----BEGIN"));
        assert!(!text.contains("(unnamed)"));
        // The original refuses bundles of less.
        assert!(text.len() > 150_000, "{}", text.len());
        assert!(text.lines().all(|line| line.starts_with('#') || line.len() <= 64));
    }

    #[test]
    fn cut_certificates_have_no_subject_and_do_no_harm() {
        let whole = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref();
        for end in 0..whole.len() {
            assert_eq!(subject(&whole[..end]), None);
        }
    }
}
