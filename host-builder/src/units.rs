//! Numbers with units, for people.

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

/// How many there are of what `one` names: `1 file`, `2 files`.
pub fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_and_readable() {
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(1 << 30), "1073741824 bytes (1.0 GiB)");
        assert_eq!(size(1536 << 10), "1572864 bytes (1.5 MiB)");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0_usize, 1, 2].map(|number| count(number, "file")), ["0 files", "1 file", "2 files"]);
    }
}
