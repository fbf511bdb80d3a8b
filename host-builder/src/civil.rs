//! The civil calendar: points in time as calendars and clocks show them, always in UTC and by the Gregorian rule.

use std::fmt;

const SECONDS_OF_DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;
/// Days from the first of March of the year 0 to the first of January 1970.
const DAYS_TO_1970: i64 = 719_468;

/// A point in time as calendars and clocks show it. It displays itself as `2014-10-30T08:17:01Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year; 0 is the one before 1.
    pub year: i64,
    /// The month, from 1.
    pub month: i64,
    /// The day of the month, from 1.
    pub day: i64,
    /// The hour, 0 to 23.
    pub hour: i64,
    /// The minute, 0 to 59.
    pub minute: i64,
    /// The second, 0 to 59: leap seconds have no place in seconds since 1970.
    pub second: i64,
}

impl Civil {
    /// The time that is `seconds` after the beginning of 1970.
    pub fn from_unix_seconds(seconds: i64) -> Civil {
        let (days, second) = (seconds.div_euclid(SECONDS_OF_DAY), seconds.rem_euclid(SECONDS_OF_DAY));
        // Years that begin in March put the leap day last, which makes months regular: 153 days in five of them.
        let days = days + DAYS_TO_1970;
        let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }

    /// Seconds since the beginning of 1970. The time has to be real, and its year of four digits.
    pub fn unix_seconds(&self) -> i64 {
        let march_year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
        let march_month = (self.month + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_OF_ERA + day_of_era - DAYS_TO_1970;
        days * SECONDS_OF_DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// Whether a calendar has that day and a clock that time.
    pub fn is_real(&self) -> bool {
        (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second)
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Seconds since 1970 as `2014-10-30T08:17:01Z`; years beyond 9999 and before 0 as the bare number.
pub fn iso(seconds: i64) -> String {
    let civil = Civil::from_unix_seconds(seconds);
    if (0..=9999).contains(&civil.year) { civil.to_string() } else { seconds.to_string() }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_414_657_021, "2014-10-30T08:17:01Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (i64::MAX, "9223372036854775807"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(iso(seconds), shown);
        }
    }

    #[test]
    fn every_day_of_an_era_is_real_and_leads_back() {
        let mut before = None;
        for day in -1..=DAYS_OF_ERA {
            let seconds = day * SECONDS_OF_DAY + 86_399;
            let civil = Civil::from_unix_seconds(seconds);
            assert!(civil.is_real(), "{civil}");
            assert_eq!(civil.unix_seconds(), seconds, "{civil}");
            let date = (civil.year, civil.month, civil.day);
            assert!(before < Some(date), "{civil}");
            before = Some(date);
        }
    }

    #[test]
    fn what_no_calendar_or_clock_shows_is_not_real() {
        let real = Civil { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 59 };
        assert!(real.is_real());
        for wrong in [
            Civil { year: 2100, ..real },
            Civil { month: 13, ..real },
            Civil { month: 0, ..real },
            Civil { day: 30, ..real },
            Civil { day: 0, ..real },
            Civil { hour: 24, ..real },
            Civil { minute: 60, ..real },
            Civil { second: 60, ..real },
        ] {
            assert!(!wrong.is_real(), "{wrong}");
        }
    }
}
