//! `ipfstat`: what the packet filter has.

use super::Invocation;

const PROGRAM: &str = "/usr/sbin/ipfstat";

/// Lists the IPv4 rules in use: [`rules`] counts them.
pub fn show_ipv4() -> Invocation {
    Invocation::reads(PROGRAM, ["-io"])
}

/// Lists the IPv6 rules in use.
pub fn show_ipv6() -> Invocation {
    Invocation::reads(PROGRAM, ["-6", "-io"])
}

/// How many rules are in a list. They are printed in a form of their own (`any` for `0/0`, names for ports), so the lines
/// cannot be compared with those that were loaded.
pub fn rules(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("pass ") || line.starts_with("block ")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_text() {
        let text = "pass out quick on e1000g0 proto tcp from any to any flags S/FSRPAU keep state keep frags\n\
                    block in log first quick on e1000g0 from any to any\nempty list for inet6 ipfilter(in)\n";
        assert_eq!(rules(text), 2);
        assert_eq!(rules("empty list for ipfilter(out)\nempty list for ipfilter(in)\n"), 0);
    }
}
