//! The command line: what every subcommand shares, and the way from words to work.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::report::{self, Hint, Report};
use crate::{
    cat, convert, create_base_images, create_image, create_seed, create_smf_repo, dehole, demo, diff, help,
    inspect, install_base, ls, metadata, retro, staging, verify, zstream,
};

/// The place of what all commands share among the options in their help: behind their own, before --help.
const SHARED: usize = 900;

/// Builds SmartOS and Triton images on any machine: no root, no mounts, no ZFS, no SmartOS, and the same bytes from
/// the same inputs.
///
/// Exit status: 0 done, 1 the work failed, 2 wrong usage; `kiln diff --help` and `kiln verify --help` tell theirs.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Say more: -v what each step works on, -vv every detail (KILN_LOG takes filters, such as kiln=trace)
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = SHARED)]
    verbose: u8,
    /// Report as JSON, one object a line on standard output
    #[arg(long, global = true, display_order = SHARED)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Retro(Box<retro::Arguments>),
    CreateImage(Box<create_image::Arguments>),
    CreateSeed(Box<create_seed::Arguments>),
    CreateSmfRepo(create_smf_repo::Arguments),
    InstallBase(Box<install_base::Arguments>),
    CreateBaseImages(Box<create_base_images::Arguments>),
    Inspect(inspect::Arguments),
    Ls(ls::Arguments),
    Cat(cat::Arguments),
    Diff(diff::Arguments),
    Verify(verify::Arguments),
    Convert(convert::Arguments),
    Dehole(dehole::Arguments),
    Zstream(zstream::Arguments),
    Demo(demo::Arguments),
    Metadata(metadata::Arguments),
}

/// How a command that did its work ends. Only comparisons and checks have more to say than "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Status 0.
    Done,
    /// Status 1 without an error text of its own: differences were found, or findings were listed.
    Findings,
    /// Status 3: the comparison could not be made.
    NotComparable,
}

/// Runs the program on the process' arguments.
pub fn run() -> ExitCode {
    let mut command = help::laid_out(Cli::command());
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let cli = match parsed
        .and_then(|words| Cli::from_arg_matches(&words).map_err(|error| error.format(&mut command)))
    {
        Ok(cli) => cli,
        Err(message) => return show(&message),
    };
    let report = Report::new(cli.json);
    start_log(cli.verbose, &report);
    // A server is ended by the same signals that interrupt everything else; it hears them itself.
    let guarded = match &cli.command {
        Command::Metadata(_) => Ok(()),
        _ => staging::interrupt::clean_up_when_interrupted(),
    };
    let result = guarded.and_then(|()| dispatch(cli.command, &report));
    let status = match result {
        Ok(Ending::Done) => 0,
        Ok(Ending::Findings) => 1,
        Ok(Ending::NotComparable) => 3,
        Err(error) => {
            report::fail(&report, &error);
            if report::is_misuse(&error) { 2 } else { 1 }
        }
    };
    if let Err(error) = report.finish() {
        // Standard output is what failed, so machines get no event of it.
        report::fail(&Report::new(false), &error);
        return ExitCode::from(status.max(1));
    }
    ExitCode::from(status)
}

/// Shows the help or the version that was asked for, or what is wrong with the command line.
fn show(message: &clap::Error) -> ExitCode {
    let shown = message.print().and_then(|()| io::stdout().flush());
    match shown {
        // Nobody misses what a reader that went away did not read, and standard error has no place to complain to.
        Err(error) if !message.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
            let error = Err::<(), _>(error).context("cannot write to standard output");
            if let Err(error) = error.hint("write it to a place with room") {
                report::fail(&Report::new(false), &error);
            }
            ExitCode::from(1)
        }
        _ => u8::try_from(message.exit_code()).map_or(ExitCode::from(2), ExitCode::from),
    }
}

fn dispatch(command: Command, report: &Report) -> Result<Ending> {
    match command {
        Command::Retro(arguments) => retro::run(*arguments, report),
        Command::CreateImage(arguments) => create_image::run(*arguments, report),
        Command::Inspect(arguments) => inspect::run(&arguments, report),
        Command::Ls(arguments) => ls::run(&arguments, report),
        Command::Cat(arguments) => cat::run(&arguments, report),
        Command::Diff(arguments) => Ok(diff::run(&arguments, report)),
        Command::Verify(arguments) => verify::run(&arguments, report),
        Command::Convert(arguments) => convert::run(&arguments, report),
        Command::CreateSeed(arguments) => create_seed::run(&arguments, report),
        Command::CreateSmfRepo(arguments) => create_smf_repo::run(&arguments, report),
        Command::InstallBase(arguments) => install_base::run(*arguments, report),
        Command::CreateBaseImages(arguments) => create_base_images::run(*arguments, report),
        Command::Dehole(arguments) => dehole::run(&arguments, report),
        Command::Zstream(arguments) => zstream::run(&arguments, report),
        Command::Demo(arguments) => demo::run(&arguments, report),
        Command::Metadata(arguments) => metadata::run(arguments, report),
    }
}

/// Sends the log to standard error: warnings by default, more with `-v`, anything with `KILN_LOG`.
fn start_log(verbose: u8, report: &Report) {
    let level = match verbose {
        0 => "kiln=warn",
        1 => "kiln=info",
        2 => "kiln=debug",
        _ => "kiln=trace",
    };
    let asked = std::env::var_os("KILN_LOG").filter(|value| !value.is_empty());
    let filter = asked.and_then(|value| {
        let filter = log_filter(&value.to_string_lossy());
        if filter.is_none() {
            report.warn(&format!(
                "KILN_LOG is '{}', which is no filter and does nothing: write a level, such as debug, or \
                 kiln=LEVEL, with one of error, warn, info, debug and trace",
                value.to_string_lossy().escape_debug()
            ));
        }
        filter
    });
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    let log =
        log.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()) && !no_color());
    // A second logger can only have been set by a test harness, whose choice then stands.
    let _ = log.try_init();
}

/// The filter that a value of `KILN_LOG` describes; `None` when it is none, or none that could let anything of kiln
/// through or keep anything back.
fn log_filter(value: &str) -> Option<EnvFilter> {
    // A word alone that is no level is taken for the name of a program's part, and so a misspelt level would be.
    let sensible = |directive: &str| {
        let part = directive.split(['=', '[']).next().unwrap_or_default().trim();
        directive.starts_with('[') || part.starts_with("kiln") || part.parse::<LevelFilter>().is_ok()
    };
    value.split(',').any(sensible).then(|| EnvFilter::try_new(value).ok()).flatten()
}

/// Whether the user asked for output without colours (<https://no-color.org>).
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, help, log_filter};

    #[test]
    fn no_option_contradicts_another() {
        // What a build with assertions would find at the first call.
        help::laid_out(Cli::command()).debug_assert();
    }

    #[test]
    fn only_filters_that_mean_something_are_taken() {
        for value in ["debug", "kiln=trace", "kiln::retro=info,warn", "off", "[step]=trace", "kiln"] {
            assert!(log_filter(value).is_some(), "{value}");
        }
        for value in ["debg", "kiln=loud", "=", "verbose,chatty"] {
            assert!(log_filter(value).is_none(), "{value}");
        }
    }
}
