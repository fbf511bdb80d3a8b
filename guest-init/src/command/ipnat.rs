//! `ipnat`: address translation.

use super::Invocation;

const PROGRAM: &str = "/usr/sbin/ipnat";

/// Reads a file of rules and does nothing with it.
pub fn parse(file: &str) -> Invocation {
    Invocation::reads(PROGRAM, ["-n", "-f", file])
}

/// Removes all rules and all connections that are being translated, and loads rules from a file.
pub fn load(file: &str) -> Invocation {
    Invocation::changes(PROGRAM, ["-CF", "-f", file])
}

/// Removes all rules and all connections that are being translated.
pub fn clear() -> Invocation {
    Invocation::changes(PROGRAM, ["-CF"])
}

/// Lists rules, and after them connections, of which there may be very many: [`rules`] counts the rules.
pub fn show() -> Invocation {
    Invocation::reads(PROGRAM, ["-l"]).beginning()
}

/// How many rules are in the list. Connections come after them and are in capitals.
pub fn rules(text: &str) -> usize {
    text.lines()
        .filter(|line| ["map ", "map-block ", "bimap ", "rdr "].iter().any(|word| line.starts_with(word)))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_text() {
        let text = "List of active MAP/Redirect filters:\n\
                    map e1000g0 172.16.9.0/24 -> 0.0.0.0/32 portmap tcp/udp auto\n\
                    map e1000g0 172.16.9.0/24 -> 0.0.0.0/32\n\n\
                    List of active sessions:\n\
                    MAP 172.16.9.3      51234 <- -> 10.0.0.5        1041  [93.184.216.34 80]\n";
        assert_eq!(rules(text), 2);
        assert_eq!(rules("List of active MAP/Redirect filters:\n\nList of active sessions:\n"), 0);
    }
}
