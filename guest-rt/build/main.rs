//! Writes what the linker finds instead of an illumos system: for each library of `symbols.txt` a shared object that
//! holds nothing but the listed names, and empty archives for the libraries that Rust's `std` and `libc` crates ask for
//! but from which no program of ours takes anything.

mod stub;
mod symbols;

use std::path::Path;
use std::{env, fs};

/// Libraries that the `#[link]` lines of `std`, `unwind` and `libc` name for illumos. malloc is taken from libc itself,
/// the unwinder is in `src/unwind.rs`, and the rest of these moved into libc long before 2013.
const EMPTY_LIBRARIES: &[&str] =
    &["posix4", "pthread", "resolv", "umem", "gcc_s", "rt", "sendfile", "lgrp", "ssp", "nsl"];

/// An `ar` archive without members.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";

fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=symbols.txt");
    // Not read here, but what was linked by an older wrapper has to be linked again.
    println!("cargo:rerun-if-changed=illumos-ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("illumos") {
        return;
    }
    let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let folder = Path::new(&folder);
    let write = |name: String, contents: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, contents).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    };
    for library in EMPTY_LIBRARIES {
        write(format!("lib{library}.a"), EMPTY_ARCHIVE);
    }
    let text = fs::read_to_string("symbols.txt")
        .unwrap_or_else(|error| panic!("cannot read guest-rt/symbols.txt: {error}"));
    let libraries = symbols::parse(&text).unwrap_or_else(|error| panic!("guest-rt/symbols.txt: {error}"));
    for library in libraries.iter().filter(|library| library.soname != symbols::ABSENT) {
        let (name, _version) =
            library.soname.rsplit_once('.').expect("a shared library is called NAME.so.VERSION");
        write(name.to_owned(), &stub::shared_object(library));
    }
    println!("cargo:rustc-link-search=native={}", folder.display());
}
