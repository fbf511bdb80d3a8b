//! Reads `ipf.conf`: usr/src/cmd/ipf/tools/ipf_y.y, the same from 2009 to 2022.
//!
//! ipf's parser ends the program at the first error, so everything before has been loaded and nothing after is. What the
//! grammar has and nothing known needs (lists, groups, tags, pools, routing options) is refused as unknown, not as an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lexer::{Located, Token, tokens};
use super::names;
use super::rule::{Action, Answer, FLAGS_ALL, Log, Ports, Protocol, Rule, Side, flag_bits};
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
    let mut parser = Parser { words: &words, at: 0, v6 };
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

/// The keyword that a word is, in any case of letters.
fn keyword(token: &Token) -> Option<&'static str> {
    let Token::Word(word) = token else { return None };
    KEYWORDS.iter().copied().find(|known| word.eq_ignore_ascii_case(known))
}

/// How an error names a word: usr/src/cmd/ipf/tools/lexer.c, `yyerror`.
pub fn error_name(token: &Token) -> String {
    match token {
        Token::Word(word) => keyword(token).map_or_else(|| word.clone(), str::to_owned),
        Token::Number(number) => number.to_string(),
        Token::Hex(number) => format!("0x{number:x}"),
        Token::Sign(sign) => sign.to_string(),
        Token::Compare(name) => (*name).to_owned(),
        Token::Ipv6(_) | Token::Range(_) | Token::Comment => "<unknown>".to_owned(),
        Token::End => String::new(),
    }
}

struct Parser<'a> {
    words: &'a [Located],
    at: usize,
    v6: bool,
}

