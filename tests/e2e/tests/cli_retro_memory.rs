//! What a build takes of memory, whatever the size of what goes into the image. The only test of this program, because
//! the system tells the peak of all children together.

use std::fs::{self, File};
use std::io::Write as _;

use kiln_e2e::Lab;
use nix::sys::resource::{UsageWho, getrusage};

/// MiB that a build may take.
const PROMISE_MIB: i64 = 160;

/// Writes so many MiB that hardly compress.
fn noise(mut file: File, mib: u64) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut block = vec![0; 1 << 20];
    for _ in 0..mib {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
}

#[test]
fn a_large_tree_and_many_threads_stay_within_the_promise() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(32_768);
    fs::create_dir(lab.join("mine")).unwrap();
    noise(File::create(lab.join("mine/large")).unwrap(), 300);
    let (image, _) = lab.retro(&["--size", "auto", "--custom", "mine", "--jobs", "32", "--level", "1"]);
    assert!(fs::metadata(image).unwrap().len() > 300 << 20, "the tree is not in the image");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024;
    eprintln!("peak of a build: {peak} MiB");
    assert!(peak < PROMISE_MIB, "{peak} MiB");
}
