//! What can be asked, and what can be answered.

use std::fmt;

use super::base64;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The value of a key.
    Get,
    /// The names of all keys. Hosts know it since October 2012.
    Keys,
    /// Stores a value. Version 2 only, so since October 2013.
    Put,
    /// Forgets a key. Version 2 only.
    Delete,
}

impl Verb {
    /// The word on the line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Keys => "KEYS",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// The verb that a word on the line means. Words are case sensitive.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        [Self::Get, Self::Keys, Self::Put, Self::Delete]
            .into_iter()
            .find(|verb| verb.word().as_bytes() == word)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// One question to the host. Keys and values are bytes; what is not UTF-8 the host replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The value of this key.
    Get(Vec<u8>),
    /// The names of all keys.
    Keys,
    /// Stores a value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Forgets this key.
    Delete(Vec<u8>),
}

impl Request {
    /// What the request is for.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Get(_) => Verb::Get,
            Self::Keys => Verb::Keys,
            Self::Put { .. } => Verb::Put,
            Self::Delete(_) => Verb::Delete,
        }
    }

    /// The key that it is about.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Get(key) | Self::Put { key, .. } | Self::Delete(key) => Some(key),
            Self::Keys => None,
        }
    }

    /// The payload of its frame, before base64. Key and value of a PUT are base64 inside of that a second time, with
    /// a space between them.
    pub fn payload(&self) -> Option<Vec<u8>> {
        match self {
            Self::Get(key) | Self::Delete(key) => Some(key.clone()),
            Self::Keys => None,
            Self::Put { key, value } => {
                let mut payload = base64::encode(key);
                payload.push(b' ');
                base64::encode_onto(&mut payload, value);
                Some(payload)
            }
        }
    }

    /// Its line in version 1, LF included, or `None` if that version cannot say it: it has no PUT and no DELETE, and a
    /// key with an LF in it would be two lines.
    pub fn v1_line(&self) -> Option<Vec<u8>> {
        match self {
            Self::Get(key) if !key.contains(&b'\n') => Some([b"GET ", &key[..], b"\n"].concat()),
            Self::Keys => Some(b"KEYS\n".to_vec()),
            _ => None,
        }
    }
}

/// The two fields in the payload of a PUT, still base64. The host trims the payload before it looks for them, so an
/// empty value is no field and gives `None`.
pub fn put_fields(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let payload = payload.trim_ascii();
    let space = payload.iter().position(u8::is_ascii_whitespace)?;
    let (key, value) = payload.split_at(space);
    Some((key, value.trim_ascii_start()))
}

/// The kind of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// The host did what was asked; the payload is the value, or the names separated by LF.
    Success,
    /// There is no such key.
    NotFound,
    /// The host refused or failed; the payload, if there is one, says why.
    Failure,
    /// A word that no version of the protocol has.
    Other(String),
}

impl Code {
    /// The word on the line.
    pub fn word(&self) -> &str {
        match self {
            Self::Success => "SUCCESS",
            Self::NotFound => "NOTFOUND",
            Self::Failure => "FAILURE",
            Self::Other(word) => word,
        }
    }

    /// The code that a word on the line means. Every word means one, if only [`Code::Other`].
    pub fn from_word(word: &[u8]) -> Self {
        match word {
            b"SUCCESS" => Self::Success,
            b"NOTFOUND" => Self::NotFound,
            b"FAILURE" => Self::Failure,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its kind.
    pub code: Code,
    /// What came with it; an empty value and none at all are the same on the line.
    pub payload: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::{Request, put_fields};

    #[test]
    fn a_put_is_base64_inside_its_payload() {
        let put = Request::Put { key: b"key".to_vec(), value: b"a\nb".to_vec() };
        let payload = put.payload().expect("a PUT has one");
        assert_eq!(payload, b"a2V5 YQpi");
        assert_eq!(put_fields(&payload), Some((&b"a2V5"[..], &b"YQpi"[..])));
        assert_eq!(put_fields(b"a2V5 "), None, "an empty value is trimmed away");
        assert_eq!(put_fields(b"a2V5 ="), Some((&b"a2V5"[..], &b"="[..])));
    }

    #[test]
    fn version_1_can_say_only_some_requests() {
        assert_eq!(Request::Get(b"sdc:uuid".to_vec()).v1_line().as_deref(), Some(&b"GET sdc:uuid\n"[..]));
        assert_eq!(Request::Keys.v1_line().as_deref(), Some(&b"KEYS\n"[..]));
        assert_eq!(Request::Get(b"two\nlines".to_vec()).v1_line(), None);
        assert_eq!(Request::Delete(b"key".to_vec()).v1_line(), None);
        assert_eq!(Request::Put { key: b"key".to_vec(), value: b"v".to_vec() }.v1_line(), None);
    }
}
