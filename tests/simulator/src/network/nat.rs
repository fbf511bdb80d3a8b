//! ipnat: the rules of address translation. Grammar: usr/src/cmd/ipf/tools/ipnat_y.y; print:
//! usr/src/cmd/ipf/lib/common/printnat.c; the same from 2009 to 2022.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::filter::lexer::{Located, Token, tokens};
use super::filter::{Refusal, mask_of_length, mask_text, names, rule};

/// An address with its mask.
pub type Masked = (IpAddr, IpAddr);

/// A rule of translation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it does.
    pub kind: Kind,
    /// The interface by which packets leave (or, of a redirection, come in).
    pub interface: String,
    /// Of mapping: which sources. Of redirection: which destinations.
    pub matches: Masked,
    /// What they become. `0.0.0.0/32` is the interface's own address.
    pub becomes: Masked,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Sources of leaving packets are changed.
    Map {
        /// With ports from a range for these protocols alone; none leaves ports as they are, for every protocol.
        ports: Option<PortMap>,
    },
    /// One address is changed into one other, both ways.
    Bimap,
    /// Destinations of arriving packets are changed.
    Redirect {
        /// The ports, first and last.
        ports: (u16, u16),
        /// The port that they become.
        to: u16,
        /// Which protocols.
        protocol: Transport,
    },
}

/// Ports for mapped connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMap {
    /// Which protocols.
    pub protocol: Transport,
    /// The range; `auto` means 1024 to 65535.
    pub range: Option<(u16, u16)>,
}

/// TCP, UDP or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Both.
    Both,
}

impl Transport {
    /// Whether an IP protocol is meant.
    pub fn has(self, protocol: u8) -> bool {
        match self {
            Self::Tcp => protocol == 6,
            Self::Udp => protocol == 17,
            Self::Both => matches!(protocol, 6 | 17),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Both => "tcp/udp",
        })
    }
}

fn masked(f: &mut fmt::Formatter<'_>, (address, mask): Masked) -> fmt::Result {
    write!(f, "{address}/{}", mask_text(mask))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            Kind::Map { .. } => "map",
            Kind::Bimap => "bimap",
            Kind::Redirect { .. } => "rdr",
        };
        write!(f, "{verb} {} ", self.interface)?;
        masked(f, self.matches)?;
        match self.kind {
            Kind::Redirect { ports: (first, last), to, protocol } => {
                write!(f, " port {first}")?;
                if last != first {
                    write!(f, "-{last}")?;
                }
                write!(f, " -> {} port {to} {protocol}", self.becomes.0)
            }
            Kind::Map { ports: Some(PortMap { protocol, range }) } => {
                f.write_str(" -> ")?;
                masked(f, self.becomes)?;
                match range {
                    None => write!(f, " portmap {protocol} auto"),
                    Some((first, last)) => write!(f, " portmap {protocol} {first}:{last}"),
                }
            }
            Kind::Map { ports: None } | Kind::Bimap => {
                f.write_str(" -> ")?;
                masked(f, self.becomes)
            }
        }
    }
}

/// A file's rules before the first error, each with the line that a message about loading it names, and the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The rules.
    pub rules: Vec<(Rule, usize)>,
    /// What ended the reading before the file's end.
    pub stopped: Option<Refusal>,
}

/// Reads a file's text.
pub fn parse(text: &str) -> File {
    let mut rules = Vec::new();
    if text.is_empty() {
        return File { rules, stopped: None };
    }
    let words = match tokens(text) {
        Ok(words) => words,
        Err(refusal) => return File { rules, stopped: Some(refusal) },
    };
    let mut parser = Parser { words: &words, at: 0 };
    let stopped = parser.file(&mut rules).err();
    File { rules, stopped }
}

/// The grammar's keywords, `yywords`.
const KEYWORDS: &[&str] = &[
    "age",
    "any",
    "auto",
    "bimap",
    "frag",
    "from",
    "icmpidmap",
    "mask",
    "map",
    "map-block",
    "mssclamp",
    "netmask",
    "port",
    "portmap",
    "ports",
    "proxy",
    "range",
    "rdr",
    "round-robin",
    "sequential",
    "sticky",
    "tag",
    "tcp",
    "tcpudp",
    "to",
    "udp",
    "->",
    "eq",
    "ne",
    "lt",
    "gt",
    "le",
    "ge",
];

fn keyword(token: &Token) -> Option<&'static str> {
    let Token::Word(word) = token else { return None };
    KEYWORDS.iter().copied().find(|known| word.eq_ignore_ascii_case(known))
}

fn error_name(token: &Token) -> String {
    match token {
        Token::Word(word) => keyword(token).map_or_else(|| word.clone(), str::to_owned),
        other => super::filter::parser::error_name(other),
    }
}

struct Parser<'a> {
    words: &'a [Located],
    at: usize,
}

