//! What a boot owes the owner, whoever brings it about: `guest-init` in the scenes here, the scripts in [`super::old`].
//!
//! Each function tells what is owed and lacking; nothing if all is well.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use kiln_e2e::first_boot::differences;
use kiln_simulator::network::model::{From, Model, Service, Verdict};
use kiln_simulator::storage::PoolState;
use kiln_simulator::{Boot, Machine, Output};

use super::stage::{OWN, on_disks};

/// The services without which nobody gets in.
const SERVICES: [&str; 7] = [
    "system/filesystem/smartdc",
    "system/smartdc/config",
    "system/filesystem/minimal",
    "system/console-login:default",
    "network/physical",
    "network/ssh",
    "smartos/setup",
];

/// The datasets that a guest has.
const DATASETS: [&str; 6] =
    ["zones/config", "zones/opt", "zones/var", "zones/cores/global", "zones/swap", "zones/dump"];

/// An address outside, which no network of the guests here has.
const OUTSIDE: &str = "198.51.100.7";

/// That nothing on disks, on the key and in pools becomes another than it was.
pub fn untouched(machine: &Machine, before: &BTreeMap<String, String>) -> Vec<String> {
    differences(before, &on_disks(machine))
}

/// That the services run which let the owner in.
pub fn services(boot: &Boot) -> Vec<String> {
    let lacking = SERVICES.into_iter().filter(|service| boot.state(service) != "online");
    lacking.map(|service| format!("{service} is {}", boot.state(service))).collect()
}

/// That a connection from outside reaches the SSH server at this address, by any card.
pub fn login(machine: &Machine, boot: &Boot, address: &str) -> Vec<String> {
    let mut model = Model::new(&boot.runtime.network);
    let own = address.parse().expect("an address");
    let links = machine.hardware().expect("it was written").nics;
    let tries: Vec<_> = links
        .iter()
        .map(|nic| model.connect(From::outside(&nic.link, OUTSIDE), own, Service::Tcp(22)))
        .collect();
    if tries.iter().any(Verdict::is_passed) {
        return Vec::new();
    }
    tries.iter().map(|verdict| format!("no SSH at {address}: {verdict}")).collect()
}

/// That the pools of these numbers are there, and in no worse state.
pub fn pools(machine: &Machine, numbers: &[u64]) -> Vec<String> {
    let pools = machine.pools().expect("pools can be read");
    let state = |number: u64| {
        let pool = pools.iter().find(|pool| pool.guid == number);
        (!pool.is_some_and(|pool| pool.state != PoolState::Destroyed))
            .then(|| format!("pool {number} is destroyed"))
    };
    numbers.iter().filter_map(|&number| state(number)).collect()
}

/// That of all pools this one alone is in use, and that none covers the platform.
pub fn no_strangers(boot: &Boot, own: u64) -> Vec<String> {
    let storage = &boot.runtime.storage;
    let strangers = storage.imported.iter().filter(|&&number| number != own);
    let strangers = strangers.map(|number| format!("pool {number} is imported"));
    let covers = storage.mounts.iter().filter(|mount| mount.dir == "/usr" && mount.kind == "zfs");
    strangers.chain(covers.map(|mount| format!("{} covers /usr", mount.special))).collect()
}

/// That a guest's datasets are there.
pub fn datasets(machine: &Machine) -> Vec<String> {
    let lacking = DATASETS.into_iter().filter(|dataset| machine.dataset(dataset).is_err());
    lacking.map(|dataset| format!("{dataset} is not there")).collect()
}

/// That `/var` of the pool has the folders which that of the boot archive has.
pub fn whole_var(machine: &Machine) -> Vec<String> {
    let Ok(var) = machine.dataset("zones/var") else { return vec!["zones/var is not there".to_owned()] };
    let folders = fs::read_dir(machine.ramdisk().join("var")).expect("the boot archive has /var");
    let names = folders.map(|entry| entry.expect("readable").file_name());
    let lacking = names.filter(|name| !var.join(name).is_dir());
    lacking.map(|name| format!("/var lacks {}", name.display())).collect()
}

