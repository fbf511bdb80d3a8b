//! A host that does as a test says, and the clock that it shares with the session.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use guest_mdata::channel::{Channel, Exchanged, Link, OpenError};
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::wire::{self, base64_decode};
use guest_mdata::{Clock, Deadline, Error, Session};

/// What a host does with a line it was sent: what it sends back, and how long after.
pub type Host = Box<dyn FnMut(&str, Duration) -> Replies>;
pub type Replies = Vec<(Duration, Vec<u8>)>;

/// In place of bytes: the other side closes.
pub const CLOSE: &[u8] = b"<close>";

/// A reply at once.
pub fn now(bytes: impl Into<Vec<u8>>) -> Replies {
    vec![(Duration::ZERO, bytes.into())]
}

/// A reply later.
pub fn after(seconds: f64, bytes: impl Into<Vec<u8>>) -> Replies {
    vec![(Duration::from_secs_f64(seconds), bytes.into())]
}

/// What the session and the test both see.
pub struct World {
    clock: Cell<Duration>,
    inner: RefCell<Inner>,
}

struct Inner {
    host: Host,
    /// What is on its way to the guest, by the time of its arrival and then in the order it was sent.
    coming: BTreeMap<(Duration, u64), Vec<u8>>,
    count: u64,
    /// A line that the host has not got the end of.
    partial: Vec<u8>,
    /// What the guest wrote, line by line, and when.
    sent: Vec<(Duration, String)>,
    opened: Vec<Duration>,
    notices: Vec<(Duration, String)>,
    /// What opening does instead, as long as there is something.
    refusals: Vec<OpenError>,
    /// The most bytes that one write takes, and one read gives.
    write_size: usize,
    read_size: usize,
    shared: bool,
    /// After a line with this beginning there always is another line to read.
    flood: Option<(&'static str, &'static [u8])>,
    flooded: bool,
}

/// A handle on the world: the session's channel, link and clock, and the test's view.
#[derive(Clone)]
pub struct Double(Rc<World>);

impl Double {
    pub fn new(host: impl FnMut(&str, Duration) -> Replies + 'static) -> Self {
        Self(Rc::new(World {
            clock: Cell::new(Duration::ZERO),
            inner: RefCell::new(Inner {
                host: Box::new(host),
                coming: BTreeMap::new(),
                count: 0,
                partial: Vec::new(),
                sent: Vec::new(),
                opened: Vec::new(),
                notices: Vec::new(),
                refusals: Vec::new(),
                write_size: usize::MAX,
                read_size: usize::MAX,
                shared: true,
                flood: None,
                flooded: false,
            }),
        }))
    }

    /// This is in the line already, or comes after a time.
    pub fn coming(self, seconds: f64, bytes: impl Into<Vec<u8>>) -> Self {
        self.send(Duration::from_secs_f64(seconds), bytes.into());
        self
    }

    /// A killed client left this in the host's buffer.
    pub fn with_partial(self, partial: &str) -> Self {
        self.0.inner.borrow_mut().partial = partial.into();
        self
    }

    /// Opening fails in these ways, the last one first.
    pub fn refusing(self, refusals: Vec<OpenError>) -> Self {
        self.0.inner.borrow_mut().refusals = refusals;
        self
    }

    /// Reads and writes move at most so many bytes.
    pub fn in_pieces(self, bytes: usize) -> Self {
        self.0.inner.borrow_mut().write_size = bytes;
        self.0.inner.borrow_mut().read_size = bytes;
        self
    }

    /// A socket rather than a serial port.
    pub fn socket(self) -> Self {
        self.0.inner.borrow_mut().shared = false;
        self
    }

    /// After the guest has sent a line with this beginning, this line comes a thousand times a second until the
    /// channel is opened again.
    pub fn flooding(self, after: &'static str, line: &'static [u8]) -> Self {
        self.0.inner.borrow_mut().flood = Some((after, line));
        self
    }

    pub fn session(&self) -> Session {
        self.session_with(Limits::default())
    }

