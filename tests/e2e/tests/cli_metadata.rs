//! `kiln metadata serve` as guests see it: the cases of the protocol's test matrix that take the running program. Those
//! that are about rules alone are beside the rules, in guest-mdata; those that take a slow disk are beside the server.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use kiln_e2e::metadata::{Guest, Server, frame, mdata, serve};
use kiln_e2e::{Lab, Said};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

/// A socket that guests connect to, in the lab.
const SOCKET: &[&str] = &["--listen", "unix:md.sock"];

fn lab() -> Option<Lab> {
    let lab = Lab::open()?;
    data(&lab, &machine());
    Some(lab)
}

fn data(lab: &Lab, machine: &Value) {
    fs::write(lab.join("vm.json"), machine.to_string()).unwrap();
}

fn kept(lab: &Lab) -> Value {
    serde_json::from_slice(&fs::read(lab.join("vm.json")).unwrap()).unwrap()
}

fn machine() -> Value {
    json!({
        "uuid": "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0", "alias": "web", "max_physical_memory": 1024, "autoboot": true,
        "tags": { "a.b": "dots" },
        "nics": [
            { "interface": "net0", "mac": "90:b8:d0:00:00:01", "ips": ["10.0.0.2/24"], "gateways": ["10.0.0.1"], "primary": true },
            { "interface": "net1", "mac": "90:b8:d0:00:00:02", "ip": "dhcp" },
        ],
        "routes": {
            "10.1.0.0/16": "10.0.0.9", "10.2.0.0/16": "nics[0]", "10.3.0.0/16": "macs[90:b8:d0:00:00:01]",
            "10.4.0.0/16": "nics[1]",
        },
        "customer_metadata": {
            "user-script": "#!/bin/sh\necho gr\u{fc}\u{df}e\n", "dots": ".\n..\n.x", "nul": "a\u{0}b", "two words": "yes",
            "root_pw": "the customer's", "constructor": "mine",
        },
        "internal_metadata": { "root_pw": "s3cret", "docker:cmd": "[]", "hidden": "x" },
        "internal_metadata_namespaces": ["docker"],
    })
}

fn assert_said(said: &Said, status: i32, stdout: &str, stderr: &str) {
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (status, stdout, stderr));
}

/// Each ends in the way that everything should: status 0, and nothing left of it.
fn end_well(lab: &Lab, server: Server) -> String {
    let (status, log) = server.end();
    assert_eq!(status, 0, "{log}");
    assert_eq!(lab.names("."), ["vm.json"], "{log}");
    log
}

#[test]
fn case_01_a_value_over_every_channel() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    for listen in ["unix:md.sock", "tcp:127.0.0.1:0", "pty", "pty:ttyb"] {
        let server = Server::start(&lab, &["--listen", listen]);
        let script = "#!/bin/sh\necho gr\u{fc}\u{df}e\n";
        assert_said(&server.mdata(&mdata, "get", &["user-script"]), 0, script, "");
        assert_said(&server.mdata(&mdata, "get", &["sdc:alias"]), 0, "web\n", "");
        end_well(&lab, server);
    }
}

#[test]
fn case_02_a_host_of_version_1() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, &["--listen", "unix:md.sock", "--v1"]);
    let mut guest = server.guest();
    assert_eq!(guest.ask("NEGOTIATE V2"), "FAILURE");
    assert_eq!(guest.ask(frame("1", "GET", b"dots").trim_end()), "FAILURE");
    guest.say("GET dots\n");
    assert_eq!(guest.lines(5), ["SUCCESS\n", "..\n", "...\n", "..x\n", ".\n"]);
    guest.say("KEYS\n");
    assert_eq!(guest.line(), "SUCCESS\n");
    let names: Vec<String> =
        std::iter::from_fn(|| Some(guest.line())).take_while(|line| line != ".\n").collect();
    assert_eq!(names.concat(), "constructor\ndots\nnul\ntwo words\nuser-script\ndocker:cmd\nroot_pw\n");
    assert_said(&server.mdata(&mdata, "get", &["dots"]), 0, ".\n..\n.x\n", "");
    assert_said(&server.mdata(&mdata, "put", &["key", "value"]), 2, "", "ERROR: host does not support PUT\n");
    end_well(&lab, server);
}

