//! The programs for the inside of the guest: which there are, how they are built, and what is checked.

mod check;
mod elf;
#[path = "../../../guest-rt/build/symbols.rs"]
mod symbols;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kiln_harness::{cargo, scratch};
use serde_json::Value;

use crate::machine;
use check::Expected;

/// A system that guest programs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// SmartOS, from the oldest platform on.
    Illumos,
    /// Any Linux: the program is static.
    Linux,
}

impl System {
    /// What rustc calls it.
    fn target(self) -> &'static str {
        match self {
            Self::Illumos => "x86_64-unknown-illumos",
            Self::Linux => "x86_64-unknown-linux-musl",
        }
    }
}

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
pub const SHIPPED: &[Program] = &[Program {
    package: "guest-mdata",
    name: "mdata",
    libraries: &["libc.so.1", "libsocket.so.1"],
    systems: &[(System::Illumos, 400), (System::Linux, 400)],
}];

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

/// A checkout of the sources with a place for what is made of them.
#[derive(Debug)]
pub struct Workshop {
    /// The folder of the workspace.
    sources: PathBuf,
    /// cargo's target folder for the guest programs alone.
    target: PathBuf,
    /// cargo's home, if it is not the usual one.
    cargo_home: Option<PathBuf>,
}

impl Workshop {
    /// This checkout.
    pub fn here() -> Self {
        Self {
            sources: machine::workspace_root(),
            target: scratch::target_folder().join("guest-build"),
            cargo_home: None,
        }
    }

    /// Builds a program and gives the path of its executable. The bytes depend on the sources, the locked crates and the
    /// toolchain, and not on any folder or on the user's settings.
    fn build(&self, program: &Program, system: System) -> Result<PathBuf> {
        let remapped = self.remapped_paths(system)?;
        let mut build = self.cargo();
        // One program a call: built together, they would share the features of the crates that both use.
        build
            .args(["build", "--quiet", "--locked", "--profile", "guest"])
            .args(["--target", system.target(), "--package", program.package, "--bin", program.name])
            .arg("--target-dir")
            .arg(&self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", remapped.join("\x1f"));
        machine::run(&mut build).with_context(|| format!("cannot build {}", program.name))?;
        Ok(self.target.join(system.target()).join("guest").join(program.name))
    }

    fn cargo(&self) -> Command {
        let mut command = cargo::nested();
        command.current_dir(&self.sources);
        if let Some(home) = &self.cargo_home {
            command.env("CARGO_HOME", home);
        }
        command
    }

    /// Compiler flags that replace each folder with sources by a name that is the same everywhere: panic messages name
    /// source files.
    fn remapped_paths(&self, system: System) -> Result<Vec<String>> {
        let mut metadata = self.cargo();
        metadata.args(["metadata", "--format-version=1", "--locked", "--filter-platform", system.target()]);
        let (success, text) = machine::capture(&mut metadata)?;
        ensure!(success, "cargo metadata failed");
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata wrote no JSON")?;
        let mut flags = vec![format!("--remap-path-prefix={}=/kiln", self.sources.display())];
        for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
            let text = |key: &str| {
                package[key].as_str().with_context(|| format!("a package without {key} in cargo metadata"))
            };
            let (name, version) = (text("name")?, text("version")?);
            let folder = Path::new(text("manifest_path")?).parent().context("a manifest without a folder")?;
            if !folder.starts_with(&self.sources) {
                flags.push(format!("--remap-path-prefix={}=/crates/{name}-{version}", folder.display()));
            }
        }
        // With the component rust-src installed, std's sources have a folder on this machine.
        flags.push(format!("--remap-path-prefix={}/lib/rustlib/src/rust=/rustc", sysroot()?.display()));
        Ok(flags)
    }

    /// Folders of which no program may speak.
    fn private_paths(&self) -> Result<Vec<String>> {
        let cargo_home = match &self.cargo_home {
            Some(home) => home.clone(),
            None => usual_cargo_home()?,
        };
        let folders = [&self.sources, &self.target, &cargo_home, &sysroot()?];
        Ok(folders.map(|folder| folder.display().to_string()).into())
    }
}

/// Where the toolchain is.
fn sysroot() -> Result<PathBuf> {
    let (success, path) = machine::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    ensure!(success, "rustc --print sysroot failed");
    Ok(path.trim_end().into())
}

/// Where cargo keeps downloaded crates.
fn usual_cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Builds `programs` into `output`, checks them, and prints a line about each.
///
/// # Errors
/// When one cannot be built, or when something is wrong with one; all of them are checked first.
pub fn make(workshop: &Workshop, programs: &[&Program], output: &Path) -> Result<()> {
    let list = workshop.sources.join("guest-rt/symbols.txt");
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
            let built = workshop.build(program, system)?;
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
    let workshop = Workshop { sources, target: scratch.path().join("target"), cargo_home: Some(cargo_home) };
    for program in programs {
        for &(system, _) in program.systems {
            let again =
                fs::read(workshop.build(program, system)?).context("cannot read what another clone made")?;
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
