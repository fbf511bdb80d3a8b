//! The protocol as a state machine: it is told what was read and what time it is, and says what to do next.
//!
//! A channel goes through these states, and back to the first after any trouble:
//!
//! 1. *Closed*, for a pause that grows.
//! 2. *Flushing*: what comes first on a shared line was meant for somebody else, so it is read until the line is quiet.
//! 3. *Pinging*: an empty line ends what a killed client may have left in the host's buffer, and its answer proves
//!    that a host is there.
//! 4. *Settling*: a late host answers every earlier ping as well, so a shared line must be quiet again.
//! 5. *Negotiating*: which version the host speaks. It is asked anew after each reset, since the host may have changed.
//! 6. *Ready*, and *Asking* while a request is out. An answer that does not come, in time or whole, is asked for again
//!    from the start, with a new identifier.

use std::mem;
use std::time::Duration;

use super::ids::RequestIds;
use super::limits::Limits;
use super::trouble::{Noise, Trouble};
use crate::wire::{
    self, Code, Line, Lines, Progress, Request, RequestId, Response, ValueReader, Verb, base64_decode, status,
};

/// Room on a line for what is not the value: the fields of a frame, and noise glued to its front.
const LINE_SLACK: usize = 1024;

/// How much of an unfinished line is searched for the header of a frame that is too large.
const HEADER_SEARCH: usize = 256;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Close the channel and wait until this moment.
    Pause(Duration),
    /// Close the channel and open it.
    Open,
    /// Write the output, and read until this moment.
    Talk(Duration),
    /// The request has an outcome.
    Done,
}

/// Why a request has no response although the host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The host speaks version 1 only, which has no such request.
    Unsupported,
    /// The value is larger than the limit.
    TooLarge,
    /// The payload is not base64.
    NotBase64,
}

/// What a request came to.
pub type Outcome = Result<Response, Problem>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

#[derive(Debug)]
enum State {
    Closed { until: Duration },
    Flushing { since: Duration, quiet_since: Duration, bytes: usize },
    Pinging { until: Duration, repeated: bool },
    Settling { since: Duration, quiet_since: Duration, version: Option<Version> },
    Negotiating { until: Duration, refusals: u8, ask_again: Option<Duration> },
    Ready(Version),
    Asking(Asking),
}

/// A request that is out.
#[derive(Debug)]
struct Asking {
    version: Version,
    id: RequestId,
    since: Duration,
    progress: Duration,
    /// Bytes that came of what may be the answer.
    answer_bytes: usize,
    /// When to give this attempt up because of a line that may or may not be the answer.
    doubt: Option<Duration>,
    /// That line, in version 1.
    doubtful: Option<Vec<u8>>,
    value: Option<ValueReader>,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    limits: Limits,
    ids: RequestIds,
    /// Whether the line is flushed when it is opened.
    shared: bool,
    state: State,
    lines: Lines,
    output: Vec<u8>,
    written: usize,
    /// The last moment at which there was nothing to read. What has a time limit is given up when it has passed by this
    /// clock, so that an answer that lay there while the process slept counts; or some time later even if there always
    /// is something to read.
    idle: Duration,
    request: Option<Request>,
    outcome: Option<Outcome>,
    /// The status line that was doubted before, in version 1: the second time it is believed.
    doubted: bool,
    pause: Duration,
    resets: u32,
    trouble: Option<Trouble>,
    noise: Noise,
}

impl Machine {
    pub fn new(limits: Limits, ids: RequestIds, shared: bool, now: Duration) -> Self {
        Self {
            lines: Lines::new(base64_length(limits.value) + LINE_SLACK),
            pause: limits.pause,
            limits,
            ids,
            shared,
            state: State::Closed { until: now },
            output: Vec::new(),
            written: 0,
            idle: now,
            request: None,
            outcome: None,
            doubted: false,
            resets: 0,
            trouble: None,
            noise: Noise::default(),
        }
    }

