//! Each external command of a boot in turn fails, hangs, dies or lies: the boot goes on, its owner can get in and learns why, and
//! the next boot makes up for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kiln_e2e::first_boot::{Guest, Image, differences};
use kiln_shim::trace;
use kiln_simulator::program::Logged;
use kiln_simulator::{Action, Boot, Fault};

use crate::view::{console_and_logs, is_told, unreachable};

/// The platform: its tools have all that guests ask for, and its SSH server is the old one.
const PLATFORM: &str = "20151126T062538Z";

/// How many machines run at the same time.
const MACHINES: usize = 2;

/// Of so many calls of a second boot one is tried, unless all are wanted: most are those of a first boot.
const SHARE_OF_SECOND: usize = 3;

/// How much faster than real the clocks of guests run: so slowly that no command meets its limit on a busy machine, and faster
/// when one hangs until then.
const TIME_SCALE: u32 = 10;
const TIME_SCALE_OF_HANGS: u32 = 50;

/// What a command that fails says.
const COMPLAINT: &str = "the fault that was asked for";

/// A boot of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    First,
    Second,
}

/// What goes wrong in it.
#[derive(Debug, Clone)]
enum Trouble {
    /// One call of a command.
    Call(Fault),
    /// A program is not there.
    Missing(String),
}

#[derive(Debug, Clone)]
struct Trial {
    when: When,
    trouble: Trouble,
}

impl Trial {
    /// The words by which the owner must be told of it; none where it may do no harm unnoticed.
    fn complaint(&self) -> Option<String> {
        match &self.trouble {
            Trouble::Call(fault) => match &fault.action {
                Action::Fail { .. } => Some(COMPLAINT.to_owned()),
                Action::Hang | Action::HangAfter => Some("still running at its limit".to_owned()),
                Action::Abort { .. } => Some("ended by signal".to_owned()),
                _ => None,
            },
            Trouble::Missing(path) => Some(format!("cannot start {path}")),
        }
    }

    fn time_scale(&self) -> u32 {
        match &self.trouble {
            Trouble::Call(Fault { action: Action::Hang | Action::HangAfter, .. }) => TIME_SCALE_OF_HANGS,
            _ => TIME_SCALE,
        }
    }
}

/// What an undisturbed boot leaves.
struct Left {
    lasting: BTreeMap<String, String>,
    running: BTreeMap<String, String>,
}

#[test]
fn whatever_a_command_does_the_boot_goes_on_and_the_next_one_makes_up_for_it() {
    let Some(image) = Image::build(PLATFORM) else { return };
    let usual = Usual::of(&image);
    let trials = usual.trials();
    let all = trials.iter().map(Vec::len).sum::<usize>();
    let chosen: Vec<Trial> = if std::env::var_os("KILN_LONG_TESTS").is_some() {
        trials.into_iter().flatten().collect()
    } else {
        a_few(trials)
    };
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(trial) = chosen.get(at) else { break };
                    let found = usual.try_out(at, trial);
                    if !found.is_empty() {
                        eprintln!("{trial:?}\n    {}\n", found.join("\n    "));
                        problems.lock().unwrap().push(trial.clone());
                    }
                }
            });
        }
    });
    eprintln!("{} of {all} faults tried", chosen.len());
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Undisturbed boots, to compare others with.
struct Usual<'a> {
    image: &'a Image,
    /// The machine after its first boot.
    guest: Guest<'a>,
    calls: [Vec<Logged>; 2],
    left: [Left; 2],
}

