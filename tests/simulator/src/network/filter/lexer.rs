//! The words of `ipf.conf` and `ipnat.conf`: usr/src/cmd/ipf/tools/lexer.c, the same from 2009 to 2022.
//!
//! Variables, quotes and continued lines exist there too. Nothing known needs them, so a file with them is one of which
//! nothing is known.

use std::net::Ipv6Addr;

use super::Refusal;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A keyword or a name.
    Word(String),
    /// A decimal number.
    Number(u32),
    /// A number after `0x`.
    Hex(u32),
    /// An IPv6 address. The lexer finds it wherever it stands.
    Ipv6(Ipv6Addr),
    /// One of `=,/;{}()@:!.-`.
    Sign(char),
    /// `!=`, `<`, `<=`, `>`, `>=`, by the keyword that means the same.
    Compare(&'static str),
    /// `<>` or `><`.
    Range(&'static str),
    /// `#` to the end of the line.
    Comment,
    /// The end of the file.
    End,
}

/// A word and the line that an error at it is reported for, counted from 1; 1 at the end of the file, where the lexer starts
/// to count anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The word.
    pub token: Token,
    /// The line.
    pub line: usize,
}

/// All words of a file, the last being [`Token::End`].
///
/// # Errors
/// When the file has something of which nothing is known.
pub fn tokens(text: &str) -> Result<Vec<Located>, Refusal> {
    let mut lexer = Lexer { bytes: text.as_bytes(), at: 0, line: 1 };
    let mut found = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token == Token::End;
        found.push(Located { token, line: if end { 1 } else { lexer.line } });
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether the next byte is that one, which is then taken.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    fn next(&mut self) -> Result<Token, Refusal> {
        while let Some(byte @ (b'\n' | b'\t' | b'\r' | b' ')) = self.peek() {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
        let Some(byte) = self.peek() else { return Ok(Token::End) };
        if let Some(address) = self.ipv6() {
            return Ok(Token::Ipv6(address));
        }
        if byte.is_ascii_digit() {
            return Ok(self.number());
        }
        self.at += 1;
        Ok(match byte {
            b'#' => {
                self.take_while(|byte| byte != b'\n');
                Token::Comment
            }
            b'\\' | b'$' | b'\'' | b'"' => {
                return Err(Refusal::Unknown(format!(
                    "is not known with {:?} in a file (line {})",
                    char::from(byte),
                    self.line
                )));
            }
            b'-' if !matches!(self.peek(), Some(b'>')) => Token::Sign('-'),
            b'=' | b',' | b'/' | b';' | b'{' | b'}' | b'(' | b')' | b'@' | b':' | b'.' => {
                Token::Sign(char::from(byte))
            }
            b'!' if self.take(b'=') => Token::Compare("ne"),
            b'!' => Token::Sign('!'),
            b'<' if self.take(b'=') => Token::Compare("le"),
            b'<' if self.take(b'>') => Token::Range("<>"),
            b'<' => Token::Compare("lt"),
            b'>' if self.take(b'=') => Token::Compare("ge"),
            b'>' if self.take(b'<') => Token::Range("><"),
            b'>' => Token::Compare("gt"),
            b'-' => {
                self.at += 1;
                Token::Word("->".to_owned())
            }
            _ => {
                self.at -= 1;
                let word = self.take_while(|byte| !b"\n\t\r =,/;{}()@:!<>#$\\'\"".contains(&byte));
                Token::Word(word)
            }
        })
    }

    /// An IPv6 address: hexadecimal digits, colons and points, as many as there are, if together they are one.
    fn ipv6(&mut self) -> Option<Ipv6Addr> {
        let start = self.at;
        if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit() || byte == b':') {
            return None;
        }
        let text = self.take_while(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
        let address = text.parse().ok();
        if address.is_none() {
            self.at = start;
        }
        address
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        if self.take(b'0') && self.take(b'x') {
            let digits = self.take_while(|byte| byte.is_ascii_hexdigit());
            return Token::Hex(u32::from_str_radix(&digits, 16).unwrap_or(u32::MAX));
        }
        self.at = start;
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        Token::Number(digits.parse().unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|located| located.token).collect()
    }

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn numbers_names_and_signs_part_without_blanks() {
        assert_eq!(
            words("on e1000g0 10.0.0.0/8 S/SA 80:90 22abc"),
            [
                word("on"),
                word("e1000g0"),
                Token::Number(10),
                Token::Sign('.'),
                Token::Number(0),
                Token::Sign('.'),
                Token::Number(0),
                Token::Sign('.'),
                Token::Number(0),
                Token::Sign('/'),
                Token::Number(8),
                word("S"),
                Token::Sign('/'),
                word("SA"),
                Token::Number(80),
                Token::Sign(':'),
                Token::Number(90),
                Token::Number(22),
                word("abc"),
                Token::End,
            ]
        );
        assert_eq!(
            words("a -> 0/32 fe80::/10 != >< 0x1f # pass"),
            [
                word("a"),
                word("->"),
                Token::Number(0),
                Token::Sign('/'),
                Token::Number(32),
                Token::Ipv6("fe80::".parse().unwrap()),
                Token::Sign('/'),
                Token::Number(10),
                Token::Compare("ne"),
                Token::Range("><"),
                Token::Hex(31),
                Token::Comment,
                Token::End,
            ]
        );
    }

    #[test]
    fn lines_are_counted_and_forgotten_at_the_end() {
        let lines: Vec<usize> =
            tokens("# one\n\npass\nin\n").unwrap().iter().map(|located| located.line).collect();
        assert_eq!(lines, [1, 3, 4, 1]);
    }

    #[test]
    fn what_nothing_is_known_of_is_refused() {
        for text in ["a = \"b\";", "pass in on $if all", "pass in \\\n all"] {
            assert!(matches!(tokens(text), Err(Refusal::Unknown(_))), "{text}");
        }
    }
}
