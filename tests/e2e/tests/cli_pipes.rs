//! Images that come through pipes, and things that are no images.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use kiln_e2e::{Lab, STAMP};

#[test]
fn an_image_through_standard_input_is_the_same_image() {
    let Some(lab) = Lab::open() else { return };
    let platform = lab.platform(4096);
    let top = format!("platform-{STAMP}\n");
    for arguments in [["ls", "/dev/stdin"], ["ls", "/dev/stdin:"]] {
        let mut kiln = lab.command();
        kiln.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut kiln = kiln.spawn().unwrap();
        kiln.stdin.take().unwrap().write_all(&fs::read(&platform).unwrap()).unwrap();
        let output = kiln.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), top, "{arguments:?}");
    }
    let from_file = lab.command().args(["ls", "/dev/stdin"]).stdin(File::open(&platform).unwrap()).output();
    assert_eq!(String::from_utf8(from_file.unwrap().stdout).unwrap(), top);
}

#[test]
fn kiln_says_that_it_waits_for_a_pipe_nobody_writes_to() {
    let Some(lab) = Lab::open() else { return };
    let image = fs::read(lab.platform(4096)).unwrap();
    let pipe = lab.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for command in ["inspect", "verify"] {
        let mut kiln = lab.command();
        kiln.args([command, "pipe"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kiln = kiln.spawn().unwrap();
        let mut said = String::new();
        let mut errors = BufReader::new(kiln.stderr.take().unwrap());
        errors.read_line(&mut said).unwrap();
        assert_eq!(said, "waiting for something to write to the pipe pipe\n");
        File::options().write(true).open(&pipe).unwrap().write_all(&image).unwrap();
        errors.read_to_string(&mut said).unwrap();
        assert!(kiln.wait_with_output().unwrap().status.success(), "{command}: {said}");
    }
}

#[test]
fn what_holds_no_image_is_refused_by_its_kind() {
    let Some(lab) = Lab::open() else { return };
    for (place, expected) in [("/dev/zero", "/dev/zero is a character device"), ("/", "/ is a folder")] {
        let said = lab.kiln(&["inspect", place]);
        assert_eq!(said.status, 1, "{said:?}");
        assert!(said.stderr.contains(expected) && said.stderr.contains("hint: "), "{said:?}");
    }
}
