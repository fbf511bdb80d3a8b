//! Hosts that are late, silent, or somebody else when they come back.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use guest_mdata::channel::OpenError;
use guest_mdata::{ChannelProblem, Deadline, Error, MetadataSource};

use crate::double::{Double, Replies, after, answer, answering, chain, now, v1, v2};

const NEVER: Deadline = Deadline::NEVER;
const VALUES: &[(&str, &str)] = &[("key", "value")];

/// The value of the key, which must be right, and the seconds that it took.
fn value_after(host: &Double) -> f64 {
    let value = host.session().get("key", NEVER).expect("an answer");
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
    host.seconds()
}

#[test]
fn case_27_what_a_killed_client_left_in_the_line_is_thrown_away() {
    let mut host = Double::new(v2(VALUES));
    for piece in 0..50 {
        host = host.coming(f64::from(piece) * 0.09, vec![b'W'; 100]);
    }
    let seconds = value_after(&host);
    assert!((4.4..6.0).contains(&seconds), "{seconds} s");
    assert_eq!(host.opened().len(), 1);
}

#[test]
fn case_27_what_a_killed_client_left_at_the_host_is_ended() {
    for (partial, most) in [("GET sdc:ali", 1.0), ("V2 29 ae9f59", 4.0)] {
        let host = Double::new(v2(VALUES)).with_partial(partial);
        let seconds = value_after(&host);
        assert!(seconds < most, "{partial}: {seconds} s");
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn case_28_late_pings_still_end_in_v2() {
    for silent in [3.0, 7.0, 20.0] {
        for apart in [0.0, 0.02, 0.15, 0.5] {
            let mut rest = v2(VALUES);
            let mut late = 0.0;
            let host = Double::new(move |line, at| {
                if at.as_secs_f64() < silent {
                    assert_eq!(line, "", "there was no answer to a ping yet");
                    late += apart;
                    after(silent + late - at.as_secs_f64(), "invalid command\n")
                } else {
                    rest(line, at)
                }
            });
            let seconds = value_after(&host);
            assert!(seconds < silent + 15.0, "{seconds} s after {silent} s of silence");
            assert_eq!(host.requests().len(), 1, "by a frame of version 2, once");
        }
    }
}

/// A host whose answer to the first line that begins with `begin` stops halfway.
fn stopping(begin: &'static str, host: impl FnMut(&str, Duration) -> Replies + 'static) -> Double {
    let (mut host, mut stopped) = (host, false);
    Double::new(move |line, at| {
        let mut replies = host(line, at);
        if line.starts_with(begin) && (!begin.is_empty() || line.is_empty()) && !stopped {
            stopped = true;
            for (_, bytes) in &mut replies {
                bytes.truncate(bytes.len() / 2);
            }
        }
        replies
    })
}

#[test]
fn case_29_an_answer_that_stops_is_asked_for_again() {
    // Each limit, and a pause of 1 s after it.
    for (begin, least, most) in [("", 3.0, 3.8), ("NEGOTIATE", 7.0, 7.8), ("V2 ", 46.0, 46.8)] {
        let host = stopping(begin, v2(VALUES));
        let seconds = value_after(&host);
        assert!((least..most).contains(&seconds), "{begin}: {seconds} s");
        assert_eq!(host.opened().len(), 2);
    }
    for (begin, least, most) in [("", 3.0, 4.0), ("GET", 7.0, 8.5)] {
        let seconds = value_after(&stopping(begin, v1(VALUES)));
        assert!((least..most).contains(&seconds), "version 1, {begin}: {seconds} s");
    }
}

#[test]
fn case_30_a_late_answer_to_the_question_for_the_version() {
    for late in [6.5, 8.0, 12.0] {
        let (mut rest, mut first) = (v2(VALUES), true);
        let host = Double::new(move |line, at| match line {
            "NEGOTIATE V2" if std::mem::take(&mut first) => after(late, "V2_OK\n"),
            "" if !first => [now("invalid command\n"), after(0.3, "invalid command\n")].concat(),
            _ => rest(line, at),
        });
        let seconds = value_after(&host);
        assert!(seconds < 20.0, "{seconds} s");
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn case_31_a_host_that_comes_back_with_version_1_is_asked_in_version_1() {
    let (mut new, mut old, mut restarted) = (v2(VALUES), v1(VALUES), false);
    let host = Double::new(move |line, at| {
        restarted |= line.starts_with("V2 ");
        if restarted { old(line, at) } else { new(line, at) }
    });
    let seconds = value_after(&host);
    assert!(seconds < 4.0, "{seconds} s: FAILURE says it, so the 45 s are not waited for");
    assert_eq!(host.sent("GET key").len(), 1);
}

#[test]
fn case_31_a_host_that_comes_back_with_version_2_is_not_taken_for_version_1() {
    let (mut new, mut old) = (v2(VALUES), v1(VALUES));
    let upgraded = Rc::new(Cell::new(false));
    let seen = upgraded.clone();
    let host = Double::new(move |line, at| if seen.get() { new(line, at) } else { old(line, at) });
    let mut session = host.session();
    assert_eq!(session.get("key", NEVER).expect("an answer").as_deref(), Some(&b"value"[..]));
    upgraded.set(true);
    session.put("new", b"stored", NEVER).expect("stored by version 2");
    assert_eq!(session.get("new", NEVER).expect("an answer").as_deref(), Some(&b"stored"[..]));
}

#[test]
fn case_32_a_host_that_comes_after_70_seconds_is_found() {
    let mut rest = v2(VALUES);
    let host = Double::new(move |line, at| if at.as_secs() < 70 { Vec::new() } else { rest(line, at) });
    let seconds = value_after(&host);
    assert!((70.0..78.0).contains(&seconds), "{seconds} s");
    let pauses: Vec<u64> =
        host.opened().windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs()).collect();
    assert_eq!(pauses[..4], [3, 4, 6, 7], "2 s for a ping, and pauses of 1, 2, 4, 5, 5 ... s");
    assert_eq!(host.notices().len(), 2, "{:?}", host.notices());
}

#[test]
fn case_32_a_socket_that_comes_after_70_seconds_is_found() {
    let refusals = || (0..18).map(|_| OpenError::Later(io::ErrorKind::NotFound.into())).collect();
    let host = Double::new(v2(VALUES)).socket().refusing(refusals());
    let seconds = value_after(&host);
    assert!((70.0..90.0).contains(&seconds), "{seconds} s");
    let host = Double::new(v2(VALUES)).socket().refusing(refusals());
    let error = host.session().get("key", host.deadline(5)).expect_err("too late");
    assert!(chain(&error).contains("cannot be opened: entity not found"), "{}", chain(&error));
}

#[test]
fn case_32_a_deadline_ends_all_waiting() {
    let host = Double::new(|_, _| Vec::new());
    let error = host.session().get("key", host.deadline(5)).expect_err("nobody answers");
    assert!(matches!(error, Error::Channel { problem: ChannelProblem::Deadline(_), .. }));
    assert_eq!(
        chain(&error),
        "double: no answer in time: nobody answers on it; see that the host serves metadata there, or name another \
         channel"
    );
    assert_eq!(host.now(), Duration::from_secs(5));
}

#[test]
fn case_33_a_put_may_take_40_seconds() {
    let host = Double::new(answering(|line| after(40.0, answer(line, "SUCCESS", "OK"))));
    host.session().put("key", b"value", NEVER).expect("stored");
    assert_eq!(host.requests().len(), 1);
    assert!(host.notices().is_empty(), "a slow answer is no trouble: {:?}", host.notices());
}

#[test]
fn case_33_after_50_seconds_it_is_resent_and_the_late_answer_dropped() {
    let mut first = true;
    let host = Double::new(answering(move |line| {
        if std::mem::take(&mut first) {
            after(50.0, answer(line, "FAILURE", "the first"))
        } else {
            after(10.0, answer(line, "SUCCESS", "OK"))
        }
    }));
    host.session().put("key", b"value", NEVER).expect("stored by the second");
    let requests = host.requests();
    assert_eq!(requests.len(), 2);
    assert_ne!(requests[0].0, requests[1].0, "a new identifier");
    assert!(host.seconds() > 55.0);
}

#[test]
fn case_34_a_trickle_is_cut_off() {
    let host = Double::new(answering(|_| {
        (0..1000).map(|second| (Duration::from_secs(5 * second), b"V".to_vec())).collect()
    }));
    let error = host.session().get("key", host.deadline(300)).expect_err("no answer");
    assert!(matches!(error, Error::Channel { problem: ChannelProblem::Deadline(_), .. }));
    assert_eq!(host.now(), Duration::from_mins(5));
    assert!(host.requests().len() >= 2, "bytes alone keep no attempt alive for ever");
}

#[test]
fn a_large_answer_on_a_slow_line_is_progress() {
    // 200 kB at 1 kB/s take longer than the limit of 45 s for an answer that makes no progress.
    let value = "x".repeat(150_000);
    let text = value.clone();
    let host = Double::new(answering(move |line| {
        let frame = answer(line, "SUCCESS", &text);
        let pieces = frame.chunks(1000).zip(0u64..);
        pieces.map(|(piece, second)| (Duration::from_secs(second), piece.to_vec())).collect()
    }));
    assert!(host.session().get("key", NEVER).expect("an answer").as_deref() == Some(value.as_bytes()));
    assert_eq!(host.requests().len(), 1);
    assert!(host.seconds() > 190.0);
}
