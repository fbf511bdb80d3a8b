//! Compiles what the program carries for other machines: the kernel of the stand-in platform, which makes demo platforms
//! and test images, and the programs for the inside of the guest.

use std::path::{Path, PathBuf};
use std::{env, fs};

use kiln_workshop::{System, Workshop};

#[path = "formats/bootdisk/nested_build.rs"]
mod nested_build;

/// Folders of the workspace that the guest's programs are made of.
const GUEST_SOURCES: [&str; 6] =
    ["guest-init", "guest-mdata", "guest-rt", "Cargo.toml", "Cargo.lock", ".cargo/config.toml"];

/// The guest's programs, by package and name.
const GUEST_PROGRAMS: [(&str, &str); 2] = [("guest-init", "guest-init"), ("guest-mdata", "mdata")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=formats/bootdisk/nested_build.rs");
    for source in ["src", "Cargo.toml", "Cargo.lock", "kernel.ld"] {
        println!("cargo::rerun-if-changed=stand-in/kernel/{source}");
    }
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    build_kernel(&here, &out);
    build_guest_programs(here.parent().expect("the package is in the workspace"), &out);
}

fn build_kernel(here: &Path, out: &Path) {
    let kernel = nested_build::build_bare(
        &here.join("stand-in/kernel"),
        "unix",
        "kernel.ld",
        &[],
        &out.join("stand-in-kernel"),
    );
    copy(&kernel, &out.join("unix"));
}

fn build_guest_programs(workspace: &Path, out: &Path) {
    for source in GUEST_SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let workshop = Workshop::new(workspace, target_folder(out).join("guest-build"));
    for (package, name) in GUEST_PROGRAMS {
        let program = workshop
            .build(package, name, System::Illumos)
            .unwrap_or_else(|error| panic!("the guest's programs cannot be made: {error:#}"));
        copy(&program, &out.join(name));
    }
}

/// cargo's target folder, which it marks for backup programs. Builds of all profiles share what is made there, and so does
/// `cargo xtask guest`.
fn target_folder(out: &Path) -> &Path {
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out)
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
}
