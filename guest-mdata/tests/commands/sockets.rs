//! Over Unix sockets and TCP, as in a zone.

use std::fs::{DirBuilder, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use guest_mdata::channel::Device;
use guest_mdata::host::Dialect;
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::{Deadline, MetadataSource, Monotonic, Session, wire};
use serde_json::{Value, json};

use crate::stage::{
    Ended, Host, Stage, answer, failed, first_request, machine, quiet, scripted, socket_host,
};

#[test]
fn case_01_get_of_a_text_value() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    assert_eq!(stage.run("mdata-get", &device, &["text"]), quiet(0, "one line\n"));
}

#[test]
fn case_02_a_host_of_version_1() {
    let stage = Stage::new();
    let device = Host::new(Dialect::V1, machine()).0.listen(&stage.path("socket"));
    assert_eq!(stage.run("mdata-get", &device, &["lines"]), quiet(0, "a\n.\n..\n.x\n"));
    let keys = String::from_utf8(stage.run("mdata-list", &device, &[]).stdout).expect("UTF-8");
    assert!(keys.lines().any(|key| key == "with space"), "{keys}");
    for (name, words, verb) in [("mdata-put", &["k", "v"][..], "PUT"), ("mdata-delete", &["k"], "DELETE")] {
        let wanted = failed(2, &format!("ERROR: host does not support {verb}\n"));
        assert_eq!(stage.run(name, &device, words), wanted);
    }
}

#[test]
fn case_03_keys_many_and_none() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let list = stage.run("mdata-list", &device, &["ignored"]);
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    let mut keys: Vec<&str> = list.lines().collect();
    keys.sort_unstable();
    let wanted = ["control", "docker:id", "empty", "ended", "lines", "nul", "root_pw", "text", "with space"];
    assert_eq!(keys, wanted);
    let empty = Host::new(Dialect::Current, json!({})).0.listen(&stage.path("empty"));
    assert_eq!(stage.run("mdata-list", &empty, &[]), quiet(0, ""));
}

#[test]
fn case_03_the_list_as_json_has_the_values() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let list = stage.run("mdata-list", &device, &["--json"]);
    assert_eq!(list.code, Some(0));
    let values: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(values["lines"], "a\n.\n..\n.x\n");
    assert_eq!(values["nul"], "a\0b \u{20ac}");
    assert_eq!(values.as_object().map(serde_json::Map::len), Some(9));
}

#[test]
fn case_04_put_get_delete_get() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    assert_eq!(stage.run("mdata-put", &device, &["key", "value"]), quiet(0, ""));
    assert_eq!(stage.run("mdata-get", &device, &["key"]), quiet(0, "value\n"));
    assert_eq!(stage.run("mdata-delete", &device, &["key"]), quiet(0, ""));
    assert_eq!(stage.run("mdata-get", &device, &["key"]), failed(1, "No metadata for 'key'\n"));
    assert_eq!(stage.run("mdata-delete", &device, &["key"]), quiet(0, ""));
}

#[test]
fn case_05_deleting_what_is_not_there_is_success() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    assert_eq!(stage.run("mdata-delete", &device, &["none"]), quiet(0, ""));
}

#[test]
fn case_06_a_key_that_is_not_there() {
    let stage = Stage::new();
    let (old, _) = Host::new(Dialect::V1, machine());
    for device in [socket_host(&stage), old.listen(&stage.path("old"))] {
        assert_eq!(stage.run("mdata-get", &device, &["none"]), failed(1, "No metadata for 'none'\n"));
    }
}

#[test]
fn case_07_views_of_the_machine() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    for (key, value) in [
        ("sdc:uuid", "5f2b5b0a-0000-4000-8000-000000000001\n"),
        ("sdc:nics.0.mac", "02:08:20:5b:a1:00\n"),
        ("sdc:tags.a.b", "dotted\n"),
        ("sdc:tags.flag", "false\n"),
        ("sdc:ram", "1024\n"),
        ("sdc:autoboot", "true\n"),
    ] {
        assert_eq!(stage.run("mdata-get", &device, &[key]), quiet(0, value), "{key}");
    }
    let nics = guest_mdata::values::nics(&stage.run("mdata-get", &device, &["sdc:nics"]).stdout);
    let nics = nics.expect("an array");
    assert_eq!((nics.good.len(), nics.problems.len()), (2, 0));
    let routes = guest_mdata::values::routes(&stage.run("mdata-get", &device, &["sdc:routes"]).stdout);
    let routes = routes.expect("an array").good;
    let mut shown: Vec<String> = routes
        .iter()
        .map(|route| format!("{} {} {}", route.destination, route.gateway, route.linklocal))
        .collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        ["10.1.0.0/16 10.0.0.9 false", "10.2.0.0/16 10.0.0.5 true", "10.4.0.0/16 10.0.0.5 true"]
    );
}

