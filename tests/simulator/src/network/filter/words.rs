//! What the parsers of rules have in common: they take one word after the other, and tell at which they stop.

use super::Refusal;
use super::lexer::{Located, Token};

/// The words of a file that are still to be taken.
pub struct Words<'a> {
    all: &'a [Located],
    at: usize,
    /// The grammar's keywords: a name cannot be one of them.
    keywords: &'static [&'static str],
}

impl<'a> Words<'a> {
    /// All words of a file, the last being [`Token::End`], for a grammar with these keywords.
    pub fn new(words: &'a [Located], keywords: &'static [&'static str]) -> Self {
        Self { all: words, at: 0, keywords }
    }

    /// The next word.
    pub fn here(&self) -> &'a Located {
        // The last word is the end, which nothing takes.
        &self.all[self.at.min(self.all.len() - 1)]
    }

    /// Whether this sign comes after the next word.
    pub fn is_before(&self, sign: char) -> bool {
        self.all.get(self.at + 1).is_some_and(|word| word.token == Token::Sign(sign))
    }

    /// The keyword that a word is, in any case of letters.
    pub fn keyword_of(&self, token: &Token) -> Option<&'static str> {
        let Token::Word(word) = token else { return None };
        self.keywords.iter().copied().find(|known| word.eq_ignore_ascii_case(known))
    }

    /// The keyword that the next word is.
    pub fn keyword(&self) -> Option<&'static str> {
        self.keyword_of(&self.here().token)
    }

    /// Whether the next word is this keyword.
    pub fn is(&self, word: &str) -> bool {
        self.keyword() == Some(word)
    }

    /// Takes the next word, whatever it is.
    pub fn skip(&mut self) {
        self.at += 1;
    }

    /// Puts the word back that was taken last.
    pub fn put_back(&mut self) {
        self.at -= 1;
    }

    /// Takes the next word if it is this keyword.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    /// Takes the next word if it is this sign.
    pub fn take_sign(&mut self, sign: char) -> bool {
        let found = self.here().token == Token::Sign(sign);
        self.at += usize::from(found);
        found
    }

    /// The error that the parser makes at the next word: usr/src/cmd/ipf/tools/lexer.c, `yyerror`.
    pub fn error<T>(&self, message: &str) -> Result<T, Refusal> {
        let place = self.here();
        let name = self.name_of(&place.token);
        Err(Refusal::Error(format!("{message} error at \"{name}\", line {}", place.line)))
    }

    /// The error at a word that the grammar does not have there.
    pub fn syntax<T>(&self) -> Result<T, Refusal> {
        self.error("syntax error")
    }

    /// The refusal of something of which nothing is known.
    pub fn unknown<T>(&self, what: &str) -> Result<T, Refusal> {
        let place = self.here();
        Err(Refusal::Unknown(format!(
            "is not known with {what} in a rule ({:?}, line {})",
            self.name_of(&place.token),
            place.line
        )))
    }

    /// How an error names a word.
    fn name_of(&self, token: &Token) -> String {
        match token {
            Token::Word(word) => self.keyword_of(token).map_or_else(|| word.clone(), str::to_owned),
            Token::Number(number) => number.to_string(),
            Token::Hex(number) => format!("0x{number:x}"),
            Token::Sign(sign) => sign.to_string(),
            Token::Compare(name) => (*name).to_owned(),
            Token::Ipv6(_) | Token::Range(_) | Token::Comment => "<unknown>".to_owned(),
            Token::End => String::new(),
        }
    }
}
