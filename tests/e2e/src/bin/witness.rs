//! Lists folders, and changes them, where they are: the tests of ring 3 run it in their guest.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use kiln_e2e::trees;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&Path> = words.iter().map(Path::new).collect();
    let done = match &words[..] {
        [verb, folder, listing, allocated] if verb.as_os_str() == "list" => list(folder, listing, allocated),
        [verb, folder, seed] if verb.as_os_str() == "alter" => match seed.to_str().map(str::parse) {
            Some(Ok(seed)) => trees::alter(folder, seed),
            _ => Err(io::Error::other("the seed is no number")),
        },
        _ => Err(io::Error::other("usage: witness list FOLDER LISTING ALLOCATED, witness alter FOLDER SEED")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("witness {words:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes what the folder holds, and how many bytes its files take on the disk.
fn list(folder: &Path, listing: &Path, allocated: &Path) -> io::Result<()> {
    let listed = trees::of_folder(folder)?;
    fs::write(listing, listed.lines)?;
    let lines = listed.allocated.iter().map(|(path, bytes)| format!("{path}\t{bytes}\n"));
    fs::write(allocated, lines.collect::<String>())
}
