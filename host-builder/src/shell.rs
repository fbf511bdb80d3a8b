//! Command lines that users may copy.

use std::path::Path;

/// A path as one word of a command line.
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    // A dash at the beginning would make it a flag.
    let text = if text.starts_with('-') { format!("./{text}") } else { text.into_owned() };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=@%+".contains(&byte);
    if text.bytes().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_written() {
        for (path, expected) in [
            ("output/smartos-retro-1.0.zvol.gz", "output/smartos-retro-1.0.zvol.gz"),
            ("my images/a", "'my images/a'"),
            ("$HOME", "'$HOME'"),
            ("it's", r"'it'\''s'"),
            ("-out/a", "./-out/a"),
            ("~/\u{e9}", "'~/\u{e9}'"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
