//! Patterns of packages, by the crate `pkgsrc`, with bounds on what comes from a stranger's index.

use anyhow::{Context, Result, ensure};
use pkgsrc::Pattern;

/// Longest pattern, in bytes.
const LENGTH: usize = 1024;
/// Most plain patterns that one with braces stands for.
const ALTERNATIVES: usize = 256;

/// A pattern.
///
/// # Errors
/// It is none, or stands for too many.
pub(super) fn compile(text: &str) -> Result<Pattern> {
    let short: String = text.chars().take(80).collect();
    ensure!(text.len() <= LENGTH, "the pattern {short:?}... is too long");
    ensure!(alternatives(text) <= ALTERNATIVES, "the pattern {short:?} stands for too many");
    Pattern::new(text).with_context(|| format!("{text:?} is no pattern of packages"))
}

/// How many plain patterns braces make, at most.
fn alternatives(text: &str) -> usize {
    let mut product: usize = 1;
    let mut open = Vec::new();
    for byte in text.bytes() {
        match byte {
            b'{' => open.push(1_usize),
            b',' => open.iter_mut().last().into_iter().for_each(|group| *group += 1),
            b'}' => product = product.saturating_mul(open.pop().unwrap_or(1)),
            _ => {}
        }
    }
    product
}

/// The base of a package's name: all before the last `-`.
pub(super) fn base(name: &str) -> &str {
    pkgsrc::pkgname::pkgbase(name)
}

/// The best of the names that a pattern matches: the highest version.
///
/// # Errors
/// A version is none.
pub(super) fn best<'a>(
    pattern: &Pattern,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Option<&'a str>> {
    let mut best = None;
    for name in names {
        best = pattern.best_match(best, name)?;
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_that_stand_for_too_many_are_refused() {
        assert_eq!(alternatives("a"), 1);
        assert_eq!(alternatives("{a,b}-{c,{d,e}}"), 8);
        assert!(compile(&"{a,b}".repeat(9)).unwrap_err().to_string().contains("too many"));
        assert!(compile(&"a".repeat(2000)).unwrap_err().to_string().contains("too long"));
        assert!(compile("{a").is_err());
        assert!(compile("{mysql,mariadb}-client-[0-9]*").unwrap().matches("mariadb-client-11.4"));
    }

    /// The parts of a version as pkg_install's dewey.c has them, written anew: numbers, dots and words with their ranks; `nb` counts
    /// last. Letters that are no such words are left to another test: the crate takes their codes where pkg_install counts from a,
    /// which makes a difference only beside a number in the same place.
    fn parts(version: &str) -> (Vec<i64>, i64) {
        let (mut parts, mut revision) = (Vec::new(), 0);
        let mut rest = version;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let words = [("alpha", -3), ("beta", -2), ("pre", -1), ("rc", -1), ("pl", 0), (".", 0), ("_", 0)];
            if digits > 0 {
                parts.push(rest[..digits].parse().unwrap());
                rest = &rest[digits..];
            } else if let Some(after) = rest.strip_prefix("nb") {
                let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                revision = after[..digits].parse().unwrap_or(0);
                rest = &after[digits..];
            } else {
                let (word, rank) = words.iter().find(|(word, _)| rest.starts_with(word)).unwrap();
                parts.push(*rank);
                rest = &rest[word.len()..];
            }
        }
        (parts, revision)
    }

    fn compare(a: &str, b: &str) -> Ordering {
        let ((mut a, a_revision), (mut b, b_revision)) = (parts(a), parts(b));
        let length = a.len().max(b.len());
        a.resize(length, 0);
        b.resize(length, 0);
        a.cmp(&b).then(a_revision.cmp(&b_revision))
    }

    #[test]
    fn letters_follow_the_bare_version_in_their_order() {
        let matches = |pattern: &str, name: &str| compile(pattern).unwrap().matches(name);
        assert!(matches("openssl>1.0.2", "openssl-1.0.2a"));
        assert!(matches("openssl>=1.0.2t", "openssl-1.0.2u"));
        assert!(!matches("openssl>=1.0.2u", "openssl-1.0.2t"));
        assert!(matches("openssl<1.1", "openssl-1.0.2u"));
    }

    proptest! {
        #[test]
        fn versions_are_ordered_as_pkg_install_orders_them(
            a in "[0-9]{1,3}(\\.[0-9]{1,2}|alpha[0-9]|beta|rc[0-9]|pl[0-9]|pre|_){0,3}(nb[0-9]{1,2})?",
            b in "[0-9]{1,3}(\\.[0-9]{1,2}|alpha[0-9]|beta|rc[0-9]|pl[0-9]|pre|_){0,3}(nb[0-9]{1,2})?",
        ) {
            let order = compare(&a, &b);
            let matches = |operator: &str| compile(&format!("p{operator}{b}")).unwrap().matches(&format!("p-{a}"));
            prop_assert_eq!(matches(">="), order != Ordering::Less);
            prop_assert_eq!(matches(">"), order == Ordering::Greater);
            prop_assert_eq!(matches("<"), order == Ordering::Less);
            let (first, second) = (format!("p-{a}"), format!("p-{b}"));
            let all = compile("p-[0-9]*").unwrap();
            let chosen = best(&all, [&*first, &*second]).unwrap().unwrap();
            match order {
                Ordering::Less => prop_assert_eq!(chosen, &*second),
                Ordering::Greater => prop_assert_eq!(chosen, &*first),
                Ordering::Equal => prop_assert_eq!(chosen, first.as_str().min(&second)),
            }
        }
    }
}
