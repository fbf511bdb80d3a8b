//! What a boot has come to, and whether its owner can get in and learns of it.

use std::fs;

use kiln_e2e::first_boot::{Guest, RSA_KEY};
use kiln_simulator::Boot;
use kiln_simulator::network::model::{From, Model, Service};
use serde_json::Value;

/// The address of the usual guest.
const OWN: &str = "192.0.2.10";

/// What must run after any boot.
const ONLINE: [&str; 8] = [
    "system/filesystem/smartdc",
    "system/smartdc/config",
    "system/filesystem/minimal",
    "network/physical",
    "network/ssh",
    "system/console-login:default",
    "smartos/setup",
    "smartos/userscript",
];

/// What keeps the owner out.
pub fn unreachable(guest: &Guest<'_>, boot: &Boot) -> Vec<String> {
    let mut problems = Vec::new();
    for service in ONLINE {
        if boot.state(service) != "online" {
            problems.push(format!("{service} is {}", boot.state(service)));
        }
    }
    let instances = boot.runtime.services.instances.values();
    for service in instances.filter(|service| service.state.word() == "maintenance") {
        problems.push(format!("{} is in maintenance", service.fmri));
    }
    let mut model = Model::new(&boot.runtime.network);
    let link = guest.machine.hardware().unwrap().nics[0].link.clone();
    let own = OWN.parse().expect("an address");
    if !model.connect(From::outside(&link, "198.51.100.7"), own, Service::Tcp(22)).is_passed() {
        problems.push("nobody can connect to the SSH server".to_owned());
    }
    if !has_key(guest, boot) {
        problems.push("the owner's key is not where the SSH server looks for it".to_owned());
    }
    if boot.console.contains("RESCUE") && !has_password(guest, boot) {
        problems.push("in rescue mode, there is no password for the console".to_owned());
    }
    problems
}

/// Whether root has a password, and the console was told it.
pub fn has_password(guest: &Guest<'_>, boot: &Boot) -> bool {
    let shadow = fs::read_to_string(guest.machine.ramdisk().join("etc/shadow")).unwrap_or_default();
    boot.console.contains("root can log in on this console with the password")
        && shadow.lines().any(|line| line.starts_with("root:$5$"))
}

/// Whether the owner's key is where the SSH server looks for it.
fn has_key(guest: &Guest<'_>, boot: &Boot) -> bool {
    let ramdisk = guest.machine.ramdisk();
    let opt = boot.runtime.storage.mounts.iter().rfind(|mount| mount.dir == "/opt");
    let home = match fs::read_link(ramdisk.join("root")) {
        Ok(target) if target.as_os_str() == "/opt/custom/root" => match opt {
            Some(mount) => mount.source.join("custom/root"),
            None => ramdisk.join("opt/custom/root"),
        },
        Ok(other) => panic!("root's home leads to {}", other.display()),
        Err(_) => ramdisk.join("root"),
    };
    fs::read_to_string(home.join(".ssh/authorized_keys")).is_ok_and(|keys| keys.contains(RSA_KEY))
}

/// What the owner is not told: of the words of a complaint, on the console, in the log and in the status that the host has;
/// and of everything that the guest itself thinks has failed.
pub fn is_told(guest: &Guest<'_>, boot: &Boot, complaint: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    let log: String = boot.logs.values().map(String::as_str).collect();
    let status = status(guest);
    let told = status.to_string();
    if let Some(words) = complaint {
        for (place, text) in [("the console", &boot.console), ("the log", &log), ("the status", &told)] {
            if !text.contains(words) {
                problems.push(format!("{place} does not have '{words}'"));
            }
        }
    }
    let state = state(guest);
    let results = state["results"].as_array().into_iter().flatten();
    let reasons: Vec<&str> = results
        .flat_map(|result| result["failed"].as_array().into_iter().flatten())
        .filter_map(|failed| failed[1].as_str())
        .collect();
    for reason in &reasons {
        let reason: String = reason.chars().take(60).collect();
        if !(boot.console.contains(&reason) && log.contains(&reason)) {
            problems.push(format!("the state alone tells that {reason}"));
        }
    }
    let expected = match (state["rescue"].is_string(), reasons.is_empty()) {
        (true, _) => "rescue",
        (_, true) => "ok",
        _ => "failed",
    };
    let failure = status["failure"].as_str().unwrap_or_default();
    // The host takes the first so many characters.
    let is_told = reasons.iter().any(|reason| reason.starts_with(failure) && !failure.is_empty());
    if status["result"] != expected || is_told == reasons.is_empty() {
        problems.push(format!("the host has status {status} in place of {expected}, {reasons:?}"));
    }
    problems
}

/// What the guest has told its host.
pub fn status(guest: &Guest<'_>) -> Value {
    let status = &guest.kept()["customer_metadata"]["guest-init:status"];
    status.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What the guest's phases know of each other.
fn state(guest: &Guest<'_>) -> Value {
    let state = guest.machine.ramdisk().join("etc/svc/volatile/guest-init/state.json");
    fs::read(state).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// All that a boot wrote of what the guest's program did, for messages of failing tests.
pub fn console_and_logs(boot: &Boot) -> String {
    let calls: Vec<String> = boot
        .calls
        .iter()
        .map(|call| format!("{:?} {} {:?}", call.status, call.argv.join(" "), call.said))
        .collect();
    let logs: Vec<String> = boot
        .logs
        .iter()
        .filter(|(_, log)| log.contains("guest-init"))
        .map(|(name, log)| format!("{name}:\n{log}"))
        .collect();
    format!("{}\n{}\n{}", boot.console, logs.join("\n"), calls.join("\n"))
}