    /// Begins a request. There must be none under way.
    pub fn ask(&mut self, request: Request, now: Duration) {
        let needs_v2 = matches!(request.verb(), Verb::Put | Verb::Delete);
        self.request = Some(request);
        self.forget_trouble();
        if needs_v2 && matches!(self.state, State::Ready(Version::V1)) {
            // The host may have become a newer one since it was asked.
            self.close(now);
        }
    }

    /// Gives the request up.
    pub fn abandon(&mut self, now: Duration) {
        self.request = None;
        self.close(now);
    }

    /// The outcome, when [`Step::Done`] said that there is one.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// Whether the channel is to be closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// Whether an attempt has failed since the request came.
    pub fn in_trouble(&self) -> bool {
        self.resets > 0
    }

    /// What keeps the request from its answer.
    pub fn trouble(&self) -> String {
        let (trouble, noise) = self.present_trouble();
        format!("{trouble}{noise}")
    }

    /// The same for the one who has waited long enough, and what to do about it.
    pub fn last_trouble(&self) -> String {
        let (trouble, noise) = self.present_trouble();
        format!("{trouble}{noise}; {}", trouble.advice())
    }

    fn present_trouble(&self) -> (Trouble, Noise) {
        let waiting = match &self.state {
            State::Closed { .. } | State::Pinging { .. } => Trouble::NoPing,
            State::Flushing { .. } | State::Settling { .. } => Trouble::Noise,
            State::Negotiating { .. } => Trouble::NoVersion,
            State::Ready(_) | State::Asking(_) => {
                Trouble::NoAnswer(self.request.as_ref().map_or(Verb::Get, Request::verb))
            }
        };
        let noise = self.noise_with_partial();
        match self.trouble.as_ref().unwrap_or(&waiting) {
            Trouble::NoPing if noise.is_any() => (Trouble::Garbage, noise),
            trouble => (trouble.clone(), noise),
        }
    }

    /// What to do next.
    pub fn step(&mut self, now: Duration) -> Step {
        loop {
            if self.outcome.is_some() {
                return Step::Done;
            }
            let idle = self.idle;
            match &mut self.state {
                State::Closed { until } => {
                    return if now < *until { Step::Pause(*until) } else { Step::Open };
                }
                State::Flushing { since, quiet_since, bytes } => {
                    let (quiet, end) = (*quiet_since + self.limits.quiet, *since + self.limits.flush);
                    if idle >= quiet {
                        self.say(wire::PING.to_vec());
                        self.state = State::Pinging { until: now + self.limits.ping, repeated: false };
                    } else if now >= end || *bytes > self.limits.flush_bytes {
                        self.reset(Trouble::Noise, now);
                    } else {
                        return Step::Talk(quiet.min(end));
                    }
                }
                State::Pinging { until, .. } => {
                    if idle < *until && now < *until + self.limits.settle {
                        return Step::Talk(*until);
                    }
                    self.reset(Trouble::NoPing, now);
                }
                State::Settling { since, quiet_since, version } => {
                    let (quiet, end) = (*quiet_since + self.limits.quiet, *since + self.limits.settle);
                    if idle >= quiet {
                        self.lines.clear();
                        match *version {
                            Some(version) => self.state = State::Ready(version),
                            None => self.negotiate(now, 0),
                        }
                    } else if now >= end {
                        self.reset(Trouble::Noise, now);
                    } else {
                        return Step::Talk(quiet.min(end));
                    }
                }
                State::Negotiating { until, refusals, ask_again } => {
                    let refusals = *refusals;
                    let is_over = idle >= *until || now >= *until + self.limits.settle;
                    match *ask_again {
                        _ if is_over => self.reset(Trouble::NoVersion, now),
                        Some(again) if idle < again => return Step::Talk(again),
                        Some(_) => self.negotiate(now, refusals),
                        None => return Step::Talk(*until),
                    }
                }
                State::Ready(version) => {
                    let version = *version;
                    self.send_request(version, now);
                }
                State::Asking(asking) => {
                    let patience = match asking.version {
                        Version::V1 => self.limits.answer_v1,
                        Version::V2 => self.limits.answer_v2,
                    };
                    let stalled = asking.progress + patience;
                    // Only what may be the answer counts, so that no flood of other lines keeps this waiting.
                    let moved = self.written + asking.answer_bytes;
                    let slow =
                        asking.since + patience + Duration::from_secs(moved as u64) / self.limits.slowest;
                    match asking.doubt {
                        Some(doubt) if idle >= doubt => self.conclude(now),
                        _ if idle >= stalled || now >= slow => {
                            let verb = self.request.as_ref().map_or(Verb::Get, Request::verb);
                            self.reset(Trouble::NoAnswer(verb), now);
                        }
                        doubt => return Step::Talk(stalled.min(slow).min(doubt.unwrap_or(stalled))),
                    }
                }
            }
        }
    }

