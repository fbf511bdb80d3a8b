//! The server: one thread that always reads, whatever its guests and its disk do.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest_mdata::host::{Agent, Answer, Conversation, Description, Dialect, Envelope, Heard};
use guest_mdata::wire::{Code, Request, Response};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::endpoint::{Channel, Endpoint, Opened};
use super::keeper::Keeper;

/// The longest line in bytes. A value that is put is base64 twice, so the largest has about 2 MiB.
const LINE_LIMIT: usize = 4 << 20;

/// How many bytes of unfinished lines and of answers that nobody has read yet are held for all connections together.
const HELD_LIMIT: usize = 128 << 20;

/// How many bytes of answers wait for one guest to read them. What comes after that is dropped, as it would be by a
/// serial line with nobody at its end: the guest asks again.
const OUTGOING_LIMIT: usize = 32 << 20;

/// How many bytes of room for answers are kept for a guest that has read everything.
const OUTGOING_ROOM: usize = 64 << 10;

/// How much of a guest's words the log shows, in bytes.
const LOGGED: usize = 200;

/// How many bytes of changes wait to be kept.
const WAITING_LIMIT: usize = 64 << 20;

/// How many guests are connected at once. Others wait in the socket's queue.
const CONNECTIONS: usize = 1000;

/// How long not to accept when the machine has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(200);

/// How many bytes of one guest are read before the others have their turn.
const TURN: usize = 256 << 10;

/// What becomes readable when the process is asked to end.
///
/// # Errors
/// The system refuses.
pub fn stop_signals() -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)
            .context("cannot wait for signals")?;
    }
    Ok(ours)
}

struct Connection {
    channel: Box<dyn Channel>,
    peer: String,
    conversation: Conversation,
    outgoing: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// Whether the log tells already that the other side does not read.
    choked: bool,
    /// Whether the other side will say nothing more; it may still read.
    ended: bool,
    /// How many answers are still to come from the keeper.
    waiting: usize,
}

/// A change that a guest asked for and that is not kept yet.
struct Waiting {
    connection: u64,
    request: Request,
    envelope: Envelope,
}

impl Waiting {
    fn size(&self) -> usize {
        match &self.request {
            Request::Put { key, value } => key.len() + value.len(),
            other => other.key().map_or(0, <[u8]>::len),
        }
    }
}

/// A change that the keeper is writing.
struct InFlight {
    waiting: Waiting,
    description: Description,
    response: Response,
}

/// A metadata server.
pub struct Server {
    agent: Agent,
    dialect: Dialect,
    keeper: Option<Keeper>,
    in_flight: Option<InFlight>,
    waiting: VecDeque<Waiting>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// Until when no connection is accepted.
    full_until: Option<Instant>,
}

impl Server {
    /// A server for the machine that `agent` answers for. Changes are kept by `keeper`, or in memory only.
    pub fn new(agent: Agent, dialect: Dialect, keeper: Option<Keeper>) -> Server {
        Server {
            agent,
            dialect,
            keeper,
            in_flight: None,
            waiting: VecDeque::new(),
            connections: BTreeMap::new(),
            next: 0,
            full_until: None,
        }
    }

    /// Serves until `stop` becomes readable.
    ///
    /// # Errors
    /// The system cannot wait for channels any more, or somebody hung up the terminal.
    pub fn run(mut self, mut endpoint: Endpoint, stop: &UnixStream) -> Result<()> {
        loop {
            self.welcome(&mut endpoint);
            let Some(ready) = self.wait(&endpoint, stop).context("cannot wait for guests")? else {
                tracing::info!("asked to end");
                return Ok(());
            };
            self.settle();
            for id in ready {
                self.serve(id, endpoint.is_line());
                self.shed(endpoint.is_line());
            }
            for (_, connection) in self.connections.extract_if(.., |_, connection| connection.is_done()) {
                tracing::debug!("{}: gone", connection.peer);
                endpoint.ended()?;
            }
        }
    }

