//! What kiln says and where: the commands to run next, a standard output that takes nothing, and the log's filter.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, Stdio};

use kiln_e2e::{Lab, STAMP};

const ARCHIVE_KIB: u32 = 8192;

/// Only a reader that went away is a good end; a full disk is not.
#[test]
fn a_standard_output_that_takes_nothing_is_a_failure() {
    let Some(lab) = Lab::open() else { return };
    let platform = lab.platform(ARCHIVE_KIB);
    let platform = platform.to_str().unwrap();
    let (image, _) = lab.retro(&["--size", "auto"]);
    let image = image.to_str().unwrap();
    let menu = format!("{image}:/boot/grub/menu.lst");
    let folder = format!("{image}:/os/{STAMP}/platform");
    let whole = format!("{platform}:/platform-{STAMP}");
    let commands: [(&[&str], i32); 13] = [
        (&["--help"], 1),
        (&["retro", "-h"], 1),
        (&["--version"], 1),
        (&["inspect", image], 1),
        (&["inspect", "--json", image], 1),
        (&["verify", image], 1),
        (&["ls", "-R", image], 1),
        (&["cat", &menu], 1),
        (&["diff", &whole, &folder], 3),
        (&["convert", image, "--to", "sparse-raw", "disk.raw"], 1),
        (&["convert", &folder, "--to", "tar", "-"], 1),
        (&["retro", STAMP, "--size", "auto", "--output", "one"], 1),
        (&["retro", STAMP, "--size", "auto", "--output", "two", "--json"], 1),
    ];
    for (arguments, status) in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = lab.command().args(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to standard output: No space left"), "{arguments:?}: {said}");
        assert!(said.contains("\nhint: ") && said.contains(" room"), "{arguments:?}: {said}");
    }
    // The work itself was done.
    assert_eq!(lab.names("one"), lab.names("two"));
    assert_eq!(lab.names("one").len(), 2);

    let readers = [
        ["ls", "-R", image],
        ["inspect", "--json", image],
        ["cat", &menu, "-v"],
        ["help", "demo", "platform"],
    ];
    for arguments in readers {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = lab.command().args(arguments).stdout(writer).output().unwrap();
        assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(run.stderr, b"", "{arguments:?}");
    }
}

/// The commands in the summary can be pasted into a shell, and the one for a head node is for images that it takes.
#[test]
fn the_commands_to_run_next_work_as_they_stand() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let output = "it's mine";
    let build = |flags: &[&str]| {
        let fixed = ["retro", STAMP, "--size", "auto", "--force", "--output", output, "--version", "test"];
        lab.kiln_ok(&[&fixed, flags].concat())
    };
    let plain = build(&[]);
    let command = plain.lines().find(|line| line.trim_start().starts_with("imgadm install")).unwrap();
    fs::write(lab.join("imgadm"), "#!/bin/sh\nshift; ls \"$2\" \"$4\"\n").unwrap();
    let run = Command::new("sh")
        .args(["-c", &format!("imgadm() {{ sh ./imgadm \"$@\"; }}; {command}")])
        .current_dir(lab.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{command}: {}", String::from_utf8_lossy(&run.stderr));
    let listed = String::from_utf8_lossy(&run.stdout);
    for suffix in ["manifest", "zvol.gz"] {
        assert!(listed.contains(&format!("{output}/smartos-retro-{STAMP}-test.{suffix}")), "{listed}");
    }

    assert!(plain.contains("build with --for dc"), "{plain}");
    let for_dc = build(&["--for", "dc"]);
    assert!(for_dc.contains("sdc-imgadm import -m ") && !for_dc.contains("build with"), "{for_dc}");
    let next = |flags: &[&str]| -> Vec<String> {
        let events = build(&[&["--json"], flags].concat());
        let summary: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
        serde_json::from_value(summary["next"].clone()).unwrap()
    };
    assert_eq!(next(&[]).len(), 1);
    assert!(next(&["--for", "dc"])[1].starts_with("sdc-imgadm import "));
}

#[test]
fn a_filter_for_the_log_that_is_none_is_told() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let said = |filter: &str| {
        let tarball = format!("data/platform-{STAMP}.tgz");
        let mut child = lab
            .command()
            .args(["ls", &tarball])
            .env("KILN_LOG", filter)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
        text
    };
    for filter in ["loud", "kiln=loud"] {
        let text = said(filter);
        assert!(text.contains(&format!("warning: KILN_LOG is '{filter}', which is no filter")), "{text}");
    }
    for filter in ["", "kiln=warn", "error"] {
        assert_eq!(said(filter), "");
    }
}

/// What a menu that does not wait says to GRUB legacy, and a recipe's date in TOML's own form.
#[test]
fn a_recipe_of_no_waiting() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let recipe = format!(
        "stamp = '{STAMP}'\nversion = 'test'\nsize = 'auto'\ntimeout = 0\ndate = 2015-02-03 04:05:06Z\n"
    );
    fs::write(lab.join("retro.toml"), recipe).unwrap();
    lab.kiln_ok(&["retro", "--recipe", "retro.toml"]);
    let name = format!("output/smartos-retro-{STAMP}-test");
    let menu = lab.kiln_ok(&["cat", &format!("{name}.zvol.gz:/boot/grub/menu.lst")]);
    assert!(menu.starts_with("default 0\ntimeout 0\n"), "{menu}");
    assert!(menu.contains("\nterminal --timeout=0 serial console\n"), "{menu}");
    let manifest: serde_json::Value =
        serde_json::from_reader(File::open(lab.join(format!("{name}.manifest"))).unwrap()).unwrap();
    assert_eq!(manifest["published_at"], "2015-02-03T04:05:06Z");
}
