//! How a program is run.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// When a call ends the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the call has any effect.
    Before,
    /// After the call is done, before the program learns of it. A call that starts a process is done when that process has
    /// ended: the program is killed when it would learn of the end, by waiting or by ending itself.
    After,
    /// After half of it: a write of n bytes wrote n / 2. Calls that are no writes are done whole.
    Half,
}

/// How a program is run. What is not set is as on a platform of today, in real time, unobserved.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    platform: Option<String>,
    time_scale: Option<u32>,
    devices: Vec<(PathBuf, PathBuf)>,
    disks: Option<PathBuf>,
    hostname: Option<PathBuf>,
    zone: Option<u32>,
    memory: Option<u64>,
    clock: Option<PathBuf>,
    killed: Option<PathBuf>,
    power: Option<PathBuf>,
    trace: Option<PathBuf>,
    count: Option<PathBuf>,
    kill_at: Option<(u64, Moment)>,
    fail_at: Option<(u64, String)>,
}

/// The variables by which the shim takes its settings; programs under it never see them. c/settings.c reads them.
const PREFIX: &str = "ABI_SHIM_";

impl Settings {
    /// Plays the platform of a date, such as `20130506T233003Z`: functions that came later are missing, `F_DUPFD_CLOEXEC`
    /// (2013-05-08) is invalid, `SOCK_NONBLOCK` (2013-05-13) and `O_DIRECTORY` (2020-02-05) are ignored.
    #[must_use]
    pub fn platform(mut self, stamp: &str) -> Self {
        self.platform = Some(stamp.to_owned());
        self
    }

    /// Makes the program's clocks run `factor` times as fast, and its sleeps and timeouts as much shorter.
    ///
    /// # Panics
    /// When `factor` is 0.
    #[must_use]
    pub fn time_scale(mut self, factor: u32) -> Self {
        assert_ne!(factor, 0, "clocks cannot stand still");
        self.time_scale = Some(factor);
        self
    }

    /// Shows the host's device or file `host`, or what is in the folder `host`, under the guest's path `guest`, such as
    /// `/dev/term/b`. Both are absolute and without colons. Of several for one path, the first counts.
    #[must_use]
    pub fn device(mut self, guest: impl Into<PathBuf>, host: impl Into<PathBuf>) -> Self {
        self.devices.push((guest.into(), host.into()));
        self
    }

    /// Shows the disks of the table in this file below `/dev/dsk` and `/dev/rdsk`; see [`crate::disks`]. The table may
    /// change while programs run.
    #[must_use]
    pub fn disks(mut self, table: impl Into<PathBuf>) -> Self {
        self.disks = Some(table.into());
        self
    }

    /// Runs the program in the zone of this number; without, it is the global zone's.
    #[must_use]
    pub fn zone(mut self, number: u32) -> Self {
        self.zone = Some(number);
        self
    }

    /// Tells programs that the machine has so many bytes of memory; without, it is what it really has.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Takes the machine's node name from the first line of the file, each time that it is asked for. Without the file the
    /// name is empty, as before anybody sets one. Without this setting the machine's own name is told.
    #[must_use]
    pub fn hostname(mut self, file: impl Into<PathBuf>) -> Self {
        self.hostname = Some(file.into());
        self
    }

    /// Keeps in the file what the programs set their clock to; see [`crate::clock`]. Without it, setting the clock has no
    /// effect.
    #[must_use]
    pub fn clock(mut self, file: impl Into<PathBuf>) -> Self {
        self.clock = Some(file.into());
        self
    }

    /// Makes the file when a process is killed by [`Self::kill_at`], with the line of the trace. From then on every other
    /// process that has this setting dies as well, at its start or before its next call that is counted: the machine is
    /// off. To be removed before the next boot.
    #[must_use]
    pub fn killed(mut self, file: impl Into<PathBuf>) -> Self {
        self.killed = Some(file.into());
        self
    }

    /// Records in the log, which [`crate::power::begin`] has made, what a power failure would undo.
    #[must_use]
    pub fn power(mut self, log: impl Into<PathBuf>) -> Self {
        self.power = Some(log.into());
        self
    }

    /// Appends a line for every call to the file; see [`crate::trace::read`].
    #[must_use]
    pub fn trace(mut self, file: impl Into<PathBuf>) -> Self {
        self.trace = Some(file.into());
        self
    }

    /// Keeps the numbers of calls in the file, for all processes that share it; see [`crate::Counts::read`]. Where there
    /// is such a file already, counting goes on from what it says.
    #[must_use]
    pub fn count(mut self, file: impl Into<PathBuf>) -> Self {
        self.count = Some(file.into());
        self
    }

    /// Kills the process that makes the `change`-th call that changes anything, counted from 1.
    #[must_use]
    pub fn kill_at(mut self, change: u64, moment: Moment) -> Self {
        self.kill_at = Some((change, moment));
        self
    }

    /// Lets the `change`-th call that changes anything fail without effect, with an error such as `EIO`.
    #[must_use]
    pub fn fail_at(mut self, change: u64, error: &str) -> Self {
        self.fail_at = Some((change, error.to_owned()));
        self
    }

    /// Whether the platform has the names that the libraries exist with and without; c/abi-run.c asks the same.
    pub(crate) fn has_new_names(&self) -> bool {
        self.platform.as_deref().is_none_or(|stamp| stamp >= env!("KILN_SHIM_NEW_NAMES_SINCE"))
    }

    /// Sets the variables for a process that [`crate::launcher`] runs in, and removes what it would inherit.
    pub fn apply(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(PREFIX) {
                command.env_remove(name);
            }
        }
        let mut set = |name: &str, value: &str| {
            command.env(format!("{PREFIX}{name}"), value);
        };
        if let Some(stamp) = &self.platform {
            set("PLATFORM", stamp);
        }
        if let Some(factor) = self.time_scale {
            set("TIME_SCALE", &factor.to_string());
        }
        if !self.devices.is_empty() {
            let mut list = String::new();
            for (guest, host) in &self.devices {
                let separator = if list.is_empty() { "" } else { ":" };
                write!(list, "{separator}{}={}", guest.display(), host.display())
                    .expect("a string takes all");
            }
            set("DEVICES", &list);
        }
        if let Some(zone) = self.zone {
            command.env(format!("{PREFIX}ZONE"), zone.to_string());
        }
        if let Some(bytes) = self.memory {
            command.env(format!("{PREFIX}MEMORY"), bytes.to_string());
        }
        let mut set_path = |name: &str, path: &Option<PathBuf>| {
            if let Some(path) = path {
                command.env(format!("{PREFIX}{name}"), absolute(path));
            }
        };
        set_path("DISKS", &self.disks);
        set_path("HOSTNAME_FILE", &self.hostname);
        set_path("CLOCK", &self.clock);
        set_path("KILLED", &self.killed);
        set_path("POWER", &self.power);
        set_path("TRACE", &self.trace);
        set_path("COUNT", &self.count);
        if let Some((change, moment)) = self.kill_at {
            let moment = match moment {
                Moment::Before => "before",
                Moment::After => "after",
                Moment::Half => "half",
            };
            command.env(format!("{PREFIX}KILL_AT"), format!("{change}:{moment}"));
        }
        if let Some((change, error)) = &self.fail_at {
            command.env(format!("{PREFIX}FAIL_AT"), format!("{change}:{error}"));
        }
    }
}

/// The program may change its current folder before a child of it opens the file.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).expect("the path is not empty")
}
