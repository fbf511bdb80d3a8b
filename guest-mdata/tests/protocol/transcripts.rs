//! Whole conversations with the SmartOS agent of both eras. They are written from the description of its behaviour,
//! not recorded from it: what the guest must say, byte for byte, and what the host says to that.

use guest_mdata::{Deadline, MetadataSource};

use crate::double::{Double, Replies, now};

const NEVER: Deadline = Deadline::NEVER;

/// A line of the guest, without its identifier, length and checksum if it is a frame, and the host's answer. The
/// payload of a frame stands for the whole.
type Exchange = (&'static str, &'static str);

/// The agent since 24 October 2013. PUT and DELETE have `OK` for a payload.
const CURRENT: &[Exchange] = &[
    ("", "invalid command\n"),
    ("NEGOTIATE V2", "V2_OK\n"),
    ("V2 GET c2RjOnV1aWQ=", "V2 SUCCESS NWYyYjViMGEtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAx"),
    ("V2 GET bm9uZQ==", "V2 NOTFOUND"),
    ("V2 GET ZW1wdHk=", "V2 SUCCESS"),
    ("V2 KEYS", "V2 SUCCESS dXNlci1zY3JpcHQKcm9vdF9hdXRob3JpemVkX2tleXM="),
    ("V2 PUT YTJWNSBkbUZzZFdVPQ==", "V2 SUCCESS T0s="),
    ("V2 DELETE a2V5", "V2 SUCCESS T0s="),
    ("V2 PUT YzJSak9tRT0gZUE9PQ==", "V2 FAILURE Q2Fubm90IHVwZGF0ZSB0aGUgInNkYyIgTmFtZXNwYWNlLg=="),
];

/// The agent before that: NEGOTIATE is an unknown command, and there are no frames.
const OLD: &[Exchange] = &[
    ("", "invalid command\n"),
    ("NEGOTIATE V2", "FAILURE\n"),
    ("NEGOTIATE V2", "FAILURE\n"),
    ("GET sdc:uuid", "SUCCESS\n5f2b5b0a-0000-4000-8000-000000000001\n.\n"),
    ("GET none", "NOTFOUND\n"),
    ("GET empty", "SUCCESS\n\n.\n"),
    ("KEYS", "SUCCESS\nuser-script\nroot_authorized_keys\n.\n"),
];

/// A host that follows the transcript and ends the test where the guest does not.
fn following(transcript: &'static [Exchange]) -> Double {
    let mut rest = transcript.iter();
    Double::new(move |line, _| -> Replies {
        let (wanted, answer) =
            rest.next().unwrap_or_else(|| panic!("nothing more was expected, not {line:?}"));
        let Some(wanted) = wanted.strip_prefix("V2 ") else {
            assert_eq!(line, *wanted);
            return now(*answer);
        };
        let id = crate::double::id_of(line);
        assert_eq!(line, frame(id, wanted).trim_end());
        now(frame(id, answer.strip_prefix("V2 ").expect("a frame answers a frame")))
    })
}

/// The frame of what follows the identifier.
fn frame(id: &str, rest: &str) -> String {
    let body = format!("{id} {rest}");
    format!("V2 {} {:08x} {body}\n", body.len(), guest_mdata::wire::crc32(body.as_bytes()))
}

/// What both agents are asked, and answer alike.
fn reads_what_is_there(session: &mut impl MetadataSource) {
    let uuid = session.get("sdc:uuid", NEVER).expect("an answer");
    assert_eq!(uuid.as_deref(), Some(&b"5f2b5b0a-0000-4000-8000-000000000001"[..]));
    assert_eq!(session.get("none", NEVER).expect("an answer"), None);
    assert_eq!(session.get("empty", NEVER).expect("an answer").as_deref(), Some(&b""[..]));
    assert_eq!(session.keys(NEVER).expect("an answer"), ["user-script", "root_authorized_keys"]);
}

#[test]
fn case_09_a_conversation_with_the_current_agent() {
    let host = following(CURRENT);
    let mut session = host.session();
    reads_what_is_there(&mut session);
    session.put("key", b"value", NEVER).expect("stored");
    session.delete("key", NEVER).expect("forgotten");
    let refused = session.put("sdc:a", b"x", NEVER).expect_err("refused");
    assert_eq!(refused.to_string(), "Cannot update the \"sdc\" Namespace.");
}

#[test]
fn case_09_a_conversation_with_the_agent_of_2012() {
    let host = following(OLD);
    let mut session = host.session();
    reads_what_is_there(&mut session);
}