    /// The channel is open.
    pub fn opened(&mut self, now: Duration) {
        self.lines.clear();
        self.say(Vec::new());
        self.idle = now;
        self.state = if self.shared {
            State::Flushing { since: now, quiet_since: now, bytes: 0 }
        } else {
            self.say(wire::PING.to_vec());
            State::Pinging { until: now + self.limits.ping, repeated: false }
        };
    }

    /// The channel could not be opened.
    pub fn not_opened(&mut self, why: String, now: Duration) {
        self.reset(Trouble::Closed(why), now);
    }

    /// The channel is locked by another process.
    pub fn held(&mut self, holder: Option<i32>, now: Duration) {
        let pause = self.pause;
        self.reset(Trouble::Held(holder), now);
        self.pause = pause;
        self.state = State::Closed { until: now + self.limits.lock_retry };
    }

    /// The other side closed the channel.
    pub fn hung_up(&mut self, now: Duration) {
        let first = self.resets == 0;
        self.reset(Trouble::HungUp, now);
        if first {
            // It may have been restarted since the request before.
            self.pause = self.limits.pause;
            self.state = State::Closed { until: now };
        }
    }

    /// Reading or writing failed.
    pub fn broken(&mut self, why: String, now: Duration) {
        self.reset(Trouble::Broken(why), now);
    }

    /// So many bytes of the output were written.
    pub fn wrote(&mut self, bytes: usize, now: Duration) {
        self.written = (self.written + bytes).min(self.output.len());
        if let State::Asking(asking) = &mut self.state
            && bytes > 0
        {
            asking.progress = now;
        }
    }

    /// This was read; nothing, if there was nothing to read.
    pub fn read(&mut self, bytes: &[u8], now: Duration) {
        if bytes.is_empty() {
            self.idle = now;
            return;
        }
        match &mut self.state {
            State::Flushing { quiet_since, bytes: flushed, .. } => {
                *quiet_since = now;
                *flushed += bytes.len();
            }
            State::Settling { quiet_since, .. } => *quiet_since = now,
            State::Negotiating { ask_again: Some(again), .. } => *again = now + self.limits.quiet,
            State::Asking(asking) => {
                asking.progress = now;
                if asking.value.is_some() {
                    asking.answer_bytes += bytes.len();
                }
            }
            _ => {}
        }
        let mut lines = mem::replace(&mut self.lines, Lines::new(0));
        lines.push(bytes);
        while self.outcome.is_none()
            && let Some(line) = lines.next_line()
        {
            self.line(line, now);
        }
        self.lines = lines;
        self.unfinished_answer(now);
        if self.is_closed() {
            // What is held of a line that is not waited for may be large.
            self.lines.clear();
        }
    }

    /// Looks at the beginning of a frame whose end has not come.
    fn unfinished_answer(&mut self, now: Duration) {
        let State::Asking(asking) = &mut self.state else { return };
        if asking.version == Version::V1 {
            return;
        }
        let partial = self.lines.partial();
        let length = wire::response_length(&partial[..partial.len().min(HEADER_SEARCH)], asking.id);
        asking.answer_bytes = if length.is_some() { partial.len() } else { 0 };
        if length.is_some_and(|length| length > self.longest_body()) {
            self.too_large(now);
        }
    }