    /// Takes in who wants to connect.
    fn welcome(&mut self, endpoint: &mut Endpoint) {
        if self.full_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.full_until = None;
        while self.connections.len() < CONNECTIONS {
            match endpoint.next() {
                Ok(Some(Opened { channel, peer })) => {
                    tracing::debug!("{peer}: connected");
                    let connection = Connection {
                        channel,
                        peer,
                        conversation: Conversation::new(self.dialect, LINE_LIMIT),
                        outgoing: Vec::new(),
                        written: 0,
                        choked: false,
                        ended: false,
                        waiting: 0,
                    };
                    self.connections.insert(self.next, connection);
                    self.next += 1;
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!("cannot take another connection: {error}");
                    self.full_until = Some(Instant::now() + NO_ROOM);
                    return;
                }
            }
        }
    }

    /// Waits until something can be done, and gives the connections that can go on; `None` is the end.
    fn wait(&self, endpoint: &Endpoint, stop: &UnixStream) -> io::Result<Option<Vec<u64>>> {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        fds.extend(self.keeper.as_ref().map(|keeper| PollFd::new(keeper.bell(), PollFlags::IN)));
        let accepting = self.full_until.is_none() && self.connections.len() < CONNECTIONS;
        if let Some(listener) = endpoint.listener().filter(|_| accepting) {
            fds.push(PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
        }
        let guests = fds.len();
        let mut ids = Vec::with_capacity(self.connections.len());
        for (id, connection) in &self.connections {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, !connection.ended);
            wanted.set(PollFlags::OUT, connection.unwritten() > 0);
            // A hang-up is told whether one wants to know or not, so who waits only for the keeper is left out.
            if wanted.is_empty() {
                continue;
            }
            ids.push(*id);
            fds.push(PollFd::from_borrowed_fd(connection.channel.as_fd(), wanted));
        }
        let full = self.full_until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = [endpoint.patience(), full].into_iter().flatten().min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(None);
        }
        let ready = ids.into_iter().zip(&fds[guests..]).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(Some(ready.map(|(id, _)| id).collect()))
    }

    /// Reads and writes what a connection can.
    fn serve(&mut self, id: u64, is_line: bool) {
        let mut buffer = [0; 16 << 10];
        let mut turn = 0;
        while turn < TURN {
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.ended)
            else {
                break;
            };
            match connection.channel.read(&mut buffer) {
                Ok(0) => connection.ended = true,
                Ok(count) => {
                    turn += count;
                    connection.conversation.push(&buffer[..count]);
                    self.hear(id);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!("{}: {error}", connection.peer);
                    connection.ended = true;
                    // A reset connection takes nothing more; a line may have somebody else at its end next.
                    if !is_line {
                        connection.forget();
                    }
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.flush();
        }
    }

    /// Answers the lines of a connection that are whole.
    fn hear(&mut self, id: u64) {
        while let Some(connection) = self.connections.get_mut(&id) {
            let Some(heard) = connection.conversation.next_heard() else { return };
            match heard {
                Heard::Formality { what, answer } => {
                    tracing::info!("{}: {}", connection.peer, shown(what.as_bytes()));
                    connection.say(&answer);
                }
                Heard::Nothing { why } => tracing::info!("{}: no answer to {why}", connection.peer),
                Heard::Question(request, envelope) => self.question(id, request, envelope),
            }
        }
    }

    fn question(&mut self, id: u64, request: Request, envelope: Envelope) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let changes = matches!(request, Request::Put { .. } | Request::Delete(_));
        if changes && self.keeper.is_some() {
            let waiting = Waiting { connection: id, request, envelope };
            let size: usize = self.waiting.iter().map(Waiting::size).sum();
            if size + waiting.size() > WAITING_LIMIT {
                let response = refusal("too many changes at once");
                connection.answer(&waiting.request, &waiting.envelope, &response);
                return;
            }
            connection.waiting += 1;
            self.waiting.push_back(waiting);
            self.keep_next();
            return;
        }
        let response = match self.agent.answer(&request) {
            Answer::Now(response) => response,
            Answer::Once(update) => {
                self.agent = Agent::new(update.description);
                update.response
            }
        };
        connection.answer(&request, &envelope, &response);
    }

    /// Gives the keeper the next change, unless it is busy. What may not be changed is answered on the way.
    fn keep_next(&mut self) {
        while self.in_flight.is_none() {
            let Some(waiting) = self.waiting.pop_front() else { return };
            match self.agent.answer(&waiting.request) {
                Answer::Now(response) => self.answer_waiting(&waiting, &response),
                Answer::Once(update) => {
                    let keeper = self.keeper.as_ref().expect("changes wait only for a keeper");
                    keeper.keep(update.description.to_json());
                    let (description, response) = (update.description, update.response);
                    self.in_flight = Some(InFlight { waiting, description, response });
                }
            }
        }
    }

    /// Answers what the keeper has done.
    fn settle(&mut self) {
        while let Some(result) = self.keeper.as_mut().and_then(Keeper::result) {
            let Some(InFlight { waiting, description, response }) = self.in_flight.take() else { return };
            let response = match result {
                Ok(()) => {
                    self.agent = Agent::new(description);
                    response
                }
                Err(error) => {
                    tracing::warn!("cannot keep a change: {error}");
                    refusal(&format!("cannot keep the change: {error}"))
                }
            };
            self.answer_waiting(&waiting, &response);
            self.keep_next();
        }
    }

    fn answer_waiting(&mut self, waiting: &Waiting, response: &Response) {
        if let Some(connection) = self.connections.get_mut(&waiting.connection) {
            connection.waiting -= 1;
            connection.answer(&waiting.request, &waiting.envelope, response);
            connection.flush();
        }
    }

    /// Keeps the memory of all connections within its bound, at the cost of whoever has the most. A line alone is never
    /// that large.
    fn shed(&mut self, is_line: bool) {
        let total: usize = self.connections.values().map(Connection::held).sum();
        if is_line || total <= HELD_LIMIT {
            return;
        }
        if let Some(connection) = self.connections.values_mut().max_by_key(|connection| connection.held()) {
            tracing::warn!("{}: sent off, because it holds the most and memory is short", connection.peer);
            connection.conversation = Conversation::new(self.dialect, LINE_LIMIT);
            connection.ended = true;
            connection.forget();
        }
    }
}

