//! Answers that are damaged, or have something around them.

use std::time::Duration;

use guest_mdata::wire::{base64_encode, crc32};
use guest_mdata::{Deadline, Error, KeyProblem, MetadataSource, ValueProblem};

use crate::double::{Double, Replies, answer, answering, id_of, now, v1, v2};

const NEVER: Deadline = Deadline::NEVER;

/// A frame of this body, with the right length and checksum.
fn framed(body: &str) -> String {
    format!("V2 {} {:08x} {body}\n", body.len(), crc32(body.as_bytes()))
}

/// The value that comes of what the host sends for a request.
fn got(answers: impl FnMut(&str) -> Replies + 'static) -> Result<Option<Vec<u8>>, Error> {
    let host = Double::new(answering(answers));
    let result = host.session().get("key", NEVER);
    assert_eq!(host.requests().len(), 1, "it was not asked again");
    assert!(host.seconds() < 1.0, "there was no wait");
    result
}

#[test]
fn case_19_only_the_right_frame_is_the_answer() {
    let value = got(|line| {
        let id = id_of(line);
        let other: String =
            if id.starts_with('0') { id.replacen('0', "1", 1) } else { id.replacen(&id[..1], "0", 1) };
        let body = format!("{id} SUCCESS d3Jvbmc=");
        let crc = crc32(body.as_bytes());
        let lines = [
            format!("V2 {} {:08x} {body}\n", body.len(), crc ^ 1),
            format!("V2 {} {crc:08x} {body}\n", body.len() + 1),
            format!("V2 {} {crc:08x} {body}\n", body.len() - 1),
            framed(&format!("{other} SUCCESS d3Jvbmc=")),
            // An identifier without letters has no upper case.
            framed(&format!(
                "{} SUCCESS d3Jvbmc=",
                id.replace(|c: char| c.is_ascii_digit(), "a").to_uppercase()
            )),
            format!("V2 {} {} {body}\n", body.len(), format!("{crc:08x}x").to_uppercase()),
            "V2\nV2 \nV2 21\n".to_owned(),
        ];
        now([lines.concat().into_bytes(), answer(line, "SUCCESS", "right")].concat())
    });
    assert_eq!(value.expect("an answer").as_deref(), Some(&b"right"[..]));
}

#[test]
fn case_20_noise_before_and_around_the_frame() {
    for (before, after) in [
        (&b"noise\n"[..], &b""[..]),
        (b"l", b""),
        (b"\r\0\x80\xff", b"\r\0"),
        (b"\x1b[0m\x1b[2K", b" "),
        (b"V2 19 0af0", b""),
        (b"invalid command\ninvalid command\nNOTFOUND\nSUCCESS\n.\n", b""),
        (b"V2 V2 V2 ", b"\r"),
    ] {
        let value = got(move |line| {
            let mut frame = answer(line, "SUCCESS", "value");
            frame.pop();
            now([before, &frame, after, b"\n"].concat())
        });
        assert_eq!(value.expect("an answer").as_deref(), Some(&b"value"[..]), "{before:?} {after:?}");
    }
}

#[test]
fn case_21_answers_of_every_kind() {
    let value = got(|line| now(framed(&format!("{} SUCCESS *no base64*", id_of(line)))));
    assert!(matches!(value, Err(Error::Value { problem: ValueProblem::NotBase64, .. })), "{value:?}");
    let refused = |result: Result<Option<Vec<u8>>, Error>| match result {
        Err(Error::Key { key: Some(key), problem: KeyProblem::Refused(text) }) if key == "key" => text,
        other => panic!("it said {other:?}"),
    };
    assert_eq!(refused(got(|line| now(framed(&format!("{} WAIT bW9tZW50", id_of(line)))))), "WAIT moment");
    assert_eq!(refused(got(|line| now(answer(line, "FAILURE", "")))), "");
    assert_eq!(refused(got(|line| now(answer(line, "FAILURE", "why")))), "why");
    assert_eq!(got(|line| now(answer(line, "SUCCESS", ""))).expect("an answer").as_deref(), Some(&b""[..]));
    assert_eq!(got(|line| now(answer(line, "NOTFOUND", ""))).expect("an answer"), None);
    for text in ["", "OK"] {
        let host = Double::new(answering(move |line| now(answer(line, "SUCCESS", text))));
        host.session().put("key", b"value", NEVER).expect("stored");
        host.session().delete("key", NEVER).expect("forgotten");
    }
}

