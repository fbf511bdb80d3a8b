//! Builds the programs for the inside of the guest, so that their bytes depend on the sources, the locked crates and the
//! toolchain, and not on any folder or on the user's settings.
//!
//! kiln's build script takes from here what images carry, and `cargo xtask guest` what it checks: the same bytes.

#![forbid(unsafe_code)]

pub mod cargo;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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
    pub fn target(self) -> &'static str {
        match self {
            Self::Illumos => "x86_64-unknown-illumos",
            Self::Linux => "x86_64-unknown-linux-musl",
        }
    }
}

/// A checkout of the sources with a place for what is made of them.
#[derive(Debug)]
pub struct Workshop {
    sources: PathBuf,
    target: PathBuf,
    cargo_home: Option<PathBuf>,
}

impl Workshop {
    /// For the workspace in the folder `sources`, with cargo's target folder `target` for the guest programs alone: the outer
    /// cargo may hold the lock of the usual one.
    pub fn new(sources: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { sources: sources.into(), target: target.into(), cargo_home: None }
    }

    /// The same with cargo's home under this name.
    #[must_use]
    pub fn with_cargo_home(mut self, cargo_home: PathBuf) -> Self {
        self.cargo_home = Some(cargo_home);
        self
    }

    /// The folder of the workspace.
    pub fn sources(&self) -> &Path {
        &self.sources
    }

    /// Builds the program `name` of a package and gives the path of its executable.
    ///
    /// # Errors
    /// When it does not compile or link; cargo has said why on standard error.
    pub fn build(&self, package: &str, name: &str, system: System) -> Result<PathBuf> {
        let mut build = self.cargo();
        // One program a call: built together, they would share the features of the crates that both use.
        build
            .args(["build", "--quiet", "--locked", "--profile", "guest"])
            .args(["--target", system.target(), "--package", package, "--bin", name])
            .arg("--target-dir")
            .arg(&self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", self.remapped_paths(system)?.join("\x1f"));
        let status = build.status().context("cannot start cargo")?;
        ensure!(status.success(), "cannot build {name}{}", missing_target(system));
        Ok(self.target.join(system.target()).join("guest").join(name))
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
        let metadata: Value =
            serde_json::from_str(&output_of(&mut metadata)?).context("cargo metadata wrote no JSON")?;
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
    ///
    /// # Errors
    /// When the toolchain cannot be found.
    pub fn private_paths(&self) -> Result<Vec<String>> {
        let cargo_home = match &self.cargo_home {
            Some(home) => home.clone(),
            None => usual_cargo_home()?,
        };
        let folders = [&self.sources, &self.target, &cargo_home, &sysroot()?];
        Ok(folders.map(|folder| folder.display().to_string()).into())
    }
}

/// What to do, if the reason is that `std` for the system is not there.
fn missing_target(system: System) -> String {
    let target = system.target();
    let folder = output_of(Command::new("rustc").args(["--print", "target-libdir", "--target", target]));
    match folder {
        Ok(folder) if Path::new(folder.trim_end()).is_dir() => String::new(),
        _ => format!(": the Rust target {target} is not installed; run: rustup target add {target}"),
    }
}

/// Where the toolchain is.
fn sysroot() -> Result<PathBuf> {
    Ok(output_of(Command::new("rustc").args(["--print", "sysroot"]))?.trim_end().into())
}

/// Where cargo keeps downloaded crates.
///
/// # Errors
/// When the environment does not say.
pub fn usual_cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

fn output_of(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    ensure!(output.status.success(), "{shown} failed");
    String::from_utf8(output.stdout).with_context(|| format!("{shown} wrote no UTF-8"))
}