/// A guest's words as the log shows them: in one line, without control characters, and not all of them.
fn shown(words: &[u8]) -> String {
    let cut = words.len() > LOGGED;
    let words = String::from_utf8_lossy(&words[..words.len().min(LOGGED)]);
    format!("{}{}", words.escape_default(), if cut { "…" } else { "" })
}

fn refusal(text: &str) -> Response {
    Response { code: Code::Failure, payload: text.as_bytes().to_vec() }
}

impl Connection {
    /// Answers a question, and logs both without any value.
    fn answer(&mut self, request: &Request, envelope: &Envelope, response: &Response) {
        let key = request.key().map(|key| format!(" {}", shown(key))).unwrap_or_default();
        let code = response.code.word();
        let what = match response.code {
            Code::Success => format!(" {} bytes", response.payload.len()),
            _ if response.payload.is_empty() => String::new(),
            Code::NotFound | Code::Failure | Code::Other(_) => format!(": {}", shown(&response.payload)),
        };
        tracing::info!("{}: {}{key}: {code}{what}", self.peer, request.verb());
        self.say(&envelope.seal(response));
    }

    fn say(&mut self, bytes: &[u8]) {
        if self.unwritten() + bytes.len() > OUTGOING_LIMIT {
            if !std::mem::replace(&mut self.choked, true) {
                tracing::warn!("{}: does not read; answers are dropped", self.peer);
            }
            return;
        }
        // What is written already goes when it is the larger part, so that a byte is moved once at most.
        if self.written > self.unwritten() {
            self.outgoing.drain(..self.written);
            self.written = 0;
        }
        self.outgoing.extend_from_slice(bytes);
    }

