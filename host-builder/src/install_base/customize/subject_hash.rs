//! The names by which OpenSSL finds a certificate in a folder.
//!
//! `HASH.N` is a link to a certificate whose subject has that hash; N counts those of one hash from 0. The hash is the first four
//! bytes of the SHA-1 of the subject in a canonical form, read with the lowest byte first (sources: OpenSSL 1.0.0 and later,
//! `X509_NAME_hash` and `x509_name_canon`; openssl-rehash(1)).

use sha1::{Digest, Sha1};

use crate::der::{SEQUENCE, element, encode, expect, subject};

/// The tag of a set.
const SET: u8 = 0x31;
/// The tag of a text in UTF-8, which all texts of the canonical form are.
const UTF8: u8 = 0x0c;

/// The hash of a certificate's subject as file names have it: eight hexadecimal digits. `None` for what is no certificate in DER.
pub fn subject_hash(certificate: &[u8]) -> Option<String> {
    let digest = Sha1::digest(canonical(subject(certificate)?)?);
    let hash = u32::from_le_bytes(*digest.first_chunk()?);
    Some(format!("{hash:08x}"))
}

/// The canonical form of the names: all sets one after the other, without the sequence around them.
fn canonical(mut names: &[u8]) -> Option<Vec<u8>> {
    let mut form = Vec::new();
    while !names.is_empty() {
        let (mut set, rest) = expect(SET, names)?;
        names = rest;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (attribute, rest) = expect(SEQUENCE, set)?;
            set = rest;
            let (_, _, value) = element(attribute)?;
            let identifier = &attribute[..attribute.len() - value.len()];
            let (tag, content, _) = element(value)?;
            let value =
                if is_text(tag) { encode(UTF8, &folded(&text(tag, content)?)) } else { encode(tag, content) };
            attributes.push(encode(SEQUENCE, &[identifier, &value].concat()));
        }
        // The members of a set in DER are sorted (X.690, section 11.6).
        attributes.sort_unstable();
        form.extend(encode(SET, &attributes.concat()));
    }
    Some(form)
}

/// Whether a value is of a type of text that is made canonical (`ASN1_MASK_CANON`).
fn is_text(tag: u8) -> bool {
    [UTF8, 0x13, 0x14, 0x16, 0x1a, 0x1c, 0x1e].contains(&tag)
}

/// A value of such a type in UTF-8.
fn text(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let chars: Option<String> = match tag {
        UTF8 => str::from_utf8(content).ok().map(str::to_owned),
        // BMPString: 16 bits a character.
        0x1e => {
            let (units, rest) = content.as_chunks::<2>();
            let chars = units.iter().map(|&unit| char::from_u32(u16::from_be_bytes(unit).into()));
            chars.collect::<Option<String>>().filter(|_| rest.is_empty())
        }
        // UniversalString: 32 bits a character.
        0x1c => {
            let (units, rest) = content.as_chunks::<4>();
            let chars = units.iter().map(|&unit| char::from_u32(u32::from_be_bytes(unit)));
            chars.collect::<Option<String>>().filter(|_| rest.is_empty())
        }
        // PrintableString, T61String, IA5String and VisibleString: a byte is a character of Latin-1.
        _ => Some(content.iter().map(|&byte| char::from(byte)).collect()),
    };
    chars.map(String::into_bytes)
}

/// A text in lower case, without blanks at its ends, and with single blanks inside. Only ASCII has cases and blanks here.
fn folded(text: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let words = text.split(blank).filter(|word| !word.is_empty());
    words.map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_have_the_hashes_that_openssl_gives_them() {
        // What `openssl x509 -hash` printed for some of Mozilla's roots, by a word of their subjects.
        let known = [
            ("ISRG Root X1", "4042bcee"),
            ("Amazon Root CA 1", "ce5e74ef"),
            ("ACCVRAIZ1", "a94d09e5"),
            ("NetLock Arany", "988a38cb"),
            ("TUBITAK Kamu SM SSL Kok Sertifikasi - Surum 1", "ff34af3f"),
        ];
        for (name, hash) in known {
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
            let named = roots.filter(|der| der.windows(name.len()).any(|window| window == name.as_bytes()));
            let hashes: Vec<_> = named.map(|der| subject_hash(der)).collect();
            assert_eq!(hashes, [Some(hash.to_owned())], "{name}");
        }
    }

    #[test]
    fn texts_are_made_alike() {
        assert_eq!(folded(b"  Kiln \t Root\xc3\x84 "), b"kiln root\xc3\x84");
        assert_eq!(text(0x13, b"A").unwrap(), b"A");
        assert_eq!(text(0x14, b"\xc4").unwrap(), "Ä".as_bytes());
        assert_eq!(text(0x1e, b"\0A\x20\xac").unwrap(), "A€".as_bytes());
        assert_eq!(text(0x1c, b"\0\0\0A").unwrap(), b"A");
        assert_eq!(text(0x1e, b"\0"), None);
        assert!(!is_text(0x02));
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        let whole = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref();
        for end in 0..whole.len() {
            assert_eq!(subject_hash(&whole[..end]), None);
        }
    }
}
