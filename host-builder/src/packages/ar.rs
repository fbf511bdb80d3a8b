//! The `ar` archive that a signed package is: a few members, found by their headers.
//!
//! Format: ar.h(3HEAD) of illumos; names longer than 16 bytes stand before the contents (`#1/LENGTH`, 4.4BSD ar(5)), which is
//! how `pkg_admin gpg-sign-package` writes them, or end in a slash (System V).

use anyhow::{Context, Result, bail, ensure};
use positioned_io::ReadAt;

/// How an archive begins.
pub(super) const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: u64 = 60;
/// Most members that are looked at: a signed package has three.
const MEMBERS: usize = 16;
/// Longest name, in bytes.
const NAME: u64 = 255;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    /// Where its contents begin in the file.
    pub(super) offset: u64,
    /// Length of its contents in bytes.
    pub(super) size: u64,
}

/// The members of the archive that `file` of `length` bytes is.
///
/// # Errors
/// It is no archive, is damaged, or has more members than a package can have.
pub(super) fn members(file: &dyn ReadAt, length: u64) -> Result<Vec<Member>> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact_at(0, &mut magic).context("cannot read the beginning")?;
    ensure!(&magic == MAGIC, "this is no ar archive");
    let mut members = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < length {
        ensure!(members.len() < MEMBERS, "the ar archive has more than {MEMBERS} members");
        let mut header = [0; HEADER as usize];
        file.read_exact_at(at, &mut header)
            .with_context(|| format!("the ar archive ends in a header at byte {at}"))?;
        ensure!(header.ends_with(b"`\n"), "there is no header of an ar member at byte {at}");
        let size = number(&header[48..58]).with_context(|| format!("ar member at byte {at}: its size"))?;
        let offset = at + HEADER;
        let end = offset.checked_add(size).filter(|&end| end <= length);
        let Some(end) = end else { bail!("the ar archive ends inside the member at byte {at}") };
        let mut member = Member { name: header[..16].trim_ascii_end().to_vec(), offset, size };
        if let Some(digits) = member.name.strip_prefix(b"#1/") {
            let length = number(digits).with_context(|| format!("ar member at byte {at}: its name"))?;
            ensure!(length <= NAME && length <= size, "the ar member at byte {at} has a name too long");
            let mut name = vec![0; length as usize];
            file.read_exact_at(offset, &mut name).context("cannot read the name of an ar member")?;
            while name.last() == Some(&0) {
                name.pop();
            }
            member = Member { name, offset: offset + length, size: size - length };
        } else if member.name.len() > 1 && member.name.ends_with(b"/") && member.name != b"//" {
            member.name.pop();
        }
        members.push(member);
        // Members begin at even places.
        at = end + end % 2;
    }
    Ok(members)
}

/// A number in decimal digits with blanks behind.
fn number(field: &[u8]) -> Result<u64> {
    let text = str::from_utf8(field.trim_ascii_end()).unwrap_or_default();
    ensure!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()), "no number is there");
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).into_bytes()
    }

    #[test]
    fn short_and_long_names_of_both_traditions() {
        let archive = [
            &MAGIC[..],
            &header("+PKG_HASH", 3),
            b"abc\n",
            &header("#1/20", 22),
            b"+PKG_GPG_SIGNATURE\0\0de",
            &header("foo-1.tgz/", 1),
            b"f",
        ]
        .concat();
        let read = members(&archive, archive.len() as u64).unwrap();
        let shown: Vec<_> = read
            .iter()
            .map(|m| (&m.name[..], &archive[m.offset as usize..(m.offset + m.size) as usize]))
            .collect();
        assert_eq!(
            shown,
            [(&b"+PKG_HASH"[..], &b"abc"[..]), (b"+PKG_GPG_SIGNATURE", b"de"), (b"foo-1.tgz", b"f")]
        );
    }

    #[test]
    fn damage_is_told() {
        let said = |bytes: Vec<u8>| format!("{:#}", members(&bytes, bytes.len() as u64).unwrap_err());
        assert_eq!(said(b"!<arch>?".to_vec()), "this is no ar archive");
        let with = |rest: &[u8]| [&MAGIC[..], rest].concat();
        assert_eq!(said(with(&header("a", 5))), "the ar archive ends inside the member at byte 8");
        assert!(said(with(b"short")).starts_with("the ar archive ends in a header at byte 8"));
        assert!(said(with(&[b'x'; 60])).starts_with("there is no header of an ar member at byte 8"));
        assert!(
            said(with(&header("#1/9", 3))).ends_with("the name of an ar member")
                || said(with(&header("#1/9", 3))).contains("ends inside")
        );
        assert!(said(with(&header("a", 0).repeat(17))).contains("more than 16 members"));
        let negative = [&header("a", 0)[..48], b"-1        `\n"].concat();
        assert_eq!(said(with(&negative)), "ar member at byte 8: its size: no number is there");
    }
}