#[test]
fn case_03_names_of_keys() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, SOCKET);
    let names = "constructor\ndots\nnul\ntwo words\nuser-script\ndocker:cmd\nroot_pw\n";
    assert_said(&server.mdata(&mdata, "list", &[]), 0, names, "");
    end_well(&lab, server);
    data(&lab, &json!({}));
    let server = Server::start(&lab, SOCKET);
    assert_said(&server.mdata(&mdata, "list", &[]), 0, "", "");
    end_well(&lab, server);
}

#[test]
fn case_04_to_06_put_get_delete_and_nothing_there() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, SOCKET);
    let run = |command: &str, operands: &[&str]| server.mdata(&mdata, command, operands);
    assert_said(&run("put", &["key", "value"]), 0, "", "");
    assert_said(&run("get", &["key"]), 0, "value\n", "");
    assert_said(&run("delete", &["key"]), 0, "", "");
    assert_said(&run("get", &["key"]), 1, "", "No metadata for 'key'\n");
    assert_said(&run("delete", &["key"]), 0, "", "");
    end_well(&lab, server);
    assert_eq!(kept(&lab), machine(), "without --persist the file is only read");
}

#[test]
fn case_07_views_of_the_machine() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, SOCKET);
    let get = |key: &str| server.mdata(&mdata, "get", &[key]).stdout;
    for (key, value) in [
        ("sdc:uuid", "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0\n"),
        ("sdc:max_physical_memory", "1024\n"),
        ("sdc:autoboot", "true\n"),
        ("sdc:nics.0.mac", "90:b8:d0:00:00:01\n"),
        ("sdc:tags.a.b", "dots\n"),
    ] {
        assert_eq!(get(key), value, "{key}");
    }
    let nics: Value = serde_json::from_str(&get("sdc:nics")).unwrap();
    assert_eq!((&nics[0]["ip"], &nics[0]["netmask"]), (&json!("10.0.0.2"), &json!("255.255.255.0")));
    assert_eq!(nics[0]["gateway"], "10.0.0.1");
    assert_eq!(nics[1]["ips"], json!(["dhcp"]));
    let routes: Value = serde_json::from_str(&get("sdc:routes")).unwrap();
    assert_eq!(
        routes,
        json!([
            { "linklocal": false, "dst": "10.1.0.0/16", "gateway": "10.0.0.9" },
            { "linklocal": true, "dst": "10.2.0.0/16", "gateway": "10.0.0.2" },
            { "linklocal": true, "dst": "10.3.0.0/16", "gateway": "10.0.0.2" },
        ])
    );
    end_well(&lab, server);
}

#[test]
fn case_08_and_10_line_feeds_several_bytes_and_nul() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, SOCKET);
    let said = server.mdata_with(&mdata, "put", &["lines"], "\n\u{e4}\u{1f600}\r\n\n".as_bytes());
    assert_said(&said, 0, "", "");
    assert_said(&server.mdata(&mdata, "get", &["lines"]), 0, "\n\u{e4}\u{1f600}\r\n\n", "");
    assert_said(&server.mdata(&mdata, "get", &["nul"]), 0, "a\0b\n", "");
    end_well(&lab, server);
}

