//! Hosts that are silent, late, or somebody else when they come back. The session's limits are tested to the second in the
//! tests of the protocol, with a clock of their own; here the program meets such hosts, in the time that there is: on the
//! shim its clocks run faster, elsewhere only what takes a few seconds is tried.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use guest_mdata::wire;

use crate::stage::{Ended, Stage, Terminal, answer, first_request, quiet, scripted};

/// Whether there is time for a test in which the program needs so many seconds.
fn is_brief(stage: &Stage, seconds: f64) -> bool {
    stage.seconds(seconds) < Duration::from_secs(5)
}

/// A terminal with a host that sends back to each line what `host` says, when it says it; and the lines.
fn attended(mut host: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> (Terminal, Receiver<String>) {
    let terminal = Terminal::new();
    let master = File::from(terminal.master.try_clone().expect("a descriptor"));
    let (seen, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(&master).lines().map_while(Result::ok) {
            let reply = host(&line);
            // Not every test looks.
            let _ = seen.send(line);
            if (&master).write_all(&reply).is_err() {
                break;
            }
        }
    });
    (terminal, lines)
}

/// What a host says to a line.
type Speech = fn(&str) -> Vec<u8>;

/// What a host of version 2 says, for which every key has the value "value".
fn v2(line: &str) -> Vec<u8> {
    match line {
        "" => b"invalid command\n".to_vec(),
        "NEGOTIATE V2" => b"V2_OK\n".to_vec(),
        request => answer(request, "value"),
    }
}

/// The same for one of version 1.
fn v1(line: &str) -> Vec<u8> {
    match line.split_once(' ') {
        None if line.is_empty() => b"invalid command\n".to_vec(),
        Some(("GET", _)) => wire::encode_value(b"value"),
        _ => b"FAILURE\n".to_vec(),
    }
}

fn end(child: Child) -> Ended {
    Ended::from(child.wait_with_output().expect("it ends"))
}

/// The lines with this beginning.
fn beginning(lines: &Receiver<String>, beginning: &str) -> Vec<String> {
    lines.try_iter().filter(|line| line.starts_with(beginning)).collect()
}

#[test]
fn case_28_a_host_that_answers_all_pings_late_is_asked_in_version_2() {
    let stage = Stage::with_clocks(20);
    // The third comes after 7 s.
    let unanswered = if is_brief(&stage, 7.0) { 2 } else { 1 };
    let mut pings = 0;
    let (terminal, lines) = attended(move |line| {
        pings += usize::from(line.is_empty());
        if !line.is_empty() || pings > unanswered + 1 {
            v2(line)
        } else if pings > unanswered {
            v2("").repeat(pings)
        } else {
            Vec::new()
        }
    });
    let ended = end(stage.start("mdata-get", &terminal.device, &["--timeout", "60", "key"]));
    assert_eq!((ended.code, ended.stdout), (Some(0), b"value\n".to_vec()), "{}", ended.stderr);
    assert_eq!(beginning(&lines, "GET"), [""; 0], "that is version 1");
}

#[test]
fn case_29_an_answer_that_stops_in_the_middle_is_asked_for_again() {
    let stage = Stage::with_clocks(20);
    let hosts: [(Speech, &str, f64); 5] =
        [(v2, "", 3.0), (v2, "NEGOTIATE", 7.0), (v2, "V2 ", 46.0), (v1, "", 3.0), (v1, "GET ", 7.0)];
    let hosts = hosts.into_iter().filter(|&(.., seconds)| is_brief(&stage, seconds));
    let children: Vec<_> = hosts
        .map(|(host, stopping, _)| {
            let mut stopped = false;
            let (terminal, lines) = attended(move |line| {
                let mut reply = host(line);
                let is_it = if stopping.is_empty() { line.is_empty() } else { line.starts_with(stopping) };
                if is_it && !stopped {
                    stopped = true;
                    reply.truncate(reply.len() / 2);
                }
                reply
            });
            // Far beyond the limit of each answer. A program that hangs would need it.
            let child = stage.start("mdata-get", &terminal.device, &["--timeout", "600", "key"]);
            (stopping, terminal, lines, child)
        })
        .collect();
    for (stopping, _terminal, lines, child) in children {
        let ended = end(child);
        assert_eq!(
            (ended.code, ended.stdout),
            (Some(0), b"value\n".to_vec()),
            "{stopping}: {}",
            ended.stderr
        );
        let asked = beginning(&lines, stopping);
        assert!(asked.len() >= 2, "{stopping}: {asked:?}");
    }
}

