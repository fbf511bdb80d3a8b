//! Platform stamps: the UTC build time that names a SmartOS platform, `YYYYMMDDThhmmssZ`.

use std::fmt;
use std::str::FromStr;

use crate::civil::Civil;

/// The stamp of a platform, always upper case and always a real point in time.
///
/// Stamps order like the times that they stand for, so eras are compared with `<`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(String);

/// Why a text is no stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAStamp {
    /// It is no time, or not written as one.
    #[error("'{}' is not a platform stamp: expected YYYYMMDDThhmmssZ in UTC, like 20141030T081701Z", .0.escape_debug())]
    Unreadable(String),
    /// It is a time that no boot archive could carry.
    #[error(
        "the stamp {0} is outside of 19700101T000000Z to 20380119T031407Z, the times that a boot archive's file \
         system (UFS) can tell"
    )]
    OutOfRange(String),
}

impl Stamp {
    /// Length of every stamp in characters.
    pub const LENGTH: usize = 16;

    /// The stamp as text, upper case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Seconds since 1970, UTC, never negative.
    pub fn unix_seconds(&self) -> i32 {
        i32::try_from(civil(&self.0).unix_seconds()).expect("the range was checked when the stamp was parsed")
    }

    /// The stamp as image manifests write times: `2014-10-30T08:17:01Z`.
    pub fn iso(&self) -> String {
        civil(&self.0).to_string()
    }

    /// Finds the last stamp inside a file or directory name, compared without case.
    pub fn find_in(name: &str) -> Option<Stamp> {
        let bytes = name.as_bytes();
        (0..=bytes.len().checked_sub(Self::LENGTH)?)
            .rev()
            .filter_map(|start| name.get(start..start + Self::LENGTH))
            .find_map(|window| window.parse().ok())
    }
}

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Stamp, NotAStamp> {
        let upper = text.to_ascii_uppercase();
        let shaped = upper.len() == Self::LENGTH
            && upper.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return Err(NotAStamp::Unreadable(text.to_owned()));
        }
        let time = civil(&upper);
        if !time.is_real() {
            return Err(NotAStamp::Unreadable(text.to_owned()));
        }
        if !(0..=i64::from(i32::MAX)).contains(&time.unix_seconds()) {
            return Err(NotAStamp::OutOfRange(upper));
        }
        Ok(Stamp(upper))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number in a text of the shape of a stamp.
fn field(stamp: &str, from: usize, to: usize) -> i64 {
    stamp[from..to].parse().expect("the places of numbers were checked to hold digits")
}

/// The time that a text of the shape of a stamp writes, real or not.
fn civil(stamp: &str) -> Civil {
    Civil {
        year: field(stamp, 0, 4),
        month: field(stamp, 4, 6),
        day: field(stamp, 6, 8),
        hour: field(stamp, 9, 11),
        minute: field(stamp, 11, 13),
        second: field(stamp, 13, 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_time() {
        let stamp: Stamp = "20141030t081701z".parse().unwrap();
        assert_eq!(stamp.as_str(), "20141030T081701Z");
        assert_eq!(stamp.unix_seconds(), 1_414_657_021);
        assert_eq!(stamp.iso(), "2014-10-30T08:17:01Z");
        assert_eq!("20240229T235959Z".parse::<Stamp>().unwrap().unix_seconds(), 1_709_251_199);
    }

    #[test]
    fn what_is_no_time_is_no_stamp() {
        for text in
            ["", "20141030", "20141330T081701Z", "20230229T000000Z", "20141030T241701Z", "20141030T0817é1Z"]
        {
            assert_eq!(text.parse::<Stamp>(), Err(NotAStamp::Unreadable(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn stamps_are_times_of_ufs() {
        assert_eq!("20380119T031407Z".parse::<Stamp>().unwrap().unix_seconds(), i32::MAX);
        assert_eq!("19700101T000000Z".parse::<Stamp>().unwrap().unix_seconds(), 0);
        for text in ["20380119T031408Z", "21050101T000000Z", "19691231T235959Z"] {
            assert_eq!(text.parse::<Stamp>(), Err(NotAStamp::OutOfRange(text.to_owned())));
        }
    }

    #[test]
    fn stamps_are_found_in_names() {
        let found = |name| Stamp::find_in(name).map(|stamp| stamp.to_string());
        assert_eq!(
            found("platform-release-20141030-20141030T081701Z.tgz").as_deref(),
            Some("20141030T081701Z")
        );
        assert_eq!(found("platform-20130506t233003z").as_deref(), Some("20130506T233003Z"));
        assert_eq!(found("platform-é-latest.tgz"), None);
    }
}