#[test]
fn case_11_to_13_what_guests_may_not_see_or_change() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, &["--listen", "unix:md.sock", "--persist"]);
    for key in ["sdc:alias", "docker:cmd"] {
        let namespace = key.split(':').next().unwrap();
        let words = format!("Cannot update the \"{namespace}\" Namespace.\n");
        let put = format!("Error putting metadata for key '{key}': {words}");
        assert_said(&server.mdata(&mdata, "put", &[key, "x"]), 2, "", &put);
        let delete = format!("Error deleting metadata key '{key}': {words}");
        assert_said(&server.mdata(&mdata, "delete", &[key]), 2, "", &delete);
    }
    for key in [
        "hidden",
        "sdc:internal_metadata.hidden",
        "sdc:__proto__",
        "toString",
        "sdc:customer_metadata.root_pw",
    ] {
        assert_eq!(server.mdata(&mdata, "get", &[key]).status, 1, "{key}");
    }
    assert_said(&server.mdata(&mdata, "get", &["root_pw"]), 0, "s3cret\n", "");
    assert_said(&server.mdata(&mdata, "put", &["root_pw", "new"]), 0, "", "");
    assert_said(&server.mdata(&mdata, "put", &["__proto__", "mine"]), 0, "", "");
    assert_said(&server.mdata(&mdata, "get", &["__proto__"]), 0, "mine\n", "");
    end_well(&lab, server);
    assert_eq!(kept(&lab)["internal_metadata"]["root_pw"], "new");
    assert_eq!(kept(&lab)["customer_metadata"]["root_pw"], "the customer's");
}

#[test]
fn case_15_large_values_in_bounded_memory() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    for listen in ["unix:md.sock", "pty"] {
        let mut server = Server::start(&lab, &["--listen", listen]);
        let before = server.peak_kib();
        let value = "0123456789abcde\n".repeat(1 << 16);
        for _ in 0..3 {
            assert_said(&server.mdata_with(&mdata, "put", &["large"], value.as_bytes()), 0, "", "");
            let said = server.mdata(&mdata, "get", &["large"]);
            assert!((said.status, said.stdout == value) == (0, true), "{}", said.stderr);
        }
        let used = server.peak_kib() - before;
        assert!(used < 20 << 10, "{used} KiB for a value of 1 MiB over {listen}");

        // More than the line of the largest value can have: no answer, and the connection goes on.
        let mut guest = server.guest();
        guest.say(frame("1", "GET", &vec![b'x'; 4 << 20]));
        assert_eq!(guest.ask(""), "invalid command");
        end_well(&lab, server);
    }
}

#[test]
fn case_16_endless_lines_take_no_memory() {
    let Some(lab) = lab() else { return };
    let mut server = Server::start(&lab, SOCKET);
    let before = server.peak_kib();
    let mut guests: Vec<Guest> = (0..10).map(|_| server.guest()).collect();
    let block = vec![b'x'; 1 << 20];
    for guest in &mut guests {
        for _ in 0..6 {
            guest.say(&block);
        }
    }
    let last = guests.last_mut().unwrap();
    for _ in 0..40 {
        last.say(&block);
    }
    for guest in &mut guests {
        guest.say("\n");
        assert_eq!(guest.ask("GET sdc:alias"), "SUCCESS");
    }
    let used = server.peak_kib() - before;
    assert!(used < 24 << 10, "{used} KiB");
    end_well(&lab, server);
}

#[test]
fn case_17_changes_outlive_the_server() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let flags = ["--listen", "unix:md.sock", "--persist"];
    fs::set_permissions(lab.join("vm.json"), fs::Permissions::from_mode(0o640)).unwrap();
    let server = Server::start(&lab, &flags);
    // Whoever has the file open still sees the old one whole.
    let old = fs::File::open(lab.join("vm.json")).unwrap();
    assert_said(&server.mdata(&mdata, "put", &["key", "value"]), 0, "", "");
    assert_said(&server.mdata(&mdata, "delete", &["dots"]), 0, "", "");
    // What is answered is kept, however the server ends.
    assert_eq!(server.end_by(Signal::KILL).0, -1);
    assert_eq!(std::io::read_to_string(old).unwrap(), machine().to_string());
    assert_eq!(fs::metadata(lab.join("vm.json")).unwrap().permissions().mode() & 0o777, 0o640);
    let mut wanted = machine();
    wanted["customer_metadata"]["key"] = json!("value");
    wanted["customer_metadata"].as_object_mut().unwrap().remove("dots");
    assert_eq!(kept(&lab), wanted);
    let server = Server::start(&lab, &flags);
    assert_said(&server.mdata(&mdata, "get", &["key"]), 0, "value\n", "");
    assert_said(&server.mdata(&mdata, "get", &["dots"]), 1, "", "No metadata for 'dots'\n");

    // What somebody else wrote is not overwritten.
    data(&lab, &machine());
    let said = server.mdata(&mdata, "put", &["key", "other"]);
    assert_eq!(said.status, 2);
    assert!(said.stderr.contains("somebody else changed the data file"), "{}", said.stderr);
    end_well(&lab, server);
    assert_eq!(kept(&lab), machine());
}

