//! `smartdc-config`: who this guest is, written down where the platform looks for it.
//!
//! The platform's own script does more, which is left out on purpose:
//! * Without a file it starts an installer on the console, which waits for ever.
//! * It copies a file of keys that the configuration names. Keys come from the metadata, in the setup phase.
//! * It loads a keyboard layout and switches virtual consoles. The console of these guests is a serial line, and the services
//!   of the virtual ones are switched off.
//! * It refreshes what `sysinfo` keeps. Nothing has asked `sysinfo` before this phase, and `identity:node` refreshes it
//!   after the network is up.

pub mod ask;
pub mod config;
mod console;
pub mod links;
mod live;
pub mod metadata;
pub mod nics;
pub mod nodename;
pub mod ntp;
pub mod places;
pub mod root_password;
pub mod settings;
pub mod sshd;

use crate::engine::Phase;

/// The phase. Names and addresses come first: the network service, which waits for this phase, needs nothing else of it.
pub const PHASE: Phase = Phase {
    name: "identity",
    methods: &["smartdc-config"],
    is_repeated: true,
    steps: &[
        &ask::AskHost,
        &links::Links,
        &config::step::ConfigFile,
        &nodename::NodeName,
        &root_password::RootPassword,
        &console::ConsoleAccess,
        &ntp::TimeServers,
        &sshd::SshServer,
    ],
};
