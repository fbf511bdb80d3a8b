//! What the original commands print, and how they end. The transcripts are written from the description of their
//! behaviour (their source and manual pages), not recorded from a run of them.

use guest_mdata::host::Dialect;

use crate::stage::{Ended, Host, Stage, failed, machine, quiet, socket_host};

/// The keys of the machine: the owner's, then those that live apart.
const KEYS: &str = "control\nempty\nended\nlines\nnul\ntext\nwith space\ndocker:id\nroot_pw\n";

/// Command, its words, and how it ends: exit code, standard output, standard error. A host of version 2.
const VERSION_2: &[(&str, &[&str], i32, &str, &str)] = &[
    ("mdata-get", &["text"], 0, "one line\n", ""),
    ("mdata-get", &["text", "ignored", "words"], 0, "one line\n", ""),
    ("mdata-get", &["ended"], 0, "with its end\n", ""),
    ("mdata-get", &["empty"], 0, "\n", ""),
    ("mdata-get", &["none"], 1, "", "No metadata for 'none'\n"),
    ("mdata-get", &["-h"], 1, "", "No metadata for '-h'\n"),
    ("mdata-get", &["sdc:tags"], 2, "", "Error getting metadata for key 'sdc:tags': \n"),
    ("mdata-put", &["new", "value"], 0, "", ""),
    ("mdata-get", &["new"], 0, "value\n", ""),
    (
        "mdata-put",
        &["sdc:uuid", "x"],
        2,
        "",
        "Error putting metadata for key 'sdc:uuid': Cannot update the \"sdc\" Namespace.\n",
    ),
    (
        "mdata-put",
        &["docker:id", "x"],
        2,
        "",
        "Error putting metadata for key 'docker:id': Cannot update the \"docker\" Namespace.\n",
    ),
    ("mdata-delete", &["new"], 0, "", ""),
    ("mdata-delete", &["new"], 0, "", ""),
    (
        "mdata-delete",
        &["sdc:uuid"],
        2,
        "",
        "Error deleting metadata key 'sdc:uuid': Cannot update the \"sdc\" Namespace.\n",
    ),
    ("mdata-delete", &["none", "ignored", "words"], 0, "", ""),
    ("mdata-list", &[], 0, KEYS, ""),
    ("mdata-list", &["ignored", "words"], 0, KEYS, ""),
    ("mdata-put", &["text", "one line", "ignored words"], 0, "", ""),
    ("mdata-get", &["text"], 0, "one line\n", ""),
];

/// The same for a host of version 1.
const VERSION_1: &[(&str, &[&str], i32, &str, &str)] = &[
    ("mdata-get", &["text"], 0, "one line\n", ""),
    ("mdata-get", &["empty"], 0, "\n", ""),
    ("mdata-get", &["none"], 1, "", "No metadata for 'none'\n"),
    ("mdata-put", &["new", "value"], 2, "", "ERROR: host does not support PUT\n"),
    ("mdata-delete", &["text"], 2, "", "ERROR: host does not support DELETE\n"),
    ("mdata-list", &[], 0, KEYS, ""),
];

fn replay(stage: &Stage, device: &str, transcript: &[(&str, &[&str], i32, &str, &str)]) {
    for &(name, words, code, stdout, stderr) in transcript {
        let wanted = Ended { code: Some(code), stdout: stdout.into(), stderr: stderr.to_owned() };
        assert_eq!(stage.run(name, device, words), wanted, "{name} {words:?}");
        // The same under the program's own name.
        let command = name.strip_prefix("mdata-").expect("an alias");
        assert_eq!(stage.run("mdata", device, &[&[command], words].concat()), wanted, "mdata {command}");
    }
}

#[test]
fn case_45_output_and_exit_codes_with_a_host_of_version_2() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    replay(&stage, &device, VERSION_2);
}

#[test]
fn case_45_output_and_exit_codes_with_a_host_of_version_1() {
    let stage = Stage::new();
    let device = Host::new(Dialect::V1, machine()).0.listen(&stage.path("socket"));
    replay(&stage, &device, VERSION_1);
}

#[test]
fn case_45_usage() {
    let stage = Stage::new();
    for (name, operands) in
        [("mdata-get", "<keyname>"), ("mdata-put", "<keyname> [ <value> ]"), ("mdata-delete", "<keyname>")]
    {
        let ended = Ended::from(stage.command(name, &[]).output().expect("it runs"));
        let wanted = format!("{name}: Usage: {} {operands}\n", stage.path(name).display());
        assert_eq!(ended, failed(3, &wanted));
    }
}

#[test]
fn case_45_a_closed_standard_output_is_an_error() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let output = stage.command("mdata-get", &["--device", &device, "text"]).stdout(full).output();
    let ended = Ended::from(output.expect("it runs"));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("ERROR: could not write to standard output: "), "{}", ended.stderr);
}

#[test]
fn help_is_printed_for_each_command() {
    let stage = Stage::new();
    for name in ["mdata", "mdata-get", "mdata-put", "mdata-delete", "mdata-list"] {
        let ended = Ended::from(stage.command(name, &["--help"]).output().expect("it runs"));
        let text = String::from_utf8(ended.stdout.clone()).expect("UTF-8");
        assert_eq!(ended, quiet(0, &text));
        assert!(text.starts_with(name) && text.contains("--device"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}
