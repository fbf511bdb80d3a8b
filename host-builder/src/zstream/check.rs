//! `kiln zstream check`: what receivers would take and then die of.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;
use kiln_zstream::fs::{self, Objects, objects::NoStore};
use kiln_zstream::record::{Begin, ObjsetType};
use kiln_zstream::volume::VolumeCheck;
use kiln_zstream::{Error, ErrorKind, Features, Finding, Harm, Record, StreamReader};
use serde_json::json;

use super::input;
use crate::cli::Ending;
use crate::contents::output;
use crate::prefetch::Prefetch;
use crate::report::{Hint, Report, with_hint};

/// Finds what a machine would take and then die of, in ZFS streams
///
/// Receivers verify records and checksums, not what they mean: a stream with a broken file system or volume inside is received, and
/// panics the kernel as soon as somebody looks at the dataset. This finds such things without any ZFS: names that collide, attributes
/// without magic number or layout, devices without numbers, blocks of sizes that cannot be, volumes without a size, links that are
/// counted wrongly; damage and truncation; and what imgadm refuses.
///
///     kiln zstream check IMAGE.zfs.gz
///     kiln zstream check --origin BASE.zfs.gz IMAGE.zfs.gz
///     zfs send zones/web@final | kiln zstream check -
///
/// Exit status: 0 nothing was found, 1 something was (each finding says what comes of it). Notes are no findings.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Streams, plain or compressed with gzip, bzip2 or xz; - is standard input
    #[arg(required = true, value_name = "FILE")]
    streams: Vec<PathBuf>,

    /// What the streams go on top of, when they are incremental; repeatable, the oldest first
    #[arg(long, value_name = "FILE")]
    origin: Vec<PathBuf>,
}

/// What there is to say about a stream.
#[derive(Debug)]
struct Checked {
    /// The snapshot, when the stream got that far.
    begin: Option<Begin>,
    findings: Vec<Finding>,
    notes: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, is no stream, or does not go on top of what it is said to. All that is wrong inside is a finding.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let from_pipe = arguments.streams.iter().chain(&arguments.origin);
    if from_pipe.filter(|path| *path == Path::new(input::STANDARD)).count() > 1 {
        return Err(anyhow!("standard input is named more than once"))
            .misuse("name - for one stream only, and files for the others");
    }
    let mut sound = true;
    for path in &arguments.streams {
        let checked = check(&arguments.origin, path)?;
        sound &= checked.findings.is_empty();
        present(path, &checked, report)?;
    }
    Ok(if sound { Ending::Done } else { Ending::Findings })
}

/// Checks a stream on top of its origins.
fn check(origins: &[PathBuf], stream: &Path) -> Result<Checked> {
    let mut contents = Contents::Unknown;
    for origin in origins {
        if let Err(error) = contents.apply(origin)?.1 {
            return Err(explained(error, origin));
        }
    }
    let (begin, applied) = contents.apply(stream)?;
    let mut findings = match applied {
        Ok(()) => contents.findings(),
        Err(error) if is_about_the_call(error.kind()) => return Err(explained(error, stream)),
        Err(error) => vec![broken(&error)],
    };
    findings.sort_by_key(|finding| (finding.harm, finding.object));
    let mut notes = Vec::new();
    if let Some(begin) = &begin
        && !begin.features.known_in_2013()
    {
        notes.push(format!("receivers of 2013 do not know its features: {}", newer(begin.features)));
    }
    Ok(Checked { begin, findings, notes })
}

/// The features of a stream that came after 2013.
fn newer(features: Features) -> Features {
    Features(features.0 & !0b111)
}

/// Whether an error says that kiln was called with the wrong files.
fn is_about_the_call(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Io | ErrorKind::NotAStream | ErrorKind::WrongBase)
}

/// An error of the records as a finding.
fn broken(error: &Error) -> Finding {
    let harm = match error.kind() {
        ErrorKind::Unsupported | ErrorKind::SizeLimit => Harm::Unread,
        _ => Harm::Refused,
    };
    Finding { object: 0, harm, detail: error.to_string() }
}

