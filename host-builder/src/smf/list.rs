//! Lists of manifests: which services an image is to have, and which of them run.
//!
//! A line is `relative/path.xml enabled|disabled [noimport]`; what follows a `#` at the beginning of a line is for people (source:
//! imagetools, `create-smf-repo` and `include/manifests`; smartos-live's brands have lists of the same form).

use std::collections::BTreeMap;

/// Longest list that is read, in bytes; those of the brands have 6,000.
pub const LIST_LIMIT: u64 = 1 << 20;

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub line: usize,
    /// Path of the manifest below a folder of manifests.
    pub path: String,
    /// Whether its default instance is to run.
    pub enabled: bool,
    /// Whether it is brought into the image at all; `noimport` says no.
    pub import: bool,
}

/// Reads a list. What is wrong with it is told line by line, each with its number.
///
/// # Errors
/// Every line that is none.
pub fn parse(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim_start().starts_with('#') {
            continue;
        }
        let mut words = text.split_whitespace();
        let Some(path) = words.next() else { continue };
        match entry(line, path, words) {
            Ok(_) if lines.contains_key(path) => {
                problems.push(format!("line {line}: {path} is in line {} already", lines[path]));
            }
            Ok(entry) => {
                lines.insert(path, line);
                entries.push(entry);
            }
            Err(problem) => problems.push(format!("line {line}: {problem}")),
        }
    }
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

fn entry<'a>(line: usize, path: &str, mut words: impl Iterator<Item = &'a str>) -> Result<Entry, String> {
    let clean = path.split('/').all(|name| !name.is_empty() && name != "." && name != "..");
    // svccfg imports only what ends so, in lower case.
    if !clean
        || path.strip_suffix(".xml").is_none()
        || path.contains(|character: char| character.is_control())
    {
        return Err(format!(
            "'{}' is no relative path of a manifest, such as network/ssh.xml",
            path.escape_debug()
        ));
    }
    let enabled = match words.next() {
        Some("enabled") => true,
        Some("disabled") => false,
        Some(other) => return Err(format!("'{}' is neither 'enabled' nor 'disabled'", other.escape_debug())),
        None => return Err(format!("{path} is neither 'enabled' nor 'disabled'")),
    };
    let import = match words.next() {
        None => true,
        Some("noimport") => false,
        Some(other) => {
            return Err(format!("'{}' means nothing here; 'noimport' may stand here", other.escape_debug()));
        }
    };
    match words.next() {
        None => Ok(Entry { line, path: path.to_owned(), enabled, import }),
        Some(more) => Err(format!("'{}' is one word too many", more.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_paths_with_a_state() {
        let text = "# comment\n\nnetwork/ssh.xml\t\tenabled\n  # system/fmd.xml enabled\nsystem/sac.xml disabled noimport\r\n";
        let entry =
            |line, path: &str, enabled, import| Entry { line, path: path.to_owned(), enabled, import };
        assert_eq!(
            parse(text).unwrap(),
            [entry(3, "network/ssh.xml", true, true), entry(5, "system/sac.xml", false, false)]
        );
    }

    #[test]
    fn every_line_that_is_none_is_told() {
        let text = "a.xml\nb.xml on\nc.xml enabled import\nd.xml enabled noimport now\n../e.xml enabled\n/f.xml enabled\n\
                    g enabled\nh.xml disabled\nh.xml enabled\n";
        let problems = parse(text).unwrap_err();
        let expected = [
            "line 1: a.xml is neither 'enabled' nor 'disabled'",
            "line 2: 'on' is neither 'enabled' nor 'disabled'",
            "line 3: 'import' means nothing here; 'noimport' may stand here",
            "line 4: 'now' is one word too many",
            "line 5: '../e.xml' is no relative path of a manifest, such as network/ssh.xml",
            "line 6: '/f.xml' is no relative path of a manifest, such as network/ssh.xml",
            "line 7: 'g' is no relative path of a manifest, such as network/ssh.xml",
            "line 9: h.xml is in line 8 already",
        ];
        assert_eq!(problems, expected);
    }
}