    pub fn session_with(&self, limits: Limits) -> Session {
        let notices = self.clone();
        let notice = move |text: &str| {
            let now = notices.now();
            notices.0.inner.borrow_mut().notices.push((now, text.to_owned()));
        };
        let ids = RequestIds::seeded(7);
        Session::new(Box::new(self.clone()), Box::new(self.clone()), ids, limits, Box::new(notice))
    }

    pub fn now(&self) -> Duration {
        self.0.clock.get()
    }

    pub fn seconds(&self) -> f64 {
        self.now().as_secs_f64()
    }

    /// A deadline so long from now.
    pub fn deadline(&self, seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds), self)
    }

    /// The lines that the guest sent and that begin with this.
    pub fn sent(&self, begin: &str) -> Vec<(Duration, String)> {
        let inner = self.0.inner.borrow();
        inner.sent.iter().filter(|(_, line)| line.starts_with(begin)).cloned().collect()
    }

    /// The requests that the guest sent in frames: identifier and verb.
    pub fn requests(&self) -> Vec<(String, String)> {
        let fields = |line: String| {
            let mut fields = line.split(' ').map(str::to_owned).skip(3);
            Some((fields.next()?, fields.next()?))
        };
        self.sent("V2 ").into_iter().filter_map(|(_, line)| fields(line)).collect()
    }

    pub fn opened(&self) -> Vec<Duration> {
        self.0.inner.borrow().opened.clone()
    }

    pub fn notices(&self) -> Vec<(Duration, String)> {
        self.0.inner.borrow().notices.clone()
    }

    fn send(&self, delay: Duration, bytes: Vec<u8>) {
        let mut inner = self.0.inner.borrow_mut();
        inner.count += 1;
        let key = (self.now() + delay, inner.count);
        inner.coming.insert(key, bytes);
    }

    fn receive(&self, bytes: &[u8]) {
        for &byte in bytes {
            let mut inner = self.0.inner.borrow_mut();
            if byte != b'\n' {
                inner.partial.push(byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut inner.partial)).expect("tests speak UTF-8");
            inner.sent.push((self.now(), line.clone()));
            inner.flooded |= inner.flood.is_some_and(|(after, _)| line.starts_with(after));
            let replies = (inner.host)(&line, self.now());
            drop(inner);
            for (delay, bytes) in replies {
                self.send(delay, bytes);
            }
        }
    }
}

impl Clock for Double {
    fn now(&self) -> Duration {
        self.0.clock.get()
    }

    fn sleep(&self, time: Duration) {
        assert!(time > Duration::ZERO, "a pause of no time is a busy loop");
        self.0.clock.set(self.now() + time);
    }
}

impl Channel for Double {
    fn name(&self) -> String {
        "double".to_owned()
    }

    fn is_shared(&self) -> bool {
        self.0.inner.borrow().shared
    }

    fn open(&mut self) -> Result<Box<dyn Link>, OpenError> {
        let now = self.now();
        let mut inner = self.0.inner.borrow_mut();
        if let Some(refusal) = inner.refusals.pop() {
            return Err(refusal);
        }
        inner.opened.push(now);
        inner.flooded = false;
        if !inner.shared {
            // A new connection has nothing of the old one.
            inner.coming.clear();
            inner.partial.clear();
        }
        drop(inner);
        Ok(Box::new(self.clone()))
    }
}

