//! One machine whose first boot is stopped once.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_e2e::first_boot::{Guest, Image, differences, logs};
use kiln_shim::power::{Kind, Policy};
use kiln_shim::{Moment, trace};
use kiln_simulator::{Action, Boot, BootOptions, Fault};

/// The file systems that outlast a power cycle, where programs see them.
const FILE_SYSTEMS: [(Kind, &str); 8] = [
    (Kind::Pcfs, "/usbkey"),
    (Kind::Zfs, "/zones"),
    (Kind::Zfs, "/zones/cores"),
    (Kind::Zfs, "/zones/global/cores"),
    (Kind::Zfs, "/zones/var"),
    (Kind::Zfs, "/var"),
    (Kind::Zfs, "/opt"),
    (Kind::Zfs, "/etc/zones"),
];

/// On the key: which pool is the guest's, with its number.
const RECORD: &str = "guest-init/pool.json";

/// The datasets of a guest, below its pool; that itself is the first.
const DATASETS: [&str; 8] = ["", "config", "cores", "cores/global", "dump", "opt", "swap", "var"];

/// What its owner has on the key before the first boot: a setting, and a file of no concern to anybody.
const ON_KEY: [(&str, &str); 2] =
    [("config", "# Made by guest-init.\nmy_setting=kept\n"), ("notes.txt", "Buy milk.\n")];

/// What the owner leaves in every file system that is there after the boot that was stopped.
const IN_POOL: (&str, &str) = ("owners.txt", "Do not lose this.\n");

/// A call at which a first boot is stopped.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its number among the changes.
    change: u64,
    /// What is called.
    pub call: String,
}

/// An external command of a first boot.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its number among the calls of commands, platform's included, from 1.
    nth: u64,
    words: String,
}

/// How and where a first boot is stopped.
#[derive(Debug)]
pub enum Stop {
    /// A process is killed at a call.
    Kill { point: Point, moment: Moment },
    /// The power fails at a call.
    Power { point: Point, moment: Moment, policy: Policy },
    /// The power fails while a command runs.
    Command { command: Command, action: Action, policy: Policy },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { point, moment } => write!(f, "kill {moment:?} {}", point.call),
            Self::Power { point, moment, policy } => {
                write!(f, "power failure {moment:?} {} ({policy:?})", point.call)
            }
            Self::Command { command, action, policy } => {
                write!(f, "power failure {action:?} {} ({policy:?})", command.words)
            }
        }
    }
}

/// What a first boot leaves that nothing disturbed, and where it can be stopped.
pub struct Undisturbed {
    lasting: BTreeMap<String, String>,
    /// Every call that changes something.
    pub points: Vec<Point>,
    /// Every command of the guest's programs.
    pub commands: Vec<Command>,
}

impl Undisturbed {
    pub fn of(image: &Image) -> Self {
        let guest = new_guest(image, "undisturbed");
        let mut options = unhurried(&guest);
        let (calls, count) = (scratch(&guest, "calls"), scratch(&guest, "count"));
        options.settings = options.settings.trace(&calls).count(&count);
        let boot = guest.boot(&options);
        assert_eq!(boot.state("smartos/setup"), "online", "{}", logs(&boot));
        let pool = &guest.machine.pools().unwrap()[0];
        let datasets: Vec<&str> = pool.datasets.keys().map(String::as_str).collect();
        assert_eq!(datasets, DATASETS);
        let config = fs::read_to_string(guest.machine.key().join("config")).unwrap();
        assert!(config.contains("admin_nic=") && config.contains("\nmy_setting=kept\n"), "{config}");
        let lasting = lasting(&guest);
        let calls = trace::read(&calls).unwrap();
        let changes = calls.iter().filter(|call| !is_log(call));
        let points = changes.filter_map(|call| {
            Some(Point { change: call.change?, call: format!("{}({})", call.name, call.arguments) })
        });
        let commands = boot.calls.iter().enumerate().filter(|(_, call)| !call.argv[0].contains("/method/"));
        let commands =
            commands.map(|(at, call)| Command { nth: at as u64 + 1, words: call.argv.join(" ") }).collect();
        Self { lasting, points: points.collect(), commands }
    }
}

/// Whether a call writes a line of the log into standard error, where it says what happens around it and changes nothing.
fn is_log(call: &trace::Call) -> bool {
    call.name == "write" && call.arguments.starts_with("2, ")
}

fn new_guest<'a>(image: &'a Image, name: &str) -> Guest<'a> {
    let mut guest = image.usual_guest(name);
    for (name, text) in ON_KEY {
        fs::write(guest.machine.key().join(name), text).unwrap();
    }
    guest.start_host();
    guest
}

/// A file in the guest's folder.
fn scratch(guest: &Guest<'_>, name: &str) -> PathBuf {
    guest.machine.folder().join(name)
}

/// What lasts and is the same on each machine, which the number of its pool is not.
fn lasting(guest: &Guest<'_>) -> BTreeMap<String, String> {
    let mut lasting = guest.lasting();
    lasting.remove(&format!("key/{RECORD}"));
    lasting
}

