//! Compiles the boot loader in `loader/` to the flat binary that `src/builtin` writes to the start of a disk.

use std::path::{Path, PathBuf};
use std::{env, fs};

mod nested_build;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=nested_build.rs");
    for source in ["src", "Cargo.toml", "Cargo.lock", "loader.ld"] {
        println!("cargo::rerun-if-changed=loader/{source}");
    }

    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    let flat = nested_build::build_bare(
        &here.join("loader"),
        "kiln-loader",
        "loader.ld",
        &["-Clink-arg=--oformat=binary"],
        &out.join("loader"),
    );
    let copy: &Path = &out.join("loader.bin");
    fs::copy(&flat, copy).unwrap_or_else(|error| panic!("cannot copy {}: {error}", flat.display()));
}
