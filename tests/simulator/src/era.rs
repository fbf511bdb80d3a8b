//! Which platform is played.

use serde::{Deserialize, Serialize};

/// A SmartOS platform, by its stamp such as `20130506T233003Z`.
///
/// Behaviour depends on the dates of the changes upstream: a platform has what was integrated before its stamp.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Era(String);

impl Era {
    /// The platforms that tests go through: one of each generation. The times of day of the later ones are made up.
    pub const ALL: [&str; 6] = [
        "20130506T233003Z",
        "20141030T081701Z",
        "20151126T062538Z",
        "20180705T000000Z",
        "20210715T000000Z",
        "20240418T000000Z",
    ];

    /// The platform with the stamp.
    ///
    /// # Panics
    /// When it is no stamp.
    pub fn new(stamp: &str) -> Self {
        let shape = stamp.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
        assert!(shape.eq(*b"00000000T000000Z"), "{stamp} is no platform stamp");
        Self(stamp.to_owned())
    }

    /// The stamp.
    pub fn stamp(&self) -> &str {
        &self.0
    }

    /// Whether the platform has a change of the date, as `20150715`.
    pub fn since(&self, date: &str) -> bool {
        self.0[..8] >= *date
    }

    /// Whether what the platform does is only taken to be what earlier ones did: sources later than April 2022 were not read.
    pub fn is_guess(&self) -> bool {
        self.since("20220501")
    }

    /// As [`Self::since`]; every platform has what has no date.
    pub fn since_or_always(&self, date: &str) -> bool {
        date.is_empty() || self.since(date)
    }
}

impl std::fmt::Display for Era {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Era;

    #[test]
    fn a_platform_has_what_came_before_it() {
        let era = Era::new(Era::ALL[2]);
        assert!(era.since("20150715") && era.since("20151126"));
        assert!(!era.since("20151127"));
        let guesses: Vec<&str> = Era::ALL.into_iter().filter(|era| Era::new(era).is_guess()).collect();
        assert_eq!(guesses, ["20240418T000000Z"]);
    }
}
