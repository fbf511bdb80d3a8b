//! ipf: the packet filter's rules and what `ipf` and `ipfstat` do with them. IP Filter 4.1.9 as illumos has it.

pub mod lexer;
pub mod names;
pub mod parser;
pub mod rule;
pub(super) mod words;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use rule::Rule;

/// Why a file is not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The platform's program says this and ends with status 1.
    Error(String),
    /// Nothing known tells what the platform does; this completes "the platform's command ...".
    Unknown(String),
}

/// The rules of one set for one IP version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    /// For packets that come in.
    pub input: Vec<Rule>,
    /// For packets that leave.
    pub output: Vec<Rule>,
}

impl Lists {
    fn list(&mut self, out: bool) -> &mut Vec<Rule> {
        if out { &mut self.output } else { &mut self.input }
    }
}

/// One of the two sets of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// IPv4's.
    pub v4: Lists,
    /// IPv6's.
    pub v6: Lists,
}

impl Set {
    /// The rules for packets of a version and direction.
    pub fn rules(&self, v6: bool, out: bool) -> &[Rule] {
        let lists = if v6 { &self.v6 } else { &self.v4 };
        if out { &lists.output } else { &lists.input }
    }
}

/// The packet filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Whether it runs (`ipf -E`).
    pub running: bool,
    /// The two sets.
    pub sets: [Set; 2],
    /// Which of them is active.
    pub active: usize,
    /// How often the state table was flushed: states older than that are gone.
    pub state_flushes: u64,
}

impl Filter {
    /// The set that packets meet.
    pub fn active(&self) -> &Set {
        &self.sets[self.active]
    }

    /// The active set, or the other one.
    pub fn set(&self, inactive: bool) -> &Set {
        &self.sets[self.active ^ usize::from(inactive)]
    }

    /// Adds a rule at a place counted from 1, or at the end. False when the same rule is there already: the kernel then says
    /// `File exists` (usr/src/uts/common/inet/ipf/fil.c, `frrequest`).
    pub fn add(&mut self, inactive: bool, rule: Rule, place: Option<u32>) -> bool {
        let set = &mut self.sets[self.active ^ usize::from(inactive)];
        let lists = if rule.v6 { &mut set.v6 } else { &mut set.v4 };
        let list = lists.list(rule.out);
        if list.contains(&rule) {
            return false;
        }
        match place {
            Some(place @ 1..) => list.insert((place as usize - 1).min(list.len()), rule),
            _ => list.push(rule),
        }
        true
    }

    /// Removes the rules of a direction.
    pub fn flush(&mut self, inactive: bool, v6: bool, out: bool) {
        let set = &mut self.sets[self.active ^ usize::from(inactive)];
        let lists = if v6 { &mut set.v6 } else { &mut set.v4 };
        lists.list(out).clear();
    }
}

/// A mask as rules are printed with it: its length, or itself when its ones are not all in front.
/// usr/src/cmd/ipf/lib/common/printmask.c.
pub fn mask_text(mask: IpAddr) -> String {
    match mask {
        IpAddr::V4(mask) => {
            super::inet::mask_length(mask).map_or_else(|| mask.to_string(), |length| length.to_string())
        }
        IpAddr::V6(mask) => u128::from(mask).leading_ones().to_string(),
    }
}

/// The mask of a length for addresses of so many bits.
pub fn mask_of_length(bits: u8, length: u32) -> IpAddr {
    if bits == 32 {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()
    } else {
        parser::v6_mask(length).into()
    }
}

#[cfg(test)]
mod tests {
    use super::parser::parse;
    use super::*;

    fn printed(text: &str) -> Vec<String> {
        let file = parse(text, false);
        assert_eq!(file.stopped, None, "{text}");
        file.rules.iter().map(|parsed| parsed.rule.to_string()).collect()
    }

