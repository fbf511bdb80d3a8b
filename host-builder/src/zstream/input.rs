//! Streams from files and from standard input, with their compression taken off as they are read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};

use crate::compression::{self, Compression, Reader};
use crate::report::Hint;

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 20;

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
    let (head, whole) = compression::peek(file).with_context(cannot).hint(remedy)?;
    let whole = BufReader::with_capacity(BUFFER, whole);
    Ok(Box::new(Reader::new(whole, Compression::of(&head))))
}
