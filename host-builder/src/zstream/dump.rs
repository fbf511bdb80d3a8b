//! `kiln zstream dump`: a stream record by record.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kiln_zstream::fs::{Describer, Facts, More, Spilled};
use kiln_zstream::record::{Begin, ObjsetType, TO_END, object_type};
use kiln_zstream::zap::{self, Value as ZapValue};
use kiln_zstream::{Record, StreamReader};
use serde_json::{Map, Value, json};

use super::input;
use crate::cli::Ending;
use crate::contents::output;
use crate::report::{Hint, Report};

/// The bits of a folder's entry that are an object; above them is the type of file.
const ENTRY_OBJECT: u64 = (1 << 48) - 1;

/// Prints a ZFS stream record by record: types, objects, offsets, lengths, compression, attributes of files
///
/// A line a record: its offset in the stream, its type, and what it says. Nothing is kept in memory, so streams may be of any size
/// and come from a pipe. What is damaged or cut off is printed up to there, with the error at the end.
///
///     kiln zstream dump IMAGE.zfs.gz | less
///     zfs send -i @a zones/web@b | kiln zstream dump --contents -
///
/// With --json each record is one object.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Stream, plain or compressed with gzip, bzip2 or xz; - is standard input
    #[arg(value_name = "FILE")]
    stream: PathBuf,

    /// Print the names in name tables, too: what is in folders, for instance
    #[arg(long)]
    contents: bool,
}

/// What a record says, in the order in which it is printed.
type Line = Vec<(&'static str, Value)>;

/// Runs the command.
///
/// # Errors
/// The file cannot be read, or the stream is damaged; what comes before has been printed.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let stream = input::open(&arguments.stream)?;
    output::until_closed(|| {
        let mut output = BufWriter::new(output::standard());
        let dumped = dump(stream, arguments.contents, report.is_json(), &mut output);
        output.flush()?;
        dumped
    })
    .with_context(|| format!("cannot read on in {}", arguments.stream.display()))
    .hint("what is printed is sound as far as it goes; copy or download the stream again for the rest")?;
    Ok(Ending::Done)
}

fn dump(stream: impl std::io::Read, contents: bool, as_json: bool, output: &mut impl Write) -> Result<()> {
    let mut stream = StreamReader::new(stream);
    let mut describer = None;
    let mut payload = Vec::new();
    let mut position = 0;
    while let Some(record) = stream.next_record()? {
        let describer = describer.get_or_insert_with(|| Describer::new(stream.byte_order()));
        let number = stream.records() - 1;
        // Only of what is described the payload is kept; the rest goes through the checksum piece by piece.
        payload.clear();
        if is_described(&record) {
            stream.read_payload(&mut payload)?;
        }
        let (kind, mut line) = describe(&record, &payload, describer);
        let mut names = Vec::new();
        if let Some((object_type, offset, block)) = table(&record, &payload) {
            match block {
                Ok(block) => {
                    describer.note(object_type, offset, &block);
                    if contents {
                        match zap::read_block(&block, stream.byte_order()) {
                            Ok(entries) => names = entries,
                            Err(error) => line.push(("unreadable", json!(error.to_string()))),
                        }
                    }
                }
                Err(words) => line.push(("unreadable", json!(words))),
            }
        }
        let in_folder =
            matches!(&record, Record::Write(write) if write.object_type == object_type::DIRECTORY);
        let names = names.iter().map(|entry| named(&entry.name, &entry.value, in_folder));
        if as_json {
            let mut object = Map::new();
            object.insert("event".to_owned(), json!("record"));
            object.insert("record".to_owned(), json!(number));
            object.insert("position".to_owned(), json!(position));
            object.insert("type".to_owned(), json!(kind));
            object.extend(line.into_iter().map(|(key, value)| (key.to_owned(), value)));
            let names: Vec<Value> = names.map(|line| line.into_iter().collect()).collect();
            if !names.is_empty() {
                object.insert("names".to_owned(), Value::Array(names));
            }
            writeln!(output, "{}", Value::Object(object))?;
        } else {
            writeln!(output, "{position:>12}  {kind:<15}{}", text(&line))?;
            for line in names {
                writeln!(output, "{:>14}{}", "", text(&line))?;
            }
        }
        // What is left of the payload belongs to this record.
        while stream.next_chunk()?.is_some() {}
        position = stream.position();
    }
    let mut rest = [0];
    if stream.into_inner().read(&mut rest)? > 0 {
        return Err(anyhow!("the stream is followed by other data (at byte {position})"));
    }
    Ok(())
}