#[test]
fn case_17_a_full_disk_is_a_failure_and_changes_nothing() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    // A file of 8 KiB is the largest that this server can write.
    let kiln = serve(&lab, &["--listen", "unix:md.sock", "--persist"]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""]).arg(kiln.get_program());
    command.args(kiln.get_args()).current_dir(lab.path());
    let server = Server::run(&mut command);
    let said = server.mdata(&mdata, "put", &["key", &"x".repeat(20_000)]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    let words = "Error putting metadata for key 'key': cannot keep the change: ";
    assert!(said.stderr.starts_with(words), "{}", said.stderr);
    assert_eq!(kept(&lab), machine());
    assert_said(&server.mdata(&mdata, "get", &["key"]), 1, "", "No metadata for 'key'\n");
    assert_said(&server.mdata(&mdata, "put", &["key", "small"]), 0, "", "");
    end_well(&lab, server);
    assert_eq!(kept(&lab)["customer_metadata"]["key"], "small");
}

#[test]
fn case_18_broken_frames_get_no_answer() {
    let Some(lab) = lab() else { return };
    let server = Server::start(&lab, SOCKET);
    let mut guest = server.guest();
    let good = frame("0000abcd", "GET", b"sdc:alias");
    let answer = frame("0000abcd", "SUCCESS", b"web");
    let crc = good.split(' ').nth(2).unwrap();
    let other = if crc.starts_with('0') { "1" } else { "0" };
    for broken in [
        good.replacen("V2 25", "V2 24", 1),
        good.replacen(crc, &format!("{other}{}", &crc[1..]), 1),
        good.replacen(crc, &crc.to_uppercase(), 1),
        "V2 25\n".to_owned(),
        frame("0000ABCD", "GET", b"sdc:alias"),
    ] {
        guest.say(&broken);
        guest.say(&good);
        assert_eq!(guest.line(), answer, "{broken:?}");
    }
    end_well(&lab, server);
}

