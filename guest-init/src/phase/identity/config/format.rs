//! The format: lines `name=value`, and comments.
//!
//! The platform's reader (smartos-live, `overlay/generic/lib/sdc/config.sh`) strips leading blanks, drops lines that do
//! not begin with a letter, puts `CONFIG_` before the others, and evaluates all of them at once. Others look for a line's
//! beginning and take the rest as it is, quotes included. A value that means the same to all of them has no quotes and
//! none of the characters that a shell knows.

use std::fmt;

/// The first line of a file that guest-init made, and may make anew. Whoever removes it keeps the file as it is.
pub const MARK: &str = "# Made by guest-init.";

/// What follows it in the file, for its owner.
const EXPLANATION: &str = "\
# Lines about the network are made anew when the metadata or the machine changes; lines with other names stay.
# Without the first line the whole file stays as it is.
";

/// The line after what guest-init made: a file of ours without it was cut short.
const END: &str = "# That was all.";

/// The longest file that is read, in bytes.
pub const LONGEST: u64 = 256 << 10;

/// The longest value, in bytes.
const LONGEST_VALUE: usize = 4096;

/// The most lines.
const MOST_LINES: usize = 2000;

/// The one name whose value must have dollar signs, as every crypt(3C) hash does; it is written in single quotes.
const HASH_NAME: &str = "root_shadow";

/// A name and a value that no shell can misread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    name: String,
    value: String,
}

impl Line {
    /// `None` unless the name is one of letters, digits and underscores that begins with a letter, and the value has
    /// nothing but letters, digits and `._:,/@+-`. That of `root_shadow` may have `$` and `=`, too.
    pub fn new(name: &str, value: &str) -> Option<Self> {
        let is_name = name.len() <= 128
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._:,/@+-".contains(&byte);
        let is_allowed = |byte: u8| is_harmless(byte) || (name == HASH_NAME && b"$=".contains(&byte));
        let is_value = value.len() <= LONGEST_VALUE && value.bytes().all(is_allowed);
        (is_name && is_value).then(|| Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, without quotes.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.name == HASH_NAME { "'" } else { "" };
        writeln!(f, "{}={quote}{}{quote}", self.name, self.value)
    }
}

/// A file as it was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whether it begins with [`MARK`].
    pub is_ours: bool,
    /// Whether it is ours and was cut short.
    pub is_cut_short: bool,
    /// The lines that were good, in order.
    pub lines: Vec<Line>,
    /// What was wrong with others: the number of the line, and why.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads a file, whatever is in it.
    pub fn parse(text: &[u8]) -> Self {
        let is_ours = text.starts_with(MARK.as_bytes());
        let mut config = Self { is_ours, is_cut_short: is_ours, ..Self::default() };
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if index == MOST_LINES {
                config.problems.push(format!("more than {MOST_LINES} lines; the rest is left out"));
                break;
            }
            // A carriage return at the end is refused with the value, for the platform takes it for a part of that.
            let line = line.trim_ascii_start();
            if line.trim_ascii_end() == END.as_bytes() {
                config.is_cut_short = false;
            }
            if !line.first().is_some_and(u8::is_ascii_alphabetic) {
                continue;
            }
            match read_line(line) {
                Ok(line) => config.lines.push(line),
                Err(problem) => config.problems.push(format!("line {}: {problem}", index + 1)),
            }
        }
        config
    }

    /// The value of a name: the last assignment wins.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().rev().find(|line| line.name == name).map(|line| &*line.value)
    }

    /// Whether it says nothing at all, as a file does whose writer was cut short.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.problems.is_empty()
    }
}

fn read_line(line: &[u8]) -> Result<Line, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "not text")?;
    let (name, value) = line.split_once('=').ok_or("not of the form name=value")?;
    let value = unquoted(value).ok_or("a quote that is not around the whole value")?;
    Line::new(name, value).ok_or("a name or value with characters that a shell may evaluate")
}

fn unquoted(value: &str) -> Option<&str> {
    let inner = ['\'', '"'].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let value = inner.unwrap_or(value);
    (!value.contains(['\'', '"'])).then_some(value)
}

