//! The lines of one guest: what they ask, and how the answers look.

use std::borrow::Cow;

use super::Agent;
use super::agent::Update;
use crate::wire::{
    Code, Line, Lines, Request, Response, Verb, base64_decode_lenient, decode_request, encode, encode_value,
    put_fields, status,
};

/// What a host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Both versions, as hosts do since 24 October 2013.
    Current,
    /// Version 1 alone, as older hosts do.
    V1,
}

/// How an answer is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope {
    /// As lines of version 1.
    V1,
    /// As a frame of version 2 with the identifier that the question had.
    V2(Vec<u8>),
}

impl Envelope {
    /// The bytes of the answer.
    pub fn seal(&self, response: &Response) -> Vec<u8> {
        match (self, &response.code) {
            (Self::V2(id), code) => encode(id, code.word(), &response.payload),
            (Self::V1, Code::Success) => encode_value(&response.payload),
            (Self::V1, code) => [code.word().as_bytes(), b"\n"].concat(),
        }
    }
}

/// What a line of a guest was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A question about metadata. For [`Agent`] to answer, in this envelope.
    Question(Request, Envelope),
    /// A line that has the same answer on every machine.
    Formality {
        /// What it was, for the log.
        what: Cow<'static, str>,
        /// The bytes of the answer.
        answer: Vec<u8>,
    },
    /// A line that gets no answer: a broken frame, or a line beyond the limit.
    Nothing {
        /// Why, for the log.
        why: &'static str,
    },
}

/// The incoming lines of one connection.
#[derive(Debug)]
pub struct Conversation {
    dialect: Dialect,
    lines: Lines,
}

impl Conversation {
    /// A conversation that has not begun, with lines of at most `limit` bytes.
    pub fn new(dialect: Dialect, limit: usize) -> Self {
        Self { dialect, lines: Lines::new(limit) }
    }

    /// Takes what was read. Ask for everything that was heard before the next call.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// How many bytes of memory are held: an unfinished line, most of all.
    pub fn held(&self) -> usize {
        self.lines.held()
    }

    /// The next line, if there is a whole one.
    pub fn next_heard(&mut self) -> Option<Heard> {
        let (dialect, limit) = (self.dialect, self.lines.limit());
        self.lines.next_line().map(|line| match line {
            Line::Whole(line) => understand(dialect, line),
            Line::TooLong(line) => too_long(dialect, limit, line),
        })
    }
}