/// A line for people: keys and values, texts without quotation marks where nothing is lost.
fn text(line: &Line) -> String {
    let mut text = String::new();
    for (key, value) in line {
        let value = match value {
            Value::String(words) if !words.is_empty() && !words.contains([' ', '"', '\n', '\t']) => {
                words.clone()
            }
            other => other.to_string(),
        };
        // Writing to a text cannot fail.
        let _ = write!(text, " {key}={value}");
    }
    text
}

/// Whether the payload of a record is looked at: that of attributes and name tables.
fn is_described(record: &Record) -> bool {
    match record {
        Record::Object(_) | Record::Spill { .. } => true,
        Record::Write(write) => object_type::is_table(write.object_type),
        _ => false,
    }
}

/// The block of a name table: the type of its object, its offset and its contents.
fn table(record: &Record, payload: &[u8]) -> Option<(u32, u64, Result<Vec<u8>, String>)> {
    let Record::Write(write) = record else { return None };
    object_type::is_table(write.object_type).then(|| {
        let block = Describer::expand(write.compression, payload, write.logical_length);
        (write.object_type, write.offset, block)
    })
}

fn describe(record: &Record, payload: &[u8], describer: &Describer) -> (&'static str, Line) {
    match record {
        Record::Begin(begin) => ("BEGIN", beginning(begin)),
        Record::Object(object) => {
            let mut line = vec![
                ("object", json!(object.object)),
                ("kind", kind(object.object_type)),
                ("block_size", json!(object.block_size)),
                ("bonus", json!(object.bonus_length)),
            ];
            if object.bonus_type != 0 {
                line.push(("bonus_kind", bonus_kind(object.bonus_type)));
            }
            if object.dnode_slots > 1 {
                line.push(("slots", json!(object.dnode_slots)));
            }
            if object.flags != 0 {
                line.push(("flags", json!(object.flags)));
            }
            let bonus = payload.get(..object.bonus_length as usize).unwrap_or(payload);
            if let Some(facts) = describer.bonus(object.bonus_type, bonus) {
                attributes(&facts, &mut line);
            }
            ("OBJECT", line)
        }
        Record::FreeObjects { first, count } => {
            ("FREEOBJECTS", vec![("object", json!(first)), ("count", json!(count))])
        }
        Record::Write(write) => {
            let mut line = vec![
                ("object", json!(write.object)),
                ("kind", kind(write.object_type)),
                ("offset", json!(write.offset)),
                ("length", json!(write.logical_length)),
            ];
            compressed(write.compression, &mut line);
            ("WRITE", line)
        }
        Record::Free { object, offset, length } => {
            let length = if *length == TO_END { json!("to the end") } else { json!(length) };
            ("FREE", vec![("object", json!(object)), ("offset", json!(offset)), ("length", length)])
        }
        Record::End { checksum } => {
            let sum: Vec<String> = checksum.iter().map(|word| format!("{word:x}")).collect();
            ("END", vec![("checksum", json!(sum.join("/")))])
        }
        Record::WriteByref(write) => (
            "WRITE_BYREF",
            vec![
                ("object", json!(write.object)),
                ("offset", json!(write.offset)),
                ("length", json!(write.length)),
                ("ref_guid", guid(write.ref_guid)),
                ("ref_object", json!(write.ref_object)),
                ("ref_offset", json!(write.ref_offset)),
            ],
        ),
        Record::Spill { object, length, compression } => {
            let mut line = vec![("object", json!(object)), ("length", json!(length))];
            compressed(*compression, &mut line);
            let block = Describer::expand(*compression, payload, *length);
            match block.map(|block| describer.spill(&block)) {
                Ok(Some(said)) => spilled(&said, &mut line),
                Ok(None) => {}
                Err(words) => line.push(("unreadable", json!(words))),
            }
            ("SPILL", line)
        }
        Record::WriteEmbedded(write) => {
            let mut line = vec![
                ("object", json!(write.object)),
                ("offset", json!(write.offset)),
                ("length", json!(write.length)),
                ("embedded", json!(write.physical_length)),
                ("expanded", json!(write.logical_length)),
            ];
            compressed(write.compression, &mut line);
            ("WRITE_EMBEDDED", line)
        }
        // Kinds that are not known here end the stream with an error before this.
        _ => ("OTHER", Vec::new()),
    }
}

