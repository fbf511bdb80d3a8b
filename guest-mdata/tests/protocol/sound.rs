//! Hosts that are well.

use guest_mdata::session::Limits;
use guest_mdata::{Deadline, Error, KeyProblem, MetadataSource, ValueProblem};

use crate::double::{Double, answering, now, v1, v2};

const NEVER: Deadline = Deadline::NEVER;

#[test]
fn case_01_get_over_version_2_is_exact() {
    let text = "line\n\ttab \u{fc}\u{1f600}\r\n.\n";
    let host = Double::new(v2(&[("sdc:uuid", "u"), ("text", text)]));
    let mut session = host.session();
    assert_eq!(session.get("text", NEVER).expect("an answer").as_deref(), Some(text.as_bytes()));
    assert_eq!(session.get("sdc:uuid", NEVER).expect("an answer").as_deref(), Some(&b"u"[..]));
    assert_eq!(session.get("none", NEVER).expect("an answer"), None);
    assert_eq!(host.opened().len(), 1, "one connection for all keys");
    assert_eq!(host.sent("NEGOTIATE").len(), 1, "and one negotiation");
}

#[test]
fn case_02_a_host_of_version_1_gets_and_lists() {
    let stuffed = "\nfirst\n.\n..\n.x\n\n";
    let host = Double::new(v1(&[("dots", stuffed), ("empty", ""), ("plain", "p")]));
    let mut session = host.session();
    for (key, value) in [("dots", stuffed), ("empty", ""), ("plain", "p")] {
        assert_eq!(session.get(key, NEVER).expect("an answer").as_deref(), Some(value.as_bytes()));
    }
    assert_eq!(session.get("none", NEVER).expect("an answer"), None);
    assert_eq!(session.keys(NEVER).expect("an answer"), ["dots", "empty", "plain"]);
    assert_eq!(host.sent("NEGOTIATE").len(), 2, "it is asked twice before it is taken for version 1");
    assert!(host.requests().is_empty());
}

#[test]
fn case_02_a_host_of_version_1_cannot_store() {
    let host = Double::new(v1(&[]));
    let mut session = host.session();
    for result in [session.put("k", b"v", NEVER), session.delete("k", NEVER)] {
        let Err(Error::Key { problem, .. }) = result else { panic!("it said {result:?}") };
        assert!(matches!(problem, KeyProblem::Unsupported(_)), "{problem:?}");
    }
    assert_eq!(host.sent("NEGOTIATE").len(), 4, "each time it is asked whether it has become a newer one");
}

#[test]
fn case_03_keys_many_none_and_with_a_space() {
    let host = Double::new(v2(&[("a", "1"), ("with space", "2"), ("c.d:e/f", "3")]));
    assert_eq!(host.session().keys(NEVER).expect("an answer"), ["a", "with space", "c.d:e/f"]);
    let empty: [&str; 0] = [];
    assert_eq!(Double::new(v2(&[])).session().keys(NEVER).expect("an answer"), empty);
    assert_eq!(Double::new(v1(&[])).session().keys(NEVER).expect("an answer"), empty);
}

#[test]
fn case_04_put_get_delete_get() {
    let host = Double::new(v2(&[]));
    let mut session = host.session();
    session.put("key", b"value", NEVER).expect("stored");
    assert_eq!(session.get("key", NEVER).expect("an answer").as_deref(), Some(&b"value"[..]));
    session.delete("key", NEVER).expect("forgotten");
    assert_eq!(session.get("key", NEVER).expect("an answer"), None);
}

#[test]
fn case_05_deleting_what_is_not_there_is_success() {
    Double::new(v2(&[])).session().delete("none", NEVER).expect("success");
}

#[test]
fn case_06_what_is_not_there_is_no_error() {
    for mut session in [Double::new(v1(&[])).session(), Double::new(v2(&[])).session()] {
        assert_eq!(session.get("key", NEVER).expect("an answer"), None);
    }
}

#[test]
fn case_08_the_line_feed_at_the_end_is_the_value_s_own() {
    for value in ["", "\n", "text", "text\n", "text\n\n"] {
        let values: &[(&str, &str)] = &[("key", value)];
        for mut session in [Double::new(v1(values)).session(), Double::new(v2(values)).session()] {
            assert_eq!(session.get("key", NEVER).expect("an answer").as_deref(), Some(value.as_bytes()));
        }
    }
}

