//! kiln's development commands: `cargo xtask --help` lists them.

#![forbid(unsafe_code)]

mod apt;
mod boot_real;
mod first_boot;
mod guest;
mod machine;
mod task;

use std::process::ExitCode;

use clap::Parser;

/// kiln's development commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    Test(task::test::Test),
    Demo(task::demo::Demo),
    BootReal(task::boot_real::BootReal),
    Setup(task::setup::Setup),
    Guest(task::guest::Guest),
    #[command(subcommand)]
    Vm(task::vm::Vm),
    Fuzz(task::fuzz::Fuzz),
    #[command(subcommand)]
    Bench(task::bench::Bench),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test(test) => task::test::run(&test),
        Task::Demo(demo) => task::demo::run(&demo),
        Task::BootReal(real) => return task::boot_real::run(&real),
        Task::Setup(setup) => task::setup::run(&setup),
        Task::Guest(guest) => task::guest::run(&guest),
        Task::Vm(vm) => task::vm::run(&vm),
        Task::Fuzz(fuzz) => task::fuzz::run(&fuzz),
        Task::Bench(bench) => task::bench::run(&bench),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