fn beginning(begin: &Begin) -> Line {
    let holds = match begin.objset_type {
        ObjsetType::FileSystem => json!("file system"),
        ObjsetType::Volume => json!("volume"),
        other => json!(other.code()),
    };
    let mut line = vec![("snapshot", json!(begin.to_name)), ("guid", guid(begin.to_guid))];
    if begin.compound {
        line.push(("compound", json!(true)));
    } else {
        line.push(("holds", holds));
    }
    if begin.from_guid != 0 {
        line.push(("from_guid", guid(begin.from_guid)));
    }
    line.extend([
        ("features", json!(begin.features.to_string())),
        ("flags", json!(begin.flags)),
        ("made", json!(begin.creation_time)),
    ]);
    line
}

fn guid(guid: u64) -> Value {
    json!(format!("{guid:#018x}"))
}

/// A type of object, in words if it has some.
fn kind(code: u32) -> Value {
    object_type::name(code).map_or_else(|| json!(code), |name| json!(name))
}

fn bonus_kind(code: u32) -> Value {
    match code {
        17 => json!("znode"),
        44 => json!("attributes"),
        other => json!(other),
    }
}

fn compressed(code: u8, line: &mut Line) {
    let name = match code {
        0 => return,
        2 => json!("off"),
        3 => json!("lzjb"),
        5..=13 => json!(format!("gzip-{}", code - 4)),
        14 => json!("zle"),
        15 => json!("lz4"),
        16 => json!("zstd"),
        other => json!(other),
    };
    line.push(("compression", name));
}

fn attributes(facts: &Facts, line: &mut Line) {
    line.extend([
        ("mode", json!(format!("{:o}", facts.mode))),
        ("size", json!(facts.size)),
        ("owner", json!(format!("{}:{}", facts.uid, facts.gid))),
        ("parent", json!(facts.parent)),
        ("generation", json!(facts.generation)),
    ]);
    let Some(More { links, modified, extended, device, spilled: rest }) = &facts.more else { return };
    line.extend([
        ("links", json!(links)),
        ("modified", json!(format!("{}.{:09}", modified.seconds, modified.nanoseconds))),
    ]);
    if *extended != 0 {
        line.push(("extended", json!(extended)));
    }
    if let Some(device) = device {
        line.push(("device", json!(format!("{},{}", device.major, device.minor))));
    }
    spilled(rest, line);
}

fn spilled(said: &Spilled, line: &mut Line) {
    if let Some(target) = &said.target {
        line.push(("target", json!(String::from_utf8_lossy(target))));
    }
    if let Some(entries) = said.list {
        line.push(("acl_entries", json!(entries)));
    }
    if !said.extended.is_empty() {
        let names = said.extended.iter().map(|name| json!(String::from_utf8_lossy(name)));
        line.push(("extended_names", names.collect()));
    }
}

/// An entry of a name table.
fn named(name: &[u8], value: &ZapValue, in_folder: bool) -> Line {
    let mut line = vec![("name", json!(String::from_utf8_lossy(name)))];
    match value {
        ZapValue::Number(number) if in_folder => {
            line.push(("object", json!(number & ENTRY_OBJECT)));
            line.push(("file_type", json!(file_type(number >> 60))));
        }
        ZapValue::Number(number) => line.push(("value", json!(number))),
        ZapValue::Integers(_, integers) => line.push(("values", json!(integers))),
    }
    line
}

/// A type of file in words, from the upper bits of its mode.
fn file_type(code: u64) -> &'static str {
    match code {
        0o1 => "fifo",
        0o2 => "character device",
        0o4 => "folder",
        0o6 => "block device",
        0o10 => "file",
        0o12 => "symbolic link",
        0o14 => "socket",
        0o15 => "door",
        _ => "unknown",
    }
}
