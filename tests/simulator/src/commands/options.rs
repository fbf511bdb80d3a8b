//! Arguments, as getopt(3C) takes them apart.

use crate::Reply;

/// Options and operands of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Options<'a> {
    given: Vec<(char, &'a str)>,
    /// What follows the options.
    pub operands: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Takes the arguments apart: options end at the first word that is none, or after `--`. `known` is a string as getopt
    /// takes it: letters, with a colon behind those that have a value.
    ///
    /// # Errors
    /// An option that is not known is refused, because the guest's program must not rely on it.
    pub fn parse(arguments: &[&'a str], known: &str) -> Result<Self, Reply> {
        let mut given = Vec::new();
        let mut words = arguments.iter().copied();
        let mut operands = Vec::new();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                operands.push(word);
                break;
            };
            for (at, letter) in letters.char_indices() {
                let place = known.find(letter).filter(|_| letter != ':');
                let Some(place) = place else {
                    return Err(Reply::refuse(format!("does not know -{letter}")));
                };
                if known[place + 1..].starts_with(':') {
                    let rest = &letters[at + letter.len_utf8()..];
                    let value = if rest.is_empty() { words.next() } else { Some(rest) };
                    let value =
                        value.ok_or_else(|| Reply::refuse(format!("misses the value of -{letter}")))?;
                    given.push((letter, value));
                    break;
                }
                given.push((letter, ""));
            }
        }
        operands.extend(words);
        Ok(Self { given, operands })
    }

    /// Whether an option is given.
    pub fn has(&self, letter: char) -> bool {
        self.given.iter().any(|&(given, _)| given == letter)
    }

    /// The last value of an option.
    pub fn value(&self, letter: char) -> Option<&'a str> {
        self.given.iter().rev().find(|&&(given, _)| given == letter).map(|&(_, value)| value)
    }

    /// All values of an option.
    pub fn values(&self, letter: char) -> impl Iterator<Item = &'a str> {
        self.given.iter().filter(move |&&(given, _)| given == letter).map(|&(_, value)| value)
    }

    /// The values of an option, each `name=value`.
    ///
    /// # Errors
    /// A value without a sign of equality is refused.
    pub fn assignments(&self, letter: char) -> Result<Vec<(&'a str, &'a str)>, Reply> {
        self.values(letter)
            .map(|value| {
                value.split_once('=').ok_or_else(|| Reply::refuse(format!("wants name=value, not {value}")))
            })
            .collect()
    }
}

/// A number of bytes with a unit, as `2G`, `512m`, `8192`; zfs_nicestrtonum(3) of libzfs.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].to_ascii_uppercase();
    let shift = match unit.as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        "P" | "PB" | "PIB" => 50,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A number of bytes as libzfs prints it for people (zfs_nicenum): at most five characters, such as `1.50G`.
pub fn nice(bytes: u64) -> String {
    let mut unit = 0;
    while unit < 6 && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let letter = ["", "K", "M", "G", "T", "P", "E"][unit];
    let scale = 1u64 << (10 * unit);
    if bytes.is_multiple_of(scale) {
        return format!("{}{letter}", bytes / scale);
    }
    // A number of bytes is exact enough as a float for three digits.
    #[allow(clippy::cast_precision_loss)]
    let value = bytes as f64 / scale as f64;
    (0..=2)
        .rev()
        .map(|digits| format!("{value:.digits$}{letter}"))
        .find(|text| text.len() <= 5)
        .unwrap_or_else(|| format!("{value:.0}{letter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_may_share_a_word_and_values_may_be_attached() {
        let options = Options::parse(&["-Hp", "-oname", "-o", "a=b", "zones", "-x"], "Hpo:").unwrap();
        assert!(options.has('H') && options.has('p') && !options.has('x'));
        assert_eq!(options.values('o').collect::<Vec<_>>(), ["name", "a=b"]);
        assert_eq!(options.operands, ["zones", "-x"]);
    }

    #[test]
    fn an_unknown_letter_is_refused() {
        let reply = Options::parse(&["-Hz"], "H").unwrap_err();
        assert_eq!((reply.status, reply.complaint.as_deref()), (250, Some("does not know -z")));
    }

    #[test]
    fn sizes_are_read_and_printed() {
        assert_eq!((bytes("2G"), bytes("8192"), bytes("1x")), (Some(2 << 30), Some(8192), None));
        assert_eq!(bytes("99999999999P"), None);
        assert_eq!(nice(10 << 30), "10G");
        assert_eq!(nice(1_610_612_737), "1.50G");
        assert_eq!(nice(10_661_920_768), "9.93G");
        assert_eq!(nice(123), "123");
    }
}
