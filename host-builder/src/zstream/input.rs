//! Streams from files and from standard input, with their compression taken off as they are read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::Hint;

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 20;
/// The bytes by which compressed files are known.
const HEAD: u64 = 16;

/// The name by which standard input is meant.
pub const STANDARD: &str = "-";

/// Opens the stream in a file, or on standard input, compressed or not.
///
/// # Errors
/// It cannot be opened or read.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let cannot = || format!("cannot open {}", path.display());
    let remedy = "name a file with a ZFS stream, such as IMAGE.zfs.gz, or - for standard input";
    let file: Box<dyn Read + Send> = if path == Path::new(STANDARD) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(cannot).hint(remedy)?)
    };
    expanded(file).with_context(cannot).hint(remedy)
}

/// The bytes inside the compression that `input` begins with, if it begins with one.
fn expanded(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    input.by_ref().take(HEAD).read_to_end(&mut head)?;
    let is_gzip = kiln_pgzip::looks_like_gzip(&head);
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(head).chain(input));
    Ok(if is_gzip { Box::new(kiln_pgzip::Reader::new(whole)) } else { Box::new(whole) })
}