#[test]
fn case_24_frames_cut_anywhere() {
    let Some(lab) = lab() else { return };
    for listen in ["unix:md.sock", "pty"] {
        let server = Server::start(&lab, &["--listen", listen]);
        let (question, answer) = (frame("1", "GET", b"sdc:alias"), frame("1", "SUCCESS", b"web"));
        let mut guest = server.guest();
        for cut in 0..=question.len() {
            guest.say(&question[..cut]);
            // Another guest is answered in between, so the two parts are two reads. A terminal has no others.
            if listen == "unix:md.sock" {
                assert_eq!(server.guest().ask(""), "invalid command");
            }
            guest.say(&question[cut..]);
            assert_eq!(guest.line(), answer, "cut at {cut}");
        }
        for byte in question.bytes() {
            guest.say([byte]);
            // So long a gap that the server, which waits for nothing else, reads each byte alone.
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(guest.line(), answer);
        guest.say(question.repeat(2));
        assert_eq!(guest.lines(2), [answer.as_str(), &answer]);
        end_well(&lab, server);
    }
}

#[test]
fn case_25_versions_mix_on_one_connection() {
    let Some(lab) = lab() else { return };
    let server = Server::start(&lab, SOCKET);
    let mut guest = server.guest();
    let question = frame("1", "GET", b"sdc:alias");
    guest.say(
        ["GET sdc:alias\r\n", &question, "NEGOTIATE V2\nNEGOTIATE V3\n", &question, "GET no\n"].concat(),
    );
    let answer = frame("1", "SUCCESS", b"web");
    assert_eq!(guest.lines(3), ["SUCCESS\n", "web\n", ".\n"]);
    assert_eq!(guest.lines(5), [answer.as_str(), "V2_OK\n", "FAILURE\n", &answer, "NOTFOUND\n"]);
    end_well(&lab, server);
}

#[test]
fn case_41_two_hundred_guests_and_some_that_vanish() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, SOCKET);
    let large = "x".repeat(1 << 20);
    assert_eq!(server.mdata_with(&mdata, "put", &["large"], large.as_bytes()).status, 0);
    let mut guests: Vec<Guest> = (0..200).map(|_| server.guest()).collect();
    for (count, guest) in guests.iter_mut().enumerate() {
        match count % 3 {
            0 => guest.say("GET sdc:al"),
            1 => {}
            // It leaves without having read.
            _ => {
                guest.say("GET large\nGET large\n");
                *guest = server.guest();
            }
        }
    }
    for (count, guest) in guests.iter_mut().enumerate() {
        let (rest, answer) = if count % 3 == 0 { ("ias", "SUCCESS") } else { ("", "invalid command") };
        assert_eq!(guest.ask(rest), answer);
    }
    let log = end_well(&lab, server);
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn case_42_a_terminal_outlives_its_guests_and_has_no_echo() {
    let Some(lab) = lab() else { return };
    let server = Server::start(&lab, &["--listen", "pty:ttyb"]);
    assert_eq!(server.place(), "ttyb");
    assert!(fs::symlink_metadata(lab.join("ttyb")).unwrap().is_symlink());
    let path = fs::canonicalize(lab.join("ttyb")).unwrap();
    for _ in 0..3 {
        let mut guest = Guest::terminal(&path);
        guest.say("GET dots\n");
        assert_eq!(guest.lines(5), ["SUCCESS\n", "..\n", "...\n", "..x\n", ".\n"]);
    }
    let log = end_well(&lab, server);
    // An echo of answers would be requests, and these would be answered.
    assert_eq!(log.matches("GET dots: SUCCESS").count(), 3, "{log}");
    assert!(!log.contains("unknown command"), "{log}");
}

#[test]
fn case_43_a_hypervisor_that_listens_first_last_and_again() {
    let Some(lab) = lab() else { return };
    let path = lab.join("vm.ttyb");
    let listening = || {
        let _ = fs::remove_file(&path);
        UnixListener::bind(&path).unwrap()
    };
    let serves = |listener: &UnixListener| {
        let mut guest = Guest::of(listener.accept().unwrap().0);
        assert_eq!(guest.ask("GET sdc:alias"), "SUCCESS");
        assert_eq!(guest.lines(2), ["web\n", ".\n"]);
        guest
    };
    // The server is first, and finds no socket; then one that nobody listens on.
    let server = Server::start(&lab, &["--connect", "unix:vm.ttyb"]);
    drop(listening());
    let listener = listening();
    let guest = serves(&listener);
    // The guest resets the connection and comes back, as bhyve does at each reboot of its guest.
    drop((guest, listener));
    let listener = listening();
    let guest = serves(&listener);
    // The server is restarted, and half a frame of the old conversation is lost with it.
    let mut guest = guest;
    guest.say("V2 25 ");
    assert_eq!(server.end().0, 0);
    assert!(path.metadata().unwrap().file_type().is_socket(), "the hypervisor's socket stays");
    let server = Server::start(&lab, &["--connect", "unix:vm.ttyb"]);
    serves(&listener);
    assert_eq!(server.end().0, 0);

    let said = lab.kiln(&["metadata", "serve", "--data", "vm.json", "--connect", "unix:vm.json"]);
    assert!(said.status == 1 && said.stderr.contains("vm.json is no socket"), "{}", said.stderr);
    assert_eq!(kept(&lab), machine());
}

