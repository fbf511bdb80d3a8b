//! `mdata` in a Linux guest, over a real emulated second serial port, with `kiln metadata serve` at its other end.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use kiln_e2e::Lab;
use kiln_e2e::metadata::{self, Server, frame, mdata};
use kiln_harness::guest::{Guest, SecondPort};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The guest's side of every test: all four commands, a value larger than any buffer on the way, and two at once.
const COMMANDS: &str = r#"
set -euo pipefail
mdata() { ./mdata "$1" --device /dev/ttyS1 --timeout 300 -- "${@:2}"; }
mdata get sdc:alias
mdata list
mdata put from-the-guest "$(uname -s)"
mdata get from-the-guest
head -c 20000 /dev/urandom | base64 -w 0 >value
mdata put large <value
mdata get large | tr -d '\n' | cmp - value
mdata get sdc:uuid & mdata get sdc:nics.0.mac >mac; wait
cat mac
mdata delete large
mdata delete from-the-guest
mdata get from-the-guest || echo "status $?"
mdata put sdc:alias x || echo "status $?"
"#;

const SAID: &str =
    "web\nuser-script\nLinux\n54f1cc77-68f1-42ab-acac-5c4f64f5d6e0\n90:b8:d0:00:00:01\nstatus 1\nstatus 2\n";

/// Before those: the guest asks while nobody answers, tells that it has come so far, and asks on while the server is
/// another one. It takes its mark away itself: a server that was killed between keeping the mark and saying so left the
/// guest to put it again, at the next one.
const WAITS: &str = r#"
cp mdata /tmp
cd /tmp
mdata() { ./mdata "$1" --device /dev/ttyS1 --timeout 300 -- "${@:2}"; }
mdata put phase 1
until [ "$(mdata get go)" = yes ]; do :; done
mdata delete phase
"#;

/// The guest is reset while it has read a part of one frame and written a part of the next, and asks when it is back.
const RESET: &str = r#"
if [ ! -e "$OUT/answer" ]; then
    exec 3<>/dev/ttyS1
    stty raw -echo <&3
    printf '%s\n' '{QUESTION}' >&3
    head -c 1000 <&3 >"$OUT/answer"
    printf '%s' '{HALF}' >&3
    # The last one to close a port waits until everything has left it.
    exec 3>&-
    sync
    echo b >/proc/sysrq-trigger
    exit 1
fi
"#;

struct Bench {
    lab: Lab,
    guest: Guest,
    /// A folder with a short name: sockets have little room for theirs.
    sockets: tempfile::TempDir,
}

/// A lab with a description and a guest with `mdata`, or `None` after a loud skip.
fn bench() -> Option<Bench> {
    let (lab, guest, mdata) = (Lab::open()?, Guest::find()?, mdata()?);
    let machine = json!({
        "uuid": "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0", "alias": "web",
        "nics": [{ "mac": "90:b8:d0:00:00:01", "ips": ["dhcp"] }],
        "customer_metadata": { "user-script": "#!/bin/sh\n" },
    });
    fs::write(lab.join("vm.json"), machine.to_string()).unwrap();
    Some(Bench { lab, guest: guest.file("mdata", mdata), sockets: tempfile::tempdir().unwrap() })
}

impl Bench {
    fn socket(&self) -> PathBuf {
        self.sockets.path().join("ttyb")
    }

    fn serve(&self, direction: &str) -> Server {
        Server::start(&self.lab, &[direction, &format!("unix:{}", self.socket().display()), "--persist"])
    }

    fn data(&self) -> Value {
        serde_json::from_slice(&fs::read(self.lab.join("vm.json")).unwrap()).unwrap()
    }

