//! `kiln zstream`: streams of real ZFS, dumped record by record and checked, whole and damaged.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_e2e::{Lab, Said};
use kiln_harness::tools;
use serde_json::Value;

/// Streams of which `zstreamdump` printed the records, too.
const DUMPED: [&str; 11] = [
    "fs4-tiny",
    "fs5-full",
    "fs5-inc",
    "fs5-tiny",
    "fuse-fs4-full",
    "fuse-fs4-inc",
    "fuse-zvol64-full",
    "zvol256k-filled",
    "zvol64-sparse",
    "zvol64b-full",
    "zvol64b-inc",
];

/// The size of a record in bytes.
const RECORD: usize = 312;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/zstream").join(name).canonicalize().unwrap()
}

/// The path of a stream that real ZFS sent, in gzip.
fn stream(name: &str) -> String {
    path(&format!("{name}.zs.gz")).into_os_string().into_string().unwrap()
}

fn expanded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path(name)).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(name: &str) -> String {
    String::from_utf8(expanded(name)).unwrap()
}

fn json_lines(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn dumped(lab: &Lab, name: &str) -> Vec<Value> {
    json_lines(&lab.kiln_ok(&["zstream", "dump", "--contents", "--json", &stream(name)]))
}

/// The fields of a record as `zstreamdump` prints it: `OBJECT object = 1 type = 21 …`.
fn fields(line: &str) -> BTreeMap<&str, u64> {
    let words: Vec<&str> = line.split(' ').collect();
    let fields = words.windows(3).filter(|words| words[1] == "=");
    // Lengths to the end are -1; others, such as checksums, are not compared.
    let number = |word: &str| if word == "-1" { Some(u64::MAX) } else { word.parse().ok() };
    fields.filter_map(|words| Some((words[0], number(words[2])?))).collect()
}

/// How the lines of records begin.
const KINDS: [&str; 6] = ["OBJECT ", "FREEOBJECTS ", "WRITE ", "FREE ", "SPILL ", "END "];

#[test]
fn records_are_those_that_zfs_prints() {
    let Some(lab) = Lab::open() else { return };
    for name in DUMPED {
        let records = dumped(&lab, name);
        let dump = text(&format!("{name}.dump.txt.gz"));
        let lines = dump.lines().filter(|line| KINDS.iter().any(|kind| line.starts_with(kind)));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(records.len(), 1 + lines.len(), "{name}");
        assert_eq!(records[0]["type"], "BEGIN");
        let expected = dump.lines().find_map(|line| line.trim().strip_prefix("toname = ")).unwrap();
        assert_eq!(records[0]["snapshot"], expected);
        for (number, (record, line)) in records[1..].iter().zip(&lines).enumerate() {
            let kind = line.split(' ').next().unwrap();
            assert_eq!(record["type"], kind, "{name}: {line}");
            assert_eq!(record["record"], number + 1);
            let of = fields(line);
            let pairs: &[(&str, &str)] = match kind {
                "OBJECT" => &[("object", "object"), ("block_size", "blksz"), ("bonus", "bonuslen")],
                "FREEOBJECTS" => &[("object", "firstobj"), ("count", "numobjs")],
                "WRITE" => &[("object", "object"), ("offset", "offset"), ("length", "logical_size")],
                "FREE" => &[("object", "object"), ("offset", "offset")],
                "SPILL" => &[("length", "length")],
                _ => &[],
            };
            for (ours, theirs) in pairs {
                assert_eq!(record[ours], of[theirs], "{name}: {line}");
            }
            if kind == "FREE" {
                let length =
                    if of["length"] == u64::MAX { Value::from("to the end") } else { of["length"].into() };
                assert_eq!(record["length"], length, "{name}: {line}");
            }
            if kind == "END" {
                assert_eq!(record["checksum"], line.rsplit(' ').next().unwrap());
            }
        }
        // Positions are those of the records in the stream.
        let bytes = expanded(&format!("{name}.zs.gz"));
        let last = records.last().unwrap()["position"].as_u64().unwrap() as usize;
        assert_eq!(last, bytes.len() - RECORD, "{name}");
        for line in dump.lines().filter_map(|line| line.trim().strip_prefix("Total DRR_")) {
            let (kind, count) = line.split_once(" records = ").unwrap();
            let count: usize = count.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(
                records.iter().filter(|record| record["type"] == kind).count(),
                count,
                "{name} {kind}"
            );
        }
    }
}

#[test]
fn attributes_and_names_are_in_words() {
    let Some(lab) = Lab::open() else { return };
    let records = dumped(&lab, "fs5-full");
    let objects: BTreeMap<u64, &Value> = records
        .iter()
        .filter(|record| record["type"] == "OBJECT")
        .map(|record| (record["object"].as_u64().unwrap(), record))
        .collect();
    let names: Vec<(u64, &str)> = records
        .iter()
        .filter(|record| record["kind"] == "folder")
        .flat_map(|record| record["names"].as_array().into_iter().flatten())
        .map(|name| (name["object"].as_u64().unwrap(), name["name"].as_str().unwrap()))
        .collect();
    // Lines of `find -printf '%i %y %m %n %U %G %s %p %l'`.
    let mut compared = 0;
    for line in text("fs5-full.list.txt.gz").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [inode, _, mode, _, uid, gid, size, path] = words[..8] else { panic!("{line}") };
        let number: u64 = inode.parse().unwrap();
        let object = objects[&number];
        assert!(object["mode"].as_str().unwrap().ends_with(mode), "{line}: {object}");
        assert_eq!(object["owner"], format!("{uid}:{gid}"), "{line}");
        assert_eq!(object["size"].to_string(), size, "{line}");
        if let Some((_, name)) = path.rsplit_once('/') {
            assert!(names.contains(&(number, name)), "{line}");
        }
        compared += 1;
    }
    assert!(compared > 300, "{compared}");
    // What was there before attributes had tables is whole in its object.
    let old = dumped(&lab, "fs4-tiny");
    let link = old.iter().find(|record| record["target"].is_string()).unwrap();
    assert_eq!((link["target"].as_str(), link["size"].as_u64()), (Some("tgt"), Some(3)));
    assert_eq!((link["type"].as_str(), link["links"].as_u64()), (Some("OBJECT"), Some(1)));

    // For people it is a line a record, and names below it.
    let said = lab.kiln_ok(&["zstream", "dump", "--contents", &stream("fs5-tiny")]);
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("           0  BEGIN ") && first.contains(" snapshot=p/"), "{first}");
    assert!(said.contains("holds=\"file system\""), "{said}");
    assert!(said.lines().any(|line| line.trim_start().starts_with("name=f object=")), "{said}");
    let without = lab.kiln_ok(&["zstream", "dump", &stream("fs5-tiny")]);
    assert!(!without.contains("name=f"), "{without}");
    let compressed = lab.kiln_ok(&["zstream", "dump", &stream("zvol256k-features")]);
    assert!(compressed.contains("WRITE_EMBEDDED") && compressed.contains("compression=lz4"), "{compressed}");
}

