//! The console: every line that comes out of the first serial port, as it comes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};

/// The longest line, in characters: a longer one is broken.
const LONGEST_LINE: usize = 2000;

/// How many lines are kept. A machine that says more is in a loop.
const MOST_LINES: usize = 100_000;

const ESCAPE: char = '\u{1b}';

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which boot it belongs to, from 1.
    pub boot: u32,
    /// When it ended, in tenths of a second since the machine was started.
    pub tenths: u64,
    /// Its text, without control characters.
    pub text: String,
}

/// The console of a machine that runs.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Mutex<Shared>>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    lines: Vec<Line>,
    splitter: Splitter,
    boot: u32,
    begin: Instant,
    log: File,
}

impl Console {
    /// Follows `stream` to its end: keeps its lines, appends them to a new file `log`, and shows them on this terminal.
    pub fn follow(stream: impl Read + Send + 'static, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let shared = Arc::new(Mutex::new(Shared {
            lines: Vec::new(),
            splitter: Splitter::default(),
            boot: 1,
            begin: Instant::now(),
            log,
        }));
        let reader = thread::spawn({
            let shared = Arc::clone(&shared);
            move || read(stream, &shared)
        });
        Ok(Self { shared, reader: Some(reader) })
    }

    /// Says that what comes from now on belongs to the next boot.
    pub fn next_boot(&self) {
        lock(&self.shared).boot += 1;
    }

    /// Waits for the end of the stream, whose writer has ended, and gives all lines.
    pub fn finish(mut self) -> Vec<Line> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        std::mem::take(&mut lock(&self.shared).lines)
    }
}

/// A panic elsewhere cannot have left the lines half changed.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(mut stream: impl Read, shared: &Mutex<Shared>) {
    let mut buffer = [0; 4096];
    loop {
        // An error means the same as the end: nothing more will come.
        let length = stream.read(&mut buffer).unwrap_or(0);
        let mut shared = lock(shared);
        let texts = match length {
            0 => shared.splitter.rest(),
            _ => shared.splitter.feed(&buffer[..length]),
        };
        for text in texts {
            shared.add(text);
        }
        if length == 0 {
            return;
        }
    }
}

impl Shared {
    fn add(&mut self, text: String) {
        let text = match self.lines.len() {
            0..MOST_LINES => text,
            MOST_LINES => "(what came after this is not kept)".to_owned(),
            _ => return,
        };
        let tenths = self.begin.elapsed().as_millis() as u64 / 100;
        eprintln!("  | {text}");
        // The report has the lines, too; this file is for whoever looks while the machine runs.
        let _ = writeln!(self.log, "{text}");
        self.lines.push(Line { boot: self.boot, tenths, text });
    }
}

/// Makes lines of what a terminal would show: without the sequences that move its cursor or colour it, each of which may
/// be cut at any place by the pieces in which bytes arrive.
#[derive(Debug, Default)]
struct Splitter {
    line: String,
    /// Bytes that may become a character with what follows.
    undecoded: Vec<u8>,
    escape: Escape,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After the escape character.
    Begun,
    /// After `ESC [`, up to a final byte.
    Sequence,
}

impl Splitter {
    /// The lines that end in `bytes`.
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.undecoded.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.undecoded) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.undecoded.len(),
        };
        let tail = self.undecoded.split_off(whole);
        let text = String::from_utf8_lossy(&self.undecoded).into_owned();
        self.undecoded = tail;
        let mut lines = Vec::new();
        for character in text.chars() {
            self.take(character, &mut lines);
        }
        lines
    }

    /// What has come without the end of a line.
    fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.end_line(&mut lines);
        lines
    }

    fn take(&mut self, character: char, lines: &mut Vec<String>) {
        match (self.escape, character) {
            (Escape::None, ESCAPE) => self.escape = Escape::Begun,
            (Escape::None, '\n' | '\r') => self.end_line(lines),
            (Escape::None, '\t') => self.line.push('\t'),
            (Escape::None, character) if character.is_control() => {}
            (Escape::None, character) => self.line.push(character),
            (Escape::Begun, '[') => self.escape = Escape::Sequence,
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Sequence, '\u{40}'..='\u{7e}') => {
                // What puts the cursor elsewhere ends the line that it was in: menus are drawn so.
                if matches!(character, 'H' | 'f' | 'J') {
                    self.end_line(lines);
                }
                self.escape = Escape::None;
            }
            (Escape::Sequence, _) => {}
        }
        if self.line.chars().count() >= LONGEST_LINE {
            self.end_line(lines);
        }
    }

    /// Ends the line, unless it is empty: those of a console say nothing.
    fn end_line(&mut self, lines: &mut Vec<String>) {
        let line = std::mem::take(&mut self.line);
        if !line.trim().is_empty() {
            lines.push(line.trim_end().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8], piece: usize) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines: Vec<String> = text.chunks(piece).flat_map(|bytes| splitter.feed(bytes)).collect();
        lines.extend(splitter.rest());
        lines
    }

    #[test]
    fn a_terminals_text_becomes_lines_in_whatever_pieces_it_comes() {
        let text = "\x1b[2J\x1b[1;1Hkiln\x1b[3;1H\x1b[7m1 SmartOS\x1b[0m\r\n\r\nHostname: \u{e9}\x07t\u{e9}\r\n\
                    \x1bMa\tb \nlogin: ";
        for piece in 1..text.len() {
            let lines = split(text.as_bytes(), piece);
            assert_eq!(lines, ["kiln", "1 SmartOS", "Hostname: \u{e9}t\u{e9}", "a\tb", "login:"], "{piece}");
        }
    }

    #[test]
    fn garbage_is_bounded_and_harmless() {
        let lines = split(&[b'x'; 5000], 999);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [2000, 2000, 1000]);
        assert_eq!(split(b"a\xffb\xc3\n", 2), ["a\u{fffd}b\u{fffd}"]);
        assert!(split(&[b"\x1b[".as_slice(), &[b'1'; 9000]].concat(), 7).is_empty());
    }

    #[test]
    fn lines_belong_to_the_boot_in_which_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let console = Console::follow(theirs, &log).unwrap();
        writeln!(&ours, "first").unwrap();
        while lock(&console.shared).lines.is_empty() {
            thread::yield_now();
        }
        console.next_boot();
        write!(&ours, "second").unwrap();
        drop(ours);
        let lines = console.finish();
        let lines: Vec<(u32, &str)> = lines.iter().map(|line| (line.boot, line.text.as_str())).collect();
        assert_eq!(lines, [(1, "first"), (2, "second")]);
        assert_eq!(std::fs::read_to_string(log).unwrap(), "first\nsecond\n");
    }
}
