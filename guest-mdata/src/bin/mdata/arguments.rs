//! The command line. The original commands have no options, and scripts rely on it: whatever is not exactly one of
//! the long options here is the key, `-h` included.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use guest_mdata::channel::Device;

use crate::exit;

/// What to do, and over which channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The name of the program, for messages.
    pub program: String,
    /// What to do.
    pub action: Action,
    /// The channel, if one was named.
    pub device: Option<Device>,
    /// When to give up, if ever.
    pub timeout: Option<Duration>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Print a value.
    Get { key: String },
    /// Store a value: this one, or what comes from standard input.
    Put { key: String, value: Option<Vec<u8>> },
    /// Forget a key.
    Delete { key: String },
    /// Print the names of the keys, or as JSON their values too.
    List { json: bool },
    /// Print how to use one of the commands, or the program.
    Help(Option<Command>),
}

/// The four commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Get,
    Put,
    Delete,
    List,
}

impl Command {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    /// What follows its name.
    fn operands(self) -> &'static str {
        match self {
            Self::Get | Self::Delete => " <keyname>",
            Self::Put => " <keyname> [ <value> ]",
            Self::List => "",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Get, Self::Put, Self::Delete, Self::List].into_iter().find(|command| command.word() == word)
    }
}

/// Why the program ends without success.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One line.
    pub message: String,
}

/// How the command was called, to say how to call it.
pub struct Caller {
    program: String,
    usage: String,
}

impl Caller {
    fn new(name: &str, command: Option<Command>) -> Self {
        let program =
            Path::new(name).file_name().unwrap_or(OsStr::new("mdata")).to_string_lossy().into_owned();
        let usage = match command {
            Some(command) if is_command(&program, command) => format!("{name}{}", command.operands()),
            Some(command) => format!("{name} {}{}", command.word(), command.operands()),
            None => format!("{name} get | put | delete | list [ ... ], or {name} --help"),
        };
        Self { program, usage }
    }

    fn usage(&self) -> Failure {
        Failure { code: exit::USAGE, message: format!("{}: Usage: {}", self.program, self.usage) }
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure { code: exit::USAGE, message: format!("{}: {what}; Usage: {}", self.program, self.usage) }
    }
}

fn is_command(program: &str, command: Command) -> bool {
    program.strip_prefix("mdata-") == Some(command.word())
}

/// Reads the command line after the program's name.
pub fn parse(name: &OsStr, words: impl Iterator<Item = OsString>) -> Result<Invocation, Failure> {
    let name = name.to_string_lossy();
    let mut words = words.peekable();
    let mut options = Options::default();
    let program = Caller::new(&name, None).program;
    let mut command = program.strip_prefix("mdata-").and_then(Command::from_word);
    let mut caller = Caller::new(&name, command);
    if command.is_none() {
        options.read(&mut words, None, &caller)?;
        if !options.help {
            let word = words.next().ok_or_else(|| caller.usage())?;
            let word = word.to_string_lossy();
            command = Command::from_word(&word);
            if command.is_none() {
                return Err(caller.wrong(&format!("there is no command '{word}'")));
            }
            caller = Caller::new(&name, command);
        }
    }
    if !options.help {
        options.read(&mut words, command, &caller)?;
    }
    // What is not UTF-8 the host would replace in the same way.
    let mut key = || match words.next() {
        Some(word) => key(&word.to_string_lossy(), &caller),
        None => Err(caller.usage()),
    };
    let action = match command {
        _ if options.help => Action::Help(command),
        Some(Command::Get) => Action::Get { key: key()? },
        Some(Command::Put) => Action::Put { key: key()?, value: words.next().map(OsString::into_vec) },
        Some(Command::Delete) => Action::Delete { key: key()? },
        Some(Command::List) => Action::List { json: options.json },
        None => return Err(caller.usage()),
    };
    Ok(Invocation { program: caller.program, action, device: options.device, timeout: options.timeout })
}

/// A key that can be asked for.
fn key(key: &str, caller: &Caller) -> Result<String, Failure> {
    if key.as_bytes().trim_ascii().is_empty() {
        Err(caller.wrong("the key is empty"))
    } else if key.contains('\n') {
        Err(caller.wrong("the key has a line break in it"))
    } else {
        Ok(key.to_owned())
    }
}

#[derive(Default)]
struct Options {
    device: Option<Device>,
    timeout: Option<Duration>,
    json: bool,
    help: bool,
}