#[test]
fn case_43_a_serial_device_of_this_machine() {
    let Some(lab) = lab() else { return };
    let terminal = || {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        (master, name)
    };
    let (master, name) = terminal();
    let server = Server::start(&lab, &["--connect", &format!("tty:{name}")]);
    let mut guest = Guest::of(master);
    guest.say("GET dots\n");
    assert_eq!(guest.lines(5), ["SUCCESS\n", "..\n", "...\n", "..x\n", ".\n"]);
    // All eight bits pass, and none is taken for flow control.
    guest.say(frame("1", "GET", b"sdc:alias"));
    assert_eq!(guest.line(), frame("1", "SUCCESS", b"web"));
    guest.say(b"\x11\x13\x03\x04\xff\n");
    assert_eq!(guest.line(), "FAILURE\n");

    let said = lab.kiln(&["metadata", "serve", "--data", "vm.json", "--connect", &format!("tty:{name}")]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("no other program has it"), "{}", said.stderr);
    // The device goes away, as an adapter does that is unplugged; the server waits for it.
    drop(guest);
    end_well(&lab, server);

    let said = lab.kiln(&["metadata", "serve", "--data", "vm.json", "--connect", "tty:/dev/null"]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("cannot open the serial device /dev/null"), "{}", said.stderr);
}

#[test]
fn a_killed_servers_names_are_taken_over_and_others_are_not() {
    let Some(lab) = lab() else { return };
    for (listen, name) in [("unix:md.sock", "md.sock"), ("pty:ttyb", "ttyb")] {
        let lock = format!("{name}.lock");
        let flags = ["--listen", listen];
        let refused = || lab.kiln(&["metadata", "serve", "--data", "vm.json", "--listen", listen]);
        let mut server = Server::start(&lab, &flags);
        let owner = format!("{name} is in use by process {}", server.pid());
        let said = refused();
        assert!(said.status == 1 && said.stderr.contains(&owner), "{}", said.stderr);
        assert!(said.stderr.contains("hint: choose another name, or end that server"), "{}", said.stderr);
        assert_eq!(server.end_by(Signal::KILL).0, -1);
        assert_eq!(lab.names("."), [name, &lock, "vm.json"]);
        let server = Server::start(&lab, &flags);
        assert_eq!(server.guest().ask(""), "invalid command");
        end_well(&lab, server);

        // Whatever else has the name, or that of the lock file, stays as it is.
        for foreign in [name, &lock] {
            fs::write(lab.join(foreign), "precious\n").unwrap();
            let said = refused();
            assert!(said.status == 1 && said.stderr.contains("is there already"), "{}", said.stderr);
            assert_eq!(lab.names("."), [foreign, "vm.json"]);
            assert_eq!(fs::read_to_string(lab.join(foreign)).unwrap(), "precious\n");
            fs::remove_file(lab.join(foreign)).unwrap();
        }
        let listener = UnixListener::bind(lab.join(name)).unwrap();
        let said = refused();
        let owner = format!("{name} is there already: process {}", std::process::id());
        assert!(said.status == 1 && said.stderr.contains(&owner), "{}", said.stderr);
        drop(listener);
        assert_eq!(refused().status, 1);
        fs::remove_file(lab.join(name)).unwrap();

        // A name that somebody else took over in the meantime is theirs.
        let server = Server::start(&lab, &flags);
        fs::remove_file(lab.join(name)).unwrap();
        fs::write(lab.join(name), "theirs").unwrap();
        assert_eq!(server.end().0, 0);
        assert_eq!(lab.names("."), [name, "vm.json"]);
        fs::remove_file(lab.join(name)).unwrap();
    }
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let Some(lab) = lab() else { return };
    let server = Server::start(&lab, SOCKET);
    assert_eq!(fs::metadata(lab.join("md.sock")).unwrap().permissions().mode() & 0o077, 0);
    end_well(&lab, server);
}