/// Writes a file into the scratch folder.
fn written(lab: &Lab, name: &str, bytes: &[u8]) -> String {
    let path = lab.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn what_is_damaged_is_dumped_up_to_there() {
    let Some(lab) = Lab::open() else { return };
    let whole = expanded("fs5-full.zs.gz");
    let all = dumped(&lab, "fs5-full").len();
    let mut flipped = whole.clone();
    flipped[40_000] ^= 1;
    let trailing = [&whole[..], b"more"].concat();
    for (bytes, words, is_all) in [
        (&whole[..whole.len() / 2], "ends before its END record", false),
        (&flipped, "checksum", false),
        (&trailing, "followed by other data", true),
    ] {
        let file = written(&lab, "damaged.zfs", bytes);
        let said = lab.kiln(&["zstream", "dump", &file]);
        assert_eq!(said.status, 1, "{}", said.stderr);
        assert!(said.stderr.contains(words) && said.stderr.contains("hint: "), "{}", said.stderr);
        let lines = said.stdout.lines().count();
        assert!(lines > 3 && (lines == all) == is_all, "{lines} of {all}");
        let said = lab.kiln(&["zstream", "check", &file]);
        assert_eq!(said.status, 1);
        assert!(
            said.stdout.contains("the stream: ") && said.stdout.ends_with(": 1 finding\n"),
            "{}",
            said.stdout
        );
        assert!(said.stdout.contains("is refused by who receives it"), "{}", said.stdout);
    }
}

#[test]
fn nothing_is_found_in_streams_of_real_zfs() {
    let Some(lab) = Lab::open() else { return };
    for name in DUMPED.into_iter().chain(["tiny-zvol", "tiny-zvol-recsum", "zvol256k-features"]) {
        let file = stream(name);
        let origin = stream(&name.replace("-inc", "-full"));
        let arguments = if name.ends_with("-inc") {
            vec!["zstream", "check", "--origin", &origin, &file]
        } else {
            vec!["zstream", "check", &file]
        };
        let said = lab.kiln(&arguments);
        assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{name}: {}", said.stdout);
        assert!(said.stdout.ends_with(&format!("{file}: ok\n")), "{}", said.stdout);
        let is_new = said.stdout.contains("note: receivers of 2013 do not know its features: embed_data");
        assert_eq!(is_new, name == "zvol256k-features", "{}", said.stdout);
    }
}

/// Puts the checksum at the end of a stream right. There must be none in its records.
fn resealed(mut stream: Vec<u8>) -> Vec<u8> {
    let end = stream.len() - RECORD;
    let mut sums = [0_u64; 4];
    for word in stream[..end].chunks_exact(4) {
        let mut carry = u64::from(u32::from_le_bytes(word.try_into().unwrap()));
        for sum in &mut sums {
            *sum = sum.wrapping_add(carry);
            carry = *sum;
        }
    }
    for (number, sum) in sums.into_iter().enumerate() {
        stream[end + 8 + 8 * number..][..8].copy_from_slice(&sum.to_le_bytes());
    }
    stream
}

fn findings(said: &Said) -> Vec<(u64, String)> {
    let object = &json_lines(&said.stdout)[0];
    assert_eq!((object["event"].as_str(), object["ok"].as_bool()), (Some("checked"), Some(false)));
    let findings = object["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| (finding["object"].as_u64().unwrap(), finding["harm"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn what_receivers_would_die_of_is_found() {
    let Some(lab) = Lab::open() else { return };
    // The size of the volume, which is in the block that ends before the END record.
    let mut volume = expanded("tiny-zvol.zs.gz");
    volume[0x858..0x85a].copy_from_slice(&1000_u16.to_le_bytes());
    let file = written(&lab, "volume.zfs", &resealed(volume));
    let said = lab.kiln(&["zstream", "check", "--json", &file]);
    assert_eq!((said.status, findings(&said)), (1, vec![(2, "lost".to_owned())]));

    // A file of version 4 without a generation: the first record of an object with a znode.
    let mut system = expanded("fuse-fs4-full.zs.gz");
    let is_znode = |at: &usize| {
        let record = &system[*at..];
        record[..4] == [1, 0, 0, 0] && record[16..24] == [19, 0, 0, 0, 17, 0, 0, 0]
    };
    let at = (0..system.len() - RECORD).step_by(8).find(is_znode).unwrap();
    let object = u64::from_le_bytes(system[at + 8..at + 16].try_into().unwrap());
    system[at + RECORD + 64..][..8].fill(0);
    let file = written(&lab, "system.zfs", &resealed(system));
    let said = lab.kiln(&["zstream", "check", "--json", &file]);
    assert_eq!((said.status, findings(&said)), (1, vec![(object, "lost".to_owned())]));
    let said = lab.kiln(&["zstream", "check", &stream("fs5-tiny"), &file]);
    assert_eq!(said.status, 1);
    assert!(said.stdout.contains("fs5-tiny.zs.gz: ok\n") && said.stdout.ends_with("system.zfs: 1 finding\n"));
    assert!(said.stdout.contains("its generation is 0"), "{}", said.stdout);
}

#[test]
fn streams_are_read_out_of_every_compression_of_images() {
    let Some(lab) = Lab::open() else { return };
    let bytes = expanded("fs5-tiny.zs.gz");
    let plain = written(&lab, "plain.zfs", &bytes);
    let expected = lab.kiln_ok(&["zstream", "dump", &plain]);
    for (program, ending) in [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz")] {
        let Some(program) = tools::require(program) else { continue };
        // Two files in a row, as the programs expand them.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let mut packed = Vec::new();
        for part in [first, second] {
            let part = written(&lab, "part", part);
            let output = Command::new(&program).args(["-c", &part]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            packed.extend(output.stdout);
        }
        let whole = written(&lab, &format!("packed.zfs.{ending}"), &packed);
        assert_eq!(lab.kiln_ok(&["zstream", "dump", &whole]), expected, "{ending}");
        let said = lab.kiln_ok(&["zstream", "check", &whole]);
        assert!(said.ends_with(&format!("packed.zfs.{ending}: ok\n")), "{said}");

        let torn = written(&lab, &format!("torn.zfs.{ending}"), &packed[..packed.len() - 20]);
        for command in ["dump", "check"] {
            let said = lab.kiln(&["zstream", command, &torn]);
            assert_eq!(said.status, 1, "{command} {torn}: {}{}", said.stdout, said.stderr);
        }
    }
}

#[test]
fn streams_come_through_pipes() {
    let Some(lab) = Lab::open() else { return };
    for (arguments, words) in
        [(["zstream", "check", "-"], "standard input: ok\n"), (["zstream", "dump", "-"], " END ")]
    {
        for name in ["fs5-tiny.zs.gz", "tiny-zvol.zs.gz"] {
            let mut kiln = lab.command();
            kiln.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut kiln = kiln.spawn().unwrap();
            kiln.stdin.take().unwrap().write_all(&expanded(name)).unwrap();
            let said = Said::from(&kiln.wait_with_output().unwrap());
            assert_eq!(said.status, 0, "{}", said.stderr);
            assert!(said.stdout.contains(words), "{}", said.stdout);
        }
    }
}

#[test]
fn what_is_no_stream_or_has_no_origin_is_an_error() {
    let Some(lab) = Lab::open() else { return };
    let other = written(&lab, "other", &[7; 4096]);
    let (full, increment) = (stream("fs5-full"), stream("fs5-inc"));
    let (tiny, volume) = (stream("fs5-tiny"), stream("zvol64b-inc"));
    let cases: [(&[&str], i32, &str); 9] = [
        (&["check", &other], 1, "name a ZFS stream"),
        (&["dump", &other], 1, "does not begin with a BEGIN record"),
        (&["check", "missing"], 1, "cannot open missing"),
        (&["dump", "missing"], 1, "cannot open missing"),
        (&["check", &increment], 1, "--origin FILE"),
        (&["check", &volume], 1, "--origin FILE"),
        (&["check", "--origin", &tiny, &increment], 1, "goes on top of the snapshot with GUID"),
        (&["check", "--origin", &full, &full], 1, "full streams take none"),
        (&["check", "-", "-"], 2, "for one stream only"),
    ];
    for (arguments, status, words) in cases {
        let arguments = [&["zstream"], arguments].concat();
        let said = lab.kiln(&arguments);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{arguments:?}: {}", said.stderr);
        assert!(
            said.stderr.contains(words) && said.stderr.contains("hint: "),
            "{arguments:?}: {}",
            said.stderr
        );
    }
}
