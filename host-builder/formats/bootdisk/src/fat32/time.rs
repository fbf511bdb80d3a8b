//! FAT's time stamps: local time by definition, UTC by our choice, from 1980 to 2107.

/// 1980-01-01T00:00:00Z, the earliest FAT time, in seconds since 1970.
const EARLIEST: i64 = 315_532_800;
/// 2107-12-31T23:59:59Z, the latest, in seconds since 1970.
const LATEST: i64 = 4_354_819_199;

/// A moment as a directory entry holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FatTime {
    /// Day in bits 0..4, month in 5..8, years since 1980 in 9..15.
    pub date: u16,
    /// Seconds halved in bits 0..4, minutes in 5..10, hours in 11..15.
    pub time: u16,
    /// Hundredths of a second beyond `time`, 0 to 199.
    pub hundredths: u8,
}

impl FatTime {
    /// The nearest FAT time to a moment in seconds since 1970; earlier and later ones become the first and
    /// the last.
    pub fn from_unix(seconds: i64) -> FatTime {
        let seconds = seconds.clamp(EARLIEST, LATEST);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        FatTime {
            date: (day | month << 5 | (year - 1980) << 9) as u16,
            time: ((second % 60 / 2) | (second / 60 % 60) << 5 | (second / 3600) << 11) as u16,
            hundredths: if second % 2 == 1 { 100 } else { 0 },
        }
    }

    /// Seconds since 1970. Days and months out of range, as in damaged directories, count on arithmetically.
    pub fn to_unix(self) -> i64 {
        let (date, time) = (i64::from(self.date), i64::from(self.time));
        let days = days_from_civil(1980 + (date >> 9), (date >> 5 & 15).clamp(1, 12), (date & 31).max(1));
        let seconds = (time >> 11) * 3600 + (time >> 5 & 63) * 60 + (time & 31) * 2;
        days * 86_400 + seconds + i64::from(self.hundredths) / 100
    }
}

/// Days since 1970-01-01 of a date, for years after 0. Years are counted from March, so that the leap day is
/// the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The inverse of [`days_from_civil`], for days from 1970 on.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // 2014-10-30T08:17:01Z
        let time = FatTime::from_unix(1_414_657_021);
        assert_eq!((time.date >> 9, time.date >> 5 & 15, time.date & 31), (34, 10, 30));
        assert_eq!((time.time >> 11, time.time >> 5 & 63, time.time & 31, time.hundredths), (8, 17, 0, 100));
        assert_eq!(FatTime::from_unix(i64::MIN).to_unix(), EARLIEST);
        assert_eq!(FatTime::from_unix(i64::MAX).to_unix(), LATEST);
        assert_eq!(FatTime::from_unix(i64::MIN).date, 0x21);
        assert_eq!(FatTime::from_unix(i64::MAX), FatTime { date: 0xFF9F, time: 0xBF7D, hundredths: 100 });
    }

    #[test]
    fn every_day_comes_back() {
        for day in EARLIEST / 86_400..=LATEST / 86_400 {
            let seconds = day * 86_400 + day % 86_400;
            assert_eq!(FatTime::from_unix(seconds).to_unix(), seconds);
        }
    }

    #[test]
    fn damaged_times_do_not_panic() {
        for date in 0..=u16::MAX {
            FatTime { date, time: date.rotate_left(7), hundredths: date as u8 }.to_unix();
        }
    }
}