#[test]
fn case_08_the_line_feed_at_the_end() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    assert_eq!(stage.run("mdata-get", &device, &["ended"]), quiet(0, "with its end\n"));
    assert_eq!(stage.run("mdata-get", &device, &["empty"]), quiet(0, "\n"));
}

#[test]
fn case_10_put_from_standard_input_is_exact() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let text = "\n two lines \u{1f600}\nand an end\n";
    assert_eq!(stage.run_with("mdata-put", &device, &["key"], text.as_bytes()), quiet(0, ""));
    assert_eq!(stage.run("mdata-get", &device, &["key"]), quiet(0, text));
    assert_eq!(stage.run("mdata-get", &device, &["nul"]), quiet(0, "a\0b \u{20ac}\n"));
}

#[test]
fn case_11_what_the_host_refuses_is_told_in_its_words() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    for (key, namespace) in [("sdc:alias", "sdc"), ("docker:id", "docker")] {
        let refusal = format!("Cannot update the \"{namespace}\" Namespace.");
        let wanted = format!("Error putting metadata for key '{key}': {refusal}\n");
        assert_eq!(stage.run("mdata-put", &device, &[key, "x"]), failed(2, &wanted));
        let wanted = format!("Error deleting metadata key '{key}': {refusal}\n");
        assert_eq!(stage.run("mdata-delete", &device, &[key]), failed(2, &wanted));
    }
}

#[test]
fn case_14_empty_keys_and_values_are_refused_here() {
    let stage = Stage::new();
    let (host, seen) = Host::new(Dialect::Current, machine());
    let device = host.listen(&stage.path("socket"));
    for name in ["mdata-get", "mdata-put", "mdata-delete"] {
        let ended = stage.run(name, &device, &["", "value"]);
        assert_eq!(ended.code, Some(3));
        assert!(ended.stderr.contains("the key is empty; Usage: "), "{}", ended.stderr);
    }
    let wanted = "Error putting metadata for key 'key': the host cannot store an empty value; delete the key instead\n";
    assert_eq!(stage.run("mdata-put", &device, &["key", ""]), failed(2, wanted));
    assert_eq!(stage.run_with("mdata-put", &device, &["key"], b""), failed(2, wanted));
    assert!(seen.try_recv().is_err(), "the host was asked nothing");
}

#[test]
fn case_15_a_mebibyte_both_ways_and_too_much() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let value = "0123456789abcde\n".repeat(1 << 16);
    assert_eq!(stage.run_with("mdata-put", &device, &["key"], value.as_bytes()), quiet(0, ""));
    assert!(stage.run("mdata-get", &device, &["key"]) == quiet(0, &value));
    let ended = stage.run_with("mdata-put", &device, &["key"], &vec![b'x'; 17 << 20]);
    let wanted = "Error putting metadata for key 'key': the value is larger than 16777216 bytes; keep it elsewhere, and \
                  here where that is\n";
    assert_eq!(ended, failed(2, wanted));
}

#[test]
fn case_21_a_payload_that_is_not_base64_is_an_error() {
    let stage = Stage::new();
    let device = scripted(&stage.path("socket"), |_, mut connection| {
        let request = first_request(&connection).expect("a request");
        let body = format!("{} SUCCESS %%%", request.split(' ').nth(3).expect("an identifier"));
        let frame = format!("V2 {} {:08x} {body}\n", body.len(), wire::crc32(body.as_bytes()));
        connection.write_all(frame.as_bytes()).expect("the guest listens");
    });
    let wanted = "Error getting metadata for key 'key': the host sent a payload that is not base64\n";
    assert_eq!(stage.run("mdata-get", &device, &["key"]), failed(2, wanted));
}

