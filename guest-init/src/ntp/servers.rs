//! The servers that ntp.conf names.

/// The most names that are taken.
const MOST: usize = 16;

/// The names and addresses in an ntp.conf, in order and without repetition.
pub fn names(config: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in config.lines() {
        let mut words = line.split_whitespace();
        if !matches!(words.next(), Some("server" | "pool" | "peer")) {
            continue;
        }
        // `-4` and `-6` choose a family.
        let Some(name) = words.find(|word| !word.starts_with('-')) else { continue };
        // 127.127.x.y is no address but a clock at this machine.
        let is_name = name.len() <= 255
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_'));
        if is_name && !name.starts_with("127.127.") && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.truncate(MOST);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_pools_are_found() {
        let config = "tinker panic 0\n# server commented.example.org\nrestrict default ignore\n\
                      pool 0.smartos.pool.ntp.org burst iburst\n\tserver -4 192.0.2.1 prefer\nserver 127.127.1.0\n\
                      server 192.0.2.1\nserver\npeer 2001:db8::1\nserver bad;name\nserver $(reboot)\n";
        assert_eq!(names(config), ["0.smartos.pool.ntp.org", "192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn there_are_not_too_many() {
        let config: Vec<String> = (0..100).map(|number| format!("server s{number}")).collect();
        assert_eq!(names(&config.join("\n")).len(), MOST);
        assert!(names(&format!("server {}\n", "a".repeat(256))).is_empty());
    }
}
