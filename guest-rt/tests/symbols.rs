//! The list of names that programs may use, against names and versions that were taken from mapfiles apart from it.

use std::collections::BTreeMap;
use std::path::Path;

/// (library, name) and the version under which the library has it.
type Names = BTreeMap<(String, String), String>;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Lines without comments, each with the words of the heading above it.
fn lines_with_headings(text: &str) -> impl Iterator<Item = (Vec<&str>, &str)> {
    let mut heading = Vec::new();
    text.lines().filter_map(move |line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(words) => heading = words.split_whitespace().collect(),
            None if !line.is_empty() => return Some((heading.clone(), line)),
            None => {}
        }
        None
    })
}

fn known() -> Names {
    let text = read("tests/names-20130502.txt");
    let mut names = Names::new();
    for (heading, line) in lines_with_headings(&text) {
        let [library, version] = heading[..] else { panic!("{heading:?}") };
        for name in line.split_whitespace() {
            let double = names.insert((library.to_owned(), name.to_owned()), version.to_owned());
            assert_eq!(double, None, "{name} occurs twice");
        }
    }
    names
}

#[test]
fn every_name_that_programs_may_use_is_in_the_oldest_platform() {
    let known = known();
    let text = read("symbols.txt");
    let mut count = 0;
    for (heading, line) in lines_with_headings(&text).filter(|(heading, _)| heading[0] != "absent") {
        let [library, mapfile] = heading[..] else { panic!("{heading:?}") };
        assert!(mapfile.starts_with("usr/src/lib/") && mapfile.ends_with("/mapfile-vers"), "{mapfile}");
        let mut words = line.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let found = known.get(&(library.to_owned(), name.to_owned()));
        assert_eq!(found.map(String::as_str), Some(version), "{name} of {library}");
        count += 1;
    }
    assert!(count > 500, "only {count} names");
}

/// Versions of libc from the one with pipe2 (2013-05-08) on, and of libsocket from the one with accept4 on, are newer
/// than the oldest platform.
#[test]
fn no_version_is_newer_than_the_oldest_platform() {
    for ((library, name), version) in known() {
        let minor = version.strip_prefix("ILLUMOS_0.").map(|minor| minor.parse::<u32>().unwrap());
        let newest = if library == "libc.so.1" { 3 } else { 0 };
        assert!(minor.is_none_or(|minor| minor <= newest), "{name} of {library} has {version}");
    }
}

#[test]
fn names_that_are_said_to_be_absent_are() {
    let known = known();
    let text = read("symbols.txt");
    let absent: Vec<&str> = lines_with_headings(&text)
        .filter(|(heading, _)| heading[0] == "absent")
        .map(|(_, line)| line.split_whitespace().next().unwrap())
        .collect();
    assert!(absent.contains(&"pipe2") && absent.contains(&"accept4"));
    for name in absent {
        assert!(known.keys().all(|(_, other)| other != name), "{name}");
    }
}

/// The order is that of the bytes, so that a new name has one place.
#[test]
fn each_section_is_sorted() {
    let text = read("symbols.txt");
    let names: Vec<_> = lines_with_headings(&text)
        .map(|(heading, line)| (heading[0].to_owned(), line.split_whitespace().next().unwrap().to_owned()))
        .collect();
    for pair in names.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1, "{pair:?}");
    }
}