/// What is wrong with a guest that was disturbed and has booted again since, if anything.
fn wrong(guest: &Guest<'_>, undisturbed: &Undisturbed) -> Vec<String> {
    let pools = guest.machine.pools().unwrap();
    let [pool] = &pools[..] else { return vec![format!("{} pools", pools.len())] };
    let record = fs::read_to_string(guest.machine.key().join(RECORD)).unwrap_or_default();
    if record != format!("{{\"guid\":{},\"complete\":true}}", pool.guid) {
        return vec![format!("the key's record of pool {} is {record:?}", pool.guid)];
    }
    differences(&undisturbed.lasting, &lasting(guest))
}

/// The file systems of the pool whose files an owner can see: not one that is being filled.
fn file_systems(guest: &Guest<'_>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for pool in guest.machine.pools().unwrap() {
        let seen = pool.datasets.iter().filter(|(name, _)| name.as_str() != "var.new");
        folders.extend(seen.map(|(_, dataset)| pool.files(guest.machine.folder(), dataset)));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// Takes the owner's files away, and tells which are not there any more.
fn take_back(files: &[PathBuf]) -> Vec<String> {
    let mut lost = Vec::new();
    for file in files {
        if fs::read_to_string(file).ok().as_deref() != Some(IN_POOL.1) {
            lost.push(format!("{} is lost", file.display()));
        }
        let _ = fs::remove_file(file);
    }
    lost
}

fn options_for(stop: &Stop, guest: &Guest<'_>) -> BootOptions {
    let mut options = unhurried(guest);
    let (point, policy) = match stop {
        Stop::Kill { point, moment } => (Some((point, moment)), None),
        Stop::Power { point, moment, policy } => (Some((point, moment)), Some(policy)),
        Stop::Command { policy, .. } => (None, Some(policy)),
    };
    if let Some((point, moment)) = point {
        options.settings = options.settings.count(scratch(guest, "count")).kill_at(point.change, *moment);
    }
    if let Some(policy) = policy {
        options.power_failure = Some(*policy);
        options.power_folders = FILE_SYSTEMS.map(|(kind, path)| (kind, path.to_owned())).into();
    }
    options
}

/// How much faster than real the guests' clocks run: slow enough that a busy machine makes no program late.
const TIME_SCALE: u32 = 10;

/// The options of a boot.
fn unhurried(guest: &Guest<'_>) -> BootOptions {
    let options = guest.options();
    BootOptions { settings: options.settings.time_scale(TIME_SCALE), ..options }
}

/// Stops the first boot of a guest of its own, and boots again unless all is as it should be. Says whether the boot came to the
/// point at all: which call has which number differs a little, as processes run at the same time and wait for others.
pub fn run(image: &Image, undisturbed: &Undisturbed, name: &str, stop: &Stop) -> Result<bool, String> {
    let guest = new_guest(image, name);
    if let Stop::Command { command, action, .. } = stop {
        let fault = Fault {
            command: "*".to_owned(),
            arguments: Vec::new(),
            nth: command.nth,
            action: action.clone(),
        };
        guest.machine.set_faults(&[fault]).map_err(|error| format!("{error:#}"))?;
    }
    let result = try_to_run(&guest, undisturbed, stop);
    let folder: &Path = guest.machine.folder();
    let _ = fs::remove_dir_all(folder);
    result
}

fn try_to_run(guest: &Guest<'_>, undisturbed: &Undisturbed, stop: &Stop) -> Result<bool, String> {
    let boot = |options: &BootOptions| guest.machine.boot(options).map_err(|error| format!("{error:#}"));
    let mut boots: Vec<Boot> = vec![boot(&options_for(stop, guest))?];
    let is_power = !matches!(stop, Stop::Kill { .. });
    let is_reached = boots[0].power_failed || !is_power;
    let mut found = Vec::new();
    if is_power || !wrong(guest, undisturbed).is_empty() {
        let files: Vec<PathBuf> =
            file_systems(guest).into_iter().map(|folder| folder.join(IN_POOL.0)).collect();
        for file in &files {
            fs::write(file, IN_POOL.1).unwrap();
        }
        guest.machine.set_faults(&[]).map_err(|error| format!("{error:#}"))?;
        boots.push(boot(&unhurried(guest))?);
        found.extend(take_back(&files));
        found.extend(wrong(guest, undisturbed));
    }
    for boot in &boots {
        if !boot.complaints.is_empty() || boot.hung.is_some() {
            found.push(format!("{:?} {:?}", boot.complaints, boot.hung));
        }
        if !boot.power_failed && boot.state("network/ssh") != "online" {
            found.push("nobody can log in".to_owned());
        }
    }
    if found.is_empty() {
        return Ok(is_reached);
    }
    for (number, boot) in boots.iter().enumerate() {
        found.push(format!("boot {number}:\n{}", boot.console));
    }
    Err(found.join("\n"))
}
