//! Reads `ipf.conf`: usr/src/cmd/ipf/tools/ipf_y.y, the same from 2009 to 2022.
//!
//! ipf's parser ends the program at the first error, so everything before has been loaded and nothing after is. What the
//! grammar has and nothing known needs (lists, groups, tags, pools, routing options) is refused as unknown, not as an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lexer::{Token, tokens};
use super::names;
use super::rule::{Action, Answer, FLAGS_ALL, Log, Ports, Protocol, Rule, Side, flag_bits};
use super::words::Words;
use super::{Refusal, mask_of_length};

/// A rule of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The rule.
    pub rule: Rule,
    /// Where `@N` wants it among the others, counted from 1; 0 and none are the end.
    pub place: Option<u32>,
    /// The line that a message about loading it names: that of the word after it.
    pub line: usize,
    /// What ipf says on standard error while it reads it.
    pub warning: Option<String>,
}

/// What a file holds: the rules before the first error, and the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The rules.
    pub rules: Vec<Parsed>,
    /// What ended the reading before the file's end.
    pub stopped: Option<Refusal>,
}

/// Reads a file's text; `v6` as with `ipf -6`.
pub fn parse(text: &str, v6: bool) -> File {
    let mut rules = Vec::new();
    // A file without a byte is no error: ipf_parsesome does not call the parser for it.
    if text.is_empty() {
        return File { rules, stopped: None };
    }
    let words = match tokens(text) {
        Ok(words) => words,
        Err(refusal) => return File { rules, stopped: Some(refusal) },
    };
    let mut parser = Parser { words: Words::new(&words, KEYWORDS), v6 };
    let stopped = parser.file(&mut rules).err();
    File { rules, stopped }
}

/// The grammar's keywords, usr/src/cmd/ipf/tools/ipf_y.y, `ipfwords`: a name cannot be one of them.
const KEYWORDS: &[&str] = &[
    "age",
    "ah",
    "all",
    "and",
    "auth",
    "bad",
    "bad-nat",
    "bad-src",
    "bcast",
    "block",
    "body",
    "bpf-v4",
    "bpf-v6",
    "call",
    "code",
    "count",
    "dup-to",
    "eq",
    "esp",
    "fastroute",
    "first",
    "flags",
    "frag",
    "frag-body",
    "frags",
    "from",
    "ge",
    "group",
    "gt",
    "head",
    "icmp",
    "icmp-type",
    "in",
    "in-via",
    "intercept_loopback",
    "ipopt",
    "ipopts",
    "keep",
    "le",
    "level",
    "limit",
    "log",
    "lowttl",
    "lt",
    "mask",
    "match-tag",
    "mbcast",
    "mcast",
    "multicast",
    "nat",
    "ne",
    "net",
    "newisn",
    "no",
    "no-icmp-err",
    "now",
    "not",
    "oow",
    "on",
    "opt",
    "or-block",
    "out",
    "out-via",
    "pass",
    "port",
    "pps",
    "preauth",
    "proto",
    "quick",
    "reply-to",
    "return-icmp",
    "return-icmp-as-dest",
    "return-rst",
    "route-to",
    "sec-class",
    "set-tag",
    "set",
    "skip",
    "short",
    "state",
    "state-age",
    "strict",
    "sync",
    "tcp",
    "tcp-udp",
    "tos",
    "to",
    "ttl",
    "udp",
    "v6hdrs",
    "with",
];

struct Parser<'a> {
    words: Words<'a>,
    v6: bool,
}

