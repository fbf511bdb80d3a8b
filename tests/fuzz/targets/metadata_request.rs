//! What guests say to the metadata server, and what it answers. A line that begins with `@` is the body of a frame, and
//! gets the length and the checksum that no mutation finds.
#![no_main]

use guest_mdata::host::{Agent, Answer, Conversation, Description, Dialect, Envelope, Heard};
use guest_mdata::wire::{Code, Request, crc32};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 15;

/// In the internal metadata, under a key that guests may not read.
const SECRET: &str = "correct horse battery staple";

const MACHINE: &str = r##"{
    "alias": "web", "seven": [7], "empty": [], "resolvers": ["8.8.8.8"], "tags": { "a.b": "dots" },
    "nics": [{ "mac": "90:b8:d0:00:00:01", "ips": ["10.0.0.2/24"], "gateways": ["10.0.0.1"] }],
    "routes": { "10.1.0.0/16": "nics[0]", "10.2.0.0/16": "macs[90:b8:d0:00:00:01]", "10.3.0.0/16": "10.0.0.9" },
    "customer_metadata": { "user-script": "#!/bin/sh\n.\n", "root_pw": "theirs", "number": 7 },
    "internal_metadata": { "hidden": "correct horse battery staple", "root_pw": "pw", "docker:cmd": "[]" },
    "internal_metadata_namespaces": ["docker"]
}"##;

fuzz_target!(|input: &[u8]| {
    let Some((&first, input)) = input.split_first() else { return };
    let dialect = if first == b'1' { Dialect::V1 } else { Dialect::Current };
    let machine = serde_json::from_str(MACHINE).expect("the machine is JSON");
    let mut agent = Agent::new(Description::new(machine).expect("the machine is sound"));
    let mut conversation = Conversation::new(dialect, LIMIT);
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        conversation.push(&framed(line));
        while let Some(heard) = conversation.next_heard() {
            match heard {
                Heard::Question(request, envelope) => {
                    // Who knows the secret already may store it.
                    if knows(&request) {
                        return;
                    }
                    agent = answered(agent, &request, &envelope);
                }
                Heard::Formality { answer, .. } => assert_lines(&answer, 1),
                Heard::Nothing { .. } => {}
            }
        }
        assert!(conversation.held() <= 4 * LIMIT + (128 << 10));
    }
    let text = agent.description().to_json();
    let again =
        Description::new(serde_json::from_str(&text).expect("what is kept is JSON")).expect("and sound");
    assert_eq!(&again, agent.description());
});

fn framed(line: &[u8]) -> Vec<u8> {
    let Some(body) = line.strip_prefix(b"@").and_then(|line| line.strip_suffix(b"\n")) else {
        return line.to_vec();
    };
    let head = format!("V2 {} {:08x} ", body.len(), crc32(body));
    [head.as_bytes(), body, b"\n"].concat()
}

fn contains_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

fn knows(request: &Request) -> bool {
    let value: &[u8] = if let Request::Put { value, .. } = request { value } else { &[] };
    contains_secret(value) || request.key().is_some_and(contains_secret)
}

fn answered(agent: Agent, request: &Request, envelope: &Envelope) -> Agent {
    let (agent, response) = match agent.answer(request) {
        Answer::Now(response) => (agent, response),
        Answer::Once(update) => (Agent::new(update.description), update.response),
    };
    assert!(!contains_secret(&response.payload));
    let sealed = envelope.seal(&response);
    match envelope {
        Envelope::V2(_) => assert_lines(&sealed, 1),
        Envelope::V1 if response.code == Code::Success => assert!(sealed.ends_with(b"\n.\n")),
        Envelope::V1 => assert_lines(&sealed, 1),
    }
    agent
}

fn assert_lines(answer: &[u8], count: usize) {
    assert_eq!(answer.iter().filter(|&&byte| byte == b'\n').count(), count);
    assert_eq!(answer.last(), Some(&b'\n'));
}
