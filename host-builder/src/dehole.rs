//! `kiln dehole`: a stream without its hole records.

use std::io::{self, BufReader, BufWriter, IsTerminal, Write};

use anyhow::{Result, anyhow};
use clap::Args;
use kiln_zstream::ErrorKind;
use kiln_zstream::dehole::dehole;

use crate::cli::Ending;
use crate::report::{Hint, Report};

/// How much is read and written at once, in bytes.
const BUFFER: usize = 1 << 20;

/// Leaves the hole records out of a full ZFS send stream, from standard input to standard output
///
/// Platforms before 20161108T160947Z cannot receive streams of later ones, which say what is empty. The rest of the stream,
/// and the snapshot that comes of it, stay as they are:
///
///     gzip -dc IMAGE.zfs.gz | kiln dehole | gzip > OLD.zfs.gz
///
/// In the end it says on standard error how many records it left out and how many it wrote. Incremental streams are refused: in
/// them hole records are what was deleted.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// There only to be refused: a stream has no JSON form
    #[arg(long, hide = true)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Standard input is no full stream, or one of the two fails.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    if arguments.json || report.is_json() {
        return Err(anyhow!("kiln dehole writes a stream and knows no --json"))
            .misuse("drop --json; the numbers of records stand on standard error");
    }
    if io::stdin().is_terminal() || io::stdout().is_terminal() {
        return Err(anyhow!("kiln dehole takes a stream from a pipe and gives one to a pipe"))
            .misuse("as in: kiln dehole < FULL.zfs > OLD.zfs");
    }
    let input = BufReader::with_capacity(BUFFER, io::stdin().lock());
    let output = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let done = dehole(input, output).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::NotAStream => "expand it first, as in: gzip -dc IMAGE.zfs.gz | kiln dehole",
            ErrorKind::Unsupported => "give it the full stream that the increment goes on",
            _ => "what was written is worthless; make the stream anew",
        };
        (anyhow::Error::new(error).context("cannot dehole standard input"), hint)
    });
    let done = match done {
        Ok(done) => done,
        Err((error, hint)) => return Err(error).hint(hint),
    };
    // These words are those of the tool whose name it has.
    let said =
        writeln!(io::stderr(), "deholing ok: skipped {} records, output {}", done.skipped, done.written);
    // The stream is whole whether or not somebody reads them.
    drop(said);
    Ok(Ending::Done)
}
