//! The guest of ring 3 with many disks, in which machines boot that are made of some of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kiln_harness::guest::Guest;
use kiln_harness::session::{Said, Session};
use kiln_harness::{process, scratch};
use kiln_shim::guests::{self, Profile};
use kiln_simulator::{Disk, Hardware, Programs};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::images;

/// The platform that the machines boot.
pub const STAMP: &str = "20141030T081701Z";

/// Disks that the guest is going to have: files in a folder.
pub struct Disks {
    folder: TempDir,
    names: Vec<String>,
}

impl Disks {
    pub fn new() -> Self {
        Self { folder: scratch::folder("real-zfs"), names: Vec::new() }
    }

    /// The file of a disk that is to be made, or was.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a disk that `make` makes.
    pub fn add(&mut self, name: &str, make: impl FnOnce(&Path)) {
        make(&self.path(name));
        self.names.push(name.to_owned());
    }

    /// What each disk holds.
    pub fn digests(&self) -> BTreeMap<String, [u8; 32]> {
        self.names.iter().map(|name| (name.clone(), images::digest(&self.path(name)))).collect()
    }
}

/// The guest that runs.
pub struct Rig {
    pub disks: Disks,
    session: Session,
    devices: BTreeMap<String, String>,
    request: serde_json::Value,
    program: String,
    machine: String,
    boots: u32,
    /// What the disks hold that nobody may write to.
    sealed: BTreeMap<String, [u8; 32]>,
}

/// A machine was switched on, did its first phase, and was switched off.
#[derive(Debug, Deserialize)]
pub struct Played {
    /// What the method ended with.
    exits: Vec<i32>,
    logs: BTreeMap<String, String>,
    outputs: Vec<Output>,
    pub console: String,
    calls: Vec<Call>,
    complaints: Vec<String>,
    hung: Option<String>,
    pub swap: Vec<String>,
    pub dump: Option<String>,
    /// The file that says why there is no pool.
    pub failed: Option<String>,
    #[serde(skip)]
    pub changed: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Call {
    argv: Vec<String>,
    status: Option<u8>,
    said: String,
}

#[derive(Debug, Deserialize)]
struct Output {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Played {
    /// What the `at`-th command wrote that was typed after the phase.
    pub fn typed(&self, at: usize) -> &str {
        let output = &self.outputs[at];
        assert_eq!(output.status, Some(0), "{self:?}");
        &output.stdout
    }

