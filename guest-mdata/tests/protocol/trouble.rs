//! Channels that others use, that break, or that carry something else.

use std::io;
use std::time::Duration;

use guest_mdata::channel::OpenError;
use guest_mdata::{ChannelProblem, Deadline, Error, KeyProblem, MetadataSource, Unusable};

use crate::double::{CLOSE, Double, answer, answering, chain, now, v1, v2};

const NEVER: Deadline = Deadline::NEVER;
const VALUES: &[(&str, &str)] = &[("key", "value")];

fn is_value(value: Result<Option<Vec<u8>>, Error>) {
    assert_eq!(value.expect("an answer").as_deref(), Some(&b"value"[..]));
}

#[test]
fn case_35_endless_lines_are_told_of_and_bounded() {
    for (line, apart) in [("FAILURE\n", 0.05), ("FAILURE\n", 1.0), ("\r\nhost login: \n", 0.05)] {
        let mut host = Double::new(|_, _| Vec::new());
        for count in 0..20_000 {
            host = host.coming(f64::from(count) * apart, line);
        }
        let error = host.session().get("key", host.deadline(200)).expect_err("nobody answers");
        let text = chain(&error);
        assert!(text.contains("another program, perhaps a getty, uses the port"), "{text}");
        assert!(text.contains(line.trim()), "{text}");
        assert!(text.len() < 320, "{text}");
        assert_eq!(host.now(), Duration::from_secs(200));
        let notices = host.notices();
        assert!((3..=4).contains(&notices.len()), "one a minute: {notices:?}");
        assert!(host.sent("").len() < 100, "the noise is not answered");
    }
}

#[test]
fn case_35_what_is_no_metadata_host_is_told_from_silence() {
    for garbage in [&b"SSH-2.0-OpenSSH_10.0\r\n"[..], b"\x80\xff login:"] {
        let host = Double::new(move |_, _| now(garbage));
        let error = host.session().get("key", host.deadline(5)).expect_err("it is no host");
        let text = chain(&error);
        let begin = "double: no answer in time: what answers on it is no metadata host; ";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains(&garbage.trim_ascii_end().escape_ascii().to_string()), "{text}");
        assert!(text.ends_with("; end what else uses it, or name another channel"), "{text}");
    }
}

#[test]
fn case_35_no_flood_keeps_an_attempt_alive() {
    for (after, most) in [("", 15), ("NEGOTIATE", 20), ("V2 ", 60)] {
        for line in [&b"noise\n"[..], b"invalid comm", b"FAILURE\n"] {
            let host = Double::new(v2(VALUES)).flooding(after, line);
            let error = host.session().get("key", host.deadline(100)).expect_err("no answer comes through");
            assert!(matches!(error, Error::Channel { problem: ChannelProblem::Deadline(_), .. }));
            assert_eq!(host.now(), Duration::from_secs(100));
            let second = host.opened().get(1).copied();
            assert!(second.is_some_and(|second| second.as_secs() < most), "after {after:?}: {second:?}");
        }
    }
}

#[test]
fn case_35_an_echo_is_not_an_answer() {
    let mut rest = v2(VALUES);
    let host = Double::new(move |line, at| {
        let mut replies = now(format!("{line}\n"));
        replies.append(&mut rest(line, at));
        replies
    });
    is_value(host.session().get("key", NEVER));
    host.session().put("other", b"stored", NEVER).expect("stored");
}

#[test]
fn case_35_stray_failures_do_not_cost_the_version() {
    let mut host = Double::new(v2(VALUES));
    for count in 0..100 {
        host = host.coming(0.45 + f64::from(count) * 0.7, "FAILURE\n");
    }
    let mut session = host.session();
    for _ in 0..20 {
        is_value(session.get("key", NEVER));
    }
    assert_eq!(host.requests().len(), 20);
}

