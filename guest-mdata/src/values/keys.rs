//! `root_authorized_keys`.

/// The lines of `root_authorized_keys`, in the format of OpenSSH: a key each, without comments, blank lines, and white
/// space around them. A line with a NUL or another control character in it is none.
pub fn authorized_keys(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line.trim_ascii()).ok())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| !line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t'))
}

#[cfg(test)]
mod tests {
    use super::authorized_keys;

    #[test]
    fn a_key_is_a_line() {
        let value =
            b"ssh-rsa AAAA a@b\r\n\n# old\n  ssh-ed25519 BBBB\nssh-rsa C\0C\nssh-rsa \xff\nssh-rsa DDDD";
        let keys: Vec<&str> = authorized_keys(value).collect();
        assert_eq!(keys, ["ssh-rsa AAAA a@b", "ssh-ed25519 BBBB", "ssh-rsa DDDD"]);
    }
}
