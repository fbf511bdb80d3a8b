//! A root folder of its own for a program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{Settings, built, launcher};

/// Where illumos has its loader, by the name that executables record, and its libraries.
const LIBRARIES: &str = "lib/amd64";
const LOADER: &str = "lib/amd64/ld.so.1";

/// Devices that every root folder shows, and the folder of terminals.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// A folder that programs see as `/`.
///
/// The loader and the libraries lie in it where illumos has its own, so the *unchanged* executables run, and start each
/// other. It takes root with the right to change its root folder (a container's default), or else user namespaces;
/// then the program is root in there, and files can belong to nobody but it.
#[derive(Debug, Clone)]
pub struct Root {
    folder: PathBuf,
    settings: Settings,
}

impl Root {
    /// Prepares the existing folder `folder`. The platform of `settings` is that of every program run in it.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn create(folder: &Path, settings: &Settings) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("{}", folder.display()))?;
        let libraries = folder.join(LIBRARIES);
        fs::create_dir_all(&libraries).with_context(|| format!("{}", libraries.display()))?;
        let variant = if settings.has_new_names() { "new" } else { "old" };
        for name in ["libc.so.1", "libsocket.so.1", "libm.so.2"] {
            share(&built().join(variant).join(name), &libraries.join(name))?;
        }
        share(&built().join("libabi-shim.so"), &libraries.join("libabi-shim.so"))?;
        for name in ["libc.so.6", "libm.so.6"] {
            share(&built().join("host").join(name), &libraries.join(name))?;
        }
        share(&built().join("host/ld-linux-x86-64.so.2"), &folder.join(LOADER))?;
        let settings =
            DEVICES.iter().fold(settings.clone(), |settings, &device| settings.device(device, device));
        Ok(Self { folder, settings })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies an executable into the root, under the absolute path `path` in there.
    ///
    /// # Errors
    /// When the program cannot be read or the copy cannot be made.
    pub fn install(&self, program: &Path, path: &str) -> Result<()> {
        let to = self.host_path(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
        }
        copy(program, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("{}", to.display()))
    }

    /// The host's path of an absolute path in the root. Symbolic links are not followed.
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// The settings, to be refined for a run; its devices are those of the root and more.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// A program in the root, by its absolute path in there; `settings` come from [`Self::settings`].
    pub fn command(&self, path: &str, settings: &Settings) -> Command {
        let mut command = Command::new(launcher());
        command.arg("--root").arg(&self.folder).arg(path);
        settings.apply(&mut command);
        command
    }
}

/// Makes `to` the same file as `from`, or a copy where that is not possible.
fn share(from: &Path, to: &Path) -> Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{}", to.display()));
        }
        _ => {}
    }
    fs::hard_link(from, to).or_else(|_| copy(from, to))
}

/// Copies a file by another process. A child that some other thread of this one starts meanwhile would hold the copy open
/// for writing until it executes its own program, and what is open for writing cannot be started (ETXTBSY).
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("--").args([from, to]).status().context("cannot start cp")?;
    ensure!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}