impl<'a> Usual<'a> {
    fn of(image: &'a Image) -> Self {
        let mut guest = image.usual_guest("usual");
        let boot = |guest: &mut Guest<'_>| {
            guest.start_host();
            let boot = guest.boot(&guest.options());
            guest.stop_host();
            assert!(!boot.console.contains("ERROR"), "{}", boot.console);
            (Left { lasting: guest.lasting(), running: running(&boot) }, boot.calls)
        };
        let (first, first_calls) = boot(&mut guest);
        for (dataset, path) in [("zones/opt", "data"), ("zones/var", "data")] {
            fs::write(guest.machine.dataset(dataset).unwrap().join(path), "the owner's").unwrap();
        }
        let mut twin = image.twin("twin", &guest);
        let (second, second_calls) = boot(&mut twin);
        twin.scrap();
        Self { image, guest, calls: [first_calls, second_calls], left: [first, second] }
    }

    /// What can go wrong, in one group for each call of a command, and for each program that can be missing.
    fn trials(&self) -> Vec<Vec<Trial>> {
        let mut trials = Vec::new();
        for (when, calls) in [(When::First, &self.calls[0]), (When::Second, &self.calls[1])] {
            let calls: Vec<&Logged> =
                calls.iter().filter(|call| !call.argv[0].starts_with("/lib/svc/method/")).collect();
            for at in 0..calls.len() {
                let troubles = faults(&calls[..=at]).into_iter().map(Trouble::Call);
                trials.push(troubles.map(|trouble| Trial { when, trouble }).collect());
            }
            let programs: BTreeSet<&String> = calls.iter().map(|call| &call.argv[0]).collect();
            let missing = programs.into_iter().map(|path| Trouble::Missing(path.clone()));
            trials.push(missing.map(|trouble| Trial { when, trouble }).collect());
        }
        trials
    }

    /// Tries one, and gives what is wrong with what came of it.
    fn try_out(&self, number: usize, trial: &Trial) -> Vec<String> {
        let name = format!("trial-{number}");
        let mut guest = match trial.when {
            When::First => self.image.usual_guest(&name),
            When::Second => self.image.twin(&name, &self.guest),
        };
        let mut problems = Vec::new();
        let guid = guest.machine.pools().unwrap().first().map(|pool| pool.guid);

        guest.start_host();
        let trace_file = guest.machine.folder().join("trace");
        let mut options = guest.options();
        options.settings = options.settings.trace(&trace_file).time_scale(trial.time_scale());
        match &trial.trouble {
            Trouble::Call(fault) => guest.machine.set_faults(std::slice::from_ref(fault)).unwrap(),
            Trouble::Missing(path) => options.missing.push(path.clone()),
        }
        let boot = guest.machine.boot(&options).expect("the machine is switched on");
        problems.extend(boot.complaints.iter().map(|complaint| format!("refused: {complaint}")));
        problems.extend(boot.hung.iter().map(|what| format!("hangs: {what}")));
        problems.extend(unreachable(&guest, &boot));
        problems.extend(is_told(&guest, &boot, trial.complaint().as_deref()));
        if !["ERROR", "WARNING", "RESCUE"].iter().any(|word| boot.console.contains(word)) {
            let left = &self.left[trial.when as usize];
            let mut different = different(&left.lasting, &guest.lasting(), trial.when);
            different.extend(differences(&left.running, &running(&boot)));
            problems.extend(different.iter().map(|what| format!("nobody is told, and {what}")));
        }
        let calls = trace::read(&trace_file).expect("it was traced");
        problems.extend(trace::disk_writes(&calls).iter().map(|call| format!("wrote to a disk: {call:?}")));
        let pools = guest.machine.pools().unwrap();
        if pools.len() > 1 || guid.is_some_and(|guid| pools.iter().all(|pool| pool.guid != guid)) {
            problems.push(format!("pools: {}", pools.len()));
        }

        guest.machine.set_faults(&[]).unwrap();
        let mut options = guest.options();
        options.settings = options.settings.time_scale(TIME_SCALE);
        let next = guest.machine.boot(&options).expect("the machine is switched on");
        problems.extend(next.complaints.iter().map(|complaint| format!("next boot refused: {complaint}")));
        if next.console.contains("ERROR") || next.console.contains("RESCUE") {
            problems.push(format!("next boot: {}", console_and_logs(&next)));
        }
        let left = &self.left[trial.when as usize];
        let different = different(&left.lasting, &guest.lasting(), trial.when);
        problems.extend(different.iter().map(|what| format!("next boot: {what}")));
        let different = differences(&left.running, &running(&next));
        problems.extend(different.iter().map(|what| format!("next boot: {what}")));
        if let Some(guid) = guid
            && guest.machine.pools().unwrap().iter().map(|pool| pool.guid).ne([guid])
        {
            problems.push("next boot: not the pool that was there".to_owned());
        }
        if !problems.is_empty() {
            let words = console_and_logs(&boot);
            problems.push(format!("the boot was:\n{words}"));
        }
        guest.scrap();
        problems
    }
}