#[test]
fn case_31_a_host_that_comes_back_with_version_1_is_asked_in_version_1() {
    let stage = Stage::with_clocks(20);
    let mut restarted = false;
    let (terminal, lines) = attended(move |line| {
        restarted |= line.starts_with("V2 ");
        if restarted { v1(line) } else { v2(line) }
    });
    let ended = end(stage.start("mdata-get", &terminal.device, &["--timeout", "60", "key"]));
    assert_eq!((ended.code, ended.stdout), (Some(0), b"value\n".to_vec()), "{}", ended.stderr);
    assert_eq!(beginning(&lines, "GET").last().map(String::as_str), Some("GET key"));
}

#[test]
fn case_31_a_host_that_closes_and_comes_back_with_another_version() {
    let hosts: [(&str, Speech, Speech, [&str; 2]); 2] =
        [("down", v2, v1, ["V2", "GET"]), ("up", v1, v2, ["GET", "V2"])];
    for (name, before, after, wanted) in hosts {
        let stage = Stage::new();
        let (seen, lines) = channel();
        let device = scripted(&stage.path(name), move |number, mut connection| {
            let host = if number == 0 { before } else { after };
            let reader = connection.try_clone().expect("a descriptor");
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let reply = host(&line);
                if !matches!(line.as_str(), "" | "NEGOTIATE V2") {
                    seen.send(line).expect("the test listens");
                    if number == 0 {
                        return;
                    }
                }
                if connection.write_all(&reply).is_err() {
                    return;
                }
            }
        });
        let ended = end(stage.start("mdata-get", &device, &["--timeout", "60", "key"]));
        assert_eq!(ended, quiet(0, "value\n"), "{name}");
        let requests: Vec<String> = lines.try_iter().collect();
        let versions: Vec<&str> = requests.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(versions, wanted);
    }
}

#[test]
fn case_33_a_put_may_take_40_seconds_and_after_45_it_is_resent() {
    let stage = Stage::with_clocks(10);
    if !is_brief(&stage, 46.0) {
        return;
    }
    let late = stage.seconds(40.0);
    let (patient, patient_lines) = attended(move |line| {
        if line.starts_with("V2 ") {
            thread::sleep(late);
        }
        v2(line)
    });
    let mut first = None;
    let (resent, resent_lines) = attended(move |line| {
        if !line.starts_with("V2 ") {
            return v2(line);
        }
        match &first {
            None => {
                first = Some(line.to_owned());
                Vec::new()
            }
            Some(first) => {
                let id = first.split(' ').nth(3).expect("an identifier");
                [wire::encode(id.as_bytes(), "FAILURE", b"the first"), v2(line)].concat()
            }
        }
    });
    let children = [&patient, &resent]
        .map(|terminal| stage.start("mdata-put", &terminal.device, &["--timeout", "600", "key", "value"]));
    let [first, second] = children.map(end);
    assert_eq!((first.code, first.stdout.len()), (Some(0), 0), "{}", first.stderr);
    assert_eq!(beginning(&patient_lines, "V2 ").len(), 1);

    assert_eq!((second.code, second.stdout.len()), (Some(0), 0), "{}", second.stderr);
    let requests = beginning(&resent_lines, "V2 ");
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_ne!(requests[0], requests[1], "a new identifier");
}

#[test]
fn case_34_a_trickle_ends_at_the_timeout() {
    let stage = Stage::with_clocks(20);
    // After 45 s it is asked again, unless there is no time for that.
    let (timeout, apart, least) = if is_brief(&stage, 90.0) { ("90", 5.0, 2) } else { ("2", 0.2, 1) };
    let apart = stage.seconds(apart);
    let (seen, requests) = channel();
    let device = scripted(&stage.path("socket"), move |_, mut connection| {
        let seen = seen.clone();
        thread::spawn(move || {
            let Some(request) = first_request(&connection) else { return };
            seen.send(request).expect("the test listens");
            // Until the guest leaves.
            while connection.write_all(b"V").is_ok() {
                thread::sleep(apart);
            }
        });
    });
    let ended = end(stage.start("mdata-get", &device, &["--timeout", timeout, "key"]));
    assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0), "{}", ended.stderr);
    let wanted = format!("ERROR: could not initialise protocol: {device}: no answer in time: ");
    assert!(ended.stderr.lines().last().is_some_and(|line| line.starts_with(&wanted)), "{}", ended.stderr);
    assert!(requests.try_iter().count() >= least, "bytes alone keep no attempt alive for ever");
}
