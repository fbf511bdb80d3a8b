//! Readers of what is not the host's: the output of commands, files of the platform, messages of time servers.
//!
//! The input is a byte that chooses the reader, and the text.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::Result;
use guest_init::access::shadow;
use guest_init::command::zpool::Search;
use guest_init::command::{
    Commands, Invocation, Output, bootparams, dladm, ifconfig, ipfstat, ipnat, route, zfs, zpool,
};
use guest_init::engine::one_line;
use guest_init::ntp::{packet, servers};
use guest_init::phase::identity::metadata;
use guest_init::phase::identity::sshd::{self, Whose};
use guest_init::phase::storage::content::{self, Content, ReadDisk};
use guest_init::state::{PhaseResult, State};
use guest_init::status;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&reader, bytes)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match reader % 10 {
        0 => dladm(&text),
        1 => addresses(&text),
        2 => {
            let _ = (ipfstat::rules(&text), ipnat::rules(&text));
            let properties: BTreeMap<String, String> = bootparams::properties(&text);
            assert!(properties.len() <= text.lines().count());
        }
        3 => time(bytes),
        4 => {
            let names = servers::names(&text);
            assert!(names.len() <= 16 && names.iter().all(|name| name.len() <= 255));
        }
        5 => ssh(&text),
        6 => passwords(bytes),
        7 => pools(bytes),
        8 => disk(bytes),
        _ => told(&text),
    }
});

fn dladm(text: &str) {
    let links = dladm::links(text);
    for (index, link) in links.iter().enumerate() {
        assert!(dladm::is_link_name(&link.name));
        assert!(links[..index].iter().all(|other| other.name != link.name));
    }
}

fn addresses(text: &str) {
    let interfaces = ifconfig::interfaces(text);
    assert!(interfaces.len() <= text.lines().count());
    for interface in &interfaces {
        let Some(subnet) = interface.address else { continue };
        assert_eq!(subnet.to_string().parse(), Ok(subnet));
    }
    assert!(route::entries(text).len() <= text.lines().count());
}

fn time(message: &[u8]) {
    // An answer has to have what only the question had; here it does.
    let nonce = message.get(24..32).and_then(|nonce| nonce.try_into().ok()).map_or(0, u64::from_be_bytes);
    if let Ok(answer) = packet::answer(message, nonce) {
        // From 2020 to 2156, and it left after the question came.
        assert!(answer.received >= 1_577_836_800 * packet::SECOND && answer.sent >= answer.received);
        assert!((0..=packet::SECOND).contains(&answer.distance));
        assert!(packet::answer(message, !nonce).is_err());
    }
}

fn ssh(text: &str) {
    for (openssh, whose) in
        [(false, Whose::Image), (true, Whose::Image), (false, Whose::Platform), (true, Whose::Platform)]
    {
        let Some(mended) = sshd::mended(text, openssh, whose) else { continue };
        assert!(!mended.reasons.is_empty());
        assert_eq!(sshd::mended(&mended.text, openssh, whose), None, "{}", mended.text);
    }
}

fn passwords(text: &[u8]) {
    let hash = "$5$saltsalt$hash";
    let set = shadow::with_root_hash(text, hash);
    assert_eq!(shadow::root_hash(&set).as_deref(), Some(hash.as_bytes()));
    assert_eq!(shadow::with_root_hash(&set, hash), set);
    let others = |text: &[u8]| -> Vec<Vec<u8>> {
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.filter(|line| !line.starts_with(b"root:")).map(<[u8]>::to_vec).collect()
    };
    assert_eq!(others(&set), others(text));
    if let Ok(text) = std::str::from_utf8(text)
        && shadow::is_hash(text)
    {
        let set = shadow::with_root_hash(b"", text);
        assert_eq!(set.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }
    if let Ok(values) = metadata::read_stored(text) {
        let stored = metadata::stored_text(&values).expect("JSON");
        assert_eq!(metadata::read_stored(&stored).expect("what was stored"), values);
    }
}

/// A program that says this and ends well.
struct Says<'a>(&'a [u8]);

