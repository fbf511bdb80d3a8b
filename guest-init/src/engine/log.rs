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
    /// Whether the console is told too.
    console: bool,
}

impl Log {
    /// The log of a phase; with or without the console.
    pub fn new(phase: &'static str, console: bool) -> Self {
        Self { phase, console }
    }

    /// Writes a line into the service's log.
    pub fn line(&mut self, text: &str) {
        // There is nobody to tell if that fails.
        let _ = io::stderr().write_all(format!("guest-init {}: {}\n", self.phase, one_line(text)).as_bytes());
    }

    /// Writes a line into the log and onto the console.
    pub fn console(&mut self, text: &str) {
        self.line(text);
        if self.console {
            // A console without a reader must not hold up the boot, and must not become the controlling terminal.
            let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
            if let Ok(mut console) =
                OpenOptions::new().append(true).custom_flags(flags.bits() as i32).open(CONSOLE)
            {
                let _ = console
                    .write_all(format!("guest-init {}: {}\r\n", self.phase, one_line(text)).as_bytes());
            }
        }
    }
}

/// What came from outside cannot begin a line of its own or move the cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
