//! kiln's development commands: `cargo xtask --help` lists them.

#![forbid(unsafe_code)]

mod apt;
mod machine;
mod task;

use std::process::ExitCode;

use clap::Parser;

/// kiln's development commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// The Debian guest of ring 3.
    #[command(subcommand)]
    Vm(task::vm::Vm),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Vm(vm) => task::vm::run(&vm),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