impl Parser<'_> {
    fn number(&mut self) -> Result<u32, Refusal> {
        let Token::Number(number) = self.words.here().token else { return self.words.syntax() };
        self.words.skip();
        Ok(number)
    }

    fn file(&mut self, rules: &mut Vec<Parsed>) -> Result<(), Refusal> {
        // The grammar wants a rule or a comment: a file of blanks alone is an error.
        loop {
            if self.words.here().token == Token::Comment {
                self.words.skip();
            } else {
                if self.words.is("set") {
                    return self.words.unknown("set");
                }
                let rule = self.rule()?;
                rules.push(rule);
            }
            if self.words.here().token == Token::End {
                return Ok(());
            }
        }
    }

    fn rule(&mut self) -> Result<Parsed, Refusal> {
        let place = if self.words.take_sign('@') { Some(self.number()?) } else { None };
        if matches!(self.words.here().token, Token::Number(_)) {
            return self.words.unknown("a collection number");
        }
        let action = self.action()?;
        let out = if self.words.take("in") {
            false
        } else if self.words.take("out") {
            true
        } else {
            return self.words.syntax();
        };
        let mut rule = Rule {
            action,
            out,
            log: None,
            quick: false,
            on: Vec::new(),
            conditions: false,
            protocol: Protocol::Any,
            source: Side::ANY,
            destination: Side::ANY,
            flags: None,
            icmp: None,
            keep_state: false,
            keep_frags: false,
            v6: self.v6,
        };
        let warning = self.options(&mut rule)?;
        self.conditions(&mut rule)?;
        self.keep(&mut rule)?;
        for tail in ["with", "and", "head", "group", "set-tag", "match-tag", "pps", "age", "state-age"] {
            if self.words.is(tail) {
                return self.words.unknown(tail);
            }
        }
        self.words.take_sign(';');
        let starts = match &self.words.here().token {
            Token::End | Token::Comment | Token::Sign('@') => true,
            token @ Token::Word(_) => matches!(
                self.words.keyword_of(token),
                Some("block" | "pass" | "log" | "count" | "auth" | "preauth" | "skip" | "call" | "set")
            ),
            Token::Number(_) => return self.words.unknown("a collection number"),
            _ => false,
        };
        if !starts {
            return self.words.syntax();
        }
        Ok(Parsed { rule, place, line: self.words.here().line, warning })
    }

    fn action(&mut self) -> Result<Action, Refusal> {
        let action = match self.words.keyword() {
            Some("block") => {
                self.words.skip();
                let answer = match self.words.keyword() {
                    Some("return-icmp") => Answer::Icmp,
                    Some("return-icmp-as-dest") => Answer::IcmpAsDestination,
                    Some("return-rst") => Answer::Reset,
                    _ => return Ok(Action::Block(Answer::None)),
                };
                self.words.skip();
                if self.words.here().token == Token::Sign('(') {
                    return self.words.unknown("a return code");
                }
                return Ok(Action::Block(answer));
            }
            Some("skip") => {
                self.words.skip();
                return Ok(Action::Skip(self.number()?));
            }
            Some("pass") => Action::Pass,
            Some("count") => Action::Count,
            Some("log") => Action::Log,
            Some(word @ ("auth" | "preauth" | "call")) => return self.words.unknown(word),
            _ => return self.words.syntax(),
        };
        self.words.skip();
        Ok(action)
    }

    /// What stands between the direction and the conditions, in any order. Returns what ipf says of an interface.
    fn options(&mut self, rule: &mut Rule) -> Result<Option<String>, Refusal> {
        let mut warning = None;
        loop {
            match self.words.keyword() {
                Some("log") => {
                    self.words.skip();
                    let mut log = Log::default();
                    loop {
                        if self.words.take("body") {
                            log.body = true;
                        } else if self.words.take("first") {
                            log.first = true;
                        } else if self.words.take("or-block") {
                            log.or_block = true;
                        } else if self.words.is("level") {
                            return self.words.unknown("level");
                        } else {
                            break;
                        }
                    }
                    if rule.log.replace(log).is_some() {
                        return self.words.error("Duplicate log option");
                    }
                }
                Some("quick") => {
                    if std::mem::replace(&mut rule.quick, true) {
                        return self.words.error("Duplicate quick option");
                    }
                    self.words.skip();
                }
                Some("on") => {
                    self.words.skip();
                    let mut on = vec![self.interface(&mut warning)?];
                    if self.words.take_sign(',') {
                        on.push(self.interface(&mut warning)?);
                    }
                    if self.words.is("in-via") || self.words.is("out-via") {
                        return self.words.unknown("in-via or out-via");
                    }
                    if !std::mem::replace(&mut rule.on, on).is_empty() {
                        return self.words.error("Duplicate on option");
                    }
                }
                Some(word @ ("dup-to" | "to" | "route-to" | "reply-to" | "fastroute")) => {
                    // `to` may also begin the conditions: then an address or a port follows, not a name.
                    if word != "to" {
                        return self.words.unknown(word);
                    }
                    return Ok(warning);
                }
                Some(word @ ("tos" | "ttl" | "bpf-v4" | "bpf-v6")) => return self.words.unknown(word),
                _ => return Ok(warning),
            }
        }
    }

    fn interface(&mut self, warning: &mut Option<String>) -> Result<String, Refusal> {
        let name = match &self.words.here().token {
            token @ Token::Word(name) if self.words.keyword_of(token).is_none() => name.clone(),
            _ => return self.words.syntax(),
        };
        self.words.skip();
        if self.words.take_sign(':') {
            let line = self.words.here().line;
            let number = self.number()?;
            *warning = Some(format!(
                "{line}: Logical interface {name}:{number} unsupported, use the physical interface {name} instead."
            ));
        }
        Ok(name)
    }

    fn conditions(&mut self, rule: &mut Rule) -> Result<(), Refusal> {
        if self.words.take("proto") {
            rule.conditions = true;
            rule.protocol = self.protocol()?;
        }
        if !self.words.take("all") {
            if self.words.take("from") {
                rule.conditions = true;
                rule.source = self.side(rule.protocol)?;
            }
            if self.words.take("to") {
                // The grammar's `to` alone does not make a rule with conditions; the address then has nowhere to go.
                if !rule.conditions {
                    return self.words.unknown("to without from or proto");
                }
                rule.destination = self.side(rule.protocol)?;
            }
        }
        if self.words.is("flags") {
            if !rule.conditions {
                return self.words.error("flags with non-ipf type rule");
            }
            if rule.protocol != Protocol::Number(6) {
                return self.words.error("flags with non-TCP rule");
            }
            self.words.skip();
            let set = if self.words.here().token == Token::Sign('/') { 0 } else { self.flags()? };
            let mask = if self.words.take_sign('/') { self.flags()? } else { FLAGS_ALL };
            rule.flags = Some((set, mask));
        }
        if self.words.take("icmp-type") {
            rule.conditions = true;
            let kind = self.icmp_type()?;
            let code = if self.words.take("code") {
                Some(u8::try_from(self.number()?).or_else(|_| self.words.unknown("a code over 255"))?)
            } else {
                None
            };
            rule.icmp = Some((kind, code));
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<Protocol, Refusal> {
        let token = self.words.here().token.clone();
        self.words.skip();
        match token {
            Token::Number(number) => match u8::try_from(number) {
                Ok(number) => Ok(Protocol::Number(number)),
                Err(_) => self.words.unknown("a protocol over 255"),
            },
            Token::Word(name) if self.words.here().token == Token::Sign('/') => {
                self.words.skip();
                let second = self.words.here().token == Token::Word("udp".to_owned());
                if name != "tcp" || !second {
                    return self.words.syntax();
                }
                self.words.skip();
                Ok(Protocol::TcpUdp)
            }
            Token::Word(name) if name == "tcp-udp" => Ok(Protocol::TcpUdp),
            Token::Word(name) => match names::protocol(&name) {
                Some(number) => Ok(Protocol::Number(number)),
                None => self.words.error("protocol unknown"),
            },
            _ => {
                self.words.put_back();
                self.words.syntax()
            }
        }
    }

    /// An address, a port, or both.
    fn side(&mut self, protocol: Protocol) -> Result<Side, Refusal> {
        let mut side = Side::ANY;
        if !self.words.is("port") {
            side.not = self.words.take_sign('!');
            side.address = self.address()?;
        }
        if self.words.take("port") {
            side.ports = Some(self.ports(protocol)?);
        }
        Ok(side)
    }

    /// An address with its mask; none for `any` and for what means the same.
    fn address(&mut self) -> Result<Option<(IpAddr, IpAddr)>, Refusal> {
        let token = self.words.here().token.clone();
        let address: IpAddr = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("any") => {
                self.words.skip();
                return Ok(None);
            }
            Token::Word(word) if ["pool", "hash"].iter().any(|name| word.eq_ignore_ascii_case(name)) => {
                return self.words.unknown("pools and hashes");
            }
            Token::Word(_) if self.words.keyword_of(&token).is_some() => return self.words.syntax(),
            // ipf asks the host's files and DNS for it, or takes it for the rule's interface.
            Token::Word(_) => return self.words.unknown("a name for an address"),
            Token::Sign('(') => return self.words.unknown("a list"),
            Token::Hex(_) => return self.words.unknown("a hexadecimal address"),
            Token::Ipv6(address) => {
                self.words.skip();
                if !self.v6 {
                    return self.words.unknown("an IPv6 address without -6");
                }
                address.into()
            }
            Token::Number(_) => {
                let address = self.octets()?;
                if self.v6 {
                    return self.words.unknown("an IPv4 address with -6");
                }
                address.into()
            }
            _ => return self.words.syntax(),
        };
        let bits = if self.v6 { 128 } else { 32 };
        let mask = if self.words.take_sign('/') || self.words.take("mask") {
            self.mask(bits)?
        } else {
            mask_of_length(bits, u32::from(bits))
        };
        let address = match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                IpAddr::V4(Ipv4Addr::from(u32::from(address) & u32::from(mask)))
            }
            (address, _) => address,
        };
        let any = address.is_unspecified() && mask.is_unspecified();
        Ok((!any).then_some((address, mask)))
    }

    /// `A.B.C.D`, `A.B.C`, `A.B` or `A`, the missing ones being zero.
    fn octets(&mut self) -> Result<Ipv4Addr, Refusal> {
        let mut octets = [0; 4];
        for (place, octet) in octets.iter_mut().enumerate() {
            if place > 0 && !self.words.take_sign('.') {
                break;
            }
            let Token::Number(number) = self.words.here().token else { return self.words.syntax() };
            match u8::try_from(number) {
                Ok(number) => *octet = number,
                // The first number is judged with the second, so it is the second that the error names.
                Err(_) if place == 0 && self.words.is_before('.') => {
                    self.words.skip();
                    self.words.skip();
                    let Token::Number(_) = self.words.here().token else { return self.words.syntax() };
                    return self.words.error("Invalid octet string for IP address");
                }
                Err(_) if place == 0 => return self.words.unknown("an address of one number"),
                Err(_) => return self.words.error("Invalid octet string for IP address"),
            }
            self.words.skip();
        }
        Ok(octets.into())
    }

    fn mask(&mut self, bits: u8) -> Result<IpAddr, Refusal> {
        match self.words.here().token {
            Token::Number(number) => {
                let dotted = self.words.is_before('.');
                if dotted {
                    if self.v6 {
                        return self.words.unknown("a dotted mask with -6");
                    }
                    return Ok(self.octets()?.into());
                }
                self.words.skip();
                // The parser has to look at the next word first, to see that no point follows: the error names that one.
                if number > u32::from(bits) {
                    return self.words.error("Bad value specified for netmask");
                }
                Ok(mask_of_length(bits, number))
            }
            Token::Hex(number) if !self.v6 => {
                self.words.skip();
                Ok(Ipv4Addr::from(number).into())
            }
            Token::Word(_) => self.words.unknown("a mask by name"),
            _ => self.words.syntax(),
        }
    }

    fn ports(&mut self, protocol: Protocol) -> Result<Ports, Refusal> {
        let compare = match self.words.here().token.clone() {
            Token::Sign('=') => "eq",
            Token::Compare(name) => name,
            // A word may be a comparison, or the service with which a range begins.
            ref token @ Token::Word(_) => self
                .words
                .keyword_of(token)
                .filter(|name| ["eq", "ne", "lt", "le", "gt", "ge"].contains(name))
                .unwrap_or("range"),
            Token::Number(_) => "range",
            _ => return self.words.syntax(),
        };
        if compare != "range" {
            self.words.skip();
            if self.words.here().token == Token::Sign('(') {
                return self.words.unknown("a list");
            }
            let port = self.port(protocol)?;
            return Ok(match compare {
                "ne" => Ports::NotEqual(port),
                "lt" => Ports::Less(port),
                "le" => Ports::AtMost(port),
                "gt" => Ports::Greater(port),
                "ge" => Ports::AtLeast(port),
                _ => Ports::Equal(port),
            });
        }
        let first = self.port(protocol)?;
        let range = self.words.here().token.clone();
        if !matches!(range, Token::Range(_) | Token::Sign(':')) {
            return self.words.syntax();
        }
        self.words.skip();
        let second = self.port(protocol)?;
        Ok(match range {
            Token::Range("<>") => Ports::Outside(first, second),
            Token::Range(_) => Ports::Inside(first, second),
            _ => Ports::Range(first, second),
        })
    }

    fn port(&mut self, protocol: Protocol) -> Result<u16, Refusal> {
        let port = match &self.words.here().token {
            Token::Number(number) => {
                u16::try_from(*number).or_else(|_| self.words.error("invalid port number"))?
            }
            Token::Word(name) => match names::port(name, protocol) {
                Some(port) => port,
                None => return self.words.error("service unknown"),
            },
            _ => return self.words.syntax(),
        };
        self.words.skip();
        Ok(port)
    }

    fn flags(&mut self) -> Result<u8, Refusal> {
        let bits = match &self.words.here().token {
            Token::Word(letters) => match flag_bits(letters) {
                Some(bits) => bits,
                // tcpflags() makes nothing of letters that it does not know.
                None => return self.words.unknown("such TCP flags"),
            },
            Token::Number(_) | Token::Hex(_) => return self.words.unknown("TCP flags by number"),
            _ => return self.words.syntax(),
        };
        self.words.skip();
        Ok(bits)
    }

    fn icmp_type(&mut self) -> Result<u8, Refusal> {
        let kind = match &self.words.here().token {
            Token::Number(number) => match u8::try_from(*number) {
                Ok(number) => number,
                Err(_) => return self.words.unknown("an ICMP type over 255"),
            },
            Token::Word(_) if self.v6 => return self.words.unknown("an ICMP type by name with -6"),
            Token::Word(name) => match names::icmp_type(&name.to_ascii_lowercase()) {
                Some(number) => number,
                None => return self.words.syntax(),
            },
            Token::Sign('(') => return self.words.unknown("a list"),
            _ => return self.words.syntax(),
        };
        self.words.skip();
        Ok(kind)
    }

    fn keep(&mut self, rule: &mut Rule) -> Result<(), Refusal> {
        for _ in 0..2 {
            if !self.words.take("keep") {
                break;
            }
            let kept = if self.words.take("state") {
                &mut rule.keep_state
            } else if self.words.take("frags") || self.words.take("frag") {
                &mut rule.keep_frags
            } else {
                return self.words.syntax();
            };
            if std::mem::replace(kept, true) {
                self.words.put_back();
                return self.words.syntax();
            }
            if self.words.here().token == Token::Sign('(') {
                return self.words.unknown("options of keep");
            }
        }
        Ok(())
    }
}

/// The mask of all ones before and zeros after a length.
pub fn v6_mask(length: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::MAX.checked_shl(128 - length).unwrap_or(0))
}