fn explained(error: Error, path: &Path) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotAStream => {
            "name a ZFS stream, plain or compressed: the file of an image, such as IMAGE.zfs.gz"
        }
        ErrorKind::WrongBase => {
            "name what it goes on top of with --origin FILE, the oldest first; full streams take none"
        }
        _ => "copy or download it again, and compare its published checksum",
    };
    let path = path.display().to_string();
    with_hint(anyhow!(error).context(format!("cannot check {path}")), hint)
}

/// What the streams so far amount to.
enum Contents {
    /// There was none yet.
    Unknown,
    FileSystem(Box<Objects<NoStore>>),
    Volume(Box<VolumeCheck>),
}

impl Contents {
    /// Puts a stream on top; gives its beginning and whether it was read to its end.
    fn apply(&mut self, path: &Path) -> Result<(Option<Begin>, kiln_zstream::Result<()>)> {
        Ok(Prefetch::over(input::open(path)?, |stream| {
            let (begin, stream) = match beginning(stream) {
                Ok(found) => found,
                Err(error) => return (None, Err(error)),
            };
            if matches!(self, Self::Unknown) {
                let is_volume = begin.as_ref().is_some_and(|begin| begin.objset_type == ObjsetType::Volume);
                *self = if is_volume {
                    Self::Volume(Box::new(VolumeCheck::new()))
                } else {
                    Self::FileSystem(Box::new(Objects::new(NoStore)))
                };
            }
            let applied = match self {
                Self::FileSystem(objects) => objects.apply(stream).map(drop),
                Self::Volume(check) => check.apply(stream),
                Self::Unknown => Ok(()),
            };
            (begin, applied)
        }))
    }

    fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Unknown => Vec::new(),
            Self::FileSystem(objects) => fs::check(objects),
            Self::Volume(check) => check.findings(),
        }
    }
}

/// The beginning of the first snapshot in a stream, and the stream with nothing missing. A stream that is damaged before that says so
/// once more when it is read.
fn beginning<R: Read>(stream: R) -> kiln_zstream::Result<(Option<Begin>, impl Read)> {
    let mut copy = Copy { inner: stream, bytes: Vec::new() };
    let mut reader = StreamReader::new(&mut copy);
    let begin = loop {
        match reader.next_record() {
            Ok(Some(Record::Begin(begin))) if !begin.compound => break Some(begin),
            Ok(Some(_)) => {}
            Err(error) if is_about_the_call(error.kind()) => return Err(error),
            Ok(None) | Err(_) => break None,
        }
    };
    let Copy { inner, bytes } = copy;
    Ok((begin, io::Cursor::new(bytes).chain(inner)))
}

/// Keeps what is read through it.
struct Copy<R> {
    inner: R,
    bytes: Vec<u8>,
}

/// The most that is read before the first snapshot begins, in bytes: the wrapping of a compound stream lists the snapshots in it.
const MOST_AHEAD: usize = 64 << 20;

impl<R: Read> Read for Copy<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.len() > MOST_AHEAD {
            return Ok(0);
        }
        let got = self.inner.read(buffer)?;
        self.bytes.extend_from_slice(&buffer[..got]);
        Ok(got)
    }
}

fn present(path: &Path, checked: &Checked, report: &Report) -> Result<()> {
    let name = if path == Path::new(input::STANDARD) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let Checked { begin, findings, notes } = checked;
    if report.is_json() {
        let findings = findings.iter().map(|finding| {
            json!({ "object": finding.object, "harm": finding.harm.word(), "detail": finding.detail })
        });
        return output::object(&json!({
            "event": "checked",
            "stream": name,
            "ok": checked.findings.is_empty(),
            "snapshot": begin.as_ref().map(|begin| &begin.to_name),
            "guid": begin.as_ref().map(|begin| format!("{:#018x}", begin.to_guid)),
            "findings": findings.collect::<Vec<_>>(),
            "notes": notes,
        }));
    }
    let lines =
        findings.iter().map(ToString::to_string).chain(notes.iter().map(|note| format!("note: {note}")));
    let verdict = match findings.len() {
        0 => "ok".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    let lines: Vec<String> = lines.chain([verdict]).map(|line| format!("{name}: {line}\n")).collect();
    output::text(&lines.concat())
}
