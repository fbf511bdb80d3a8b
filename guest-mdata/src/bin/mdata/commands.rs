//! The commands: what they print and how they end is what the original ones do.

use std::collections::hash_map::RandomState;
use std::error::Error as _;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IsTerminal, Read, Write};

use guest_mdata::channel::Guest;
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::{
    ChannelProblem, Deadline, Error, KeyProblem, MetadataSource, Monotonic, Session, ValueProblem,
};

use crate::arguments::{Action, Failure, Invocation};
use crate::{exit, guest, help, tell};

/// Does what was asked for.
pub fn run(invocation: &Invocation) -> Result<(), Failure> {
    match &invocation.action {
        Action::Help(command) => print(help::text(*command).as_bytes()),
        Action::Get { key } => get(invocation, key),
        Action::Put { key, value } => put(invocation, key, value.as_deref()),
        Action::Delete { key } => {
            let (mut session, deadline) = open(invocation)?;
            session
                .delete(key, deadline)
                .map_err(|error| failure(&error, &format!("Error deleting metadata key '{key}'")))
        }
        Action::List { json } => list(invocation, *json),
    }
}

fn get(invocation: &Invocation, key: &str) -> Result<(), Failure> {
    let (mut session, deadline) = open(invocation)?;
    let value = session.get(key, deadline).map_err(|error| getting(&error, key))?;
    let Some(mut value) = value else {
        return Err(Failure { code: exit::NOT_FOUND, message: format!("No metadata for '{key}'") });
    };
    if !value.ends_with(b"\n") {
        value.push(b'\n');
    }
    print(&value)
}

fn put(invocation: &Invocation, key: &str, value: Option<&[u8]>) -> Result<(), Failure> {
    let input;
    let value = if let Some(value) = value {
        value
    } else {
        // Before the channel is opened and others are locked out, as it may take long.
        input = read_input()?;
        &input
    };
    let (mut session, deadline) = open(invocation)?;
    session
        .put(key, value, deadline)
        .map_err(|error| failure(&error, &format!("Error putting metadata for key '{key}'")))
}

/// Standard input up to its end, or so much of it that it is known to be too large.
fn read_input() -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(error(
            "either specify the metadata value as the second command-line argument, or pipe content to stdin.",
        ));
    }
    let mut value = Vec::new();
    let limit = Limits::default().value as u64 + 1;
    match stdin.lock().take(limit).read_to_end(&mut value) {
        Ok(_) => Ok(value),
        Err(failed) => Err(error(&format!("could not read from stdin: {failed}"))),
    }
}

fn list(invocation: &Invocation, json: bool) -> Result<(), Failure> {
    let (mut session, deadline) = open(invocation)?;
    let keys = session.keys(deadline).map_err(|error| match error {
        Error::Key { problem: KeyProblem::NothingToList, .. } => {
            Failure { code: exit::NOT_FOUND, message: "No metadata".to_owned() }
        }
        error => failure(&error, "Error getting metadata"),
    })?;
    if !json {
        return print(keys.iter().fold(String::new(), |list, key| list + key + "\n").as_bytes());
    }
    let mut object = serde_json::Map::new();
    for key in keys {
        let value = session.get(&key, deadline).map_err(|error| getting(&error, &key))?;
        // One that is gone since the list was made is left out.
        if let Some(value) = value {
            object.insert(key, String::from_utf8_lossy(&value).into());
        }
    }
    print(format!("{:#}\n", serde_json::Value::Object(object)).as_bytes())
}

/// A session over the channel that was named, or this guest's own.
fn open(invocation: &Invocation) -> Result<(Session, Deadline), Failure> {
    let device = match &invocation.device {
        Some(device) => device.clone(),
        None => guest::this()
            .and_then(|guest| Guest::device(guest).map_err(|unknown| unknown.to_string()))
            .map_err(|unknown| error(&format!("could not initialise protocol: {unknown}")))?,
    };
    let channel = device.channel(rustix::process::geteuid().is_root());
    let clock = Monotonic::starting_now();
    let deadline = match invocation.timeout {
        Some(timeout) => Deadline::after(timeout, &clock),
        None => Deadline::NEVER,
    };
    // The standard library seeds its hashes with randomness of the system.
    let seed = RandomState::new().build_hasher().finish();
    let program = invocation.program.clone();
    let notice = move |text: &str| tell(&format!("{program}: still waiting for {text}"));
    let ids = RequestIds::seeded(seed);
    let session = Session::new(channel, Box::new(clock), ids, Limits::default(), Box::new(notice));
    Ok((session, deadline))
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|failed| error(&format!("could not write to standard output: {failed}")))
}

fn getting(error: &Error, key: &str) -> Failure {
    failure(error, &format!("Error getting metadata for key '{key}'"))
}

/// The failure for an error about a key or value, which begins with `doing`, or about the channel.
fn failure(failed: &Error, doing: &str) -> Failure {
    match failed {
        Error::Channel { problem, .. } => {
            let mut message = format!("could not initialise protocol: {failed}");
            let mut cause = failed.source();
            while let Some(link) = cause {
                // A message cannot fail to be written.
                let _ = write!(message, ": {link}");
                cause = link.source();
            }
            message += advice(problem);
            error(&message)
        }
        Error::Key { problem: KeyProblem::Unsupported(verb), .. } => {
            error(&format!("host does not support {verb}"))
        }
        Error::Value { problem: ValueProblem::TooLarge(_), .. } => Failure {
            code: exit::ERROR,
            message: format!("{doing}: {failed}; keep it elsewhere, and here where that is"),
        },
        Error::Key { .. } | Error::Value { .. } => {
            Failure { code: exit::ERROR, message: format!("{doing}: {failed}") }
        }
    }
}

/// What to try about a channel that cannot be used.
fn advice(problem: &ChannelProblem) -> &'static str {
    let ChannelProblem::Unusable(unusable) = problem else { return "" };
    match unusable.source.kind() {
        io::ErrorKind::PermissionDenied => "; only root may use it",
        _ => "; --device names another channel",
    }
}

fn error(message: &str) -> Failure {
    Failure { code: exit::ERROR, message: format!("ERROR: {message}") }
}