/// That what the image brings lies in `/opt/custom`.
pub fn custom(machine: &Machine) -> Vec<String> {
    let file = "custom/etc/zone.json.tmpl";
    let is_there = machine.dataset("zones/opt").is_ok_and(|opt| opt.join(file).is_file());
    if is_there { Vec::new() } else { vec![format!("/opt/{file} is not there")] }
}

/// That a zone at this address reaches the outside, and seems to be the guest itself there.
pub fn way_out(boot: &Boot, zone: &str) -> Vec<String> {
    let to = OUTSIDE.parse().expect("an address");
    let verdict = Model::new(&boot.runtime.network).connect(From::zone(zone), to, Service::Tcp(443));
    let seen = verdict.seen.map(|(address, _)| address.to_string());
    if verdict.is_passed() && seen.as_deref() == Some(OWN) {
        return Vec::new();
    }
    vec![format!("zones do not get out: {verdict}")]
}

/// That shells which read this configuration do nothing but that.
pub fn harmless(config: &[u8]) -> Vec<String> {
    kiln_e2e::shell::harm(config)
}

/// That these keys let in, and those do not.
pub fn keys(text: &str, wanted: &[&str], gone: &[&str]) -> Vec<String> {
    let has = |key: &&&str| text.lines().any(|line| line == **key);
    let lacking = wanted.iter().filter(|key| !has(key)).map(|key| format!("not let in: {key}"));
    lacking.chain(gone.iter().filter(has).map(|key| format!("still let in: {key}"))).collect()
}

/// That nobody but the owner of the machine's files can write to these, as `sshd` demands.
pub fn closed(folder: &Path, paths: &[&str], owner: u32) -> Vec<String> {
    let state = |path: &&str| {
        let about = fs::metadata(folder.join(path)).expect("it is there");
        let is_closed = about.permissions().mode() & 0o022 == 0 && about.uid() == owner;
        (!is_closed).then(|| format!("{path}: {:o} of {}", about.mode() & 0o7777, about.uid()))
    };
    paths.iter().filter_map(state).collect()
}

/// That rules are there as a whole or not at all: if there is one, what is not offered is closed, and SSH is open.
pub fn whole_filter(machine: &Machine, boot: &Boot) -> Vec<String> {
    let network = &boot.runtime.network;
    let active = network.filter.active();
    if active.rules(false, false).is_empty() && active.rules(false, true).is_empty() {
        return Vec::new();
    }
    let link = &machine.hardware().expect("it was written").nics[0].link;
    let own = OWN.parse().expect("an address");
    let other = Model::new(network).connect(From::outside(link, OUTSIDE), own, Service::Tcp(111));
    let open = (!other.is_blocked()).then(|| format!("half of the rules, port 111 is open: {other}"));
    open.into_iter().chain(login(machine, boot, OWN)).collect()
}

/// That each answer of `smbios` names this UUID, once.
pub fn uuid(answers: &[Output], uuid: &str) -> Vec<String> {
    let wanted = [format!("  UUID: {uuid}")];
    let named = |answer: &Output| -> Vec<String> {
        answer.stdout.lines().filter(|line| line.contains("UUID")).map(str::to_owned).collect()
    };
    let wrong = answers.iter().map(named).filter(|lines| *lines != wanted);
    wrong.map(|lines| format!("smbios says {lines:?}")).collect()
}

/// That the owner's program was run once, whatever came of it.
pub fn run_once(boot: &Boot) -> Vec<String> {
    let service = "smartos/userscript";
    let runs = boot.methods.iter().filter(|method| method.fmri.contains(service)).count();
    let is_well = boot.state(service) == "online" && runs == 1;
    if is_well {
        return Vec::new();
    }
    vec![format!("{service} is {} after {runs} runs", boot.state(service))]
}

/// That the network is what it was in an earlier boot, and its setup no failure.
pub fn same_network(before: &Boot, boot: &Boot) -> Vec<String> {
    let differs = before.runtime.network != boot.runtime.network;
    let differs = differs.then(|| "the network is another".to_owned());
    services(boot).into_iter().chain(differs).collect()
}
