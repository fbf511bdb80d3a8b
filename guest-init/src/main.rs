//! The first-boot program of retro images. See the library for what it is made of.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use guest_init::arguments::{self, CONFIRMATIONS, Request};
use guest_init::boot;
use guest_init::help::HELP;
use guest_init::ntp;
use guest_init::smbios;
use guest_init::state::State;
use guest_init::status;
use guest_init::system;
use guest_init::watch;
use guest_init::zone;
// What an illumos executable needs to start.
use guest_rt as _;

/// The words make no sense.
const USAGE: u8 = 2;

/// A phase could not be begun.
const NOT_BEGUN: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    // Set by SMF for every method (smf_method(7)).
    let in_smf = env::var_os("SMF_FMRI").is_some();
    match arguments::parse(&words) {
        Ok(request) => answer(request, in_smf),
        Err(error) => {
            eprintln!("guest-init: {error:#}; guest-init --help explains the words");
            method_status(in_smf, USAGE)
        }
    }
}

/// A method never fails in the eyes of SMF.
fn method_status(in_smf: bool, status: u8) -> ExitCode {
    if in_smf { ExitCode::SUCCESS } else { ExitCode::from(status) }
}

fn answer(request: Request, in_smf: bool) -> ExitCode {
    match request {
        Request::Help => say(HELP, true),
        Request::Nothing => ExitCode::SUCCESS,
        Request::Run { phase, confirmations } => {
            if let Err(refusal) = permission(in_smf, confirmations) {
                return refusal;
            }
            if in_smf {
                survive_panics();
            }
            let is_good = watch::run(phase, in_smf);
            if is_good { ExitCode::SUCCESS } else { method_status(in_smf, watch::SOMETHING_FAILED) }
        }
        Request::RunWatched(phase) => match boot::run(phase, in_smf) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(watch::SOMETHING_FAILED),
            Err(error) => {
                eprintln!("guest-init: {error:#}");
                ExitCode::from(NOT_BEGUN)
            }
        },
        Request::Plan(phase) => match boot::plan(phase) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        },
        Request::Status { json } => match State::load() {
            Ok(state) if json => say(&(status::json(&state) + "\n"), status::is_good(&state)),
            Ok(state) => say(&status::text(&state), status::is_good(&state)),
            Err(error) => complain(&error),
        },
        Request::Smbios(arguments) => ExitCode::from(smbios::run(&arguments)),
        Request::Ntp { stay: true, .. } => match ntp::stay() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        },
        Request::Ntp { confirmations, .. } => {
            if let Err(refusal) = permission(in_smf, confirmations) {
                return refusal;
            }
            match ntp::start() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("guest-init: {error:#}");
                    method_status(in_smf, watch::SOMETHING_FAILED)
                }
            }
        }
        Request::ZoneCreate { print, values } => match zone::create(print, &values) {
            Ok(text) => say(&text, true),
            Err(error) => complain(&error),
        },
    }
}

/// Whether a phase may be run. By hand it has to be said twice: what it changes is in use.
fn permission(in_smf: bool, confirmations: usize) -> Result<(), ExitCode> {
    if !system::is_global_zone() {
        eprintln!("guest-init: it sets up machines, and this is a zone: nothing is done");
        return Err(method_status(in_smf, watch::SOMETHING_FAILED));
    }
    if !in_smf && confirmations < CONFIRMATIONS {
        eprintln!(
            "guest-init: this is the work of an SMF service, which 'svcadm restart' runs anew (guest-init --help has \
             the names). To do it here and now all the same, say --outside-smf twice; --plan tells what it would do."
        );
        return Err(ExitCode::from(USAGE));
    }
    Ok(())
}

/// A fault in this process must not stop the boot either. The phase is done by another one, or has been.
fn survive_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(0);
    }));
}

/// Prints, and tells by the exit status whether that went well and `is_good`.
fn say(text: &str, is_good: bool) -> ExitCode {
    let said = io::stdout().write_all(text.as_bytes()).is_ok();
    ExitCode::from(u8::from(!(said && is_good)))
}

fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("guest-init: {error:#}");
    ExitCode::from(watch::SOMETHING_FAILED)
}
