//! `kiln cat`: the contents of a file inside an image.

use std::ffi::OsString;
use std::io::{Read, Write};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::cli::Ending;
use crate::contents::open::How;
use crate::contents::origin::Origins;
use crate::contents::output;
use crate::contents::path::{self, Expression, Subject};
use crate::report::{Hint, Report};

/// Writes a file inside an image to standard output, byte for byte
///
/// Each '!' in the path steps into the file before it; one at the end expands what is compressed:
///
///     kiln cat 'retro.zvol.gz:/os/20141030T081701Z/platform/i86pc/amd64/boot_archive!/etc/issue'
///     kiln cat 'retro.zvol.gz:/custom.tgz!/etc/zone.json.tmpl'
///     kiln cat base-64.zfs.gz:/root/etc/product --origin minimal-64.zfs.gz
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// File in an image
    #[arg(value_name = "IMAGE:/PATH")]
    place: OsString,

    #[command(flatten)]
    origins: Origins,

    /// There only to be refused: a file's bytes have no JSON form
    #[arg(long, hide = true)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The image cannot be read, has no such file, or standard output fails in another way than by being closed.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    if arguments.json || report.is_json() {
        return Err(anyhow!("kiln cat writes a file byte for byte and knows no --json"))
            .misuse("drop --json; `kiln ls --json` tells about the file");
    }
    let place = arguments.place.display();
    let expression = Expression::parse(&arguments.place);
    let found = path::resolve(
        &expression,
        true,
        How { origins: &arguments.origins.files, ..How::default() },
        &output::quiet(),
    )?;
    let source = match &found.subject {
        Subject::Bytes(source) if !expression.steps.is_empty() => source.clone(),
        Subject::Bytes(_) => {
            return Err(anyhow!("{place} names no file inside an image"))
                .hint("give a path in it, as IMAGE:/path");
        }
        Subject::Node { node, .. } if node.is_directory() => {
            return Err(anyhow!("{place} is a directory")).hint("`kiln ls` lists it; cat takes a file in it");
        }
        Subject::Node { tree, node } => tree.contents(node)?,
    };
    let mut from = source.reader();
    let mut out = output::standard();
    let mut buffer = vec![0; 128 * 1024];
    output::until_closed(|| {
        loop {
            let got = from.read(&mut buffer).with_context(|| format!("cannot read {place}"))?;
            if got == 0 {
                return Ok(out.flush()?);
            }
            out.write_all(&buffer[..got])?;
        }
    })?;
    Ok(Ending::Done)
}
