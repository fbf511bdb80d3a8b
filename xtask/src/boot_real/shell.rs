//! Running commands in the guest, by SSH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::era::Stamp;
use super::exec::{self, Said};
use super::patience::Wait;

/// OpenSSH's exit status when it could not connect or log in.
const NO_SESSION: i32 = 255;

/// How long a key may take to be made.
const KEY_LIMIT: Duration = Duration::from_mins(1);

/// Somewhere to run commands.
pub trait Shell {
    /// Runs `command` by root's shell.
    ///
    /// # Errors
    /// When it could not be run, or `wait` is over before it ends. A command that fails is no error.
    fn run(&mut self, command: &str, wait: &Wait) -> Result<Said>;
}

/// A key that was made for this run: nobody else can log in, and it can do so nowhere else.
#[derive(Debug)]
pub struct Key {
    private: PathBuf,
    /// The public part, as a line of `authorized_keys`.
    pub public: String,
}

impl Key {
    /// Makes a key of the kind that the platform's server takes.
    pub fn make(ssh_keygen: &Path, stamp: &Stamp, folder: &Path, wait: &Wait) -> Result<Self> {
        let private = folder.join("key");
        let public = folder.join("key.pub");
        for path in [&private, &public] {
            // ssh-keygen would ask whether it may be replaced.
            let _ = fs::remove_file(path);
        }
        let mut command = Command::new(ssh_keygen);
        command.args(["-q", "-t", stamp.key_kind(), "-N", "", "-C", "kiln-boot-real", "-f"]).arg(&private);
        exec::succeed(&mut command, &wait.at_most(KEY_LIMIT))?;
        let line =
            fs::read_to_string(&public).with_context(|| format!("cannot read {}", public.display()))?;
        Ok(Self { private, public: line.trim().to_owned() })
    }
}

/// OpenSSH's client.
#[derive(Debug)]
pub struct Ssh {
    arguments: Vec<std::ffi::OsString>,
    ssh: PathBuf,
}

impl Ssh {
    /// Commands that are run at `port` of the loopback address. The guest's host key is learned at the first login, in
    /// `folder/known_hosts`, and must be the same ever after.
    pub fn new(ssh: PathBuf, stamp: &Stamp, key: &Key, port: u16, folder: &Path) -> Self {
        let mut arguments: Vec<std::ffi::OsString> =
            ["-F", "none", "-T", "-n", "-i"].map(Into::into).to_vec();
        arguments.push((&key.private).into());
        let known = format!("UserKnownHostsFile=\"{}\"", folder.join("known_hosts").display());
        let fixed = [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PreferredAuthentications=publickey",
            "StrictHostKeyChecking=accept-new",
            "GlobalKnownHostsFile=none",
            "UpdateHostKeys=no",
            "CheckHostIP=no",
            "LogLevel=ERROR",
            "ConnectTimeout=15",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=6",
            &known,
        ];
        for option in fixed.iter().chain(stamp.ssh_options()) {
            arguments.extend(["-o".into(), option.into()]);
        }
        arguments.extend(["-p".into(), port.to_string().into(), "root@127.0.0.1".into()]);
        // A known host of an earlier run was another one.
        let _ = fs::remove_file(folder.join("known_hosts"));
        Self { arguments, ssh }
    }
}

impl Shell for Ssh {
    fn run(&mut self, command: &str, wait: &Wait) -> Result<Said> {
        let said = exec::run(Command::new(&self.ssh).args(&self.arguments).arg(command), wait)?;
        if said.status == Some(NO_SESSION) {
            bail!("cannot log in: {}", said.stderr.trim());
        }
        Ok(said)
    }
}