impl Parser<'_> {
    fn here(&self) -> &Located {
        // The last word is the end, which nothing takes.
        &self.words[self.at.min(self.words.len() - 1)]
    }

    /// The error that the parser makes at a word.
    fn error_at(place: &Located, message: &str) -> Refusal {
        Refusal::Error(format!("{message} error at \"{}\", line {}", error_name(&place.token), place.line))
    }

    fn error<T>(&self, message: &str) -> Result<T, Refusal> {
        Err(Self::error_at(self.here(), message))
    }

    fn syntax<T>(&self) -> Result<T, Refusal> {
        self.error("syntax error")
    }

    fn unknown<T>(&self, what: &str) -> Result<T, Refusal> {
        let place = self.here();
        Err(Refusal::Unknown(format!(
            "is not known with {what} in a rule ({:?}, line {})",
            error_name(&place.token),
            place.line
        )))
    }

    fn is(&self, word: &str) -> bool {
        keyword(&self.here().token) == Some(word)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.here().token == Token::Sign(sign);
        self.at += usize::from(found);
        found
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        let Token::Number(number) = self.here().token else { return self.syntax() };
        self.at += 1;
        Ok(number)
    }

    fn file(&mut self, rules: &mut Vec<Parsed>) -> Result<(), Refusal> {
        // The grammar wants a rule or a comment: a file of blanks alone is an error.
        loop {
            if self.here().token == Token::Comment {
                self.at += 1;
            } else {
                if self.is("set") {
                    return self.unknown("set");
                }
                let rule = self.rule()?;
                rules.push(rule);
            }
            if self.here().token == Token::End {
                return Ok(());
            }
        }
    }

    fn rule(&mut self) -> Result<Parsed, Refusal> {
        let place = if self.take_sign('@') { Some(self.number()?) } else { None };
        if matches!(self.here().token, Token::Number(_)) {
            return self.unknown("a collection number");
        }
        let action = self.action()?;
        let out = if self.take("in") {
            false
        } else if self.take("out") {
            true
        } else {
            return self.syntax();
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
            if self.is(tail) {
                return self.unknown(tail);
            }
        }
        self.take_sign(';');
        let starts = match &self.here().token {
            Token::End | Token::Comment | Token::Sign('@') => true,
            token @ Token::Word(_) => matches!(
                keyword(token),
                Some("block" | "pass" | "log" | "count" | "auth" | "preauth" | "skip" | "call" | "set")
            ),
            Token::Number(_) => return self.unknown("a collection number"),
            _ => false,
        };
        if !starts {
            return self.syntax();
        }
        Ok(Parsed { rule, place, line: self.here().line, warning })
    }

    fn action(&mut self) -> Result<Action, Refusal> {
        let action = match keyword(&self.here().token) {
            Some("block") => {
                self.at += 1;
                let answer = match keyword(&self.here().token) {
                    Some("return-icmp") => Answer::Icmp,
                    Some("return-icmp-as-dest") => Answer::IcmpAsDestination,
                    Some("return-rst") => Answer::Reset,
                    _ => return Ok(Action::Block(Answer::None)),
                };
                self.at += 1;
                if self.here().token == Token::Sign('(') {
                    return self.unknown("a return code");
                }
                return Ok(Action::Block(answer));
            }
            Some("skip") => {
                self.at += 1;
                return Ok(Action::Skip(self.number()?));
            }
            Some("pass") => Action::Pass,
            Some("count") => Action::Count,
            Some("log") => Action::Log,
            Some(word @ ("auth" | "preauth" | "call")) => return self.unknown(word),
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(action)
    }

    /// What stands between the direction and the conditions, in any order. Returns what ipf says of an interface.
    fn options(&mut self, rule: &mut Rule) -> Result<Option<String>, Refusal> {
        let mut warning = None;
        loop {
            match keyword(&self.here().token) {
                Some("log") => {
                    self.at += 1;
                    let mut log = Log::default();
                    loop {
                        if self.take("body") {
                            log.body = true;
                        } else if self.take("first") {
                            log.first = true;
                        } else if self.take("or-block") {
                            log.or_block = true;
                        } else if self.is("level") {
                            return self.unknown("level");
                        } else {
                            break;
                        }
                    }
                    if rule.log.replace(log).is_some() {
                        return self.error("Duplicate log option");
                    }
                }
                Some("quick") => {
                    if std::mem::replace(&mut rule.quick, true) {
                        return self.error("Duplicate quick option");
                    }
                    self.at += 1;
                }
                Some("on") => {
                    self.at += 1;
                    let mut on = vec![self.interface(&mut warning)?];
                    if self.take_sign(',') {
                        on.push(self.interface(&mut warning)?);
                    }
                    if self.is("in-via") || self.is("out-via") {
                        return self.unknown("in-via or out-via");
                    }
                    if !std::mem::replace(&mut rule.on, on).is_empty() {
                        return self.error("Duplicate on option");
                    }
                }
                Some(word @ ("dup-to" | "to" | "route-to" | "reply-to" | "fastroute")) => {
                    // `to` may also begin the conditions: then an address or a port follows, not a name.
                    if word != "to" {
                        return self.unknown(word);
                    }
                    return Ok(warning);
                }
                Some(word @ ("tos" | "ttl" | "bpf-v4" | "bpf-v6")) => return self.unknown(word),
                _ => return Ok(warning),
            }
        }
    }

    fn interface(&mut self, warning: &mut Option<String>) -> Result<String, Refusal> {
        let name = match &self.here().token {
            token @ Token::Word(name) if keyword(token).is_none() => name.clone(),
            _ => return self.syntax(),
        };
        self.at += 1;
        if self.take_sign(':') {
            let line = self.here().line;
            let number = self.number()?;
            *warning = Some(format!(
                "{line}: Logical interface {name}:{number} unsupported, use the physical interface {name} instead."
            ));
        }
        Ok(name)
    }

    fn conditions(&mut self, rule: &mut Rule) -> Result<(), Refusal> {
        if self.take("proto") {
            rule.conditions = true;
            rule.protocol = self.protocol()?;
        }
        if !self.take("all") {
            if self.take("from") {
                rule.conditions = true;
                rule.source = self.side(rule.protocol)?;
            }
            if self.take("to") {
                // The grammar's `to` alone does not make a rule with conditions; the address then has nowhere to go.
                if !rule.conditions {
                    return self.unknown("to without from or proto");
                }
                rule.destination = self.side(rule.protocol)?;
            }
        }
        if self.is("flags") {
            if !rule.conditions {
                return self.error("flags with non-ipf type rule");
            }
            if rule.protocol != Protocol::Number(6) {
                return self.error("flags with non-TCP rule");
            }
            self.at += 1;
            let set = if self.here().token == Token::Sign('/') { 0 } else { self.flags()? };
            let mask = if self.take_sign('/') { self.flags()? } else { FLAGS_ALL };
            rule.flags = Some((set, mask));
        }
        if self.take("icmp-type") {
            rule.conditions = true;
            let kind = self.icmp_type()?;
            let code = if self.take("code") {
                Some(u8::try_from(self.number()?).or_else(|_| self.unknown("a code over 255"))?)
            } else {
                None
            };
            rule.icmp = Some((kind, code));
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<Protocol, Refusal> {
        let token = self.here().token.clone();
        self.at += 1;
        match token {
            Token::Number(number) => match u8::try_from(number) {
                Ok(number) => Ok(Protocol::Number(number)),
                Err(_) => self.unknown("a protocol over 255"),
            },
            Token::Word(name) if self.here().token == Token::Sign('/') => {
                self.at += 1;
                let second = self.here().token == Token::Word("udp".to_owned());
                if name != "tcp" || !second {
                    return self.syntax();
                }
                self.at += 1;
                Ok(Protocol::TcpUdp)
            }
            Token::Word(name) if name == "tcp-udp" => Ok(Protocol::TcpUdp),
            Token::Word(name) => match names::protocol(&name) {
                Some(number) => Ok(Protocol::Number(number)),
                None => self.error("protocol unknown"),
            },
            _ => {
                self.at -= 1;
                self.syntax()
            }
        }
    }

    /// An address, a port, or both.
    fn side(&mut self, protocol: Protocol) -> Result<Side, Refusal> {
        let mut side = Side::ANY;
        if !self.is("port") {
            side.not = self.take_sign('!');
            side.address = self.address()?;
        }
        if self.take("port") {
            side.ports = Some(self.ports(protocol)?);
        }
        Ok(side)
    }

    /// An address with its mask; none for `any` and for what means the same.
    fn address(&mut self) -> Result<Option<(IpAddr, IpAddr)>, Refusal> {
        let token = self.here().token.clone();
        let address: IpAddr = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("any") => {
                self.at += 1;
                return Ok(None);
            }
            Token::Word(word) if ["pool", "hash"].iter().any(|name| word.eq_ignore_ascii_case(name)) => {
                return self.unknown("pools and hashes");
            }
            Token::Word(_) if keyword(&token).is_some() => return self.syntax(),
            // ipf asks the host's files and DNS for it, or takes it for the rule's interface.
            Token::Word(_) => return self.unknown("a name for an address"),
            Token::Sign('(') => return self.unknown("a list"),
            Token::Hex(_) => return self.unknown("a hexadecimal address"),
            Token::Ipv6(address) => {
                self.at += 1;
                if !self.v6 {
                    return self.unknown("an IPv6 address without -6");
                }
                address.into()
            }
            Token::Number(_) => {
                let address = self.octets()?;
                if self.v6 {
                    return self.unknown("an IPv4 address with -6");
                }
                address.into()
            }
            _ => return self.syntax(),
        };
        let bits = if self.v6 { 128 } else { 32 };
        let mask = if self.take_sign('/') || self.take("mask") {
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
            if place > 0 && !self.take_sign('.') {
                break;
            }
            let Token::Number(number) = self.here().token else { return self.syntax() };
            match u8::try_from(number) {
                Ok(number) => *octet = number,
                // The first number is judged with the second, so it is the second that the error names.
                Err(_)
                    if place == 0
                        && self.words.get(self.at + 1).is_some_and(|next| next.token == Token::Sign('.')) =>
                {
                    self.at += 2;
                    let Token::Number(_) = self.here().token else { return self.syntax() };
                    return self.error("Invalid octet string for IP address");
                }
                Err(_) if place == 0 => return self.unknown("an address of one number"),
                Err(_) => return self.error("Invalid octet string for IP address"),
            }
            self.at += 1;
        }
        Ok(octets.into())
    }

    fn mask(&mut self, bits: u8) -> Result<IpAddr, Refusal> {
        match self.here().token {
            Token::Number(number) => {
                let dotted = self.words.get(self.at + 1).is_some_and(|next| next.token == Token::Sign('.'));
                if dotted {
                    if self.v6 {
                        return self.unknown("a dotted mask with -6");
                    }
                    return Ok(self.octets()?.into());
                }
                self.at += 1;
                // The parser has to look at the next word first, to see that no point follows: the error names that one.
                if number > u32::from(bits) {
                    return self.error("Bad value specified for netmask");
                }
                Ok(mask_of_length(bits, number))
            }
            Token::Hex(number) if !self.v6 => {
                self.at += 1;
                Ok(Ipv4Addr::from(number).into())
            }
            Token::Word(_) => self.unknown("a mask by name"),
            _ => self.syntax(),
        }
    }

    fn ports(&mut self, protocol: Protocol) -> Result<Ports, Refusal> {
        let compare = match self.here().token.clone() {
            Token::Sign('=') => "eq",
            Token::Compare(name) => name,
            // A word may be a comparison, or the service with which a range begins.
            ref token @ Token::Word(_) => keyword(token)
                .filter(|name| ["eq", "ne", "lt", "le", "gt", "ge"].contains(name))
                .unwrap_or("range"),
            Token::Number(_) => "range",
            _ => return self.syntax(),
        };
        if compare != "range" {
            self.at += 1;
            if self.here().token == Token::Sign('(') {
                return self.unknown("a list");
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
        let range = self.here().token.clone();
        if !matches!(range, Token::Range(_) | Token::Sign(':')) {
            return self.syntax();
        }
        self.at += 1;
        let second = self.port(protocol)?;
        Ok(match range {
            Token::Range("<>") => Ports::Outside(first, second),
            Token::Range(_) => Ports::Inside(first, second),
            _ => Ports::Range(first, second),
        })
    }

    fn port(&mut self, protocol: Protocol) -> Result<u16, Refusal> {
        let port = match &self.here().token {
            Token::Number(number) => u16::try_from(*number).or_else(|_| self.error("invalid port number"))?,
            Token::Word(name) => match names::port(name, protocol) {
                Some(port) => port,
                None => return self.error("service unknown"),
            },
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(port)
    }

    fn flags(&mut self) -> Result<u8, Refusal> {
        let bits = match &self.here().token {
            Token::Word(letters) => match flag_bits(letters) {
                Some(bits) => bits,
                // tcpflags() makes nothing of letters that it does not know.
                None => return self.unknown("such TCP flags"),
            },
            Token::Number(_) | Token::Hex(_) => return self.unknown("TCP flags by number"),
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(bits)
    }

    fn icmp_type(&mut self) -> Result<u8, Refusal> {
        let kind = match &self.here().token {
            Token::Number(number) => match u8::try_from(*number) {
                Ok(number) => number,
                Err(_) => return self.unknown("an ICMP type over 255"),
            },
            Token::Word(_) if self.v6 => return self.unknown("an ICMP type by name with -6"),
            Token::Word(name) => match names::icmp_type(&name.to_ascii_lowercase()) {
                Some(number) => number,
                None => return self.syntax(),
            },
            Token::Sign('(') => return self.unknown("a list"),
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(kind)
    }

    fn keep(&mut self, rule: &mut Rule) -> Result<(), Refusal> {
        for _ in 0..2 {
            if !self.take("keep") {
                break;
            }
            let kept = if self.take("state") {
                &mut rule.keep_state
            } else if self.take("frags") || self.take("frag") {
                &mut rule.keep_frags
            } else {
                return self.syntax();
            };
            if std::mem::replace(kept, true) {
                self.at -= 1;
                return self.syntax();
            }
            if self.here().token == Token::Sign('(') {
                return self.unknown("options of keep");
            }
        }
        Ok(())
    }
}

/// The mask of all ones before and zeros after a length.
pub fn v6_mask(length: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::MAX.checked_shl(128 - length).unwrap_or(0))
}
