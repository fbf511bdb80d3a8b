//! Opening what the user names as an image: a file, a block device, or a pipe, which is first copied to where it can be
//! read anywhere.

use std::fs::{self, File, FileType};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::open::MAX_EXPANDED;
use super::scratch::{Scratch, SparseFile};
use super::source::Source;
use crate::report::{Hint, Report};

/// How long opening a pipe may take before the user is told what kiln waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens the image at `path`, and says where its temporary files go.
///
/// A pipe is read to its end first. One with a name waits for somebody to write to it, as every reader of such pipes
/// does; kiln says so when it takes more than a second.
///
/// # Errors
/// There is no such file, it cannot be read, or it is of a kind that holds no image.
pub fn open(path: &Path, report: &Report) -> Result<(Source, Scratch)> {
    let cannot = || format!("cannot open {}", path.display());
    let remedy = "check the path: it has to be an image file that you may read, or IMAGE:/path inside one";
    let kind = fs::metadata(path).with_context(cannot).hint(remedy)?.file_type();
    if kind.is_dir() {
        return Err(anyhow!("{} is a folder", path.display())).hint("name an image file");
    }
    if kind.is_fifo() {
        let scratch = Scratch::of_the_system();
        return Ok((spool(path, &scratch, report)?, scratch));
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Err(anyhow!("{} is a {}", path.display(), noun(kind)))
            .hint("name an image file, a disk, or a pipe that an image comes through");
    }
    let mut file = File::open(path).with_context(cannot).hint(remedy)?;
    if kind.is_block_device() {
        // Devices have no length of their own; their end tells it.
        let size = file.seek(SeekFrom::End(0)).with_context(cannot)?;
        return Ok((Source::new(file, size), Scratch::of_the_system()));
    }
    // Standard input that comes from a file is that file, wherever it is.
    let real = fs::canonicalize(path);
    let scratch = Scratch::beside(real.as_deref().unwrap_or(path));
    Ok((Source::file(file).with_context(cannot)?, scratch))
}

fn noun(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_char_device() => "character device",
        _ if kind.is_socket() => "socket",
        _ => "special file",
    }
}

/// Copies all that comes through a pipe.
fn spool(path: &Path, scratch: &Scratch, report: &Report) -> Result<Source> {
    let cannot = || format!("cannot read {}", path.display());
    let pipe = open_pipe(path, report).with_context(cannot)?;
    let file = scratch.file()?;
    let limited = std::io::Read::take(pipe, MAX_EXPANDED);
    SparseFile::new(&file).fill(limited, |_| {}).with_context(cannot).hint(format!(
        "what comes through a pipe is kept in {} while it is looked into: set TMPDIR to a folder with room for it",
        std::env::temp_dir().display()
    ))?;
    Source::file(file).with_context(cannot)
}

/// Opens a pipe, which lasts until somebody opens its other end.
pub fn open_pipe(path: &Path, report: &Report) -> Result<File> {
    let (sender, opened) = mpsc::channel();
    let name = path.to_owned();
    std::thread::spawn(move || {
        // Nobody waits for it any more only when the program ends.
        let _ = sender.send(File::open(name));
    });
    let file = match opened.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => {
            report.say(&format!("waiting for something to write to the pipe {}", path.display()));
            opened.recv()
        }
        result => result.map_err(|_| mpsc::RecvError),
    };
    Ok(file.context("the thread that opens it ended")??)
}
