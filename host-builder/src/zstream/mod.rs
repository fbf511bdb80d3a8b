//! `kiln zstream`: what ZFS send streams are made of, and what is wrong with them.

mod check;
mod dump;
mod input;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::Ending;
use crate::report::Report;

/// Looks into ZFS send streams, of file systems and volumes, whoever made them.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Dump(dump::Arguments),
}

/// Runs the command.
///
/// # Errors
/// Those of its subcommands.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments, report),
        Command::Dump(arguments) => dump::run(arguments, report),
    }
}
