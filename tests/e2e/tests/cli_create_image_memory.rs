//! What `kiln create-image` takes of memory, however large the files are. The only test of this program, because the system tells the peak
//! of all children together.

use std::fs::File;
use std::io::{BufWriter, Write};

use kiln_e2e::{Lab, zone};
use nix::sys::resource::{UsageWho, getrusage};
use tar::{Builder, Header};

/// MiB that a zone of 40,000 files may take.
const PROMISE_MIB: i64 = 300;

/// Files of a realistic zone, and the MiB of the largest here.
const FILES: u64 = 40_000;
const LARGEST_MIB: u64 = 200;

/// Bytes that hardly compress, others for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).take(length.div_ceil(8)).flatten().take(length).collect()
}

#[test]
fn a_zone_from_an_archive_stays_within_the_promise() {
    let Some(lab) = Lab::open() else { return };
    let mut builder = Builder::new(BufWriter::new(File::create(lab.join("zone.tar")).unwrap()));
    let header = |size: u64| {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(zone::TIME.unsigned_abs());
        header.set_size(size);
        header
    };
    for number in 0..FILES {
        let path = format!("usr/share/folder{}/part{}/file-{number}", number % 50, number % 800);
        let size = number % 3000;
        builder.append_data(&mut header(size), path, &noise(number + 1, size as usize)[..]).unwrap();
    }
    let large = std::iter::repeat_with(|| noise(77, 1 << 20)).take(LARGEST_MIB as usize);
    let reader = Pieces { rest: large, piece: Vec::new(), at: 0 };
    builder.append_data(&mut header(LARGEST_MIB << 20), "var/large", reader).unwrap();
    builder.into_inner().unwrap().flush().unwrap();

    // Compressed, so that it has to be expanded somewhere, and quickly, since this is not about time.
    let gzip =
        std::process::Command::new("gzip").args(["-1", "zone.tar"]).current_dir(lab.path()).status().unwrap();
    assert!(gzip.success());
    lab.kiln_ok(&[
        "create-image",
        "web-1",
        "description=",
        "--tar",
        "zone.tar.gz",
        "--level",
        "1",
        "--jobs",
        "32",
    ]);
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024;
    eprintln!("peak of a build: {peak} MiB");
    assert!(peak < PROMISE_MIB, "{peak} MiB");
    let size = std::fs::metadata(zone::results(&lab, "output", "web-1").0).unwrap().len();
    assert!(size > 50 << 20, "the files are not in the image: {size} bytes");
}

/// Reads pieces one after the other.
struct Pieces<I> {
    rest: I,
    piece: Vec<u8>,
    at: usize,
}

impl<I: Iterator<Item = Vec<u8>>> std::io::Read for Pieces<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.piece.len() {
            (self.piece, self.at) = (self.rest.next().unwrap_or_default(), 0);
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