#[test]
fn the_log_has_a_line_a_request_and_never_a_value() {
    let (Some(lab), Some(mdata)) = (lab(), mdata()) else { return };
    let server = Server::start(&lab, SOCKET);
    assert_eq!(server.mdata(&mdata, "put", &["key", "confidential"]).status, 0);
    assert_eq!(server.mdata(&mdata, "get", &["key"]).stdout, "confidential\n");
    assert_eq!(server.mdata(&mdata, "get", &["root_pw"]).stdout, "s3cret\n");
    assert_eq!(server.mdata(&mdata, "get", &["absent"]).status, 1);
    assert_eq!(server.mdata(&mdata, "delete", &["sdc:alias"]).status, 2);
    assert_eq!(server.guest().ask("\x1b[2J"), "FAILURE");
    assert_eq!(server.guest().ask(&format!("GET {}", "k".repeat(5000))), "NOTFOUND");
    let log = end_well(&lab, server);
    for words in [
        "PUT key: SUCCESS 2 bytes",
        "GET key: SUCCESS 12 bytes",
        "GET root_pw: SUCCESS 6 bytes",
        "GET absent: NOTFOUND",
        "DELETE sdc:alias: FAILURE",
    ] {
        assert_eq!(log.matches(words).count(), 1, "{words}: {log}");
    }
    for secret in ["confidential", "s3cret", "\x1b[2J", &"k".repeat(1000)] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn data_files_that_are_none() {
    let Some(lab) = lab() else { return };
    let refused = |text: &str| {
        fs::write(lab.join("vm.json"), text).unwrap();
        let said = lab.kiln(&["metadata", "serve", "--data", "vm.json", "--listen", "unix:md.sock"]);
        assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{}", said.stderr);
        assert_eq!(lab.names("."), ["vm.json"]);
        assert!(said.stderr.contains("hint:"), "{}", said.stderr);
        said.stderr
    };
    let said = refused("{\n  \"alias\": web\n}\n");
    assert!(said.contains("vm.json is not JSON") && said.contains("line 2 column 12"), "{said}");
    let said = refused("{ \"nics\": [{}] }");
    assert!(said.contains("'nics[0].mac' must be"), "{said}");
    let said = refused("");
    assert!(said.contains("line 1 column 0"), "{said}");
    fs::remove_file(lab.join("vm.json")).unwrap();
    let said = lab.kiln(&["metadata", "serve", "--data", "vm.json", "--listen", "unix:md.sock"]);
    assert!(said.status == 1 && said.stderr.contains("cannot read the data file vm.json"), "{}", said.stderr);
}

#[test]
fn places_that_are_none() {
    let Some(lab) = lab() else { return };
    let said = |place: &[&str]| {
        let said = lab.kiln(&[&["metadata", "serve", "--data", "vm.json"], place].concat());
        assert_eq!(lab.names("."), ["vm.json"], "{}", said.stderr);
        (said.status, said.stderr)
    };
    for wrong in [&["--listen", "md.sock"][..], &[], &["--listen", "pty", "--connect", "unix:x"]] {
        let (status, words) = said(wrong);
        assert_eq!(status, 2);
        assert!(words.contains("--listen <WHERE>"), "{words}");
    }
    assert!(said(&[]).1.contains("<--listen <WHERE>|--connect <WHERE>>"), "neither one is preferred");
    let long = format!("unix:{}", "x".repeat(200));
    for failed in ["unix:no/such/folder", &long, "tcp:192.0.2.1:1", "pty:no/such/folder"] {
        let (status, words) = said(&["--listen", failed]);
        assert!(status == 1 && words.contains("hint:"), "{failed}: {words}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, words) = said(&["--listen", &format!("tcp:{}", taken.local_addr().unwrap())]);
    assert!(status == 1 && words.contains("cannot listen at"), "{words}");
}

#[test]
fn a_description_may_come_through_a_pipe() {
    let Some(lab) = lab() else { return };
    let pipe = lab.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, machine().to_string()).unwrap()
    });
    let mut command = lab.command();
    let server = Server::run(command.args(["metadata", "serve", "--data", "pipe"]).args(SOCKET));
    writer.join().unwrap();
    assert_eq!(server.guest().ask("GET sdc:alias"), "SUCCESS");
    assert_eq!(server.end().0, 0);
    let said = lab.kiln(&["metadata", "serve", "--data", "pipe", "--persist", "--listen", "unix:md.sock"]);
    assert!(said.status == 1 && said.stderr.contains("--persist cannot replace pipe"), "{}", said.stderr);
    assert!(Path::new(&pipe).exists());
}