fn understand(dialect: Dialect, line: &[u8]) -> Heard {
    let line = trim_end(line);
    if dialect == Dialect::Current
        && line.strip_prefix(b"V2").is_some_and(|rest| rest.first().copied().is_some_and(is_space))
    {
        return understand_frame(line);
    }
    let end = line.iter().position(|&byte| is_space(byte)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let argument = match dialect {
        // The old agent keeps what follows the one space.
        Dialect::V1 => rest.get(1..).unwrap_or_default(),
        Dialect::Current => trim(rest),
    };
    match word {
        b"" => formality("an empty line", status::INVALID_COMMAND),
        b"GET" if argument.is_empty() => formality("a GET of nothing", status::INVALID_COMMAND),
        b"GET" => Heard::Question(Request::Get(argument.to_vec()), Envelope::V1),
        b"KEYS" => Heard::Question(Request::Keys, Envelope::V1),
        b"NEGOTIATE" if dialect == Dialect::Current => match argument {
            b"" => formality("a NEGOTIATE of nothing", status::INVALID_COMMAND),
            b"V2" => formality("NEGOTIATE V2", status::V2_OK),
            _ => formality("a NEGOTIATE of an unknown version", status::FAILURE),
        },
        _ => formality("an unknown command", status::FAILURE),
    }
}

fn understand_frame(line: &[u8]) -> Heard {
    let Some(frame) = decode_request(line) else { return Heard::Nothing { why: "a broken frame" } };
    let envelope = Envelope::V2(frame.id.to_vec());
    let refuse = |what: String| {
        let answer = envelope.seal(&Response { code: Code::Failure, payload: what.clone().into_bytes() });
        Heard::Formality { what: what.into(), answer }
    };
    let Some(verb) = Verb::from_word(frame.code) else {
        return refuse(format!("Unknown command {}", String::from_utf8_lossy(frame.code)));
    };
    let payload = base64_decode_lenient(frame.base64);
    let key = trim(&payload).to_vec();
    let request = match verb {
        Verb::Keys => Some(Request::Keys),
        Verb::Get => (!key.is_empty()).then_some(Request::Get(key)),
        Verb::Delete => (!key.is_empty()).then_some(Request::Delete(key)),
        Verb::Put => put_fields(&payload).and_then(|(key, value)| {
            let key = trim(&base64_decode_lenient(key)).to_vec();
            (!key.is_empty()).then(|| Request::Put { key, value: base64_decode_lenient(value) })
        }),
    };
    match request {
        Some(request) => Heard::Question(request, envelope),
        None => refuse(format!("Invalid {verb} Request")),
    }
}

/// A line beyond the limit, of which this is the beginning. Its checksum will never be known. But if it begins as a request
/// does, it is refused rather than left without an answer, which a client would take for a bad line and ask again for ever.
fn too_long(dialect: Dialect, limit: usize, line: &[u8]) -> Heard {
    let what = "a line beyond the limit";
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut field = || fields.next().unwrap_or_default();
    let (begin, _length, _checksum, id, code) = (field(), field(), field(), field(), field());
    let is_id = id.len() == 8 && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if dialect == Dialect::Current && begin == b"V2" && is_id && Verb::from_word(code).is_some() {
        let words =
            format!("The request is too long: this host takes {limit} bytes, values of about half of that.");
        let answer = encode(id, Code::Failure.word(), words.as_bytes());
        return Heard::Formality { what: what.into(), answer };
    }
    Heard::Nothing { why: what }
}

fn formality(what: &'static str, answer: &[u8]) -> Heard {
    Heard::Formality { what: what.into(), answer: [answer, b"\n"].concat() }
}

/// What answers a question: now, or once a change is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The answer.
    Now(Response),
    /// The change, and the answer when it is kept.
    Once(Box<Update>),
}

impl Agent {
    /// The answer to a question.
    pub fn answer(&self, request: &Request) -> Answer {
        let update = match request {
            Request::Get(key) => return Answer::Now(self.get(key)),
            Request::Keys => return Answer::Now(self.keys()),
            Request::Put { key, value } => self.put(key, value),
            Request::Delete(key) => self.delete(key),
        };
        update.map_or_else(Answer::Now, |update| Answer::Once(Box::new(update)))
    }
}