    fn line(&mut self, line: Line<'_>, now: Duration) {
        let (Line::Whole(bytes) | Line::TooLong(bytes)) = line;
        // Noise may be glued to the front of what the host says, and CR or NUL to its end.
        let text = bytes.trim_ascii_end();
        match &mut self.state {
            State::Pinging { repeated, .. } => {
                if text.ends_with(status::INVALID_COMMAND) {
                    if self.shared || *repeated {
                        self.state = State::Settling { since: now, quiet_since: now, version: None };
                    } else {
                        // A connection of its own on which one thing was said has no other answer to come.
                        self.negotiate(now, 0);
                    }
                    return;
                }
                self.noise.heard(text);
                if !mem::replace(repeated, true) {
                    // The empty line may have ended something that was left over, and this is the answer to that. The
                    // next one will be empty.
                    self.say(wire::PING.to_vec());
                }
            }
            State::Negotiating { refusals, ask_again, .. } => {
                if text.ends_with(status::V2_OK) {
                    self.state = State::Ready(Version::V2);
                } else if text.ends_with(status::FAILURE) {
                    // It may be the late answer to something else, so it is asked twice.
                    *refusals += 1;
                    if *refusals < 2 {
                        *ask_again = Some(now + self.limits.quiet);
                    } else {
                        self.state =
                            State::Settling { since: now, quiet_since: now, version: Some(Version::V1) };
                    }
                } else {
                    self.noise.heard(text);
                }
            }
            State::Asking(Asking { version: Version::V1, .. }) => self.v1_line(line, now),
            State::Asking(_) => self.v2_line(line, now),
            _ => self.noise.heard(text),
        }
    }

    fn v2_line(&mut self, line: Line<'_>, now: Duration) {
        let State::Asking(asking) = &mut self.state else { return };
        let (Line::Whole(bytes) | Line::TooLong(bytes)) = line;
        if let Line::TooLong(_) = line {
            if wire::response_length(bytes, asking.id).is_some() {
                self.too_large(now);
            } else {
                self.noise.heard(bytes);
            }
            return;
        }
        let verb = self.request.as_ref().map_or("", |request| request.verb().word());
        // A frame with the request's own word is its echo.
        let answer = wire::decode_response(bytes, asking.id).filter(|frame| frame.code != verb.as_bytes());
        let Some(frame) = answer else {
            self.noise.heard(bytes);
            if bytes.trim_ascii_end().ends_with(status::FAILURE) && asking.doubt.is_none() {
                asking.doubt = Some(now + self.limits.lost);
            }
            return;
        };
        let outcome = match base64_decode(frame.base64) {
            Some(payload) if payload.len() > self.limits.value => return self.too_large(now),
            Some(payload) => Ok(Response { code: Code::from_word(frame.code), payload }),
            None => Err(Problem::NotBase64),
        };
        self.finish(outcome, State::Ready(Version::V2));
    }

    fn v1_line(&mut self, line: Line<'_>, now: Duration) {
        let State::Asking(asking) = &mut self.state else { return };
        if let Some(reader) = &mut asking.value {
            match reader.line(line) {
                Progress::More => {}
                Progress::Whole(payload) => {
                    self.finish(Ok(Response { code: Code::Success, payload }), State::Ready(Version::V1));
                }
                Progress::TooLarge => self.too_large(now),
            }
            return;
        }
        let (Line::Whole(bytes) | Line::TooLong(bytes)) = line;
        let text = bytes.trim_ascii_end();
        if let Some(reader) = ValueReader::after_status(bytes, self.limits.value) {
            asking.value = Some(reader);
            asking.doubt = None;
        } else if text == status::NOTFOUND {
            self.finish(
                Ok(Response { code: Code::NotFound, payload: Vec::new() }),
                State::Ready(Version::V1),
            );
        } else {
            // No request of ours has `invalid command` for an answer: that one is late. What else it may be shows when
            // the line is quiet.
            self.noise.heard(text);
            if text != status::INVALID_COMMAND {
                asking.doubt = Some(now + self.limits.quiet);
                asking.doubtful = Some(text.to_vec());
            }
        }
    }

