//! Tries what the programs in the guest use of the platform, one step after the other.
//!
//! `kiln-probe` runs every step, `kiln-probe STEP...` the named ones. Each prints `ok STEP: what it saw` or
//! `FAIL STEP: why`; the exit status is 1 if one failed. `kiln-probe panic` shows what a panic looks like.

use guest_rt as _;

mod devices;
mod files;
mod newer;
mod processes;

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// What a step saw, or why it failed.
type Seen = Result<String, Box<dyn Error>>;

type Step = fn() -> Seen;

/// The steps, by name, in the order in which they run.
const STEPS: &[(&str, Step)] = &[
    ("environment", environment),
    ("clocks", clocks),
    ("hash", hash),
    ("errors", errors),
    ("files", files::files),
    ("tree", files::tree),
    ("locks", files::locks),
    ("spawn", processes::spawn),
    ("spawn-elsewhere", processes::spawn_elsewhere),
    ("signals", processes::signals),
    ("threads", processes::threads),
    ("tcp", devices::tcp),
    ("unix-socket", devices::unix_socket),
    ("poll", devices::poll),
    ("terminal", devices::terminal),
    ("passwd", devices::passwd),
    ("born-with-flags", newer::born_with_flags),
    ("pieces", newer::pieces),
    ("whole-file-lock", newer::whole_file_lock),
    ("random", newer::random),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).collect();
    assert!(wanted != ["panic"], "on purpose");
    if let Some(unknown) = wanted.iter().find(|name| STEPS.iter().all(|(step, _)| step != name)) {
        eprintln!("no such step: {unknown}");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for (name, step) in STEPS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name))
    {
        match step() {
            Ok(seen) => println!("ok {name}: {seen}"),
            Err(error) => {
                failed = true;
                println!("FAIL {name}: {error}");
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

/// Fails with `what` unless `condition` holds.
fn ensure(condition: bool, what: &str) -> Result<(), Box<dyn Error>> {
    if condition { Ok(()) } else { Err(what.into()) }
}

fn environment() -> Seen {
    // SAFETY: the program has only this thread so far; steps that start threads also end them.
    unsafe { env::set_var("KILN_PROBE", "set") };
    ensure(env::var("KILN_PROBE")? == "set", "a variable that was set is not there")?;
    let current = env::current_dir()?;
    let program = env::current_exe()?;
    ensure(program.is_absolute(), "the path of the program is relative")?;
    Ok(format!("{} {}, in {}", env::consts::OS, env::consts::ARCH, current.display()))
}

fn clocks() -> Seen {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    ensure(start.elapsed() >= Duration::from_millis(20), "the sleep was too short")?;
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    ensure(since_1970.as_secs() > 1_000_000_000, "the date is before September 2001")?;
    Ok("a sleep lasts as long as asked for".to_owned())
}

fn hash() -> Seen {
    let table: HashMap<u32, u32> = (0..1000).map(|number| (number, number * number)).collect();
    ensure(table.get(&999) == Some(&998_001), "a value is lost")?;
    Ok(format!("{} values", table.len()))
}

fn errors() -> Seen {
    let error = std::fs::metadata("/nonexistent").err().ok_or("/nonexistent exists")?;
    ensure(error.kind() == std::io::ErrorKind::NotFound, "the kind of the error is wrong")?;
    ensure(error.raw_os_error() == Some(2), "the number of the error is wrong")?;
    Ok(error.to_string())
}
