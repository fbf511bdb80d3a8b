//! Times and sizes for people.

/// Seconds since 1970 as `2014-10-30T08:17:01Z`; years beyond 9999 and before 0 as the bare number.
pub fn iso(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March put the leap day last, which makes months regular: 153 days in five of them.
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return seconds.to_string();
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A size for people: exact bytes, and a rounded one when that says more.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some((unit, scale)) = UNITS.iter().zip([10, 20, 30, 40]).rfind(|(_, scale)| bytes >> scale > 0)
    else {
        return format!("{bytes} bytes");
    };
    // In tenths of the unit, rounded to the nearest.
    let tenths = (u128::from(bytes) * 10 + (1 << (scale - 1))) >> scale;
    format!("{bytes} bytes ({}.{} {unit})", tenths / 10, tenths % 10)
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
    fn sizes_are_exact_and_readable() {
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(1 << 30), "1073741824 bytes (1.0 GiB)");
        assert_eq!(size(1536 << 10), "1572864 bytes (1.5 MiB)");
    }
}