impl Link for Double {
    fn exchange(&mut self, output: &[u8], input: &mut [u8], wait: Duration) -> io::Result<Exchanged> {
        let mut done = Exchanged::default();
        if !output.is_empty() {
            done.written = output.len().min(self.0.inner.borrow().write_size);
            self.receive(&output[..done.written]);
        }
        let end = if done.written > 0 { self.now() } else { self.now() + wait };
        let mut inner = self.0.inner.borrow_mut();
        if let Some((_, line)) = inner.flood.filter(|_| inner.flooded) {
            done.read = line.len();
            input[..line.len()].copy_from_slice(line);
            self.0.clock.set(self.now() + Duration::from_millis(1));
            return Ok(done);
        }
        let read_size = input.len().min(inner.read_size);
        if let Some(mut entry) = inner.coming.first_entry().filter(|entry| entry.key().0 <= end) {
            self.0.clock.set(self.now().max(entry.key().0));
            let bytes = entry.get_mut();
            if *bytes != CLOSE {
                done.read = bytes.len().min(read_size);
                input[..done.read].copy_from_slice(&bytes[..done.read]);
                bytes.drain(..done.read);
                if bytes.is_empty() {
                    entry.remove();
                }
            }
        } else {
            self.0.clock.set(end);
        }
        // The end is seen together with the last bytes before it.
        let ended =
            inner.coming.first_entry().filter(|entry| entry.key().0 <= self.now() && entry.get() == CLOSE);
        if let Some(entry) = ended {
            entry.remove();
            done.closed = true;
        }
        Ok(done)
    }
}

/// What a host of version 2 answers.
pub fn v2(values: &[(&str, &str)]) -> impl FnMut(&str, Duration) -> Replies + 'static {
    let mut values: Vec<(String, String)> =
        values.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    move |line, _| match line {
        "" => now("invalid command\n"),
        "NEGOTIATE V2" => now("V2_OK\n"),
        line if line.starts_with("V2 ") => frame_answer(line, &mut values),
        _ => now("FAILURE\n"),
    }
}

fn frame_answer(line: &str, values: &mut Vec<(String, String)>) -> Replies {
    let Some(frame) = wire::decode_request(line.as_bytes()) else { return Vec::new() };
    let text = |base64| String::from_utf8(base64_decode(base64).expect("good base64")).expect("UTF-8");
    let payload = text(frame.base64);
    let (code, payload) = match frame.code {
        b"GET" => match values.iter().find(|(key, _)| *key == payload) {
            Some((_, value)) => ("SUCCESS", value.clone()),
            None => ("NOTFOUND", String::new()),
        },
        b"KEYS" => {
            let keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
            ("SUCCESS", keys.join("\n"))
        }
        b"DELETE" => {
            values.retain(|(key, _)| *key != payload);
            ("SUCCESS", "OK".to_owned())
        }
        b"PUT" => {
            let (key, value) = wire::put_fields(payload.as_bytes()).expect("two fields");
            let key = text(key);
            values.retain(|(old, _)| *old != key);
            values.push((key, text(value)));
            ("SUCCESS", "OK".to_owned())
        }
        _ => ("FAILURE", "Unknown command".to_owned()),
    };
    now(wire::encode(frame.id, code, payload.as_bytes()))
}

/// What a host of version 1 answers.
pub fn v1(values: &[(&str, &str)]) -> impl FnMut(&str, Duration) -> Replies + 'static {
    let values: Vec<(String, String)> =
        values.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    move |line, _| match line.split_once(' ') {
        None if line.is_empty() => now("invalid command\n"),
        None if line == "KEYS" => {
            let keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
            now(wire::encode_value(keys.join("\n").as_bytes()))
        }
        Some(("GET", key)) => match values.iter().find(|(known, _)| known == key) {
            Some((_, value)) => now(wire::encode_value(value.as_bytes())),
            None => now("NOTFOUND\n"),
        },
        _ => now("FAILURE\n"),
    }
}

/// The identifier of a request's frame.
pub fn id_of(line: &str) -> &str {
    line.split(' ').nth(3).expect("a frame has an identifier")
}

/// The answer to a request's frame.
pub fn answer(request: &str, code: &str, payload: &str) -> Vec<u8> {
    wire::encode(id_of(request).as_bytes(), code, payload.as_bytes())
}

/// A host of version 2 that answers requests as `answers` says.
pub fn answering(
    mut answers: impl FnMut(&str) -> Replies + 'static,
) -> impl FnMut(&str, Duration) -> Replies + 'static {
    let mut rest = v2(&[]);
    move |line, now| if line.starts_with("V2 ") { answers(line) } else { rest(line, now) }
}

/// The text of an error and its causes.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(link) = cause {
        text = format!("{text}: {link}");
        cause = link.source();
    }
    text
}
