//! `cargo xtask vm`: the Debian guest of ring 3.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use kiln_harness::{account, guest::Guest, recipe};

use crate::apt::sources;
use crate::machine;
use crate::task::setup;

/// The Debian guest of ring 3.
#[derive(Debug, Subcommand)]
pub enum Vm {
    /// Build the guest, unless the cache has it.
    Build,
    /// Print the guest's folder.
    Path,
    /// Run a shell script as root in the guest.
    Run(Run),
}

/// Run a shell script as root in the guest.
#[derive(Debug, Args)]
pub struct Run {
    /// Seconds after which the guest is given up.
    #[arg(short, long, default_value_t = 600)]
    timeout: u64,
    /// Load ZFS first.
    #[arg(short, long)]
    zfs: bool,
    /// Attach FILE as the read-only disk /dev/disk/by-id/virtio-NAME.
    #[arg(short, long, value_name = "NAME=FILE")]
    disk: Vec<String>,
    /// Copy what the script left in $OUT into this folder.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The script; its working folder holds the FILEs.
    script: PathBuf,
    /// Files that the script finds in its working folder, under their base names.
    files: Vec<PathBuf>,
}

/// Runs the task.
pub fn run(vm: &Vm) -> Result<()> {
    match vm {
        Vm::Build => build(),
        Vm::Path => {
            println!("{}", recipe::guest_folder().display());
            Ok(())
        }
        Vm::Run(options) => run_script(options),
    }
}

/// Builds the guest if the cache does not have it. Two builds at once wait for each other; a failed or killed one
/// leaves no guest behind.
pub fn build() -> Result<()> {
    let target = recipe::guest_folder();
    if recipe::is_built(&target) {
        eprintln!("the guest is {}", target.display());
        return Ok(());
    }
    let cache = recipe::cache_folder();
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let _lock = lock(&cache.join("guest.lock"))?;
    if recipe::is_built(&target) {
        return Ok(());
    }
    ensure!(
        account::is_root(),
        "the guest is built as root: run `sudo env HOME=\"$HOME\" \"$(command -v cargo)\" xtask vm build`"
    );

    setup::ensure(&[setup::Purpose::Machines])?;
    let lines = apt_lines()?;
    eprintln!("building the guest of ring 3 in {}: 8 minutes or more", target.display());
    let work = cache.join("guest.building");
    remove(&work)?;
    fs::create_dir(&work).with_context(|| format!("cannot create {}", work.display()))?;
    for (name, text) in recipe::FILES {
        fs::write(work.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let mut command = Command::new("bash");
    command.arg(work.join("build")).arg(&work).arg(recipe::SUITE).args(&lines);
    let built = machine::run(&mut command).and_then(|()| {
        ensure!(recipe::is_built(&work), "the build of the guest left no complete guest");
        Ok(())
    });
    if let Err(error) = built {
        remove(&work)?;
        return Err(error.context("cannot build the guest"));
    }
    // What lies here is not a complete guest, or the checks above would have found it.
    remove(&target)?;
    fs::rename(&work, &target).with_context(|| format!("cannot rename to {}", target.display()))?;
    name_older_guests(&cache, &target)
}

/// The sources of the guest's packages, in the one-line format.
fn apt_lines() -> Result<Vec<String>> {
    let codename = machine::debian_codename()?;
    let sources = sources::read_all(Path::new("/"))?;
    let guest = sources::for_guest(&sources, &codename, recipe::SUITE, recipe::COMPONENTS);
    if guest.is_empty() {
        bail!(
            "no source in /etc/apt gives the suite {codename}, so there is no archive to build the guest from"
        );
    }
    Ok(guest.iter().flat_map(sources::Source::one_line).collect())
}

/// Takes the lock that one build at a time holds; it is given back when the file closes.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("waiting for another build of the guest to end"),
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the guest"),
    }
    file.lock().context("cannot lock the guest")?;
    Ok(file)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Names guests of other recipes. Another checkout may use them, so they are not removed here.
fn name_older_guests(cache: &Path, current: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        let is_guest = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("guest-"));
        if is_guest && path != current {
            eprintln!("{} is a guest of another recipe; remove it if no checkout needs it", path.display());
        }
    }
    Ok(())
}

fn run_script(options: &Run) -> Result<()> {
    build()?;
    let script = fs::read_to_string(&options.script)
        .with_context(|| format!("cannot read {}", options.script.display()))?;
    let mut guest = Guest::at(recipe::guest_folder()).deadline(Duration::from_secs(options.timeout));
    if options.zfs {
        guest = guest.zfs();
    }
    for disk in &options.disk {
        let (name, file) = disk.split_once('=').context("--disk takes NAME=FILE")?;
        guest = guest.disk(name, file);
    }
    for file in &options.files {
        let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
        guest = guest.file(name.to_string_lossy(), file);
    }
    let done = guest.run(&script)?;
    io::stdout().write_all(&done.stdout)?;
    io::stderr().write_all(&done.stderr)?;
    if let Some(output) = &options.output {
        fs::create_dir_all(output)?;
        machine::run(
            Command::new("cp").args(["--sparse=always", "-a"]).arg(done.results().join(".")).arg(output),
        )?;
    }
    ensure!(done.status == 0, "the script ended with status {}", done.status);
    Ok(())
}