    fn error(text: &str) -> String {
        match parse(text, false).stopped {
            Some(Refusal::Error(error)) => error,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn rules_are_printed_normalised() {
        for (given, wanted) in [
            (
                "pass in quick on e1000g0 proto tcp from any to any port = 22 flags S/FSRPAU keep state keep frags",
                "pass in quick on e1000g0 proto tcp from any to any port = ssh flags S/FSRPAU keep state keep frags",
            ),
            ("block in quick log first on e1000g0 all", "block in log first quick on e1000g0 all"),
            ("block in log first quick on e1000g0 all", "block in log first quick on e1000g0 all"),
            (
                "PASS OUT QUICK ON vioif0 PROTO udp FROM any TO any PORT = 123 KEEP STATE",
                "pass out quick on vioif0 proto udp from any to any port = ntp keep state",
            ),
            ("pass in from 10.1.2.3 to 192.168.7.9/16", "pass in from 10.1.2.3/32 to 192.168.0.0/16"),
            ("pass in from 10.0.0.0 mask 255.0.0.0 to any", "pass in from 10.0.0.0/8 to any"),
            ("pass in from 0/0 to any", "pass in from any to any"),
            ("pass in from 10/8 to any", "pass in from 10.0.0.0/8 to any"),
            (
                "pass out on e1000g0 from any to any port = 53 keep state",
                "pass out on e1000g0 from any to any port = 53 keep state",
            ),
            (
                "pass in proto tcp/udp from any to any port = domain",
                "pass in proto tcp/udp from any to any port = domain",
            ),
            (
                "pass in proto icmp from any to any icmp-type 8 code 0",
                "pass in proto icmp from any to any icmp-type echo code 0",
            ),
            (
                "pass in proto icmp all icmp-type unreach",
                "pass in proto icmp from any to any icmp-type unreach",
            ),
            (
                "pass in proto tcp from any port 1024:65535 to any port > 1023 flags S",
                "pass in proto tcp from any port 1024:65535 to any port > 1023 flags S/FSRPAU",
            ),
            (
                "pass in proto udp from any port 10 >< 20 to any port 10 <> 20",
                "pass in proto udp from any port 10 >< 20 to any port 10 <> 20",
            ),
            (
                "block return-rst in quick proto tcp from !10.0.0.0/8 to any",
                "block return-rst in quick proto tcp from !10.0.0.0/8 to any",
            ),
            ("pass in all;", "pass in all"),
            ("pass in", "pass in all"),
            ("skip 2 in on vnic0 all", "skip 2 in on vnic0 all"),
            ("pass in on a0,b0 all", "pass in on a0,b0 all"),
            ("pass in proto 47 all", "pass in proto gre from any to any"),
        ] {
            assert_eq!(printed(given), [wanted], "{given}");
            assert_eq!(printed(wanted), [wanted], "{wanted} again");
        }
    }

    #[test]
    fn files_have_comments_and_several_rules_a_line() {
        let text = "# head\npass in all # why\n\n@2 block out all pass out on x0 all\n# end";
        assert_eq!(printed(text), ["pass in all", "block out all", "pass out on x0 all"]);
        let places: Vec<_> = parse(text, false).rules.iter().map(|parsed| parsed.place).collect();
        assert_eq!(places, [None, Some(2), None]);
        assert!(printed("").is_empty());
        assert!(printed("# only this\n").is_empty());
    }

    #[test]
    fn v6_rules_need_dash_6() {
        let file =
            parse("pass in quick on e1000g0 proto ipv6-icmp from fe80::/10 to any icmp-type 135\n", true);
        assert_eq!(file.stopped, None);
        assert_eq!(
            file.rules[0].rule.to_string(),
            "pass in quick on e1000g0 proto ipv6-icmp from fe80::/10 to any icmp-type 135"
        );
        assert!(matches!(parse("pass in from fe80::/10 to any", false).stopped, Some(Refusal::Unknown(_))));
        assert!(matches!(parse("pass in from 10.0.0.0/8 to any", true).stopped, Some(Refusal::Unknown(_))));
        let long = parse("pass in from fe80::/129 to any", true).stopped;
        assert_eq!(
            long,
            Some(Refusal::Error("Bad value specified for netmask error at \"to\", line 1".into()))
        );
    }

    #[test]
    fn errors_name_the_word_and_its_line() {
        for (text, wanted) in [
            (
                "pass in quick on e1000g0 proto tcp from any to any port = { 22, 80 }\n",
                "syntax error error at \"{\", line 1",
            ),
            (
                "pass in all\npass in proto tcp from any to any port = 65536\n",
                "invalid port number error at \"65536\", line 2",
            ),
            (
                "pass in from 10.0.0.256 to any",
                "Invalid octet string for IP address error at \"256\", line 1",
            ),
            ("pass in from 300.0.0.1 to any", "Invalid octet string for IP address error at \"0\", line 1"),
            ("pass in from 10.0.0.0/33 to any", "Bad value specified for netmask error at \"to\", line 1"),
            ("pass in on\n\nblock in all\n", "syntax error error at \"block\", line 3"),
            ("pass in on", "syntax error error at \"\", line 1"),
            ("\n\n", "syntax error error at \"\", line 1"),
            ("allow in all\n", "syntax error error at \"allow\", line 1"),
            ("pass in quick quick all", "Duplicate quick option error at \"quick\", line 1"),
            ("pass in proto foo from any to any", "protocol unknown error at \"from\", line 1"),
            (
                "pass in proto tcp from any to any port = nosuch",
                "service unknown error at \"nosuch\", line 1",
            ),
            ("pass in proto udp from any to any port = ssh", "service unknown error at \"ssh\", line 1"),
            (
                "pass in proto udp from any to any flags S",
                "flags with non-TCP rule error at \"flags\", line 1",
            ),
            ("pass in all flags S", "flags with non-ipf type rule error at \"flags\", line 1"),
            ("pass in all keep stat\n", "syntax error error at \"stat\", line 1"),
            ("pass in on proto all", "syntax error error at \"proto\", line 1"),
            ("pass in all; $", "is not known"),
        ] {
            match parse(text, false).stopped {
                Some(Refusal::Unknown(what)) => assert!(what.starts_with(wanted), "{text}: {what}"),
                _ => assert_eq!(error(text), wanted, "{text}"),
            }
        }
    }

    #[test]
    fn rules_before_an_error_are_loaded() {
        let file = parse("pass in all\nblock in on\n", false);
        assert_eq!(file.rules.len(), 1);
        assert!(file.stopped.is_some());
    }

    #[test]
    fn sets_refuse_the_same_rule_twice_and_insert_at_places() {
        let mut filter = Filter::default();
        let rules: Vec<Rule> = parse("pass in on a0 all\npass in on b0 all\npass in on c0 all\n", false)
            .rules
            .into_iter()
            .map(|parsed| parsed.rule)
            .collect();
        assert!(filter.add(true, rules[0].clone(), None));
        assert!(!filter.add(true, rules[0].clone(), None));
        assert!(filter.add(true, rules[1].clone(), Some(1)));
        assert!(filter.add(true, rules[2].clone(), Some(0)));
        assert!(filter.active().rules(false, false).is_empty());
        let order: Vec<_> =
            filter.set(true).rules(false, false).iter().map(|rule| rule.on[0].as_str()).collect();
        assert_eq!(order, ["b0", "a0", "c0"]);
        filter.flush(true, false, false);
        assert_eq!(filter, Filter::default());
    }

    #[test]
    fn damaged_files_are_read_to_an_end() {
        let text = "# x\npass in log first quick on e1000g0 proto tcp from !10.0.0.0/8 port 1:9 to any port = 22 flags S/SA keep \
                    state keep frags\n@1 block return-rst out on a0,b0 from fe80::/10 to any icmp-type 8 code 0\nmap e0 1.2.3.4/5 \
                    -> 0/32 portmap tcp/udp auto rdr e0 0/0 port 80 -> 1.2.3.4 port 8 udp\n";
        let mut stopped = 0;
        for place in 0..text.len() {
            for put in [
                "",
                " ",
                ":",
                ".",
                "/",
                "!",
                "@",
                "{",
                "0",
                "99999999999",
                "any",
                "port",
                "->",
                "\n",
                "#",
                "\u{e9}",
            ] {
                let damaged = format!("{}{put}{}", &text[..place], &text[place + 1..]);
                for v6 in [false, true] {
                    stopped += usize::from(parse(&damaged, v6).stopped.is_some());
                }
                let _ = crate::network::nat::parse(&damaged);
                let _ = crate::network::nat::parse(&damaged[damaged.find("map").unwrap_or(0)..]);
            }
        }
        assert_eq!(stopped, 2 * 16 * text.len(), "a file of both kinds of rules always stops the parser");
    }
}