/// White space as JavaScript's `\s` has it, of what is ASCII.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_end(bytes);
    let start = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{Agent, Answer, Conversation, Dialect, Heard};
    use crate::host::Description;
    use crate::wire::{crc32, encode};

    /// Everything that a host says to these bytes.
    fn say(dialect: Dialect, bytes: &[u8]) -> Vec<u8> {
        let description = json!({
            "alias": "web",
            "customer_metadata": { "key": "one\n.two", " spaced": "old", "spaced": "new", "empty": "" },
        });
        let mut agent = Agent::new(Description::new(description).expect("sound"));
        let mut conversation = Conversation::new(dialect, 1000);
        let mut said = Vec::new();
        conversation.push(bytes);
        while let Some(heard) = conversation.next_heard() {
            match heard {
                Heard::Formality { answer, .. } => said.extend(answer),
                Heard::Nothing { .. } => {}
                Heard::Question(request, envelope) => match agent.answer(&request) {
                    Answer::Now(response) => said.extend(envelope.seal(&response)),
                    Answer::Once(update) => {
                        said.extend(envelope.seal(&update.response));
                        agent = Agent::new(update.description);
                    }
                },
            }
        }
        said
    }

    fn text(dialect: Dialect, bytes: &[u8]) -> String {
        String::from_utf8(say(dialect, bytes)).expect("UTF-8")
    }

    /// A frame around a body, whatever the body is.
    fn framed(body: &str) -> Vec<u8> {
        format!("V2 {} {:08x} {body}\n", body.len(), crc32(body.as_bytes())).into_bytes()
    }

    #[test]
    fn case_02_version_1_lines_and_their_answers() {
        for (line, current, old) in [
            ("GET key", "SUCCESS\none\n..two\n.\n", "SUCCESS\none\n..two\n.\n"),
            ("GET sdc:alias\r", "SUCCESS\nweb\n.\n", "SUCCESS\nweb\n.\n"),
            ("GET empty", "SUCCESS\n\n.\n", "SUCCESS\n\n.\n"),
            ("GET  spaced", "SUCCESS\nnew\n.\n", "SUCCESS\nold\n.\n"),
            ("GET absent", "NOTFOUND\n", "NOTFOUND\n"),
            (
                "KEYS",
                "SUCCESS\n spaced\nempty\nkey\nspaced\n.\n",
                "SUCCESS\n spaced\nempty\nkey\nspaced\n.\n",
            ),
            ("NEGOTIATE V2", "V2_OK\n", "FAILURE\n"),
            ("NEGOTIATE V3", "FAILURE\n", "FAILURE\n"),
            ("NEGOTIATE", "invalid command\n", "FAILURE\n"),
            ("", "invalid command\n", "invalid command\n"),
            (" GET key", "invalid command\n", "invalid command\n"),
            ("GET", "invalid command\n", "invalid command\n"),
            ("get key", "FAILURE\n", "FAILURE\n"),
            ("PUT key value", "FAILURE\n", "FAILURE\n"),
            ("lV2 21 1f8b55fb c36fd530 SUCCESS W10=", "FAILURE\n", "FAILURE\n"),
            ("\0", "FAILURE\n", "FAILURE\n"),
            ("V2", "FAILURE\n", "FAILURE\n"),
        ] {
            let line = format!("{line}\n");
            assert_eq!(text(Dialect::Current, line.as_bytes()), current, "{line:?}");
            assert_eq!(text(Dialect::V1, line.as_bytes()), old, "{line:?} on an old host");
        }
    }

    #[test]
    fn case_18_broken_frames_are_not_answered_and_the_next_good_one_is() {
        let good = encode(b"0000abcd", "GET", b"sdc:alias");
        let answer = String::from_utf8(encode(b"0000abcd", "SUCCESS", b"web")).expect("UTF-8");
        let body = "0000abcd GET c2RjOmFsaWFz";
        let crc = crc32(body.as_bytes());
        for broken in [
            format!("V2 24 {crc:08x} {body}"),
            format!("V2 25 {:08x} {body}", crc ^ 1),
            format!("V2 25 {crc:08X} {body}"),
            "V2 0  ".to_owned(),
            format!("V2 {crc:08x} {body}"),
            String::from_utf8(framed("0000ABCD GET c2RjOmFsaWFz")).expect("UTF-8"),
            String::from_utf8(framed("0000abcd GET ")).expect("UTF-8"),
            String::from_utf8(framed("0000abcd")).expect("UTF-8"),
        ] {
            let bytes = [broken.trim_end_matches('\n').as_bytes(), b"\n", &good].concat();
            assert_eq!(text(Dialect::Current, &bytes), answer, "{broken:?}");
        }
        for fine in [
            format!("V2  025\t{crc:08x}  {body} \r"),
            format!("V2 junk 25 {crc:08x} {body}"),
            String::from_utf8(framed("0000abcd GET  c2RjOmFsaWFz")).expect("UTF-8").trim_end().to_owned(),
            String::from_utf8(framed("0000abcd GET c2RjOmFsaWFz==")).expect("UTF-8").trim_end().to_owned(),
        ] {
            assert_eq!(text(Dialect::Current, format!("{fine}\n").as_bytes()), answer, "{fine:?}");
        }
    }

    #[test]
    fn requests_that_lack_something_are_refused_with_words() {
        for (body, words) in [
            ("ab GET", "Invalid GET Request"),
            ("ab GET ICA=", "Invalid GET Request"),
            ("ab DELETE", "Invalid DELETE Request"),
            ("ab PUT", "Invalid PUT Request"),
            // `key` with the value trimmed away.
            ("ab PUT YTJWNSA=", "Invalid PUT Request"),
            ("ab FETCH a2V5", "Unknown command FETCH"),
        ] {
            let wanted = String::from_utf8(encode(b"ab", "FAILURE", words.as_bytes())).expect("UTF-8");
            assert_eq!(text(Dialect::Current, &framed(body)), wanted, "{body}");
        }
    }

    #[test]
    fn case_25_versions_mix_on_one_connection() {
        let put = encode(b"1", "PUT", b"a2V5 bmV3");
        let bytes = [&b"GET sdc:alias\n"[..], &put, b"GET key\n", &encode(b"2", "KEYS", b"ignored")].concat();
        let wanted = [
            &b"SUCCESS\nweb\n.\n"[..],
            &encode(b"1", "SUCCESS", b"OK"),
            b"SUCCESS\nnew\n.\n",
            &encode(b"2", "SUCCESS", b" spaced\nempty\nkey\nspaced"),
        ];
        assert_eq!(say(Dialect::Current, &bytes), wanted.concat());
        assert_eq!(text(Dialect::V1, &put), "FAILURE\n", "an old host knows no frames");
    }

    #[test]
    fn case_16_a_line_beyond_the_limit_is_dropped_up_to_its_end() {
        let mut conversation = Conversation::new(Dialect::Current, 10);
        conversation.push(&[b'x'; 11]);
        assert!(matches!(conversation.next_heard(), Some(Heard::Nothing { .. })));
        for _ in 0..1000 {
            conversation.push(&[b'x'; 1000]);
            assert_eq!(conversation.next_heard(), None);
            assert!(conversation.held() < 100_000);
        }
        conversation.push(b"\nKEYS\n");
        assert!(matches!(conversation.next_heard(), Some(Heard::Question(..))));
    }

    #[test]
    fn case_16_a_request_beyond_the_limit_is_refused_at_once() {
        let put = encode(b"0000abcd", "PUT", &[b'x'; 2000]);
        let words = b"The request is too long: this host takes 1000 bytes, values of about half of that.";
        let refusal = encode(b"0000abcd", "FAILURE", words);
        assert_eq!(say(Dialect::Current, &put[..1001]), refusal);
        let lines = [&put, &b"GET sdc:alias\n"[..]].concat();
        assert_eq!(say(Dialect::Current, &lines), [&refusal, &b"SUCCESS\nweb\n.\n"[..]].concat());
        assert_eq!(text(Dialect::V1, &lines), "SUCCESS\nweb\n.\n");
        let echo = [encode(b"0000abcd", "SUCCESS", &[b'x'; 2000]), b"\n".to_vec()].concat();
        assert_eq!(text(Dialect::Current, &echo), "invalid command\n", "an answer is no request");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived_and_cuts_do_not_matter(
            lines in proptest::collection::vec("(GET|PUT|V2|NEGOTIATE|KEYS| |[0-9a-f]{1,9}|\\PC){0,6}\r?\n", 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = lines.concat().into_bytes();
            let at = cut.index(bytes.len() + 1);
            let mut whole = Conversation::new(Dialect::Current, 50);
            let mut parts = Conversation::new(Dialect::Current, 50);
            whole.push(&bytes);
            let heard: Vec<Heard> = std::iter::from_fn(|| whole.next_heard()).collect();
            let mut again = Vec::new();
            for part in [&bytes[..at], &bytes[at..]] {
                parts.push(part);
                again.extend(std::iter::from_fn(|| parts.next_heard()));
            }
            prop_assert_eq!(heard, again);
        }
    }
}