    /// Runs a guest on `port` that is reset in the middle of a frame in either direction.
    fn reset(&self, port: SecondPort, direction: &str) {
        // So long that most of the answer is still to come when the guest is reset.
        let long = "0123456789abcde\n".repeat(8 << 10);
        let mut data = self.data();
        data["customer_metadata"]["long"] = json!(long);
        fs::write(self.lab.join("vm.json"), data.to_string()).unwrap();
        let (question, answer) = (frame("1", "GET", b"long"), frame("1", "SUCCESS", long.as_bytes()));
        let half = &frame("2", "GET", b"sdc:uuid")[..10];
        let reset = RESET.replace("{QUESTION}", question.trim_end()).replace("{HALF}", half);

        let server = self.serve(direction);
        let guest = self.guest.clone().second_port(port).reboots();
        let done = guest.run(&(reset + &script())).expect("the guest runs");
        assert_eq!(done.succeeded(), SAID.replace("user-script\n", "long\nuser-script\n"));
        let read = fs::read_to_string(done.results().join("answer")).unwrap();
        assert_eq!(read, answer[..1000], "the guest was in the middle of the answer");
        let log = end(server);
        assert_eq!(log.matches("GET long: SUCCESS").count(), 1, "{log}");
        assert_eq!(log.matches("no answer to a broken frame").count(), 1, "the half frame came: {log}");
        assert_eq!(log.matches("GET sdc:alias: SUCCESS").count(), 1, "once was enough: {log}");
    }

    /// Runs a guest on `port` that comes before its server, whose server is killed while the guest asks, and that is
    /// answered by another in the end. `asked` returns when the guest asks and nobody is there.
    fn last_and_again(&self, port: SecondPort, direction: &str, asked: impl FnOnce()) {
        let guest = self.guest.clone().second_port(port);
        thread::scope(|scope| {
            let running = scope.spawn(|| guest.run(&[WAITS, COMMANDS].concat()));
            asked();
            let server = self.serve(direction);
            while self.data()["customer_metadata"]["phase"] != "1" && !running.is_finished() {
                thread::sleep(Duration::from_millis(20));
            }
            // SIGKILL, so that the socket stays and has to be taken over.
            assert_eq!(server.end_by(Signal::KILL).0, -1);
            let mut data = self.data();
            data["customer_metadata"]["go"] = json!("yes");
            fs::write(self.lab.join("vm.json"), data.to_string()).unwrap();
            let server = self.serve(direction);
            let done = running.join().expect("the thread does not panic").expect("the guest runs");
            assert_eq!(done.succeeded(), SAID.replace("web\n", "web\ngo\n"));
            end(server);
        });
    }
}

/// The end of a server that did its work.
fn end(server: Server) -> String {
    let (status, log) = server.end();
    assert_eq!(status, 0, "{log}");
    log
}

fn script() -> String {
    format!("cp mdata /tmp; cd /tmp\n{COMMANDS}")
}

#[test]
fn case_43_the_server_first_and_qemu_connects() {
    let Some(bench) = bench() else { return };
    let server = bench.serve("--listen");
    let guest = bench.guest.clone().second_port(SecondPort::Connects(bench.socket()));
    assert_eq!(guest.run(&script()).expect("the guest runs").succeeded(), SAID);
    let log = end(server);
    assert!(log.contains("PUT sdc:alias: FAILURE"), "{log}");
}

#[test]
fn case_43_the_server_first_and_connects_to_qemu() {
    let Some(bench) = bench() else { return };
    let server = bench.serve("--connect");
    let guest = bench.guest.clone().second_port(SecondPort::Listens(bench.socket()));
    assert_eq!(guest.run(&script()).expect("the guest runs").succeeded(), SAID);
    end(server);
}

#[test]
fn case_43_the_server_last_and_restarted_and_qemu_connects() {
    let Some(bench) = bench() else { return };
    bench.last_and_again(SecondPort::Connects(bench.socket()), "--listen", || {
        // QEMU connects to this, and the guest's first line shows that it asks.
        let listener = UnixListener::bind(bench.socket()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        assert_eq!(metadata::Guest::of(stream).line(), "\n");
        fs::remove_file(bench.socket()).unwrap();
    });
}

#[test]
fn case_43_the_server_last_and_restarted_and_connects_to_qemu() {
    let Some(bench) = bench() else { return };
    bench.last_and_again(SecondPort::Listens(bench.socket()), "--connect", || {
        let stream = loop {
            if let Ok(stream) = UnixStream::connect(bench.socket()) {
                break stream;
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(metadata::Guest::of(stream).line(), "\n");
    });
}

#[test]
fn case_43_the_guest_is_reset_in_the_middle_of_a_frame_and_qemu_connects() {
    let Some(bench) = bench() else { return };
    bench.reset(SecondPort::Connects(bench.socket()), "--listen");
}

#[test]
fn case_43_the_guest_is_reset_in_the_middle_of_a_frame_and_connects_to_qemu() {
    let Some(bench) = bench() else { return };
    bench.reset(SecondPort::Listens(bench.socket()), "--connect");
}
