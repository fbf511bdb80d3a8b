//! What a guest is called.

/// The keys that may name a guest, in the order to ask: the first whose value gives a name is it.
pub const HOSTNAME_KEYS: [&str; 3] = ["sdc:hostname", "sdc:alias", "sdc:uuid"];

/// The longest label of a name (RFC 1123, section 2.1).
const LONGEST: usize = 63;

/// The host name that a value gives: one label of letters, digits and hyphens, neither first nor last a hyphen, of at
/// most 63 characters. Whatever else is in the value, dots included, becomes a hyphen, so that different aliases stay
/// different; `None` if nothing is left.
pub fn hostname(value: &[u8]) -> Option<String> {
    let name: String = String::from_utf8_lossy(value.trim_ascii())
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    let name = name[..name.len().min(LONGEST)].trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::hostname;

    #[test]
    fn a_name_is_one_label() {
        for (value, name) in [
            ("web-1", Some("web-1")),
            ("web.example.com\n", Some("web-example-com")),
            ("_my_zone_", Some("my-zone")),
            ("b\u{fc}ro", Some("b-ro")),
            ("", None),
            ("...", None),
        ] {
            assert_eq!(hostname(value.as_bytes()).as_deref(), name, "{value}");
        }
        let long = format!("{}-tail", "a".repeat(62));
        assert_eq!(hostname(long.as_bytes()), Some("a".repeat(62)));
    }
}
