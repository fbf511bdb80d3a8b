//! The program: finds out which command it is, plays it, and writes down that it did.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::faults::{Action, Fault};
use crate::world::{append, read_json};
use crate::{Reply, World, commands, real};

/// Where commands find the machine's folder; callers clear the environment, so no variable can say it.
pub const MACHINE: &str = "/.simulator";

/// A line of `commands.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// The arguments, the command's name first.
    pub argv: Vec<String>,
    /// The exit status; none when it never ended by itself.
    pub status: Option<u8>,
    /// What it wrote to standard error, and, when that is nothing, the beginning of its output.
    pub said: String,
}

/// Plays the command that the name it is called under says.
pub fn main() -> ExitCode {
    let argv: Vec<String> = env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let name = argv.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    #[cfg(target_env = "gnu")]
    if let ("simulator", [_, what @ ("boot" | "startd"), machine]) = (name, argv.as_slice()) {
        let machine = Path::new(machine);
        let done = if *what == "boot" { crate::boot::enter(machine) } else { crate::boot::startd(machine) };
        return done.map_or_else(
            |error| {
                eprintln!("simulator {what}: {error:#}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    match play(Path::new(MACHINE), name, &argv) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("simulator: {name}: {error:#}");
            ExitCode::from(Reply::REFUSED)
        }
    }
}

fn play(machine: &Path, name: &str, argv: &[&str]) -> Result<u8> {
    let command =
        commands::by_name(name).with_context(|| format!("{name} is no command of illumos that is played"))?;
    let mut world = World::load(machine, Path::new("/"))?;
    let mut run = command.run;
    if world.has_real_disks()
        && let Some(real) = real::by_name(name)
    {
        run = real;
        world.step_out()?;
    }
    let machine = world.machine.clone();
    let action = fault(&mut world, name, argv.get(1..).unwrap_or_default())?;
    let log = |status: Option<u8>, said: &[u8]| {
        let said = String::from_utf8_lossy(&said[..said.len().min(2000)]).into_owned();
        let line = Logged { argv: argv.iter().map(|&word| word.to_owned()).collect(), status, said };
        append(&machine.join("commands.log"), &serde_json::to_string(&line)?)
    };
    let mut reply = match &action {
        Some(Action::Fail { status, stderr }) => Reply::fail(*status, stderr),
        Some(Action::Hang) => {
            world.store()?;
            drop(world);
            log(None, b"hangs")?;
            std::thread::sleep(Duration::from_hours(1));
            return Ok(1);
        }
        _ => {
            world.stops_half_way = matches!(action, Some(Action::DieHalf | Action::Abort { half: true }));
            run(&mut world, argv)
        }
    };
    if let Some(action) = &action {
        reply.stdout = action.distort(reply.stdout);
    }
    if let Some(complaint) = &reply.complaint {
        let line = format!("simulator: {} {name} {complaint} ({})", world.era(), argv.join(" "));
        world.complain(&line)?;
        reply.stderr.extend_from_slice(format!("{line}\n").as_bytes());
    }
    let waits = matches!(name, "zpool" | "zfs") && world.has_changed_pools();
    world.store()?;
    if waits || name == "sync" {
        durable(&machine.join("boot/power.log"), "zfs")?;
    }
    drop(world);
    match action {
        Some(Action::Abort { .. }) => {
            log(None, b"ended by a signal")?;
            std::process::abort();
        }
        Some(Action::HangAfter) => {
            log(None, b"hangs")?;
            std::thread::sleep(Duration::from_hours(1));
            return Ok(1);
        }
        Some(Action::DieHalf | Action::DieAfter) => {
            log(None, b"power fails")?;
            append(&machine.join("boot/killed"), name)?;
            // Whoever plays the boot sees the file and ends everything; nothing more may happen here.
            std::thread::sleep(Duration::from_hours(1));
            return Ok(1);
        }
        _ => {}
    }
    log(Some(reply.status), if reply.stderr.is_empty() { &reply.stdout } else { &reply.stderr })?;
    // A caller that closed its end does not matter to illumos' commands either.
    let _ = std::io::stdout().write_all(&reply.stdout);
    let _ = std::io::stderr().write_all(&reply.stderr);
    Ok(reply.status)
}

/// The fault that this call meets, if any.
fn fault(world: &mut World, name: &str, arguments: &[&str]) -> Result<Option<Action>> {
    let faults: Vec<Fault> = read_json(&world.machine.join("faults.json"))?.unwrap_or_default();
    let matches = &mut world.runtime.fault_matches;
    matches.resize(faults.len(), 0);
    let mut action = None;
    for (fault, count) in faults.into_iter().zip(matches) {
        if fault.matches(name, arguments) {
            *count += 1;
            if fault.nth == 0 || fault.nth == *count {
                action = action.or(Some(fault.action));
            }
        }
    }
    Ok(action)
}

/// Tells the record of what a power failure would undo that a file system's files are on disk: a change of ZFS waits for the
/// transaction group, unmounting for everything.
pub(crate) fn durable(log: &Path, what: &str) -> Result<()> {
    if log.exists() { append(log, &format!("durable {what}")) } else { Ok(()) }
}