impl Parser<'_> {
    fn here(&self) -> &Located {
        &self.words[self.at.min(self.words.len() - 1)]
    }

    fn error<T>(&self, message: &str) -> Result<T, Refusal> {
        let place = self.here();
        let name = error_name(&place.token);
        Err(Refusal::Error(format!("{message} error at \"{name}\", line {}", place.line)))
    }

    fn syntax<T>(&self) -> Result<T, Refusal> {
        self.error("syntax error")
    }

    fn unknown<T>(&self, what: &str) -> Result<T, Refusal> {
        Err(Refusal::Unknown(format!("is not known with {what} in a rule (line {})", self.here().line)))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = keyword(&self.here().token) == Some(word);
        self.at += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.here().token == Token::Sign(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), Refusal> {
        if self.take(word) { Ok(()) } else { self.syntax() }
    }

    fn file(&mut self, rules: &mut Vec<(Rule, usize)>) -> Result<(), Refusal> {
        loop {
            if self.here().token == Token::Comment {
                self.at += 1;
            } else {
                let rule = self.rule()?;
                rules.push((rule, self.here().line));
            }
            if self.here().token == Token::End {
                return Ok(());
            }
        }
    }

    fn rule(&mut self) -> Result<Rule, Refusal> {
        let verb = match keyword(&self.here().token) {
            Some(verb @ ("map" | "bimap" | "rdr")) => verb,
            Some("map-block") => return self.unknown("map-block"),
            _ => return self.syntax(),
        };
        self.at += 1;
        let interface = match &self.here().token {
            token @ Token::Word(name) if keyword(token).is_none() => name.clone(),
            _ => return self.syntax(),
        };
        self.at += 1;
        if self.here().token == Token::Sign(',') {
            return self.unknown("two interfaces");
        }
        if keyword(&self.here().token) == Some("from") || self.here().token == Token::Sign('!') {
            return self.unknown("from and to");
        }
        let matches = self.address()?;
        let (becomes, kind) = if verb == "rdr" {
            self.redirection()?
        } else {
            self.expect("->")?;
            if keyword(&self.here().token) == Some("range") {
                return self.unknown("range");
            }
            let becomes = self.address()?;
            let kind = if verb == "map" { Kind::Map { ports: self.port_map()? } } else { Kind::Bimap };
            (becomes, kind)
        };
        for option in [
            "proxy",
            "icmpidmap",
            "round-robin",
            "frag",
            "age",
            "mssclamp",
            "tag",
            "sticky",
            "tcp",
            "udp",
            "tcpudp",
        ] {
            if keyword(&self.here().token) == Some(option) {
                return self.unknown(option);
            }
        }
        self.take_sign(';');
        let starts = match &self.here().token {
            Token::End | Token::Comment => true,
            token => matches!(keyword(token), Some("map" | "bimap" | "rdr" | "map-block")),
        };
        if !starts {
            return self.syntax();
        }
        Ok(Rule { kind, interface, matches, becomes })
    }

    /// `port P [- P] -> ADDRESS port P [tcp | udp | tcp/udp]`.
    fn redirection(&mut self) -> Result<(Masked, Kind), Refusal> {
        if keyword(&self.here().token) != Some("port") {
            return self.unknown("rdr without a port");
        }
        self.at += 1;
        let first = self.port()?;
        let last = if self.take_sign('-') || self.take_sign(':') { self.port()? } else { first };
        self.expect("->")?;
        let becomes = self.address()?;
        self.expect("port")?;
        if self.here().token == Token::Sign('=') {
            return self.unknown("a fixed port");
        }
        let to = self.port()?;
        // Without a protocol TCP is meant.
        let protocol = self.transport()?.unwrap_or(Transport::Tcp);
        Ok((becomes, Kind::Redirect { ports: (first, last), to, protocol }))
    }

    fn port_map(&mut self) -> Result<Option<PortMap>, Refusal> {
        if !self.take("portmap") {
            return Ok(None);
        }
        let Some(protocol) = self.transport()? else { return self.unknown("portmap without a protocol") };
        let range = if self.take("auto") {
            None
        } else {
            let first = self.port()?;
            if !self.take_sign(':') {
                return self.syntax();
            }
            Some((first, self.port()?))
        };
        if keyword(&self.here().token) == Some("sequential") {
            return self.unknown("sequential");
        }
        Ok(Some(PortMap { protocol, range }))
    }

    fn transport(&mut self) -> Result<Option<Transport>, Refusal> {
        Ok(Some(if self.take("tcpudp") {
            Transport::Both
        } else if self.take("udp") {
            Transport::Udp
        } else if self.take("tcp") {
            if self.take_sign('/') {
                self.expect("udp")?;
                Transport::Both
            } else {
                Transport::Tcp
            }
        } else {
            return Ok(None);
        }))
    }

    fn port(&mut self) -> Result<u16, Refusal> {
        let port = match &self.here().token {
            Token::Number(number) => u16::try_from(*number).or_else(|_| self.error("invalid port number"))?,
            token @ Token::Word(name) if keyword(token).is_none() => {
                match names::port(name, rule::Protocol::Any) {
                    Some(port) => port,
                    None => return self.error("invalid port number"),
                }
            }
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(port)
    }

    fn address(&mut self) -> Result<Masked, Refusal> {
        if self.take("any") {
            return Ok((Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()));
        }
        let address = match &self.here().token {
            Token::Number(_) => self.octets()?,
            Token::Ipv6(_) => return self.unknown("an IPv6 address"),
            token @ Token::Word(_) if keyword(token).is_none() => {
                return self.unknown("a name for an address");
            }
            _ => return self.syntax(),
        };
        let mask = if self.take_sign('/') {
            match self.here().token {
                Token::Number(_)
                    if self.words.get(self.at + 1).is_some_and(|next| next.token == Token::Sign('.')) =>
                {
                    self.octets()?
                }
                Token::Number(number @ 0..=32) => {
                    self.at += 1;
                    match mask_of_length(32, number) {
                        IpAddr::V4(mask) => mask,
                        IpAddr::V6(_) => return self.syntax(),
                    }
                }
                // ntomask() fails, nobody looks, and the mask is what was in memory.
                Token::Number(_) => return self.unknown("a prefix over 32"),
                _ => return self.syntax(),
            }
        } else if self.take("mask") || self.take("netmask") {
            self.octets()?
        } else {
            Ipv4Addr::BROADCAST
        };
        Ok((Ipv4Addr::from(u32::from(address) & u32::from(mask)).into(), mask.into()))
    }

    /// `A.B.C.D`, or a number, of which only 0 is sensible.
    fn octets(&mut self) -> Result<Ipv4Addr, Refusal> {
        let mut octets = [0; 4];
        let mut wrong = false;
        for (place, octet) in octets.iter_mut().enumerate() {
            if place > 0 && !self.take_sign('.') {
                return if place == 1 {
                    if *octet == 0 && self.words[self.at - 1].token == Token::Number(0) {
                        Ok(Ipv4Addr::UNSPECIFIED)
                    } else {
                        self.unknown("an address of one number")
                    }
                } else {
                    self.syntax()
                };
            }
            let Token::Number(number) = self.here().token else { return self.syntax() };
            wrong |= number > 255;
            *octet = number as u8;
            if place == 3 && wrong {
                return self.error("Invalid octet string for IP address");
            }
            self.at += 1;
        }
        Ok(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_printed_normalised() {
        for (given, wanted) in [
            (
                "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/udp auto",
                "map e1000g0 172.16.9.0/24 -> 0.0.0.0/32 portmap tcp/udp auto",
            ),
            ("map e1000g0 172.16.9.0/24 -> 0/32", "map e1000g0 172.16.9.0/24 -> 0.0.0.0/32"),
            ("map vioif0 from", ""),
            (
                "map vioif0 172.16.9.7/24 -> 10.0.0.1/32 portmap udp 2000:3000",
                "map vioif0 172.16.9.0/24 -> 10.0.0.1/32 portmap udp 2000:3000",
            ),
            ("bimap vioif0 172.16.9.7/32 -> 10.0.0.1", "bimap vioif0 172.16.9.7/32 -> 10.0.0.1/32"),
            (
                "rdr vioif0 0/0 port 80 -> 172.16.9.3 port 8080 tcp",
                "rdr vioif0 0.0.0.0/0 port 80 -> 172.16.9.3 port 8080 tcp",
            ),
        ] {
            let file = parse(given);
            if wanted.is_empty() {
                assert!(matches!(file.stopped, Some(Refusal::Unknown(_))), "{given}");
                continue;
            }
            assert_eq!(file.stopped, None, "{given}");
            assert_eq!(file.rules[0].0.to_string(), wanted);
            assert_eq!(parse(wanted).rules[0].0, file.rules[0].0, "{wanted} again");
        }
    }

    #[test]
    fn errors_name_the_word_and_its_line() {
        for (text, wanted) in [
            ("map e1000g0 172.16.9.0/24 > 0/32\n", "syntax error error at \"gt\", line 1"),
            (
                "# a\nmap e1000g0 172.16.9.256/24 -> 0/32\n",
                "Invalid octet string for IP address error at \"256\", line 2",
            ),
            (
                "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/icmp auto\n",
                "syntax error error at \"icmp\", line 1",
            ),
            ("map\nmap e1000g0\n", "syntax error error at \"map\", line 2"),
            ("mapp e1000g0 172.16.9.0/24 -> 0/32", "syntax error error at \"mapp\", line 1"),
            (
                "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp 1:65536",
                "invalid port number error at \"65536\", line 1",
            ),
            ("map e1000g0 172.16.9.0/24 ->", "syntax error error at \"\", line 1"),
            ("map e1000g0 10.0.0/8 -> 0/32", "syntax error error at \"/\", line 1"),
        ] {
            assert_eq!(parse(text).stopped, Some(Refusal::Error(wanted.to_owned())), "{text}");
        }
    }
}
