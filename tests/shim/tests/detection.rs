//! Case 44 of the metadata protocol's tests: the shipped `mdata` finds its channel, in the global zone of a guest by what the
//! platform's `smbios` says, in a zone by the sockets that its brand gives it.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use guest_mdata::host::{Agent, Answer, Conversation, Description, Dialect, Heard};
use kiln_harness::{process, scratch};
use kiln_shim::guests::{self, Profile};
use kiln_shim::{OLDEST_PLATFORM, Root, Settings};
use serde_json::json;

/// A zone.
const UUID: &str = "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0";

/// How `mdata-get` ends on a machine with this product name, if it has `smbios` at all: exit code, standard error.
fn ended(product: Option<&str>) -> (Option<i32>, String) {
    let folder = scratch::folder("detection");
    let root = Root::create(folder.path(), &Settings::default().platform(OLDEST_PLATFORM)).unwrap();
    let mdata = guests::illumos("guest-mdata", "mdata", Profile::Shipped).unwrap();
    root.install(&mdata, "/usr/sbin/mdata-get").unwrap();
    if let Some(product) = product {
        let smbios = guests::illumos("kiln-conformance", "kiln-conformance", Profile::Quick).unwrap();
        root.install(&smbios, "/usr/sbin/smbios").unwrap();
        fs::write(root.host_path("/product"), format!("  Product: {product}\n")).unwrap();
        // Images of old platforms have a wrapper earlier in PATH, which itself runs `mdata-get`: so would this one.
        root.install(&mdata, "/opt/custom/bin/smbios").unwrap();
    }
    let mut command = root.command("/usr/sbin/mdata-get", &root.settings());
    command.env("PATH", "/opt/custom/bin:/usr/sbin").args(["--timeout", "1", "sdc:uuid"]);
    let output = process::run(&mut command, Duration::from_mins(1)).unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn case_44_a_virtual_machine_of_smartos_uses_its_second_serial_port() {
    let wanted = "ERROR: could not initialise protocol: /dev/term/b: cannot open it: No such file or directory (os \
                  error 2); --device names another channel\n";
    assert_eq!(ended(Some("SmartDC HVM")), (Some(2), wanted.to_owned()));
}

#[test]
fn case_44_any_other_machine_is_told_that_it_is_no_guest() {
    let wanted = "ERROR: could not initialise protocol: I don't know how to get metadata on this system. It is no \
                  SmartOS guest (SMBIOS product 'Standard PC'); --device names a channel\n";
    assert_eq!(ended(Some("Standard PC")), (Some(2), wanted.to_owned()));
    let wanted = "ERROR: could not initialise protocol: /usr/sbin/smbios cannot be run: No such file or directory (os \
                  error 2); --device names a channel\n";
    assert_eq!(ended(None), (Some(2), wanted.to_owned()));
}

#[test]
fn case_44_a_zone_uses_its_socket() {
    // The name of a socket is at most 108 bytes long.
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default().platform(OLDEST_PLATFORM).zone(7);
    let root = Root::create(folder.path(), &settings).unwrap();
    let mdata = guests::illumos("guest-mdata", "mdata", Profile::Shipped).unwrap();
    root.install(&mdata, "/usr/sbin/mdata-get").unwrap();
    let socket = root.host_path("/.zonecontrol/metadata.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || serve(&listener.accept().unwrap().0));
    let mut command = root.command("/usr/sbin/mdata-get", &root.settings());
    command.args(["--timeout", "30", "sdc:uuid"]);
    let output = process::run(&mut command, Duration::from_mins(1)).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.stdout, format!("{UUID}\n").into_bytes());
}

/// The host of one zone, for one connection.
fn serve(mut guest: &UnixStream) {
    let zone = Description::new(json!({ "uuid": UUID, "nics": [] })).unwrap();
    let agent = Agent::new(zone);
    let mut conversation = Conversation::new(Dialect::Current, 1 << 20);
    let mut buffer = vec![0; 1 << 10];
    while let Ok(read @ 1..) = guest.read(&mut buffer) {
        conversation.push(&buffer[..read]);
        while let Some(heard) = conversation.next_heard() {
            let answer = match heard {
                Heard::Formality { answer, .. } => answer,
                Heard::Nothing { .. } => continue,
                Heard::Question(request, envelope) => match agent.answer(&request) {
                    Answer::Now(response) => envelope.seal(&response),
                    Answer::Once(_) => panic!("nothing is to be changed"),
                },
            };
            guest.write_all(&answer).unwrap();
        }
    }
}