#[test]
fn case_35_what_is_no_metadata_host_is_told_from_silence() {
    let stage = Stage::new();
    let device = scripted(&stage.path("socket"), |_, mut connection| {
        // Until the guest leaves.
        let _ = connection.write_all(b"SSH-2.0-OpenSSH_10.0\r\n");
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let wanted = format!(
        "ERROR: could not initialise protocol: {device}: no answer in time: what answers on it is no metadata host; \
         a line came that nobody asked for: \"SSH-2.0-OpenSSH_10.0\"; end what else uses it, or name another \
         channel\n"
    );
    assert_eq!(stage.run("mdata-get", &device, &["--timeout", "1", "key"]), failed(2, &wanted));
}

#[test]
fn case_36_many_programs_of_a_guest_at_once() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let children: Vec<_> = (0..32)
        .map(|number| {
            (number, stage.start("mdata-put", &device, &[&format!("key{number}"), &number.to_string()]))
        })
        .collect();
    for (number, child) in children {
        assert_eq!(Ended::from(child.wait_with_output().expect("it ends")), quiet(0, ""));
        let value = stage.run("mdata-get", &device, &[&format!("key{number}")]);
        assert_eq!(value, quiet(0, format!("{number}\n")));
    }
}

#[test]
fn case_15_what_is_too_large_for_the_host_is_refused_and_the_next_request_is_not() {
    let stage = Stage::new();
    let host = Host::new(Dialect::Current, machine()).0.with_limit(1 << 20);
    let device = host.listen(&stage.path("socket"));
    let value = vec![b'v'; 4 << 20];
    let words = "The request is too long: this host takes 1048576 bytes, values of about half of that.";
    let wanted = failed(2, &format!("Error putting metadata for key 'key': {words}\n"));
    assert_eq!(stage.run_with("mdata-put", &device, &["key"], &value), wanted);

    let channel = device.parse::<Device>().expect("a device").channel(false);
    let clock = Box::new(Monotonic::starting_now());
    let mut session =
        Session::new(channel, clock, RequestIds::seeded(1), Limits::default(), Box::new(|_: &str| ()));
    for _ in 0..2 {
        let refusal = session.put("key", &value, Deadline::NEVER).expect_err("too large");
        assert_eq!(refusal.to_string(), words);
        let text = session.get("text", Deadline::NEVER).expect("an answer");
        assert_eq!(text.as_deref(), Some(&b"one line"[..]));
    }
}

#[test]
fn case_39_an_answer_before_a_close_counts_and_a_close_before_it_does_not() {
    let stage = Stage::new();
    let device = scripted(&stage.path("socket"), |number, mut connection| {
        let Some(request) = first_request(&connection) else { return };
        if number > 0 {
            // A guest that has its answer may be gone.
            let _ = connection.write_all(&answer(&request, "value"));
        }
    });
    for _ in 0..3 {
        assert_eq!(stage.run("mdata-get", &device, &["key"]), quiet(0, "value\n"));
    }
}

#[test]
fn case_39_a_lack_of_permission_is_final_for_a_user() {
    let stage = Stage::new();
    let device = socket_host(&stage);
    let socket = stage.path("socket");
    std::fs::set_permissions(&socket, Permissions::from_mode(0o000)).expect("it is ours");
    let mut command = stage.command_of_a_user("mdata-get", &["--device", &device, "text"]);
    let wanted = format!(
        "ERROR: could not initialise protocol: {device}: cannot connect to it: Permission denied (os error 13); only \
         root may use it\n"
    );
    assert_eq!(Ended::from(command.output().expect("a user can run it")), failed(2, &wanted));

    // A folder that the user may not enter hides whether there is a socket at all.
    let hidden = stage.path("hidden");
    DirBuilder::new().mode(0o000).create(&hidden).expect("a folder");
    let device = format!("unix:{}", hidden.join("socket").display());
    let mut command = stage.command_of_a_user("mdata-get", &["--device", &device, "text"]);
    let wanted = format!(
        "ERROR: could not initialise protocol: {device}: cannot look for it: Permission denied (os error 13); only \
         root may use it\n"
    );
    assert_eq!(Ended::from(command.output().expect("a user can run it")), failed(2, &wanted));
}

#[test]
fn case_32_a_socket_that_is_missing_is_waited_for() {
    let stage = Stage::new();
    let path = stage.path("socket");
    let device = format!("unix:{}", path.display());
    let wanted = format!(
        "ERROR: could not initialise protocol: {device}: no answer in time: it cannot be opened: there is no such \
         socket; see that the host serves metadata there, or name another channel\n"
    );
    assert_eq!(stage.run("mdata-get", &device, &["--timeout", "1", "key"]), failed(2, &wanted));
    let child = stage.start("mdata-get", &device, &["text"]);
    Host::new(Dialect::Current, machine()).0.listen(&path);
    assert_eq!(Ended::from(child.wait_with_output().expect("it ends")), quiet(0, "one line\n"));
}

#[test]
fn case_32_a_silent_host_is_waited_for_until_the_timeout() {
    let stage = Stage::new();
    let device = scripted(&stage.path("socket"), |_, connection| std::mem::forget(connection));
    let wanted = format!(
        "ERROR: could not initialise protocol: {device}: no answer in time: nobody answers on it; see that the host \
         serves metadata there, or name another channel\n"
    );
    assert_eq!(stage.run("mdata-list", &device, &["--timeout", "1"]), failed(2, &wanted));
}

#[test]
fn case_40_a_socket_that_fills_up_loses_nothing() {
    let stage = Stage::new();
    let (sent, received) = std::sync::mpsc::channel();
    let device = scripted(&stage.path("socket"), move |_, mut connection| {
        // One line of several times the size of a socket's buffer, read in small pieces.
        let request = first_request(&connection).expect("a request");
        sent.send(request.clone()).expect("the test listens");
        let _ = connection.write_all(&answer(&request, "OK"));
    });
    let value = "v".repeat(2 << 20);
    assert_eq!(stage.run_with("mdata-put", &device, &["key"], value.as_bytes()), quiet(0, ""));
    let request = received.recv().expect("a request");
    let frame = wire::decode_request(request.as_bytes()).expect("a good frame");
    let payload = wire::base64_decode(frame.base64).expect("base64");
    let (key, text) = wire::put_fields(&payload).expect("two fields");
    assert_eq!(wire::base64_decode(key).as_deref(), Some(&b"key"[..]));
    assert!(wire::base64_decode(text).as_deref() == Some(value.as_bytes()));
}

/// Clock ticks that a process has computed for.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name ends");
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn case_40_a_host_that_does_not_read_costs_no_processor_time() {
    let stage = Stage::new();
    let (sent, stalled) = std::sync::mpsc::channel();
    let device = scripted(&stage.path("socket"), move |_, connection| {
        let mut formalities = BufReader::new(&connection);
        for answer in [&b"invalid command\n"[..], b"V2_OK\n"] {
            formalities.read_line(&mut String::new()).expect("a line");
            (&connection).write_all(answer).expect("the guest listens");
        }
        // Of the request nothing is read until the test drops the connection.
        sent.send(connection).expect("the test listens");
    });
    let value = stage.path("value");
    std::fs::write(&value, vec![b'v'; 4 << 20]).expect("written");
    let mut child = stage
        .command("mdata-put", &["--device", &device, "key"])
        .stdin(std::fs::File::open(&value).expect("a file"))
        .spawn()
        .expect("it runs");
    let connection = stalled.recv().expect("a connection");
    // At first it has work to do. A loop without rest would go on with it: up to 50 ticks each time.
    let rests = (0..100).any(|_| {
        let before = ticks(child.id());
        thread::sleep(Duration::from_millis(500));
        ticks(child.id()) - before <= 2
    });
    assert!(rests, "it does not wait, it asks again and again");
    drop(connection);
    child.kill().expect("killed");
    child.wait().expect("dead");
}

#[test]
fn case_44_a_device_by_name_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let device = format!("tcp:{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a guest");
        let mut lines = BufReader::new(connection.try_clone().expect("a descriptor")).lines();
        while let Some(Ok(line)) = lines.next() {
            let answer = match line.as_str() {
                "" => b"invalid command\n".to_vec(),
                "NEGOTIATE V2" => b"V2_OK\n".to_vec(),
                request => answer(request, "value"),
            };
            connection.write_all(&answer).expect("the guest listens");
        }
    });
    assert_eq!(Stage::new().run("mdata-get", &device, &["key"]), quiet(0, "value\n"));
}

#[test]
fn case_44_a_device_that_is_none_is_an_error_at_once() {
    let stage = Stage::new();
    let missing = stage.path("missing").display().to_string();
    let ended = stage.run("mdata-get", &missing, &["key"]);
    let wanted = format!(
        "ERROR: could not initialise protocol: {missing}: cannot open it: No such file or directory (os error 2); \
         --device names another channel\n"
    );
    assert_eq!(ended, failed(2, &wanted));
    let ended = stage.run("mdata-get", "/dev/null", &["key"]);
    assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0));
    assert!(ended.stderr.contains("/dev/null: cannot read the terminal's settings: "), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("; --device names another channel\n"), "{}", ended.stderr);
}