impl Options {
    /// Takes the options off the front of `words`, up to the first word that is none, or through `--`.
    fn read(
        &mut self,
        words: &mut std::iter::Peekable<impl Iterator<Item = OsString>>,
        command: Option<Command>,
        caller: &Caller,
    ) -> Result<(), Failure> {
        while let Some(word) = words.peek() {
            match word.to_str() {
                Some("--device") => {
                    words.next();
                    let device = words.next().ok_or_else(|| caller.wrong("--device needs a device"))?;
                    let device = device.to_string_lossy();
                    self.device =
                        Some(device.parse().map_err(|error| caller.wrong(&format!("--device {error}")))?);
                }
                Some("--timeout") => {
                    words.next();
                    let seconds = words.next().and_then(|word| word.to_str()?.parse().ok());
                    let seconds = seconds
                        .filter(|&seconds: &u32| seconds > 0)
                        .ok_or_else(|| caller.wrong("--timeout needs a number of seconds, at least 1"))?;
                    self.timeout = Some(Duration::from_secs(seconds.into()));
                }
                Some("--json") if command == Some(Command::List) => {
                    words.next();
                    self.json = true;
                }
                Some("--help") => {
                    self.help = true;
                    break;
                }
                Some("--") => {
                    words.next();
                    break;
                }
                _ => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use guest_mdata::channel::Device;

    use super::{Action, Command, Failure, Invocation, parse};

    fn read(line: &[&str]) -> Result<Invocation, Failure> {
        parse(line[0].as_ref(), line[1..].iter().map(OsString::from))
    }

    fn action(line: &[&str]) -> Action {
        read(line).unwrap_or_else(|failure| panic!("{line:?}: {}", failure.message)).action
    }

    fn usage(line: &[&str]) -> String {
        let failure = read(line).expect_err("wrong usage");
        assert_eq!(failure.code, 3, "{line:?}");
        failure.message
    }

    #[test]
    fn the_name_or_the_first_word_is_the_command() {
        let key = "k".to_owned();
        assert_eq!(action(&["/usr/sbin/mdata-get", "k"]), Action::Get { key: key.clone() });
        assert_eq!(action(&["mdata", "get", "k"]), Action::Get { key: key.clone() });
        assert_eq!(action(&["mdata-delete", "k", "ignored"]), Action::Delete { key: key.clone() });
        assert_eq!(action(&["mdata-put", "k"]), Action::Put { key: key.clone(), value: None });
        assert_eq!(action(&["mdata", "put", "k", ""]), Action::Put { key, value: Some(Vec::new()) });
        assert_eq!(action(&["mdata-list", "ignored", "--json"]), Action::List { json: false });
        assert_eq!(action(&["mdata", "list", "--json"]), Action::List { json: true });
    }

    #[test]
    fn what_is_no_option_is_the_key() {
        for key in ["-h", "--device=x", "--devic", "--json", "--version", "-"] {
            assert_eq!(action(&["mdata-get", key]), Action::Get { key: key.to_owned() });
        }
        assert_eq!(action(&["mdata-get", "--", "--help"]), Action::Get { key: "--help".to_owned() });
        assert_eq!(action(&["mdata-get", "k", "--help"]), Action::Get { key: "k".to_owned() });
        assert_eq!(action(&["mdata-get", "--help"]), Action::Help(Some(Command::Get)));
        assert_eq!(action(&["mdata", "--help"]), Action::Help(None));
        assert_eq!(action(&["mdata", "list", "--help"]), Action::Help(Some(Command::List)));
    }

    #[test]
    fn options_stand_before_the_key() {
        let read = read(&["mdata", "--timeout", "5", "get", "--device", "unix:/tmp/s", "--", "--timeout"]);
        let wanted = Invocation {
            program: "mdata".to_owned(),
            action: Action::Get { key: "--timeout".to_owned() },
            device: Some(Device::Unix(vec!["/tmp/s".into()])),
            timeout: Some(Duration::from_secs(5)),
        };
        assert_eq!(read, Ok(wanted));
    }

    #[test]
    fn wrong_usage_says_how_it_is_right() {
        assert_eq!(usage(&["/usr/sbin/mdata-get"]), "mdata-get: Usage: /usr/sbin/mdata-get <keyname>");
        assert_eq!(usage(&["mdata-put"]), "mdata-put: Usage: mdata-put <keyname> [ <value> ]");
        assert_eq!(usage(&["mdata-delete"]), "mdata-delete: Usage: mdata-delete <keyname>");
        assert_eq!(usage(&["mdata", "get"]), "mdata: Usage: mdata get <keyname>");
        assert_eq!(usage(&["mdata-get", ""]), "mdata-get: the key is empty; Usage: mdata-get <keyname>");
        assert!(usage(&["mdata-get", " \t"]).contains("the key is empty"));
        assert!(usage(&["mdata-put", "a\nb", "c"]).contains("a line break"));
        assert!(usage(&["mdata", "fetch"]).contains("'fetch'"));
        assert!(usage(&["mdata"]).contains("--help"));
        for seconds in ["", "0", "-1", "five", "99999999999"] {
            assert!(usage(&["mdata-get", "--timeout", seconds, "k"]).contains("seconds"), "{seconds}");
        }
        for device in ["", "unix:", "tcp:localhost", "tcp:10.0.0.1"] {
            assert!(usage(&["mdata-get", "--device", device, "k"]).contains("device"), "{device}");
        }
        assert!(usage(&["mdata-list", "--device"]).contains("--device needs"));
    }
}