#[test]
fn case_37_a_lock_that_is_held_names_its_holder() {
    let held = |times| (0..times).map(|_| OpenError::Held(Some(4711))).collect();
    let host = Double::new(v2(VALUES)).refusing(held(1000));
    let error = host.session().get("key", host.deadline(5)).expect_err("it is locked");
    assert_eq!(
        chain(&error),
        "double: no answer in time: process 4711 has it locked; wait for it, or end it if it hangs"
    );
    assert_eq!(host.now(), Duration::from_secs(5));
    let host = Double::new(v2(VALUES)).refusing(held(30));
    is_value(host.session().get("key", NEVER));
    assert!((3.0..3.5).contains(&host.seconds()), "tried each 100 ms: {} s", host.seconds());
}

#[test]
fn case_39_an_answer_before_the_close_counts() {
    let host =
        Double::new(answering(|line| [now(answer(line, "SUCCESS", "value")), now(CLOSE)].concat())).socket();
    let mut session = host.session();
    for _ in 0..3 {
        is_value(session.get("key", NEVER));
    }
    assert_eq!(host.requests().len(), 3, "nothing was asked twice");
    assert_eq!(host.now(), Duration::ZERO, "a socket of one's own has nothing to wait for");
}

#[test]
fn case_39_a_close_before_the_answer_leads_to_a_new_connection() {
    let mut closes = 3;
    let host = Double::new(answering(move |line| {
        closes -= 1;
        if closes >= 0 { now(CLOSE) } else { now(answer(line, "SUCCESS", "value")) }
    }))
    .socket();
    is_value(host.session().get("key", NEVER));
    assert_eq!(host.opened().len(), 4);
    assert_eq!(host.now(), Duration::from_secs(3), "at once, then after 1 and 2 s, and no other wait");
}

#[test]
fn case_39_what_is_forbidden_is_not_waited_for() {
    let forbidden = Unusable { doing: "cannot open it", source: io::Error::from_raw_os_error(13) };
    let host = Double::new(v2(VALUES)).refusing(vec![OpenError::Never(forbidden)]);
    let error = host.session().get("key", NEVER).expect_err("it is forbidden");
    assert!(matches!(error, Error::Channel { problem: ChannelProblem::Unusable(_), .. }));
    assert_eq!(chain(&error), "double: cannot open it: Permission denied (os error 13)");
    assert_eq!(host.now(), Duration::ZERO);
}

#[test]
fn case_40_short_writes_and_reads_lose_nothing() {
    let value = "0123456789abcdef\n".repeat(300);
    for pieces in [1, 7, 4096] {
        let host = Double::new(v2(&[])).in_pieces(pieces);
        let mut session = host.session();
        session.put("key", value.as_bytes(), NEVER).expect("stored");
        assert_eq!(session.get("key", NEVER).expect("an answer").as_deref(), Some(value.as_bytes()));
        assert_eq!(host.requests().len(), 2);
    }
}

#[test]
fn what_a_host_of_version_1_refuses_is_asked_twice_and_believed() {
    let mut rest = v1(VALUES);
    let host = Double::new(move |line, at| match line {
        "GET sdc:tags" => now("FAILURE\n"),
        _ => rest(line, at),
    });
    let mut session = host.session();
    let result = session.get("sdc:tags", NEVER);
    let Err(Error::Key { problem, .. }) = result else { panic!("it said {result:?}") };
    assert_eq!(problem, KeyProblem::Refused("FAILURE".to_owned()));
    assert_eq!(host.sent("GET sdc:tags").len(), 2);
    is_value(session.get("key", NEVER));
}

#[test]
fn a_stray_line_before_an_answer_of_version_1_is_not_the_answer() {
    let (mut rest, mut stray) = (v1(VALUES), true);
    let host = Double::new(move |line, at| match line {
        "GET key" if std::mem::take(&mut stray) => {
            [now("FAILURE\ninvalid command\n"), rest(line, at)].concat()
        }
        _ => rest(line, at),
    });
    is_value(host.session().get("key", NEVER));
    assert_eq!(host.sent("GET key").len(), 1);
}
