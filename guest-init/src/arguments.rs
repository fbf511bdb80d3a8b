//! What the program is asked to do.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::engine::Phase;
use crate::phase;

/// What the program is asked to do.
#[derive(Debug, Clone)]
pub enum Request {
    /// To explain itself.
    Help,
    /// Nothing: what a phase brought about is not taken back when its service stops.
    Nothing,
    /// To run a phase.
    Run {
        /// The phase.
        phase: &'static Phase,
        /// How often it was said that this is meant to happen outside SMF.
        confirmations: usize,
    },
    /// To run a phase for a process that watches over this one.
    RunWatched(&'static Phase),
    /// To tell what a phase would do.
    Plan(&'static Phase),
    /// To tell how the boot went.
    Status {
        /// As JSON.
        json: bool,
    },
    /// To make a zone from the template.
    ZoneCreate {
        /// To print what would be made instead.
        print: bool,
        /// Values that replace those of the template.
        values: Vec<(String, String)>,
    },
    /// To answer like the platform's program of that name.
    Smbios(Vec<OsString>),
    /// To keep time.
    Ntp {
        /// As the process that keeps it, not as the one that starts that process.
        stay: bool,
        /// How often it was said that this is meant to happen outside SMF.
        confirmations: usize,
    },
}

/// The word that a process gets which runs a phase for another one.
pub const WATCHED: &str = "--watched";

/// The word that the process gets which keeps time.
pub const STAY: &str = "--stay";

/// How often `--outside-smf` has to be said.
pub const CONFIRMATIONS: usize = 2;

/// Understands the words of a command line, the program's name first. A name that stands for a phase or a command (links are
/// named so) counts as the first word.
///
/// # Errors
/// When they make no sense; the reader is then best sent to the help.
pub fn parse(words: &[OsString]) -> Result<Request> {
    let name = words.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    let rest = words.get(1..).unwrap_or_default();
    match name {
        Some(name) if is_command(name) => command(name, rest),
        _ => {
            let first = rest.iter().position(|word| !is_option(word));
            match first.map(|at| (at, rest[at].to_str().unwrap_or_default())) {
                Some((at, name)) if is_command(name) => {
                    command(name, &[&rest[..at], &rest[at + 1..]].concat())
                }
                Some((_, name)) => {
                    bail!("'{}' is no phase and no command", name.escape_debug())
                }
                None if rest.iter().any(|word| word == "--help" || word == "-h") => Ok(Request::Help),
                None => bail!("no phase is named"),
            }
        }
    }
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

fn is_command(name: &str) -> bool {
    matches!(name, "help" | "status" | "zone-create" | "smbios" | "ntp") || phase::named(name).is_some()
}

fn command(name: &str, words: &[OsString]) -> Result<Request> {
    // Whatever follows belongs to the platform's program.
    if name == "smbios" {
        return Ok(Request::Smbios(words.to_vec()));
    }
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or("\u{fffd}")).collect();
    if words.iter().any(|word| matches!(*word, "--help" | "-h")) {
        return Ok(Request::Help);
    }
    match name {
        "status" => {
            only(name, &words, |word| word == "--json")?;
            Ok(Request::Status { json: !words.is_empty() })
        }
        "zone-create" => zone_create(&words),
        "help" => only(name, &words, |_| false).map(|()| Request::Help),
        "ntp" => {
            only(name, &words, |word| {
                matches!(word, "start" | "restart" | "stop" | "--outside-smf") || word == STAY
            })?;
            if words.contains(&"stop") {
                return Ok(Request::Nothing);
            }
            Ok(Request::Ntp { stay: words.contains(&STAY), confirmations: confirmations(&words) })
        }
        _ => {
            let phase = phase::named(name).with_context(|| format!("there is no phase '{name}'"))?;
            only(name, &words, |word| {
                matches!(word, "start" | "stop" | "refresh" | "restart" | "--plan" | "--outside-smf")
                    || word == WATCHED
            })?;
            let request = match &words {
                words if words.contains(&"--plan") => Request::Plan(phase),
                words if words.contains(&"stop") => Request::Nothing,
                words if words.contains(&WATCHED) => Request::RunWatched(phase),
                words => Request::Run { phase, confirmations: confirmations(words) },
            };
            Ok(request)
        }
    }
}

fn confirmations(words: &[&str]) -> usize {
    words.iter().filter(|word| **word == "--outside-smf").count()
}

fn only(name: &str, words: &[&str], known: impl Fn(&str) -> bool) -> Result<()> {
    match words.iter().find(|word| !known(word)) {
        Some(word) => bail!("{name} does not know '{}'", word.escape_debug()),
        None => Ok(()),
    }
}

fn zone_create(words: &[&str]) -> Result<Request> {
    let mut request = (false, Vec::new());
    for word in words {
        if *word == "--print" {
            request.0 = true;
        } else if let Some((key, value)) = word.split_once('=')
            && !key.is_empty()
            && !key.starts_with('-')
        {
            request.1.push((key.to_owned(), value.to_owned()));
        } else {
            bail!("zone-create takes --print and KEY=VALUE, and not '{}'", word.escape_debug());
        }
    }
    Ok(Request::ZoneCreate { print: request.0, values: request.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> String {
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        match parse(&words) {
            Ok(Request::Run { phase, confirmations }) => format!("run {} {confirmations}", phase.name),
            Ok(Request::RunWatched(phase)) => format!("watched {}", phase.name),
            Ok(Request::Plan(phase)) => format!("plan {}", phase.name),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn methods_are_known_by_their_names() {
        assert_eq!(parsed("/lib/svc/method/fs-joyent"), "run storage 0");
        assert_eq!(parsed("/lib/svc/method/smartdc-config start"), "run identity 0");
        assert_eq!(parsed("smartdc-init stop"), "Nothing");
        assert_eq!(parsed("/lib/svc/method/guest-init setup start"), "run setup 0");
        assert_eq!(parsed("guest-init smartos-userscript"), "run userscript 0");
        assert_eq!(parsed("guest-init --watched userscript"), "watched userscript");
        assert_eq!(parsed("/lib/svc/method/ntp start"), "Ntp { stay: false, confirmations: 0 }");
        assert_eq!(parsed("guest-init ntp --stay"), "Ntp { stay: true, confirmations: 0 }");
    }

    #[test]
    fn a_plan_is_asked_for_anywhere_in_the_line() {
        assert_eq!(parsed("guest-init --plan storage"), "plan storage");
        assert_eq!(parsed("guest-init storage --plan"), "plan storage");
        assert_eq!(parsed("fs-joyent --plan stop"), "plan storage");
    }

    #[test]
    fn outside_smf_it_counts_how_often_that_was_said() {
        assert_eq!(parsed("guest-init --outside-smf setup --outside-smf"), "run setup 2");
        assert_eq!(parsed("guest-init --outside-smf setup"), "run setup 1");
    }

    #[test]
    fn commands_have_words_of_their_own() {
        assert_eq!(parsed("guest-init status"), "Status { json: false }");
        assert_eq!(parsed("guest-init status --json"), "Status { json: true }");
        assert_eq!(
            parsed("/opt/custom/bin/zone-create --print alias=web ip=172.16.9.7"),
            r#"ZoneCreate { print: true, values: [("alias", "web"), ("ip", "172.16.9.7")] }"#
        );
        assert_eq!(parsed("/system/usr/bin/smbios -t 1 --help"), r#"Smbios(["-t", "1", "--help"])"#);
        assert_eq!(parsed("guest-init --help"), "Help");
        assert_eq!(parsed("guest-init storage --help"), "Help");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(parsed("guest-init"), "no phase is named");
        assert_eq!(parsed("guest-init boot"), "'boot' is no phase and no command");
        assert_eq!(parsed("guest-init setup now"), "setup does not know 'now'");
        assert_eq!(parsed("guest-init status --xml"), "status does not know '--xml'");
        assert_eq!(
            parsed("guest-init zone-create web"),
            "zone-create takes --print and KEY=VALUE, and not 'web'"
        );
    }
}
