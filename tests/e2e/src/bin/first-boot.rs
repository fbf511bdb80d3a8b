//! Boots an image on the simulator for the first time, and tells as JSON how that went. `cargo xtask demo` shows it and
//! `cargo xtask bench init` judges it; neither is to need what the simulator is built from.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use kiln_e2e::first_boot::{Image, PROGRAM};
use serde_json::json;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(stamp), None) = (words.next(), words.next()) else {
        eprintln!("usage: first-boot STAMP");
        return ExitCode::from(2);
    };
    let Some(image) = Image::build(&stamp) else { return ExitCode::FAILURE };
    let mut guest = image.usual_guest("guest");
    guest.start_host();
    let mut options = guest.options();
    // Tests hurry; here it is told how long it takes.
    options.settings = options.settings.time_scale(1);
    options.commands = vec![vec![PROGRAM.to_owned(), "status".to_owned()]];
    let boot = guest.boot(&options);
    let program = guest.machine.ramdisk().join(PROGRAM.trim_start_matches('/'));
    let methods = boot.methods.iter().map(|method| {
        let microseconds = u64::try_from(method.took.as_micros()).unwrap_or(u64::MAX);
        json!({"service": method.fmri, "commands": method.commands, "microseconds": microseconds})
    });
    println!(
        "{}",
        json!({
            "console": boot.console,
            "status": boot.outputs.first().map(|output| &output.stdout),
            "program": std::fs::metadata(program).map_or(0, |found| found.len()),
            "methods": methods.collect::<Vec<_>>(),
        })
    );
    ExitCode::SUCCESS
}