/// Something for each call of a first boot, and each kind of trouble in turn; of a second boot less.
fn a_few(trials: Vec<Vec<Trial>>) -> Vec<Trial> {
    let is_chosen =
        |number: usize, trial: &Trial| trial.when == When::First || number.is_multiple_of(SHARE_OF_SECOND);
    let groups = trials.into_iter().enumerate().filter(|(_, group)| !group.is_empty());
    let one = |(number, mut group): (usize, Vec<Trial>)| (number, group.swap_remove(number % group.len()));
    groups.map(one).filter(|(number, trial)| is_chosen(*number, trial)).map(|(_, trial)| trial).collect()
}

/// The faults of the last of these calls.
fn faults(calls: &[&Logged]) -> Vec<Fault> {
    let Some(call) = calls.last() else { return Vec::new() };
    let command = call.argv[0].rsplit('/').next().unwrap_or_default().to_owned();
    let words = call.argv[1..].iter().filter(|word| word.bytes().any(|byte| !byte.is_ascii_digit()));
    let mut fault = Fault { command, arguments: words.cloned().collect(), nth: 0, action: Action::Hang };
    let is_like_it = |other: &&&Logged| {
        let words: Vec<&str> = other.argv.iter().map(String::as_str).collect();
        fault.matches(words[0].rsplit('/').next().unwrap_or_default(), &words[1..])
    };
    fault.nth = calls.iter().filter(is_like_it).count() as u64;
    let mut actions = vec![
        Action::Fail { status: 1, stderr: COMPLAINT.to_owned() },
        Action::Hang,
        Action::HangAfter,
        Action::Abort { half: true },
        Action::Abort { half: false },
        Action::Garbage(b"\xff\x00\x1b[2J\n\x80".to_vec()),
    ];
    if call.status == Some(0) && !call.said.is_empty() {
        actions.extend([Action::Garbage(Vec::new()), Action::HalfSaid]);
    }
    actions.into_iter().map(|action| Fault { action, ..fault.clone() }).collect()
}

/// What runs: services, network, and what is mounted, swapped and dumped to.
fn running(boot: &Boot) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for service in boot.runtime.services.instances.values() {
        found.insert(service.fmri.clone(), format!("{} {:?}", service.state.word(), service.running));
    }
    let storage = &boot.runtime.storage;
    // A dataset that is made is mounted at once, with those above it; one that is imported is not.
    for mount in storage.mounts.iter().filter(|mount| !mount.dir.starts_with("/zones")) {
        found.insert(format!("mount {}", mount.dir), format!("{} {}", mount.special, mount.kind));
    }
    found.insert("swap".to_owned(), format!("{:?}", storage.swap));
    found.insert("dump".to_owned(), format!("{:?}", storage.dump));
    found.insert("node name".to_owned(), boot.runtime.host.name.clone());
    let network = &boot.runtime.network;
    found.insert("links".to_owned(), format!("{:?}", network.links));
    found.insert("interfaces".to_owned(), format!("{:?}", network.interfaces));
    found.insert("routes".to_owned(), format!("{:?}", network.routes));
    found.insert("forwarding".to_owned(), format!("{:?}", network.forwarding));
    found.insert("filter".to_owned(), format!("{:?}", network.filter));
    found.insert("nat".to_owned(), format!("{:?}", network.nat));
    found
}

/// What differs from what an undisturbed machine has. Each machine gives its pool a number of its own; and what devices reserve
/// follows from the disk in the boot that makes the pool, and from the pool, which is a little smaller, in a later one.
fn different(usual: &BTreeMap<String, String>, found: &BTreeMap<String, String>, when: When) -> Vec<String> {
    let mut different = differences(usual, found);
    if when == When::First {
        let is_usual = |what: &String| {
            what.starts_with("key/guest-init/pool.json:") || what.contains(" refreservation: ")
        };
        different.retain(|what| !is_usual(what));
    }
    different
}