    /// What the commands wrote.
    pub fn said(&self) -> String {
        self.calls.iter().map(|call| call.said.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Whether a command was called, by its words.
    pub fn called(&self, words: &str) -> bool {
        self.calls.iter().any(|call| call.argv.join(" ").contains(words))
    }

    /// Everything that helps to understand a failure.
    fn show(&self) -> String {
        let mut text = format!("changed: {:?}\nconsole:\n{}\n", self.changed, self.console);
        for log in self.logs.values() {
            text += log;
        }
        for call in &self.calls {
            let _ = writeln!(text, "{:?} -> {:?} {}", call.argv, call.status, call.said.trim());
        }
        for output in &self.outputs {
            let _ = writeln!(text, "{:?}\n{}\n{}", output.status, output.stdout, output.stderr);
        }
        text + &format!("reason: {:?}", self.failed)
    }
}

impl Rig {
    /// Starts the guest with these disks.
    pub fn start(disks: Disks, guest: Guest) -> Self {
        let programs = Programs::build().expect("the simulator builds");
        let init = guests::illumos("guest-init", "guest-init", Profile::Shipped).expect("it builds");
        let program = kiln_simulator::real_machine().expect("it builds");
        let shim = kiln_shim::launcher().parent().expect("it is in a folder").to_owned();
        // The programs know each other by absolute paths, so they get the same ones in the guest.
        let archive = disks.path("programs.tar");
        let mut tar = Command::new("tar");
        tar.args(["-C", "/", "-cf"]).arg(&archive);
        for path in [&programs.commands, &programs.player, &init, &program, &shim] {
            tar.arg(path.strip_prefix("/").expect("target folders are absolute"));
        }
        let made = process::run(&mut tar, Duration::from_mins(1)).expect("tar runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let guest = guest.file("programs.tar", archive);
        let guest = disks.names.iter().fold(guest, |guest, name| guest.target(disks.path(name)));
        let mut session = Session::start(guest).expect("the guest runs");
        let said = session
            .run(
                "tar -C / -xf programs.tar && udevadm settle &&
            for node in /sys/block/sd*; do echo \"$(basename $(readlink $node/device)) ${node##*/}\"; done",
            )
            .expect("the guest runs");
        let said = ok(said);
        let mut devices = BTreeMap::new();
        for line in said.lines() {
            let (address, device) = line.split_once(' ').expect("an address and a name");
            let target = address.split(':').nth(2).expect("a target").parse::<usize>().expect("a number");
            devices.insert(disks.names[target].clone(), format!("/dev/{device}"));
        }
        assert_eq!(devices.len(), disks.names.len(), "{said}");
        let request = json!({
            "commands": programs.commands, "player": programs.player,
            "programs": [[init, "/lib/svc/method/guest-init"], [init, "/lib/svc/method/fs-joyent"]],
            "methods": ["svc:/system/filesystem/smartdc:default"],
        });
        let program = program.to_str().expect("a plain path").to_owned();
        // In the same file system as the programs, which can be linked then.
        let machine = shim.join("machine").to_str().expect("a plain path").to_owned();
        Self { disks, session, devices, request, program, machine, boots: 0, sealed: BTreeMap::new() }
    }

    /// Runs a script in the guest; `{NAME}` in it is the device of a disk.
    pub fn try_run(&mut self, script: &str) -> Said {
        let script = self
            .devices
            .iter()
            .fold(script.to_owned(), |text, (name, device)| text.replace(&format!("{{{name}}}"), device));
        self.session.run(&script).expect("the guest runs")
    }

    /// Runs a script in the guest, which must succeed, and gives what it wrote.
    pub fn run(&mut self, script: &str) -> String {
        let said = self.try_run(&format!("set -e\n{script}"));
        assert_eq!(said.status, 0, "{script}\n{}", said.text);
        said.text
    }

    /// Makes a disk hold what another holds at this moment, as if power failed and that one were it.
    pub fn copy(&mut self, from: &str, to: &str) {
        images::copy(&self.disks.path(from), &self.disks.path(to));
        self.run(&format!("blockdev --flushbufs {{{to}}}; blockdev --rereadpt {{{to}}}; udevadm settle"));
    }

    /// Takes a disk out of the guest. It is not put back.
    pub fn take_out(&mut self, name: &str) {
        self.run(&format!("echo 1 >/sys/block/$(basename {{{name}}})/device/delete; udevadm settle"));
    }

    /// Damages labels of the pool on a disk.
    pub fn damage(&mut self, name: &str, labels: &[usize]) {
        let path = self.disks.path(name);
        let found = images::labels(&path);
        images::damage(&path, &labels.iter().map(|&label| found[label]).collect::<Vec<_>>());
        self.run(&format!("blockdev --flushbufs {{{name}}}"));
    }

    /// From now on nobody may write to any disk; [`Self::boot`] tells which were written to.
    pub fn seal(&mut self) {
        self.sealed = self.disks.digests();
    }

    /// Switches a machine on that has these disks, by the names that the platform gives them, runs the first phase and then
    /// what is `typed`, and switches it off. Pools that it imported are not exported: the kernel still has them.
    pub fn boot(&mut self, disks: &[(&str, &str)], typed: &[&str]) -> Played {
        self.boots += 1;
        let mut hardware = Hardware::usual(STAMP);
        hardware.disks = disks
            .iter()
            .map(|(name, disk)| Disk {
                name: (*name).to_owned(),
                bytes: fs::metadata(self.disks.path(disk)).expect("a disk").len(),
                removable: false,
                key: false,
                late: false,
                device: Some(self.devices[*disk].clone()),
            })
            .collect();
        let words: Vec<Vec<&str>> = typed.iter().map(|line| line.split(' ').collect()).collect();
        let mut request = self.request.clone();
        request["hardware"] = serde_json::to_value(hardware).expect("it is JSON");
        request["typed"] = json!(words);
        // A live image makes up the number of its host at each boot.
        let said = self.run(&format!(
            "echo {} >/sys/module/spl/parameters/spl_hostid
            cat >/tmp/request <<'END'\n{request}\nEND
            {} {} /tmp/request
            rm -r {}",
            0x1000 + self.boots,
            self.program,
            self.machine,
            self.machine
        ));
        let line = said.lines().last().unwrap_or_default();
        let mut played: Played = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}"));
        let now = self.disks.digests();
        let changed = now.iter().filter(|&(name, digest)| self.sealed.get(name) != Some(digest));
        played.changed = changed.map(|(name, _)| name.clone()).collect();
        self.sealed = now;
        println!("{}", played.show());
        assert!(
            played.complaints.is_empty() && played.hung.is_none(),
            "{:?} {:?}",
            played.complaints,
            played.hung
        );
        assert_eq!(played.exits, [0], "the method always lets the boot go on");
        played
    }

    /// Lets go of all pools, as a clean end of a system does.
    pub fn export(&mut self) {
        self.run("zpool export -a; udevadm settle");
        self.sealed = self.disks.digests();
    }

    /// The number of the pool `zones`.
    pub fn guid(&mut self) -> u64 {
        self.run("zpool get -H -o value guid zones").trim().parse().expect("a number")
    }

    /// What the datasets of the pool are like, without what changes by itself.
    pub fn properties(&mut self) -> String {
        self.run("zfs get -Hp -s local,received -o name,property,value all -r zones")
    }

    /// The pool that a key says is its guest's, and whether it is complete.
    pub fn record(&self, key: &str) -> (u64, bool) {
        let text = images::fat_file(&self.disks.path(key), "guest-init/pool.json").expect("a record");
        let record: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        (record["guid"].as_u64().expect("a number"), record["complete"].as_bool().expect("yes or no"))
    }

    /// Ends the guest.
    pub fn end(self) {
        self.session.end().expect("the guest ends").succeeded();
    }
}

fn ok(said: Said) -> String {
    assert_eq!(said.status, 0, "{}", said.text);
    said.text
}