    /// A line that may have been the answer was not followed by a better one.
    fn conclude(&mut self, now: Duration) {
        let State::Asking(asking) = &mut self.state else { return };
        match asking.doubtful.take() {
            Some(text) if self.doubted => {
                self.finish(Ok(Response { code: Code::Failure, payload: text }), State::Ready(Version::V1));
            }
            doubtful => {
                // Either the host changed its version, or in version 1 the line was noise or an answer: it is asked
                // once more.
                self.doubted = doubtful.is_some();
                let verb = self.request.as_ref().map_or(Verb::Get, Request::verb);
                self.reset(Trouble::NoAnswer(verb), now);
                self.state = State::Closed { until: now };
            }
        }
    }

    fn negotiate(&mut self, now: Duration, refusals: u8) {
        self.say(wire::NEGOTIATE.to_vec());
        self.state = State::Negotiating { until: now + self.limits.negotiate, refusals, ask_again: None };
    }

    fn send_request(&mut self, version: Version, now: Duration) {
        let Some(request) = &self.request else { return };
        let id = self.ids.next_id();
        let line = match version {
            Version::V1 => request.v1_line(),
            Version::V2 => {
                let payload = request.payload().unwrap_or_default();
                Some(wire::encode(id.to_string().as_bytes(), request.verb().word(), &payload))
            }
        };
        let Some(line) = line else {
            self.finish(Err(Problem::Unsupported), State::Ready(version));
            return;
        };
        self.say(line);
        self.idle = now;
        self.state = State::Asking(Asking {
            version,
            id,
            since: now,
            progress: now,
            answer_bytes: 0,
            doubt: None,
            doubtful: None,
            value: None,
        });
    }

    fn say(&mut self, output: Vec<u8>) {
        self.output = output;
        self.written = 0;
    }

    fn finish(&mut self, outcome: Outcome, next: State) {
        // A host may refuse a request before it is written whole. The rest would go in front of the next one.
        let next = if self.output().is_empty() { next } else { State::Closed { until: Duration::ZERO } };
        self.outcome = Some(outcome);
        self.request = None;
        self.say(Vec::new());
        self.forget_trouble();
        self.state = next;
    }

    /// The rest of such an answer is not waited for: the next request finds the line as after a crash.
    fn too_large(&mut self, now: Duration) {
        self.finish(Err(Problem::TooLarge), State::Closed { until: now });
    }

    fn forget_trouble(&mut self) {
        self.doubted = false;
        self.pause = self.limits.pause;
        self.resets = 0;
        self.trouble = None;
        self.noise = Noise::default();
    }

    /// The noise so far, with the beginning of a line that is no answer yet and may never be one.
    fn noise_with_partial(&self) -> Noise {
        let mut noise = self.noise.clone();
        let partial = self.lines.partial();
        if matches!(self.state, State::Pinging { .. } | State::Negotiating { .. }) && !partial.is_empty() {
            noise.heard(partial);
        }
        noise
    }

    fn close(&mut self, now: Duration) {
        self.noise = self.noise_with_partial();
        self.lines.clear();
        self.say(Vec::new());
        self.state = State::Closed { until: now };
    }

    fn reset(&mut self, trouble: Trouble, now: Duration) {
        self.close(now);
        self.state = State::Closed { until: now + self.pause };
        self.pause = (self.pause * 2).min(self.limits.longest_pause);
        self.resets += 1;
        self.trouble = Some(trouble);
    }

    /// The longest body of a frame with a value within the limit.
    fn longest_body(&self) -> usize {
        base64_length(self.limits.value) + LINE_SLACK
    }
}

fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}
