//! SSH keys of the metadata, put into the `authorized_keys` that there is: the owner's lines stay, nobody is locked out, and
//! nothing but keys gets in.
//!
//! The input is a byte that chooses the platform, the file, a NUL byte, and the value.
#![no_main]

use guest_init::phase::setup::keys::line::Key;
use guest_init::phase::setup::keys::merge::{BEGIN, END, merge, wanted};
use guest_init::platform::Platform;
use libfuzzer_sys::fuzz_target;

/// The most that comes from the metadata, with the marks around it.
const LONGEST: usize = (256 << 10) + 1024;

fuzz_target!(|input: &[u8]| {
    let Some((&flags, rest)) = input.split_first() else { return };
    let stamp = ["20130506", "20151126", "20180315", "20210107"][usize::from(flags & 3)];
    let platform = Platform::of_kernel(&format!("joyent_{stamp}T000000Z")).expect("a platform");
    let (file, value) = match rest.iter().position(|&byte| byte == 0) {
        Some(nul) => (&rest[..nul], Some(&rest[nul + 1..])),
        None => (rest, None),
    };
    let opens = |key: &Key<'_>| key.opens_a_shell(&platform);
    let (keys, problems) = value.map(wanted).unzip();
    assert!(problems.iter().flatten().count() <= 11);
    assert!(problems.iter().flatten().all(|problem| problem.len() < 200));
    let merged = merge(file, keys.as_deref(), opens);
    assert!(merged.contents.len() <= file.len() + LONGEST);

    // The owner's lines, which are all but the blocks, are those that there were, in their order.
    assert_eq!(outside(&merged.contents), outside(file));
    // Every line that is new is a key, and each that is wanted is there.
    let old: Vec<&[u8]> = lines(file).collect();
    for line in lines(&merged.contents).filter(|line| !line.is_empty() && !old.contains(line)) {
        let is_mark = [BEGIN.as_bytes(), END.as_bytes()].contains(&line);
        assert!(is_mark || Key::parse(line).is_some_and(|key| key.text == line), "{}", line.escape_ascii());
    }
    for key in keys.iter().flatten() {
        assert!(lines(&merged.contents).any(|line| line == key.text));
        assert!(!key.text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
    }
    // Whoever could log in before can do so after, by one key at least.
    let logins = |contents: &[u8]| lines(contents).filter_map(Key::parse).filter(opens).count();
    assert_eq!(logins(&merged.contents), merged.usable);
    assert!(merged.usable > 0 || logins(file) == 0);

    let again = merge(&merged.contents, keys.as_deref(), opens);
    assert_eq!(again.contents, merged.contents);
    assert_eq!(again.usable, merged.usable);
});

fn lines(contents: &[u8]) -> impl Iterator<Item = &[u8]> {
    contents.split(|&byte| byte == b'\n')
}

/// The lines outside of the blocks, without those that are nothing but a mark or empty.
fn outside(contents: &[u8]) -> Vec<Vec<u8>> {
    let all: Vec<&[u8]> = lines(contents).collect();
    let is = |line: &[u8], mark: &str| line.trim_ascii() == mark.as_bytes();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let line = all[at];
        at += 1;
        if !is(line, BEGIN) {
            kept.extend((!line.is_empty()).then(|| line.to_vec()));
            continue;
        }
        let next = (at..all.len()).find(|&later| is(all[later], BEGIN) || is(all[later], END));
        if let Some(end) = next.filter(|&end| is(all[end], END)) {
            at = end + 1;
        }
    }
    kept
}
