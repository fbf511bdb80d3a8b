//! The little of DER that certificates are taken apart with (X.690, section 10).

/// The tag of a sequence.
pub const SEQUENCE: u8 = 0x30;

/// The content of an element that must have `tag`, and what follows it.
pub fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|&(found, ..)| found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag and content of the first element, and what follows it.
pub fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(d, _)| d.len() <= 4)?;
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The subject of a certificate, the content of a sequence of sets of names (RFC 5280, section 4.1).
pub fn subject(certificate: &[u8]) -> Option<&[u8]> {
    /// The tag of the version, which certificates of version 1 do not have.
    const EXPLICIT_VERSION: u8 = 0xa0;
    let (body, _) = expect(SEQUENCE, certificate)?;
    let (mut fields, _) = expect(SEQUENCE, body)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        (_, _, fields) = element(fields)?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        (_, _, fields) = element(fields)?;
    }
    expect(SEQUENCE, fields).map(|(names, _)| names)
}

/// An element of that tag and content.
pub fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    if content.len() < 0x80 {
        der.push(content.len() as u8);
    } else {
        let digits = content.len().to_be_bytes();
        let digits = &digits[digits.iter().take_while(|&&digit| digit == 0).count()..];
        der.push(0x80 | digits.len() as u8);
        der.extend_from_slice(digits);
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x12345] {
            let content = vec![7; length];
            let mut der = encode(SEQUENCE, &content);
            assert_eq!(expect(SEQUENCE, &der), Some((&content[..], &[][..])));
            assert_eq!(expect(0x31, &der), None);
            der.push(1);
            assert_eq!(element(&der), Some((SEQUENCE, &content[..], &[1][..])));
        }
        assert_eq!(encode(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
    }

    #[test]
    fn lengths_beyond_the_end_are_no_elements() {
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 1],
            &[0x30, 0x81],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 255, 255, 255, 255],
        ] {
            assert_eq!(element(der), None);
        }
    }
}
