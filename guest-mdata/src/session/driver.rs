//! The state machine joined to a channel and a clock.

use std::time::Duration;

use super::ids::RequestIds;
use super::limits::Limits;
use super::machine::{Machine, Problem, Step};
use crate::channel::{Channel, Link, OpenError};
use crate::clock::{Clock, Deadline};
use crate::error::{ChannelProblem, Error, KeyProblem, ValueProblem};
use crate::source::MetadataSource;
use crate::wire::{Code, Request, Response};

/// How much is read at once: a FIFO of a serial port is far smaller, a socket's buffer not much larger.
const READ_SIZE: usize = 32 << 10;

/// A conversation over one channel. The channel stays open, and locked, between requests unless it is released, and the version is asked for
/// only when it was opened anew.
pub struct Session {
    channel: Box<dyn Channel>,
    link: Option<Box<dyn Link>>,
    machine: Machine,
    clock: Box<dyn Clock>,
    limits: Limits,
    notice: Box<dyn FnMut(&str)>,
    buffer: Vec<u8>,
}

impl Session {
    /// A session that has not opened its channel yet. While a request meets trouble, `notice` is told once in a while
    /// what it is.
    pub fn new(
        channel: Box<dyn Channel>,
        clock: Box<dyn Clock>,
        ids: RequestIds,
        limits: Limits,
        notice: Box<dyn FnMut(&str)>,
    ) -> Self {
        let machine = Machine::new(limits.clone(), ids, channel.is_shared(), clock.now());
        Self { channel, link: None, machine, clock, limits, notice, buffer: vec![0; READ_SIZE] }
    }

    /// The clock that the deadlines of this session are measured by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The host's answer to `request`, whatever it takes until the deadline.
    fn answer(&mut self, request: Request, deadline: Deadline) -> Result<Response, Error> {
        let key = check_key(&request)?;
        let verb = request.verb();
        let begin = self.clock.now();
        let mut next_notice = begin + self.limits.first_notice;
        self.machine.ask(request, begin);
        loop {
            let now = self.clock.now();
            let step = self.machine.step(now);
            if self.machine.is_closed() {
                self.link = None;
            }
            if step != Step::Done && deadline.is_over(now) {
                let why = self.machine.last_trouble();
                self.machine.abandon(now);
                self.link = None;
                return Err(self.channel_error(ChannelProblem::Deadline(why)));
            }
            let mut wake = deadline;
            if self.machine.in_trouble() {
                if now >= next_notice {
                    next_notice = now + self.limits.notice_interval;
                    (self.notice)(&format!("{}: {}", self.channel.name(), self.machine.trouble()));
                }
                wake = Deadline::at(deadline.min(next_notice));
            }
            let wait = |until: Duration| wake.min(until).saturating_sub(now);
            match step {
                Step::Pause(until) => self.clock.sleep(wait(until)),
                Step::Open => self.open()?,
                Step::Talk(until) => self.talk(wait(until)),
                Step::Done => break,
            }
        }
        match self.machine.take_outcome() {
            Some(Ok(response)) => Ok(response),
            Some(Err(Problem::TooLarge)) => {
                Err(Error::Value { key, problem: ValueProblem::TooLarge(self.limits.value) })
            }
            Some(Err(Problem::NotBase64)) => Err(Error::Value { key, problem: ValueProblem::NotBase64 }),
            Some(Err(Problem::Unsupported)) | None => {
                Err(Error::Key { key, problem: KeyProblem::Unsupported(verb) })
            }
        }
    }

    fn open(&mut self) -> Result<(), Error> {
        self.link = None;
        let opened = self.channel.open();
        let now = self.clock.now();
        match opened {
            Ok(link) => {
                self.link = Some(link);
                self.machine.opened(now);
            }
            Err(OpenError::Later(error)) => self.machine.not_opened(error.to_string(), now),
            Err(OpenError::Held(holder)) => self.machine.held(holder, now),
            Err(OpenError::Never(unusable)) => {
                self.machine.abandon(now);
                return Err(self.channel_error(unusable.into()));
            }
        }
        Ok(())
    }

    fn talk(&mut self, wait: Duration) {
        let Some(link) = &mut self.link else {
            let now = self.clock.now();
            self.machine.hung_up(now);
            return;
        };
        let exchanged = link.exchange(self.machine.output(), &mut self.buffer, wait);
        let now = self.clock.now();
        match exchanged {
            Ok(exchanged) => {
                self.machine.wrote(exchanged.written, now);
                self.machine.read(&self.buffer[..exchanged.read], now);
                if exchanged.closed {
                    self.machine.hung_up(now);
                }
            }
            Err(error) => self.machine.broken(error.to_string(), now),
        }
    }

    fn channel_error(&self, problem: ChannelProblem) -> Error {
        Error::Channel { channel: self.channel.name(), problem }
    }
}

/// The request's key for errors, if it is one that can be asked for.
fn check_key(request: &Request) -> Result<Option<String>, Error> {
    let Some(key) = request.key() else { return Ok(None) };
    let text = Some(String::from_utf8_lossy(key).into_owned());
    let problem = if key.trim_ascii().is_empty() {
        KeyProblem::Empty
    } else if key.contains(&b'\n') {
        KeyProblem::LineBreak
    } else {
        return Ok(text);
    };
    Err(Error::Key { key: text, problem })
}

/// The payload of a successful answer, or `None` for a key that is not there.
fn value(key: Option<&str>, response: Response) -> Result<Option<Vec<u8>>, Error> {
    let text = String::from_utf8_lossy(&response.payload);
    let refused = match response.code {
        Code::Success => return Ok(Some(response.payload)),
        Code::NotFound => return Ok(None),
        Code::Failure => text.into_owned(),
        Code::Other(word) => format!("{word} {text}").trim_end().to_owned(),
    };
    Err(Error::Key { key: key.map(str::to_owned), problem: KeyProblem::Refused(refused) })
}

impl MetadataSource for Session {
    fn get(&mut self, key: &str, deadline: Deadline) -> Result<Option<Vec<u8>>, Error> {
        let response = self.answer(Request::Get(key.into()), deadline)?;
        value(Some(key), response)
    }

    fn put(&mut self, key: &str, content: &[u8], deadline: Deadline) -> Result<(), Error> {
        let problem = if content.is_empty() {
            Some(ValueProblem::Empty)
        } else if content.len() > self.limits.value {
            Some(ValueProblem::TooLarge(self.limits.value))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Error::Value { key: Some(key.to_owned()), problem });
        }
        let response = self.answer(Request::Put { key: key.into(), value: content.to_vec() }, deadline)?;
        value(Some(key), response).map(drop)
    }

    fn delete(&mut self, key: &str, deadline: Deadline) -> Result<(), Error> {
        let response = self.answer(Request::Delete(key.into()), deadline)?;
        value(Some(key), response).map(drop)
    }

    fn keys(&mut self, deadline: Deadline) -> Result<Vec<String>, Error> {
        let names = value(None, self.answer(Request::Keys, deadline)?)?
            .ok_or(Error::Key { key: None, problem: KeyProblem::NothingToList })?;
        let names = names.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    fn release(&mut self) {
        self.machine.abandon(self.clock.now());
        self.link = None;
    }
}
