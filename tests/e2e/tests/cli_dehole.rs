//! `kiln dehole`, from pipe to pipe.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use kiln_e2e::Lab;

/// A stream that real ZFS sent, expanded.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/zstream").join(name);
    let mut stream = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut stream).unwrap();
    stream
}

fn dehole(lab: &Lab, arguments: &[&str], input: Vec<u8>) -> Output {
    let mut kiln = lab.command();
    kiln.arg("dehole").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kiln = kiln.spawn().unwrap();
    let mut stdin = kiln.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // A program that refuses its input does not read it to the end.
        let _ = stdin.write_all(&input);
    });
    let output = kiln.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn a_full_stream_loses_its_holes_and_says_how_many() {
    let Some(lab) = Lab::open() else { return };
    let stream = fixture("fs5-full.zs.gz");
    let first = dehole(&lab, &[], stream.clone());
    let said = String::from_utf8(first.stderr).unwrap();
    assert!(first.status.success(), "{said}");
    let numbers: Vec<usize> = said
        .strip_prefix("deholing ok: skipped ")
        .and_then(|rest| rest.strip_suffix('\n')?.split_once(" records, output "))
        .map(|(skipped, output)| vec![skipped.parse().unwrap(), output.parse().unwrap()])
        .unwrap();
    assert!(numbers[0] > 0);
    // A hole record is 312 bytes and nothing else.
    assert_eq!(first.stdout.len(), stream.len() - 312 * numbers[0]);
    let second = dehole(&lab, &[], first.stdout.clone());
    assert_eq!(
        String::from_utf8(second.stderr).unwrap(),
        format!("deholing ok: skipped 0 records, output {}\n", numbers[1])
    );
    assert!(second.stdout == first.stdout);
}

#[test]
fn other_streams_are_refused() {
    let Some(lab) = Lab::open() else { return };
    let full = fixture("fs5-full.zs.gz");
    let mut damaged = full.clone();
    damaged[5000] ^= 1;
    let cases: [(&[&str], Vec<u8>, i32, &str); 5] = [
        (&[], fixture("fs5-inc.zs.gz"), 1, "incremental"),
        (&[], b"no stream".to_vec(), 1, "gzip -dc"),
        (&[], full[..full.len() - 1].to_vec(), 1, "ends before its END record"),
        (&[], damaged, 1, "checksum"),
        (&["--json"], full, 2, "drop --json"),
    ];
    for (arguments, input, status, words) in cases {
        let output = dehole(&lab, arguments, input);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(words) && said.contains("hint: ") && !said.contains("deholing ok"), "{said}");
    }
}
