//! The programs for the inside of the guest: which there are, how they are built, and what is checked.

mod check;
mod elf;
#[path = "../../../guest-rt/build/symbols.rs"]
mod symbols;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kiln_harness::scratch;
use kiln_workshop::{System, Workshop, usual_cargo_home};

use crate::machine;
use check::Expected;

/// A program and what it may be.
#[derive(Debug)]
pub struct Program {
    /// The package it is in.
    package: &'static str,
    /// What its executable is called.
    name: &'static str,
    /// The libraries that it may need on illumos.
    libraries: &'static [&'static str],
    /// The systems that it is built for, with how long its file may be there, in KiB.
    systems: &'static [(System, u64)],
}

/// The programs that images carry.
pub const SHIPPED: &[Program] = &[
    Program {
        package: "guest-mdata",
        name: "mdata",
        libraries: &["libc.so.1", "libsocket.so.1"],
        systems: &[(System::Illumos, 400), (System::Linux, 400)],
    },
    Program {
        package: "guest-init",
        name: "guest-init",
        libraries: &["libc.so.1", "libsocket.so.1"],
        systems: &[(System::Illumos, 1200)],
    },
];

/// The program that tries what the others use of the platform: for the tests of the ABI shim.
pub const PROBE: Program = Program {
    package: "kiln-probe",
    name: "kiln-probe",
    libraries: &["libc.so.1", "libsocket.so.1"],
    systems: &[(System::Illumos, 300), (System::Linux, 400)],
};

/// Where a program lies below the output folder.
fn place(program: &Program, system: System) -> PathBuf {
    match system {
        System::Illumos => program.name.into(),
        System::Linux => Path::new("linux").join(program.name),
    }
}

/// This checkout, and where what is made of it goes.
pub fn workshop() -> Workshop {
    Workshop::new(machine::workspace_root(), scratch::target_folder().join("guest-build"))
}

/// Builds `programs` into `output`, checks them, and prints a line about each.
///
/// # Errors
/// When one cannot be built, or when something is wrong with one; all of them are checked first.
pub fn make(workshop: &Workshop, programs: &[&Program], output: &Path) -> Result<()> {
    let list = workshop.sources().join("guest-rt/symbols.txt");
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let platform = symbols::parse(&list).map_err(|error| anyhow::anyhow!("guest-rt/symbols.txt: {error}"))?;
    let private_paths = workshop.private_paths()?;
    let mut findings = 0;
    for program in programs {
        for &(system, max_kib) in program.systems {
            let expected = Expected {
                libraries: program.libraries,
                max_len: max_kib * 1024,
                private_paths: &private_paths,
            };
            let built = workshop.build(program.package, program.name, system)?;
            let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
            let path = output.join(place(program, system));
            install(&built, &path)?;
            println!("{:>7} bytes  {}", bytes.len(), path.display());
            let found = match system {
                System::Illumos => check::illumos(&bytes, &expected, &platform),
                System::Linux => check::linux(&bytes, &expected),
            };
            for finding in &found {
                eprintln!("{}: {finding}", path.display());
            }
            findings += found.len();
        }
    }
    ensure!(findings == 0, "{findings} things are wrong with the guest programs");
    Ok(())
}

/// Puts a program into its place at once, so that nobody sees half of it.
fn install(built: &Path, path: &Path) -> Result<()> {
    let folder = path.parent().context("a program has a folder")?;
    let work = || {
        fs::create_dir_all(folder)?;
        let half = path.with_extension("new");
        fs::copy(built, &half)?;
        fs::rename(&half, path)
    };
    work().with_context(|| format!("cannot write {}", path.display()))
}

/// Builds `programs` a second time, from a copy of the sources in another folder and with cargo's home under another
/// name, and compares with what is in `output`.
///
/// # Errors
/// When a program comes out different.
pub fn compare_with_another_clone(programs: &[Program], output: &Path) -> Result<()> {
    let scratch = scratch::folder("another-clone");
    let sources = scratch.path().join("a-longer-name-of-the-clone");
    copy_sources(&machine::workspace_root(), &sources)?;
    let cargo_home = scratch.path().join("cargo-home");
    symlink(usual_cargo_home()?, &cargo_home).context("cannot link to cargo's home")?;
    let workshop = Workshop::new(sources, scratch.path().join("target")).with_cargo_home(cargo_home);
    for program in programs {
        for &(system, _) in program.systems {
            let again = fs::read(workshop.build(program.package, program.name, system)?)
                .context("cannot read what another clone made")?;
            let path = output.join(place(program, system));
            let first = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if again != first {
                let kept = path.with_extension("other-clone");
                fs::write(&kept, &again)?;
                bail!("{} differs from what another clone makes: {}", path.display(), kept.display());
            }
        }
    }
    Ok(())
}

/// Copies a checkout without what was made of it.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if ["target", ".git", "data", "output"].iter().any(|skipped| name == *skipped) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                copy_sources(&entry.path(), &to.join(&name)).map_err(std::io::Error::other)?;
            } else {
                fs::copy(entry.path(), to.join(&name))?;
            }
        }
        Ok(())
    };
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
