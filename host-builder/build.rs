//! Compiles the kernel of the stand-in platform, which the program carries to make demo platforms and test
//! images.

use std::path::PathBuf;
use std::{env, fs};

#[path = "formats/bootdisk/nested_build.rs"]
mod nested_build;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=formats/bootdisk/nested_build.rs");
    for source in ["src", "Cargo.toml", "Cargo.lock", "kernel.ld"] {
        println!("cargo::rerun-if-changed=stand-in/kernel/{source}");
    }

    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    let kernel = nested_build::build_bare(
        &here.join("stand-in/kernel"),
        "unix",
        "kernel.ld",
        &[],
        &out.join("stand-in-kernel"),
    );
    fs::copy(&kernel, out.join("unix"))
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", kernel.display()));
}
