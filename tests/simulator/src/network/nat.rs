//! ipnat: the rules of address translation. Grammar: usr/src/cmd/ipf/tools/ipnat_y.y; print:
//! usr/src/cmd/ipf/lib/common/printnat.c; the same from 2009 to 2022.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::filter::lexer::{Token, tokens};
use super::filter::words::Words;
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
    let mut parser = Parser { words: Words::new(&words, KEYWORDS) };
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

struct Parser<'a> {
    words: Words<'a>,
}

impl Parser<'_> {
    fn expect(&mut self, word: &str) -> Result<(), Refusal> {
        if self.words.take(word) { Ok(()) } else { self.words.syntax() }
    }

    fn file(&mut self, rules: &mut Vec<(Rule, usize)>) -> Result<(), Refusal> {
        loop {
            if self.words.here().token == Token::Comment {
                self.words.skip();
            } else {
                let rule = self.rule()?;
                rules.push((rule, self.words.here().line));
            }
            if self.words.here().token == Token::End {
                return Ok(());
            }
        }
    }

    fn rule(&mut self) -> Result<Rule, Refusal> {
        let verb = match self.words.keyword() {
            Some(verb @ ("map" | "bimap" | "rdr")) => verb,
            Some("map-block") => return self.words.unknown("map-block"),
            _ => return self.words.syntax(),
        };
        self.words.skip();
        let interface = match &self.words.here().token {
            token @ Token::Word(name) if self.words.keyword_of(token).is_none() => name.clone(),
            _ => return self.words.syntax(),
        };
        self.words.skip();
        if self.words.here().token == Token::Sign(',') {
            return self.words.unknown("two interfaces");
        }
        if self.words.is("from") || self.words.here().token == Token::Sign('!') {
            return self.words.unknown("from and to");
        }
        let matches = self.address()?;
        let (becomes, kind) = if verb == "rdr" {
            self.redirection()?
        } else {
            self.expect("->")?;
            if self.words.is("range") {
                return self.words.unknown("range");
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
            if self.words.is(option) {
                return self.words.unknown(option);
            }
        }
        self.words.take_sign(';');
        let starts = match &self.words.here().token {
            Token::End | Token::Comment => true,
            token => matches!(self.words.keyword_of(token), Some("map" | "bimap" | "rdr" | "map-block")),
        };
        if !starts {
            return self.words.syntax();
        }
        Ok(Rule { kind, interface, matches, becomes })
    }

    /// `port P [- P] -> ADDRESS port P [tcp | udp | tcp/udp]`.
    fn redirection(&mut self) -> Result<(Masked, Kind), Refusal> {
        if !self.words.is("port") {
            return self.words.unknown("rdr without a port");
        }
        self.words.skip();
        let first = self.port()?;
        let last = if self.words.take_sign('-') || self.words.take_sign(':') { self.port()? } else { first };
        self.expect("->")?;
        let becomes = self.address()?;
        self.expect("port")?;
        if self.words.here().token == Token::Sign('=') {
            return self.words.unknown("a fixed port");
        }
        let to = self.port()?;
        // Without a protocol TCP is meant.
        let protocol = self.transport()?.unwrap_or(Transport::Tcp);
        Ok((becomes, Kind::Redirect { ports: (first, last), to, protocol }))
    }

    fn port_map(&mut self) -> Result<Option<PortMap>, Refusal> {
        if !self.words.take("portmap") {
            return Ok(None);
        }
        let Some(protocol) = self.transport()? else {
            return self.words.unknown("portmap without a protocol");
        };
        let range = if self.words.take("auto") {
            None
        } else {
            let first = self.port()?;
            if !self.words.take_sign(':') {
                return self.words.syntax();
            }
            Some((first, self.port()?))
        };
        if self.words.is("sequential") {
            return self.words.unknown("sequential");
        }
        Ok(Some(PortMap { protocol, range }))
    }

    fn transport(&mut self) -> Result<Option<Transport>, Refusal> {
        Ok(Some(if self.words.take("tcpudp") {
            Transport::Both
        } else if self.words.take("udp") {
            Transport::Udp
        } else if self.words.take("tcp") {
            if self.words.take_sign('/') {
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
        let port = match &self.words.here().token {
            Token::Number(number) => {
                u16::try_from(*number).or_else(|_| self.words.error("invalid port number"))?
            }
            token @ Token::Word(name) if self.words.keyword_of(token).is_none() => {
                match names::port(name, rule::Protocol::Any) {
                    Some(port) => port,
                    None => return self.words.error("invalid port number"),
                }
            }
            _ => return self.words.syntax(),
        };
        self.words.skip();
        Ok(port)
    }

    fn address(&mut self) -> Result<Masked, Refusal> {
        if self.words.take("any") {
            return Ok((Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()));
        }
        let address = match &self.words.here().token {
            Token::Number(_) => self.octets()?,
            Token::Ipv6(_) => return self.words.unknown("an IPv6 address"),
            token @ Token::Word(_) if self.words.keyword_of(token).is_none() => {
                return self.words.unknown("a name for an address");
            }
            _ => return self.words.syntax(),
        };
        let mask = if self.words.take_sign('/') {
            match self.words.here().token {
                Token::Number(_) if self.words.is_before('.') => self.octets()?,
                Token::Number(number @ 0..=32) => {
                    self.words.skip();
                    match mask_of_length(32, number) {
                        IpAddr::V4(mask) => mask,
                        IpAddr::V6(_) => return self.words.syntax(),
                    }
                }
                // ntomask() fails, nobody looks, and the mask is what was in memory.
                Token::Number(_) => return self.words.unknown("a prefix over 32"),
                _ => return self.words.syntax(),
            }
        } else if self.words.take("mask") || self.words.take("netmask") {
            self.octets()?
        } else {
            Ipv4Addr::BROADCAST
        };
        Ok((Ipv4Addr::from(u32::from(address) & u32::from(mask)).into(), mask.into()))
    }

    /// `A.B.C.D`, or a number, of which only 0 is sensible.
    fn octets(&mut self) -> Result<Ipv4Addr, Refusal> {
        let mut octets = [0; 4];
        let mut first = None;
        let mut wrong = false;
        for (place, octet) in octets.iter_mut().enumerate() {
            if place > 0 && !self.words.take_sign('.') {
                return match (place, first) {
                    (1, Some(0)) => Ok(Ipv4Addr::UNSPECIFIED),
                    (1, _) => self.words.unknown("an address of one number"),
                    _ => self.words.syntax(),
                };
            }
            let Token::Number(number) = self.words.here().token else { return self.words.syntax() };
            first.get_or_insert(number);
            wrong |= number > 255;
            *octet = number as u8;
            if place == 3 && wrong {
                return self.words.error("Invalid octet string for IP address");
            }
            self.words.skip();
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
