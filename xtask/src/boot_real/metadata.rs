//! What the guest is told, and what it tells: `kiln metadata serve` on a socket, and a client of our own on the same socket.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use guest_mdata::channel::Unix;
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::{Deadline, MetadataSource, Monotonic, Session};
use kiln_harness::process::Running;
use serde_json::{Value, json};

use super::exec;
use super::machine::{ADDRESS, MAC, RESOLVER, ROUTER};
use super::status::KEY;

/// What the guest is called by its host, and what it is to call itself.
pub const ALIAS: &str = "kiln-real";

/// The file to which the user-script adds a line at each boot.
pub const SCRIPT_LOG: &str = "/var/tmp/kiln-user-script.log";

/// How long our own server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The guest as `vmadm get` would show it.
pub fn description(uuid: &str, memory_mib: u32, public_key: &str) -> Value {
    json!({
        "uuid": uuid, "alias": ALIAS, "hostname": ALIAS, "ram": memory_mib,
        "resolvers": [RESOLVER],
        "nics": [{
            "interface": "net0", "mac": MAC, "primary": true, "nic_tag": "admin",
            "ip": ADDRESS, "netmask": "255.255.255.0", "gateway": ROUTER,
            "ips": [format!("{ADDRESS}/24")], "gateways": [ROUTER],
        }],
        "customer_metadata": {
            "root_authorized_keys": public_key,
            // By bare names, as people write scripts.
            "user-script": format!("#!/bin/sh\necho \"the user-script of $(mdata-get sdc:alias) ran\" >>{SCRIPT_LOG}\n"),
        },
    })
}

/// A running server. It ends with the value.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub socket: PathBuf,
    _process: Running,
    /// Its socket's folder: the name of a socket must be short.
    _sockets: tempfile::TempDir,
}

impl Server {
    /// Serves `description`; what is asked goes to `folder/metadata.log`.
    pub fn start(kiln: &Path, folder: &Path, description: &Value) -> Result<Self> {
        let data = folder.join("vm.json");
        fs::write(&data, description.to_string())
            .with_context(|| format!("cannot write {}", data.display()))?;
        let sockets = tempfile::tempdir().context("cannot make a folder for a socket")?;
        let socket = sockets.path().join("metadata");
        let log = folder.join("metadata.log");
        let words = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(kiln);
        command.args(["-v", "metadata", "serve", "--data"]).arg(&data).arg("--listen");
        command.arg(format!("unix:{}", socket.display()));
        exec::in_own_group(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);
        let mut process = Running::start(&mut command)?;
        let stdout = process.child().stdout.take().context("it is piped")?;
        let mut place = String::new();
        // It either says where it listens, or ends.
        BufReader::new(stdout).read_line(&mut place).context("cannot hear the metadata server")?;
        ensure!(!place.is_empty(), "there is no metadata server: see {}", log.display());
        Ok(Self { socket, _process: process, _sockets: sockets })
    }
}

/// What the guest has told.
pub trait Told {
    /// The value of the status key, if the guest has put it.
    fn status(&mut self) -> Result<Option<String>>;

    /// Forgets it, so that the next boot's is not taken for it.
    fn forget(&mut self) -> Result<()>;
}

/// A client of the server.
pub struct Host(Session);

impl Host {
    /// A client of the server at `socket`.
    pub fn of(server: &Server) -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
        Self(Session::new(
            Box::new(Unix::new([&server.socket], false)),
            Box::new(Monotonic::starting_now()),
            RequestIds::seeded(seed),
            Limits::default(),
            Box::new(|words| eprintln!("the metadata server: {words}")),
        ))
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(PATIENCE, self.0.clock())
    }
}

impl Told for Host {
    fn status(&mut self) -> Result<Option<String>> {
        let deadline = self.deadline();
        let value = self.0.get(KEY, deadline).context("cannot ask for the status")?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    fn forget(&mut self) -> Result<()> {
        let deadline = self.deadline();
        self.0.delete(KEY, deadline).context("cannot forget the status")
    }
}