impl Commands for Says<'_> {
    fn run(&mut self, _: &Invocation) -> Result<Output> {
        Ok(Output { status: 0, stdout: self.0.to_vec(), stderr: Vec::new() })
    }

    fn end_by(&mut self, _: Duration) {}
}

fn pools(text: &[u8]) {
    if let Ok(zpool::Searched { pools, .. }) = zpool::search(&mut Says(text), Search::Present) {
        // Nobody may take a text for no pools when it is not an empty one.
        assert!(!pools.is_empty() || text.iter().all(|&byte| byte.is_ascii_whitespace() || byte >= 0x80));
        for pool in pools {
            let can_be_imported = ["ONLINE", "DEGRADED"].contains(&&*pool.state) && !pool.destroyed;
            assert!(can_be_imported || pool.obstacle().is_some());
        }
    }
    if let Ok(pools) = zpool::list(&mut Says(text)) {
        assert!(!pools.is_empty() || text.is_empty());
    }
    if let Ok(datasets) = zfs::list(&mut Says(text), "zones") {
        assert!(datasets.contains_key("zones"));
    }
}

/// The size of the disk, in bytes: larger than what is read of its ends.
const DISK: u64 = 10 << 20;

/// How much of either end of a disk is read whole.
const END: u64 = 4 << 20;

/// A disk that is zero but for some pieces.
struct Pieces(Vec<(u64, Vec<u8>)>);

impl ReadDisk for Pieces {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        for (start, piece) in &self.0 {
            for (at, byte) in (*start..).zip(piece) {
                if let Some(at) = at.checked_sub(offset)
                    && let Some(place) = buffer.get_mut(at as usize)
                {
                    *place = *byte;
                }
            }
        }
        Ok(())
    }
}

/// Changes to a blank disk: 3 bytes of a place, one of a length, and so many bytes. What is called blank is so, as far as it is
/// read whole, and what is called unfinished has the label with which a creation begins.
fn disk(input: &[u8]) {
    let mut pieces = Vec::new();
    let mut rest = input;
    while let Some((&[a, b, c, length], after)) = rest.split_first_chunk()
        && pieces.len() < 64
    {
        let place = u64::from(u32::from_le_bytes([a, b, c, 0])) % (DISK - 256);
        let (piece, next) = after.split_at(usize::from(length).min(after.len()));
        pieces.push((place, piece.to_vec()));
        rest = next;
    }
    let disk = Pieces(pieces);
    let read = |from: u64, length: u64| {
        let mut bytes = vec![0; length as usize];
        disk.read_at(from, &mut bytes).expect("memory");
        bytes
    };
    let block = 512;
    match content::examine(&disk, DISK, block).expect("a good size") {
        Content::Blank => {
            let ends = [read(0, END), read(DISK - END, END)];
            assert!(ends.iter().flatten().all(|&byte| byte == 0));
        }
        Content::Unfinished => {
            assert_eq!(read(block, 8), b"EFI PART");
            // Between the label and the partition there is nothing.
            assert!(read(64 << 10, 64 << 10).iter().all(|&byte| byte == 0));
        }
        Content::Something(what) => assert!(!what.is_empty()),
    }
}

/// What people are told has no control characters, and what the host is told is JSON of bounded length.
fn told(text: &str) {
    let output = Output { status: 1, stdout: Vec::new(), stderr: text.as_bytes().to_vec() };
    let lines = [output.complaint(), one_line(text)];
    assert!(!lines.iter().any(|line| line.contains(char::is_control)));
    let mut state = State { rescue: Some(text.to_owned()), ..State::default() };
    let failed = vec![(text.to_owned(), text.to_owned())];
    state.record(PhaseResult { failed, ..PhaseResult::of(text) });
    let brief = status::brief(&state);
    assert!(brief.len() <= status::LONGEST && !brief.contains(char::is_control));
    serde_json::from_str::<serde_json::Value>(&brief).expect("JSON");
    serde_json::from_str::<serde_json::Value>(&status::json(&state)).expect("JSON");
    assert!(!status::text(&state).replace('\n', "").contains(char::is_control));
}
