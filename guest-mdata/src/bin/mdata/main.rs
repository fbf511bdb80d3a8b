//! `mdata-get`, `mdata-put`, `mdata-delete` and `mdata-list`: one program, which knows by its name or its first word
//! what it is.

mod arguments;
mod commands;
mod guest;
mod help;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::Failure;
// What an illumos executable needs to start.
use guest_rt as _;

/// The exit codes that the original commands have.
mod exit {
    pub const NOT_FOUND: u8 = 1;
    pub const ERROR: u8 = 2;
    pub const USAGE: u8 = 3;
}

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let done = arguments::parse(&name, words).and_then(|invocation| commands::run(&invocation));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            tell(&message);
            ExitCode::from(code)
        }
    }
}

/// Writes a line to standard error. There is nobody to tell if that fails.
fn tell(message: &str) {
    let _ = io::stderr().write_all(format!("{message}\n").as_bytes());
}
