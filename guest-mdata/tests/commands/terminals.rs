//! Over pseudo terminals, as on the second serial port of a virtual machine.

use std::fs::File;
use std::io::Write;

use guest_mdata::host::Dialect;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::termios::{ControlModes, InputModes, LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::stage::{Ended, Host, Stage, Terminal, answer, failed, first_request, machine, quiet};

/// A terminal with a host.
fn served(dialect: Dialect) -> Terminal {
    let terminal = Terminal::new();
    Host::new(dialect, machine()).0.attach(&terminal);
    terminal
}

#[test]
fn case_01_get_put_list_and_delete_over_a_terminal() {
    let (stage, terminal) = (Stage::new(), served(Dialect::Current));
    let device = &terminal.device;
    assert_eq!(stage.run("mdata-get", device, &["text"]), quiet(0, "one line\n"));
    assert_eq!(stage.run("mdata-put", device, &["text", "another"]), quiet(0, ""));
    assert_eq!(stage.run("mdata-get", device, &["text"]), quiet(0, "another\n"));
    assert_eq!(stage.run("mdata-delete", device, &["text"]), quiet(0, ""));
    assert_eq!(stage.run("mdata-get", device, &["text"]), failed(1, "No metadata for 'text'\n"));
    let json = stage.run("mdata-list", device, &["--json"]);
    let values: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(values["ended"], "with its end\n");
}

#[test]
fn case_15_a_mebibyte_both_ways_over_a_terminal() {
    let (stage, terminal) = (Stage::new(), served(Dialect::Current));
    let value = "0123456789abcde\n".repeat(1 << 16);
    let device = &terminal.device;
    assert_eq!(stage.run_with("mdata-put", device, &["key"], value.as_bytes()), quiet(0, ""));
    assert!(stage.run("mdata-get", device, &["key"]) == quiet(0, &value));
}

#[test]
fn case_27_what_a_killed_client_left_in_the_terminal() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    // The terminal is cooked as yet, so that this is echoed and the host gets the beginning of a line too.
    let stale = [&b"V2 9999 01234567 89abcdef SUCCESS "[..], &[b'W'; 3000]].concat();
    File::from(terminal.master.try_clone().expect("a descriptor")).write_all(&stale).expect("there is room");
    Host::new(Dialect::Current, machine()).0.attach(&terminal);
    assert_eq!(stage.run("mdata-get", &terminal.device, &["text"]), quiet(0, "one line\n"));
}

#[test]
fn case_36_eight_clients_take_turns() {
    let (stage, terminal) = (Stage::new(), served(Dialect::Current));
    let keys = ["text", "ended", "lines", "nul", "text", "ended", "lines", "nul"];
    let values = ["one line\n", "with its end\n", "a\n.\n..\n.x\n", "a\0b \u{20ac}\n"];
    let children: Vec<_> =
        keys.iter().map(|key| stage.start("mdata-get", &terminal.device, &[key])).collect();
    for (child, value) in children.into_iter().zip(values.iter().cycle()) {
        assert_eq!(Ended::from(child.wait_with_output().expect("it ends")), quiet(0, value));
    }
}

#[test]
fn case_36_the_next_client_goes_on_where_one_was_killed() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    let mut killed = stage.start("mdata-get", &terminal.device, &["text"]);
    // It holds the lock when its ping has come through, and waits for an answer that nobody gives.
    let mut ping = [0; 1];
    rustix::io::read(&terminal.master, &mut ping).expect("a ping");
    killed.kill().expect("killed");
    killed.wait().expect("dead");
    Host::new(Dialect::Current, machine()).0.attach(&terminal);
    assert_eq!(stage.run("mdata-get", &terminal.device, &["text"]), quiet(0, "one line\n"));
}

#[test]
fn case_36_the_next_client_goes_on_where_one_was_killed_in_the_middle_of_an_answer() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    let mut killed = stage.start("mdata-get", &terminal.device, &["key"]);
    let mut host = File::from(terminal.master.try_clone().expect("a descriptor"));
    let request = first_request(&host).expect("a request");
    // Far more than a terminal holds, so that half of it is written only when the client has read the most of that.
    let answer = answer(&request, &"v".repeat(1 << 20));
    let (beginning, rest) = answer.split_at(answer.len() / 2);
    host.write_all(beginning).expect("the client listens");
    killed.kill().expect("killed");
    killed.wait().expect("dead");

    let next = stage.start("mdata-get", &terminal.device, &["text"]);
    host.write_all(rest).expect("the next client makes room");
    Host::new(Dialect::Current, machine()).0.attach(&terminal);
    assert_eq!(Ended::from(next.wait_with_output().expect("it ends")), quiet(0, "one line\n"));
}

#[test]
fn case_37_a_lock_that_is_held_names_its_holder() {
    let (stage, terminal) = (Stage::new(), served(Dialect::Current));
    fcntl_lock(&terminal.slave, FlockOperation::NonBlockingLockExclusive).expect("the first to lock");
    let ended = stage.run("mdata-get", &terminal.device, &["--timeout", "1", "text"]);
    let wanted = format!(
        "ERROR: could not initialise protocol: {}: no answer in time: process {} has it locked; wait for it, or end it if it \
         hangs\n",
        terminal.device,
        std::process::id()
    );
    assert_eq!(ended, failed(2, &wanted));
}

#[test]
fn case_38_a_terminal_that_was_left_cooked() {
    for dialect in [Dialect::V1, Dialect::Current] {
        let (stage, terminal) = (Stage::new(), served(dialect));
        let mut settings = tcgetattr(&terminal.slave).expect("settings");
        settings.local_modes |= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        settings.input_modes |= InputModes::ICRNL | InputModes::IXON | InputModes::IXOFF;
        // Would take the eighth bit away, and put a mark before some bytes.
        settings.input_modes |= InputModes::ISTRIP | InputModes::PARMRK;
        settings.control_modes |= ControlModes::CRTSCTS | ControlModes::PARENB;
        tcsetattr(&terminal.slave, OptionalActions::Now, &settings).expect("set");
        let value = "\u{11}\u{13}\u{3}\u{4}\r \u{20ac} end\n";
        assert_eq!(stage.run("mdata-get", &terminal.device, &["control"]), quiet(0, value));
        let settings = tcgetattr(&terminal.slave).expect("settings");
        assert!(!settings.local_modes.contains(LocalModes::ECHO));
        assert!(!settings.input_modes.intersects(InputModes::ISTRIP | InputModes::PARMRK));
        assert!(!settings.control_modes.intersects(ControlModes::CRTSCTS | ControlModes::HUPCL));
        assert!(settings.control_modes.contains(ControlModes::CLOCAL | ControlModes::CS8));
    }
}

#[test]
fn case_45_put_refuses_to_read_from_a_terminal() {
    let (stage, terminal) = (Stage::new(), served(Dialect::Current));
    let typing = Terminal::new();
    let output = stage
        .command("mdata-put", &["--device", &terminal.device, "key"])
        .stdin(typing.slave)
        .output()
        .expect("it runs");
    let wanted = "ERROR: either specify the metadata value as the second command-line argument, or pipe content to \
                  stdin.\n";
    assert_eq!(Ended::from(output), failed(2, wanted));
}
