//! Where it is told what goes on: the service's log, and the console for what its owner has to know.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

/// The console of the machine.
const CONSOLE: &str = "/dev/console";

/// Where it is told what goes on.
#[derive(Debug)]
pub struct Log {
    /// The phase, which begins each line.
    phase: &'static str,
    to: To,
    /// What the owner was warned of.
    warnings: Vec<String>,
}

/// The most warnings of a phase that are kept, and the longest, in characters: what is kept has to be short enough to be read.
const MOST_WARNINGS: usize = 16;
const LONGEST_WARNING: usize = 300;

#[derive(Debug, PartialEq, Eq)]
enum To {
    /// The service's log, and the console for what matters most.
    LogAndConsole,
    /// The log alone.
    Log,
    /// Standard output, for the one who asked.
    Asker,
}

impl Log {
    /// The log of a phase; with or without the console.
    pub fn new(phase: &'static str, console: bool) -> Self {
        Self { phase, to: if console { To::LogAndConsole } else { To::Log }, warnings: Vec::new() }
    }

    /// The answer to one who asks what a phase would do: on standard output and nowhere else.
    pub fn of_plan(phase: &'static str) -> Self {
        Self { phase, to: To::Asker, warnings: Vec::new() }
    }

    /// Writes a line into the service's log.
    pub fn line(&mut self, text: &str) {
        let text = format!("guest-init {}: {}\n", self.phase, one_line(text));
        // There is nobody to tell if that fails.
        let _ = match self.to {
            To::LogAndConsole | To::Log => io::stderr().write_all(text.as_bytes()),
            To::Asker => io::stdout().write_all(text.as_bytes()),
        };
    }

    /// Writes a line into the log and onto the console.
    pub fn console(&mut self, text: &str) {
        self.line(text);
        if self.to == To::LogAndConsole {
            // There is nobody else to tell.
            let _ = self.secret(text);
        }
    }

    /// Warns the owner of something that did not keep the phase from its work: in the log, on the console and in the status.
    pub fn warn(&mut self, text: &str) {
        self.console(&format!("WARNING: {text}"));
        let text: String = one_line(text).chars().take(LONGEST_WARNING).collect();
        // Steps look more than once, and see the same each time.
        if self.warnings.len() < MOST_WARNINGS && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// What the owner was warned of since this was last asked.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Writes a line onto the console alone, whoever runs the phase: logs are kept, and terminals are not the console.
    ///
    /// # Errors
    /// When the console does not take it.
    pub fn secret(&mut self, text: &str) -> io::Result<()> {
        // A console without a reader must not hold up the boot, and must not become the controlling terminal.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let mut console = OpenOptions::new().append(true).custom_flags(flags.bits() as i32).open(CONSOLE)?;
        console.write_all(format!("guest-init {}: {}\r\n", self.phase, one_line(text)).as_bytes())
    }
}

/// The text without control characters: what came from outside cannot begin a line of its own or move the cursor.
pub fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
