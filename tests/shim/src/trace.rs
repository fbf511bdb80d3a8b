//! What a program under the shim did.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// How many calls were made, by all processes that shared a file of [`crate::Settings::count`].
///
/// Counted are calls that reach the system; memory, strings, threads and locks between threads are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub calls: u64,
    /// Those that change something outside the process, or could: files made, written, synchronised, renamed, removed;
    /// processes and programs started, signals sent; sockets; settings of terminals and devices. The points at which
    /// [`crate::Settings::kill_at`] can stop a program are these.
    pub changes: u64,
}

impl Counts {
    /// Reads the file: two 64-bit numbers. It is right at any time, also after a process was killed.
    ///
    /// # Errors
    /// When there is no such file, or it is of another size.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file).with_context(|| format!("{}: no counts", file.display()))?;
        let (words, rest) = bytes.as_chunks::<8>();
        ensure!(words.len() == 2 && rest.is_empty(), "{}: {} bytes of counts", file.display(), bytes.len());
        Ok(Self { calls: u64::from_le_bytes(words[0]), changes: u64::from_le_bytes(words[1]) })
    }
}

/// A line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number among all calls, from 1.
    pub number: u64,
    /// Its number among the calls that change something, if it does.
    pub change: Option<u64>,
    /// The process.
    pub process: u32,
    /// The name of the function: that of the plain one where there are variants (`socket` for `__xnet_socket`).
    pub name: String,
    /// Its arguments, the interesting ones: paths in quotation marks, numbers as in C.
    pub arguments: String,
    /// What it returned, with the name of the error: `3`, `-1 ENOENT`, `killed before`.
    pub result: String,
}

/// Reads a file of [`crate::Settings::trace`]. Lines come in the order in which calls ended.
///
/// # Errors
/// When it cannot be read, or a line has another form.
pub fn read(file: &Path) -> Result<Vec<Call>> {
    let text = fs::read(file).with_context(|| format!("{}: no trace", file.display()))?;
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| parse(line).with_context(|| format!("not a line of a trace: {line}"))).collect()
}

/// The calls that wrote to a disk, or opened a disk's path for writing, whether they succeeded or not.
pub fn disk_writes(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| matches!(call.name.as_str(), "disk_open" | "disk_write")).collect()
}

fn parse(line: &str) -> Option<Call> {
    let mut words = line.splitn(4, ' ');
    let number = words.next()?.parse().ok()?;
    let change = match words.next()? {
        "-" => None,
        change => Some(change.strip_prefix('c')?.parse().ok()?),
    };
    let process = words.next()?.parse().ok()?;
    let (name, rest) = words.next()?.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ")?;
    Some(Call {
        number,
        change,
        process,
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        result: result.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood_whatever_its_paths_contain() {
        let call = parse(r#"17 c5 4242 rename("a) = b", "c d") = -1 ENOENT"#).unwrap();
        assert_eq!((call.number, call.change, call.process), (17, Some(5), 4242));
        assert_eq!(call.name, "rename");
        assert_eq!(call.arguments, r#""a) = b", "c d""#);
        assert_eq!(call.result, "-1 ENOENT");
        assert_eq!(parse("1 - 2 read(0, 3) = 0").unwrap().change, None);
        assert_eq!(parse("nonsense"), None);
    }
}