/// The text of a file of ours with these lines. There is room for as many as [`Config::parse`] reads: the rest is left out,
/// or the file would always seem to be cut short.
pub fn text(lines: &[Line]) -> String {
    let mut text = format!("{MARK}\n{EXPLANATION}");
    // After the last line feed there is one more, an empty one.
    let most = MOST_LINES - text.lines().count() - 2;
    for line in lines.iter().take(most).map(ToString::to_string) {
        if (text.len() + line.len() + END.len()) as u64 >= LONGEST {
            break;
        }
        text += &line;
    }
    text + END + "\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a shell that evaluates this line does nothing but assign the same bytes that are written there.
    fn is_inert(line: &str) -> bool {
        let plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:,/@+-".contains(&byte));
        let Some((name, value)) = line.split_once('=') else { return false };
        let named = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let quoted = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        named
            && (plain(value) || quoted.is_some_and(|value| !value.contains(['\'', '\n', ' ', '*', '?', '['])))
    }

    #[test]
    fn lines_as_people_write_them() {
        let config = Config::parse(
            b"# comment\n\n  admin_nic=2:8:20:5b:a1:0\nhostname=\"web\"\nnat='no'\nhostname=web2\n=x\n9=9\nadmin_ip=\n",
        );
        assert!(!config.is_ours);
        assert_eq!(config.problems, [""; 0]);
        assert_eq!(config.get("admin_nic"), Some("2:8:20:5b:a1:0"));
        assert_eq!(config.get("hostname"), Some("web2"), "the last assignment wins");
        assert_eq!(
            (config.get("nat"), config.get("admin_ip"), config.get("x")),
            (Some("no"), Some(""), None)
        );
    }

    #[test]
    fn hazard_20_what_a_shell_would_evaluate_is_refused() {
        for value in [
            "$(reboot)",
            "`reboot`",
            "a;b",
            "a&b",
            "a|b",
            "a<b",
            "a>b",
            "a b",
            "a\\b",
            "*",
            "?",
            "[a]",
            "~root",
            "{a,b}",
            "a!b",
            "a\rb",
            "\"$HOME\"",
            "'a'b",
            "\"a",
            "'",
            "a#b",
            "a=b",
            "caf\u{e9}",
            "a\u{0}",
        ] {
            let config = Config::parse(format!("hostname={value}\nnat=no\n").as_bytes());
            assert_eq!(config.get("hostname"), None, "{value:?}");
            assert_eq!(config.problems.len(), 1, "{value:?}");
            assert_eq!(config.get("nat"), Some("no"));
            if !value.contains(['\'', '"']) {
                assert_eq!(Line::new("hostname", value), None, "{value:?}");
            }
        }
        assert_eq!(Line::new("a b", "c"), None);
        assert_eq!(Line::new("", "c"), None);
        assert_eq!(Line::new("host$name", "c"), None);
    }

    #[test]
    fn a_hash_is_written_in_quotes() {
        let line = Line::new("root_shadow", "$5$salt$hash./=").expect("allowed");
        assert_eq!(line.to_string(), "root_shadow='$5$salt$hash./='\n");
        assert_eq!(Config::parse(line.to_string().as_bytes()).lines, [line]);
        assert_eq!(Line::new("root_shadow", "$(id)"), None);
        assert_eq!(Line::new("hostname", "$5$salt"), None);
    }

    #[test]
    fn a_file_that_was_cut_short_is_empty() {
        assert!(Config::parse(b"").is_empty());
        assert!(Config::parse(&[0; 512]).is_empty());
        assert!(Config::parse(MARK.as_bytes()).is_empty());
        assert!(!Config::parse(b"a=b").is_empty());
    }

    #[test]
    fn what_is_written_can_be_read_whole() {
        for (count, value) in [(MOST_LINES - 4, "short".to_owned()), (MOST_LINES, "v".repeat(LONGEST_VALUE))]
        {
            let line = |index| Line::new(&format!("own{index}"), &value).expect("allowed");
            let lines: Vec<Line> = (0..count + 100).map(line).collect();
            let text = text(&lines);
            assert!(text.len() as u64 <= LONGEST, "{}", text.len());
            let read = Config::parse(text.as_bytes());
            assert!(!read.is_cut_short && read.problems.is_empty(), "{:?}", read.problems);
            assert!(read.lines.len() > 60 && lines.starts_with(&read.lines));
        }
    }

    proptest! {
        #[test]
        fn hazard_20_nothing_that_a_shell_evaluates_is_written(
            pairs in prop::collection::vec((".{0,12}", ".{0,24}"), 0..8),
            names in prop::collection::vec("(root_shadow|hostname|[a-z_]{1,8})", 0..8),
            values in prop::collection::vec("[ -~\n\t\u{e9}]{0,24}", 0..8),
        ) {
            let names = names.into_iter().zip(values);
            let lines: Vec<Line> =
                pairs.into_iter().chain(names).filter_map(|(name, value)| Line::new(&name, &value)).collect();
            let text = text(&lines);
            for line in text.lines() {
                prop_assert!(line.starts_with('#') || is_inert(line), "{}", line);
            }
            let read = Config::parse(text.as_bytes());
            prop_assert_eq!(read.lines, lines);
            prop_assert!(read.is_ours && !read.is_cut_short && read.problems.is_empty());
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let config = Config::parse(&bytes);
            let again = Config::parse(text(&config.lines).as_bytes());
            prop_assert_eq!(again.lines, config.lines);
        }
    }
}
