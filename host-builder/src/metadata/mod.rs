//! `kiln metadata`: the host's side of the metadata channel, for guests that run on this machine.

mod address;
mod bridge;
mod claim;
mod endpoint;
mod keeper;
mod server;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use guest_mdata::host::{Agent, Description, Dialect};
use serde_json::json;

use crate::cli::Ending;
use crate::report::{Hint, Report};
use address::{Dial, Listen};
use endpoint::Endpoint;
use keeper::Keeper;
use server::Server;

/// The largest data file in bytes.
const DATA_LIMIT: u64 = 64 << 20;

const HINT: &str = "give --data the JSON of one machine, as `vmadm get UUID` prints it; {} is the smallest";

/// Gives guests their metadata, as a SmartOS host does.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(ServeArguments),
}

/// What stands below the options in the long help.
const EXAMPLES: &str = "\
Serve a QEMU guest whose second serial port is a socket that QEMU connects to:

  kiln metadata serve --listen unix:md.sock --data vm.json &
  qemu-system-x86_64 … -serial mon:stdio \\
    -chardev socket,id=md,path=md.sock,reconnect-ms=1000 -serial chardev:md

The other way round, as on SmartOS, QEMU listens (server=on,wait=off) and the server
connects whenever it can:

  kiln metadata serve --connect unix:vm.ttyb --data vm.json

Ask it by hand, or with guest-mdata's commands:

  mdata get --device unix:md.sock -- sdc:nics";

/// Answers a guest's questions about its keys, network and scripts
///
/// The server takes the place of the metadata agent of a SmartOS host: it speaks both versions of the protocol, shows
/// the machine that the data file describes under `sdc:`, and lets the guest put and delete keys of its own. It runs
/// until it gets SIGTERM or SIGINT. With -v it logs each request, never a value.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, group = clap::ArgGroup::new("channel").required(true))]
struct ServeArguments {
    /// Wait for guests here: unix:PATH, tcp:HOST:PORT (port 0 picks one), or pty[:LINK], a new terminal whose name is
    /// printed and that LINK points to
    #[arg(long, value_name = "WHERE", group = "channel")]
    listen: Option<Listen>,
    /// Connect to the guest's serial port: unix:PATH, a socket that its hypervisor listens on (tried again until it
    /// answers, and after each restart of the guest), or tty:PATH, a serial device of this machine (9600 8N1)
    #[arg(long, value_name = "WHERE", group = "channel")]
    connect: Option<Dial>,
    /// The machine, as JSON of the form that `vmadm get UUID` prints
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Write what guests put and delete back to the data file, which is replaced as a whole each time
    #[arg(long)]
    persist: bool,
    /// Speak version 1 of the protocol only, as hosts did before 24 October 2013
    #[arg(long)]
    v1: bool,
}

/// Runs the command.
///
/// # Errors
/// The data file is not usable, the place to listen at is taken, or the channel failed for good.
pub fn run(arguments: Arguments, report: &Report) -> Result<Ending> {
    let Command::Serve(arguments) = arguments.command;
    // The keeper looks at the file first, so that it notices who changes it while it is read.
    let keeper = arguments.persist.then(|| Keeper::start(&arguments.data)).transpose()?;
    let description = read_data(&arguments.data)?;
    let signals = server::stop_signals()?;
    let endpoint = match (&arguments.listen, &arguments.connect) {
        (Some(listen), _) => Endpoint::listen(listen)?,
        (None, Some(dial)) => Endpoint::dial(dial)?,
        (None, None) => unreachable!("clap requires one of the two"),
    };
    let place = endpoint.to_string();
    report.say(&format!("serving {} at {place}", arguments.data.display()));
    if report.is_json() {
        report.event(&json!({ "event": "serving", "at": place, "pid": std::process::id() }));
    } else {
        report.result(&place);
    }
    let dialect = if arguments.v1 { Dialect::V1 } else { Dialect::Current };
    Server::new(Agent::new(description), dialect, keeper).run(endpoint, &signals)?;
    Ok(Ending::Done)
}

fn read_data(path: &Path) -> Result<Description> {
    let mut bytes = Vec::new();
    // It may be a pipe, whose length nobody knows before its end.
    File::open(path)
        .and_then(|file| file.take(DATA_LIMIT + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the data file {}", path.display()))
        .hint(HINT)?;
    ensure!(
        bytes.len() as u64 <= DATA_LIMIT,
        "the data file {} has more than {DATA_LIMIT} bytes, which cannot be one machine's",
        path.display()
    );
    let value = serde_json::from_slice(&bytes)
        .with_context(|| format!("the data file {} is not JSON", path.display()))
        .hint(HINT)?;
    Description::new(value)
        .with_context(|| format!("the data file {} does not describe a machine", path.display()))
        .hint(HINT)
}
