//! Conversion of the files of an image to other forms of files.

use std::io::{BufWriter, Write};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::files::{Losses, Totals};
use super::{Arguments, CHUNK, Form, archive, folder, list};
use crate::cli::Ending;
use crate::contents::open::How;
use crate::contents::output;
use crate::contents::path::{self, Expression, Subject};
use crate::contents::tree::{self, Node, Tree};
use crate::report::{Hint, Progress, Report};
use crate::staging::{self, StagedFile, StagedTree};
use crate::units;

/// Converts to a form of files.
///
/// # Errors
/// The image holds no files or cannot be read, or the output exists or cannot be written.
pub fn convert(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let expression = Expression::parse(arguments.image.as_os_str());
    let name = arguments.image.display();
    let tree_out = if arguments.to == Form::Dir {
        Some(StagedTree::create(&arguments.output)?)
    } else {
        if !arguments.is_to_standard_output() {
            staging::refuse_existing(&arguments.output, arguments.force)?;
        }
        None
    };
    let how = How { origins: &arguments.origins.files, ..How::default() };
    let found = path::resolve(&expression, true, how, report)?;
    let (tree, top) = match found.subject {
        Subject::Node { tree, node } if node.is_directory() => (tree, node),
        Subject::Node { node, .. } => {
            return Err(anyhow!("{name} is a {}, not a folder", node.metadata.kind.name()))
                .hint("`kiln cat` writes a single file");
        }
        Subject::Bytes(_) => {
            return Err(anyhow!("{name} holds no files")).hint("`kiln inspect` says what it is");
        }
    };
    let cannot = || format!("cannot write {}", arguments.output.display());
    let mut losses = Losses::default();
    let progress = report.progress("converting", bytes_below(&*tree, &top)?);
    let totals = if let Some(staged) = tree_out {
        let totals = folder::extract(&*tree, &top, staged.open()?, &mut losses, &progress)
            .with_context(cannot)
            .hint("its file system may be full, or not able to hold such names: extract to another place, or convert to tar")?;
        drop(progress);
        staged.publish()?;
        totals
    } else if arguments.is_to_standard_output() {
        output::until_closed(|| {
            write(arguments.to, &*tree, &top, output::standard(), &mut losses, &progress).map(drop)
        })?;
        drop(progress);
        losses.warn(report);
        return Ok(Ending::Done);
    } else {
        let mut staged = StagedFile::create(&arguments.output)
            .hint("give OUT as a path in a folder that exists and that you may write to")?;
        let totals = write(arguments.to, &*tree, &top, staged.file_mut(), &mut losses, &progress)
            .with_context(cannot)
            .hint("its file system may be full: write it to a place with more room")?;
        drop(progress);
        staged.publish(arguments.force).hint("look whether its folder is still one that you may write to")?;
        totals
    };
    losses.warn(report);
    if report.is_json() {
        output::object(&json!({
            "event": "converted",
            "output": arguments.output.display().to_string(),
            "form": arguments.to.name(),
            "names": totals.names,
            "content_size": totals.bytes,
            "losses": losses.count(),
        }))?;
    } else {
        output::text(&format!(
            "{}: {}, {} names, {} in files\n",
            arguments.output.display(),
            arguments.to.name(),
            totals.names,
            units::size(totals.bytes)
        ))?;
    }
    Ok(Ending::Done)
}

/// Writes an archive or a list.
fn write(
    form: Form,
    tree: &dyn Tree,
    top: &Node,
    output: impl Write,
    losses: &mut Losses,
    progress: &Progress<'_>,
) -> Result<Totals> {
    let output = BufWriter::with_capacity(CHUNK, output);
    match form {
        Form::Tar => archive::write(tree, top, output, losses, progress),
        _ => list::write(tree, top, output, losses, progress),
    }
}

/// The bytes in all files below a folder, each name counted.
fn bytes_below(tree: &dyn Tree, top: &Node) -> Result<u64> {
    let mut bytes = 0_u64;
    tree::walk(tree, top, &mut |node| {
        bytes = bytes.saturating_add(if node.is_file() { node.metadata.size } else { 0 });
        Ok(())
    })?;
    Ok(bytes)
}