    /// How many bytes the other side has still to take.
    fn unwritten(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// How many bytes of memory are held.
    fn held(&self) -> usize {
        self.conversation.held() + self.outgoing.capacity()
    }

    /// Whether nothing more will come of this connection.
    fn is_done(&self) -> bool {
        self.ended && self.unwritten() == 0 && self.waiting == 0
    }

    /// Drops all answers that are not written.
    fn forget(&mut self) {
        self.outgoing.clear();
        self.outgoing.shrink_to(OUTGOING_ROOM);
        (self.written, self.choked) = (0, false);
    }

    /// Writes what can be written now.
    fn flush(&mut self) {
        while self.unwritten() > 0 {
            match self.channel.write(&self.outgoing[self.written..]) {
                Ok(0) => return,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!("{}: {error}", self.peer);
                    self.ended = true;
                    break;
                }
            }
        }
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::path::Path;
    use std::thread::{self, JoinHandle};

    use guest_mdata::wire::encode;
    use serde_json::json;

    use super::*;
    use crate::metadata::address::Listen;
    use crate::metadata::keeper::tests::slow;

    struct Running {
        folder: tempfile::TempDir,
        stop: UnixStream,
        thread: JoinHandle<Result<()>>,
    }

    fn start(keeper: Option<Keeper>) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::listen(&Listen::Unix(folder.path().join("socket"))).unwrap();
        let description =
            json!({ "alias": "web", "customer_metadata": { "key": "old", "large": "x".repeat(1 << 20) } });
        let agent = Agent::new(Description::new(description).unwrap());
        let (stop, heard) = UnixStream::pair().unwrap();
        let thread =
            thread::spawn(move || Server::new(agent, Dialect::Current, keeper).run(endpoint, &heard));
        Running { folder, stop, thread }
    }

    impl Running {
        fn socket(&self) -> std::path::PathBuf {
            self.folder.path().join("socket")
        }

        /// Ends the server, which must end well and take its names with it.
        fn end(mut self) {
            self.stop.write_all(b"!").unwrap();
            self.thread.join().unwrap().unwrap();
            assert_eq!(std::fs::read_dir(self.folder.path()).unwrap().count(), 0);
        }
    }