#[test]
fn case_22_lines_may_end_in_cr_lf() {
    let with_cr = |replies: Replies| -> Replies {
        let changed =
            |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace('\n', "\r\n").into_bytes();
        replies.into_iter().map(|(delay, bytes)| (delay, changed(bytes))).collect()
    };
    let values: &[(&str, &str)] = &[("key", "a\nb\n")];
    let (mut new, mut old) = (v2(values), v1(values));
    for host in [
        Double::new(move |line, at| with_cr(new(line, at))),
        Double::new(move |line, at| with_cr(old(line, at))),
    ] {
        let value = host.session().get("key", NEVER).expect("an answer");
        assert_eq!(value.as_deref(), Some(&b"a\nb\n"[..]));
        assert!(host.seconds() < 1.0, "there was no wait");
    }
}

#[test]
fn case_23_a_checksum_may_begin_with_zeros() {
    // A payload whose frame has the wanted checksum is searched for.
    let value = got(|line| {
        let id = id_of(line).to_owned();
        let frame = (0u32..).find_map(|number| {
            let body =
                format!("{id} SUCCESS {}", String::from_utf8_lossy(&base64_encode(&number.to_be_bytes())));
            (crc32(body.as_bytes()) < 1 << 16).then(|| framed(&body))
        });
        now(frame.expect("there is one"))
    });
    assert_eq!(value.expect("an answer").map(|value| value.len()), Some(4));
}

/// A frame for `id` whose checksum is zero.
fn with_checksum_zero(id: &str) -> String {
    let body = |choices: u64| {
        let payload = (0..64).map(|index| if choices >> index & 1 == 0 { 'A' } else { 'B' });
        format!("{id} SUCCESS {}", payload.collect::<String>())
    };
    let checksum = |choices| crc32(body(choices).as_bytes());
    // Each choice changes the checksum by an amount of its own, whatever the others are: 32 amounts of which none is a
    // sum of others make any checksum. `basis[bit]` changes that bit and none above it.
    let mut basis: [Option<(u32, u64)>; 32] = [None; 32];
    for index in 0..64 {
        let (mut change, mut choices) = (checksum(1 << index) ^ checksum(0), 1u64 << index);
        while change != 0 {
            match &mut basis[change.ilog2() as usize] {
                Some((known, theirs)) => {
                    change ^= *known;
                    choices ^= *theirs;
                }
                free => {
                    *free = Some((change, choices));
                    break;
                }
            }
        }
    }
    let (mut rest, mut choices) = (checksum(0), 0);
    while rest != 0 {
        let (change, theirs) = basis[rest.ilog2() as usize].expect("64 choices reach every checksum");
        rest ^= change;
        choices ^= theirs;
    }
    framed(&body(choices))
}

#[test]
fn case_23_a_checksum_of_zero_is_as_good_as_any() {
    let value = got(|line| {
        let frame = with_checksum_zero(id_of(line));
        assert!(frame.contains(" 00000000 "), "{frame}");
        now(frame)
    });
    assert_eq!(value.expect("an answer").map(|value| value.len()), Some(48));
}

#[test]
fn case_24_every_split_of_a_frame() {
    let length = answer("V2 0 0 12345678", "SUCCESS", "value").len();
    for at in 0..=length {
        let host = Double::new(answering(move |line| {
            let frame = answer(line, "SUCCESS", "value");
            vec![(Duration::ZERO, frame[..at].to_vec()), (Duration::from_millis(50), frame[at..].to_vec())]
        }));
        let value = host.session().get("key", NEVER).expect("an answer");
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn case_24_byte_at_a_time_with_pauses_and_two_frames_at_once() {
    let host = Double::new(answering(|line| {
        let frame =
            [answer("V2 0 0 12345678", "SUCCESS", "other"), answer(line, "SUCCESS", "value")].concat();
        let delays = (0u32..).map(|index| Duration::from_millis(50) * index);
        delays.zip(frame).map(|(delay, byte)| (delay, vec![byte])).collect()
    }));
    assert_eq!(host.session().get("key", NEVER).expect("an answer").as_deref(), Some(&b"value"[..]));
    let value =
        got(|line| now([answer(line, "SUCCESS", "first"), answer(line, "SUCCESS", "second")].concat()));
    assert_eq!(value.expect("an answer").as_deref(), Some(&b"first"[..]));
}