#[test]
fn case_10_nul_and_unicode_survive() {
    let text = "a\0b \u{20ac} \u{1f600}\n";
    let host = Double::new(v2(&[]));
    let mut session = host.session();
    session.put("text", text.as_bytes(), NEVER).expect("stored");
    assert_eq!(session.get("text", NEVER).expect("an answer").as_deref(), Some(text.as_bytes()));
}

#[test]
fn case_14_empty_keys_and_values_send_nothing() {
    let host = Double::new(v2(&[]));
    let mut session = host.session();
    for (key, wanted) in
        [("", KeyProblem::Empty), (" \t", KeyProblem::Empty), ("a\nb", KeyProblem::LineBreak)]
    {
        for result in
            [session.get(key, NEVER).map(drop), session.put(key, b"v", NEVER), session.delete(key, NEVER)]
        {
            let Err(Error::Key { problem, .. }) = result else { panic!("it said {result:?}") };
            assert_eq!(problem, wanted);
        }
    }
    let result = session.put("key", b"", NEVER);
    assert!(matches!(result, Err(Error::Value { problem: ValueProblem::Empty, .. })), "{result:?}");
    assert!(host.opened().is_empty());
}

#[test]
fn case_15_a_mebibyte_both_ways() {
    let value = "0123456789abcde\n".repeat(1 << 16);
    let host = Double::new(v2(&[]));
    let mut session = host.session();
    session.put("big", value.as_bytes(), NEVER).expect("stored");
    assert!(session.get("big", NEVER).expect("an answer").as_deref() == Some(value.as_bytes()));
    let host = Double::new(v1(&[("big", &value)]));
    assert!(host.session().get("big", NEVER).expect("an answer").as_deref() == Some(value.as_bytes()));
}

fn small() -> Limits {
    Limits { value: 3000, ..Limits::default() }
}

#[test]
fn case_15_a_value_at_the_limit_is_whole_and_one_above_it_an_error() {
    let (fits, large) = ("x".repeat(3000), "x".repeat(3001));
    let values: &[(&str, &str)] = &[("fits", &fits), ("large", &large), ("other", "o")];
    for host in [Double::new(v1(values)), Double::new(v2(values))] {
        let mut session = host.session_with(small());
        assert!(session.get("fits", NEVER).expect("an answer").as_deref() == Some(fits.as_bytes()));
        let result = session.get("large", NEVER);
        assert!(
            matches!(result, Err(Error::Value { problem: ValueProblem::TooLarge(3000), .. })),
            "{result:?}"
        );
        assert_eq!(session.get("other", NEVER).expect("an answer").as_deref(), Some(&b"o"[..]));
    }
    let host = Double::new(v2(&[]));
    let result = host.session_with(small()).put("key", large.as_bytes(), NEVER);
    assert!(matches!(result, Err(Error::Value { problem: ValueProblem::TooLarge(3000), .. })), "{result:?}");
    assert!(host.opened().is_empty());
}

#[test]
fn case_15_a_frame_that_claims_too_much_is_not_waited_for() {
    let host = Double::new(answering(|line| {
        now(format!("V2 99999999 00000000 {} SUCCESS AAAA", crate::double::id_of(line)))
    }));
    let result = host.session_with(small()).get("key", NEVER);
    assert!(matches!(result, Err(Error::Value { problem: ValueProblem::TooLarge(_), .. })), "{result:?}");
    assert!(host.seconds() < 1.0, "after {} s", host.seconds());
}

#[test]
fn case_15_a_line_without_end_is_noise_within_bounds() {
    let mut first = true;
    let host = Double::new(answering(move |line| {
        let answer = crate::double::answer(line, "SUCCESS", "v");
        if std::mem::take(&mut first) {
            let noise = vec![b'n'; 100_000];
            now([&noise[..], b"\n", &answer].concat())
        } else {
            now(answer)
        }
    }));
    let value = host.session_with(small()).get("key", NEVER).expect("an answer");
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert_eq!(host.requests().len(), 1);
}