    fn connect(path: &Path) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(path).unwrap())
    }

    fn ask(client: &mut BufReader<UnixStream>, line: &[u8]) {
        client.get_mut().write_all(line).unwrap();
    }

    fn line(client: &mut BufReader<UnixStream>) -> String {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        line
    }

    fn frame(id: &str, code: &str, payload: &[u8]) -> String {
        String::from_utf8(encode(id.as_bytes(), code, payload)).unwrap()
    }

    #[test]
    fn case_26_a_slow_put_delays_nobody_and_is_seen_once_it_is_kept() {
        let (keeper, go) = slow();
        let server = start(Some(keeper));
        let mut client = connect(&server.socket());
        let put = frame("1", "PUT", b"a2V5 bmV3");
        ask(&mut client, [put.as_str(), &frame("2", "GET", b"key"), "\n"].concat().as_bytes());
        assert_eq!(line(&mut client), frame("2", "SUCCESS", b"old"));
        assert_eq!(line(&mut client), "invalid command\n");
        let mut other = connect(&server.socket());
        ask(&mut other, frame("3", "GET", b"key").as_bytes());
        assert_eq!(line(&mut other), frame("3", "SUCCESS", b"old"));
        go.send(Ok(())).unwrap();
        assert_eq!(line(&mut client), frame("1", "SUCCESS", b"OK"));
        ask(&mut other, frame("4", "GET", b"key").as_bytes());
        assert_eq!(line(&mut other), frame("4", "SUCCESS", b"new"));

        // A change that cannot be kept is none.
        ask(&mut client, frame("5", "DELETE", b"key").as_bytes());
        go.send(Err(io::Error::from(ErrorKind::StorageFull))).unwrap();
        assert_eq!(line(&mut client), frame("5", "FAILURE", b"cannot keep the change: no storage space"));
        ask(&mut client, b"GET key\n");
        assert_eq!([line(&mut client), line(&mut client), line(&mut client)], ["SUCCESS\n", "new\n", ".\n"]);
        drop(go);
        server.end();
    }

    #[test]
    fn case_41_half_lines_silence_and_vanished_readers_harm_nobody() {
        let server = start(None);
        let mut silent = Vec::new();
        for count in 0..200 {
            let mut client = connect(&server.socket());
            if count % 2 == 0 {
                ask(&mut client, b"GET sdc:al");
            }
            silent.push(client);
        }
        // Each of these leaves without reading a megabyte that it asked for.
        for _ in 0..20 {
            ask(&mut connect(&server.socket()), b"GET large\nGET large\n");
        }
        for client in &mut silent {
            ask(client, b"\n");
        }
        for (count, client) in silent.iter_mut().enumerate() {
            assert_eq!(line(client), if count % 2 == 0 { "NOTFOUND\n" } else { "invalid command\n" });
        }
        server.end();
    }

    #[test]
    fn who_only_writes_loses_answers_and_not_the_server() {
        let server = start(None);
        let mut client = connect(&server.socket());
        for _ in 0..100 {
            ask(&mut client, b"GET large\n");
        }
        let mut other = connect(&server.socket());
        ask(&mut other, b"GET sdc:alias\n");
        assert_eq!([line(&mut other), line(&mut other)], ["SUCCESS\n", "web\n"]);
        client.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        let one = b"SUCCESS\n".len() + (1 << 20) + b"\n.\n".len();
        assert_eq!(rest.len() % one, 0, "whole answers only");
        assert!((10..100).contains(&(rest.len() / one)), "{} answers", rest.len() / one);
        server.end();
    }

    #[test]
    fn what_the_log_shows_of_a_guests_words_is_short_and_harmless() {
        assert_eq!(shown(b"sdc:nics"), "sdc:nics");
        assert_eq!(shown(b"a\x1b[2J\n"), "a\\u{1b}[2J\\n");
        assert!(shown(&[b'x'; 5000]).len() < 300);
    }

    #[test]
    fn who_left_during_a_slow_put_does_not_wake_the_server() {
        let (channel, guest) = UnixStream::pair().unwrap();
        drop(guest);
        let (_stop, heard) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::listen(&Listen::Unix(folder.path().join("socket"))).unwrap();
        let agent = Agent::new(Description::new(json!({})).unwrap());
        let mut server = Server::new(agent, Dialect::Current, None);
        // Its only timeout is over, so that it looks once and does not wait.
        server.full_until = Some(Instant::now());
        let connection = Connection {
            channel: Box::new(channel),
            peer: "guest".to_owned(),
            conversation: Conversation::new(Dialect::Current, LINE_LIMIT),
            outgoing: Vec::new(),
            written: 0,
            choked: false,
            ended: false,
            waiting: 1,
        };
        server.connections.insert(7, connection);
        assert_eq!(server.wait(&endpoint, &heard).unwrap(), Some(vec![7]), "the hang-up is noticed");
        server.connections.get_mut(&7).unwrap().ended = true;
        assert_eq!(server.wait(&endpoint, &heard).unwrap(), Some(vec![]), "and then it is known");
    }

    #[test]
    fn an_endless_line_ends_with_the_next_one() {
        let server = start(None);
        let mut client = connect(&server.socket());
        for _ in 0..3 * LINE_LIMIT / 0x10000 {
            ask(&mut client, &vec![b'x'; 0x10000]);
        }
        ask(&mut client, b"\n\n");
        assert_eq!(line(&mut client), "invalid command\n");
        server.end();
    }
}
