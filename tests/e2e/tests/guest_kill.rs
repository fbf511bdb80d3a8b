//! A first boot stopped at every point: a process killed there, or the power lost.
//!
//! A point is a call of the guest's programs that changes something outside the process: a command started, a file made,
//! written, synchronised, renamed or removed, a lock, an ioctl. Each test tries every third of them, and with
//! `KILN_LONG_TESTS` all. The ways to stop there take turns.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kiln_e2e::first_boot::{Guest, Image, RSA_KEY, differences, logs};
use kiln_shim::power::{Kind, Policy};
use kiln_shim::{Moment, trace};
use kiln_simulator::{Boot, Era};

/// Fewest points that a first boot has.
const FEWEST: usize = 200;
/// Machines that run at the same time.
const MACHINES: usize = 2;
/// Ways to stop at a point.
const MOMENTS: [Moment; 3] = [Moment::Before, Moment::After, Moment::Half];
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

/// A call at which a first boot is stopped.
struct Point {
    /// Its number among the changes.
    change: u64,
    /// What is called.
    call: String,
}

/// What a first boot leaves that nothing disturbed, and where it can be stopped.
struct Undisturbed {
    lasting: BTreeMap<String, String>,
    points: Vec<Point>,
}

impl Undisturbed {
    fn of(image: &Image) -> Self {
        let mut guest = image.usual_guest("undisturbed");
        guest.start_host();
        let mut options = guest.options();
        let (calls, count) = (scratch(&guest, "calls"), scratch(&guest, "count"));
        options.settings = options.settings.trace(&calls).count(&count);
        let boot = guest.boot(&options);
        assert_eq!(boot.state("smartos/setup"), "online", "{}", logs(&boot));
        let calls = trace::read(&calls).unwrap();
        let changes = calls.iter().filter_map(|call| {
            Some(Point { change: call.change?, call: format!("{}({})", call.name, call.arguments) })
        });
        let points: Vec<Point> = changes.collect();
        assert!(points.len() > FEWEST, "{} points", points.len());
        Self { lasting: lasting(&guest), points }
    }

    /// Every third point from the one at `offset` on; all with `KILN_LONG_TESTS`.
    fn chosen(&self, offset: usize) -> Vec<&Point> {
        let step = if std::env::var_os("KILN_LONG_TESTS").is_some() { 1 } else { 3 };
        self.points.iter().skip(offset % step).step_by(step).collect()
    }
}

/// A file in the guest's folder.
fn scratch(guest: &Guest, name: &str) -> PathBuf {
    guest.machine.folder().join(name)
}

/// What is wrong with a guest that was disturbed and has booted again since, if anything.
fn wrong(guest: &Guest, undisturbed: &Undisturbed) -> Vec<String> {
    let pools = guest.machine.pools().unwrap();
    if pools.len() != 1 {
        return vec![format!("{} pools", pools.len())];
    }
    let keys = guest.machine.dataset("zones/opt").map(|opt| opt.join("custom/root/.ssh/authorized_keys"));
    let keys = keys.ok().and_then(|keys| fs::read_to_string(keys).ok()).unwrap_or_default();
    if !keys.contains(RSA_KEY) {
        return vec!["the key is not in".to_owned()];
    }
    let record = fs::read(guest.machine.key().join(RECORD)).unwrap_or_default();
    if !String::from_utf8_lossy(&record).contains(&pools[0].guid.to_string()) {
        return vec!["the key does not know the pool".to_owned()];
    }
    differences(&undisturbed.lasting, &lasting(guest))
}

/// What lasts and is the same on each machine, which the number of its pool is not.
fn lasting(guest: &Guest) -> BTreeMap<String, String> {
    let mut lasting = guest.lasting();
    lasting.remove(&format!("key/{RECORD}"));
    lasting
}

/// Stops the first boot of a guest of its own at a point, as `stop` says, and boots until all is as it should be, at most twice.
fn stop_at(
    image: &Image,
    undisturbed: &Undisturbed,
    name: &str,
    (point, moment): (&Point, Moment),
    power: Option<Policy>,
) -> Result<(), String> {
    let mut guest = image.usual_guest(name);
    guest.start_host();
    let usual = guest.options();
    let mut options = usual.clone();
    options.settings = options.settings.count(scratch(&guest, "count")).kill_at(point.change, moment);
    if let Some(policy) = power {
        options.power_failure = Some(policy);
        options.power_folders = FILE_SYSTEMS.map(|(kind, path)| (kind, path.to_owned())).into();
    }
    let boot = |options| guest.machine.boot(options).map_err(|error| format!("{error:#}"));
    let mut boots: Vec<Boot> = vec![boot(&options)?];
    let mut found =
        if boots[0].power_failed { vec!["switched off".to_owned()] } else { wrong(&guest, undisturbed) };
    while !found.is_empty() && boots.len() < 3 {
        boots.push(boot(&usual)?);
        found = wrong(&guest, undisturbed);
    }
    for boot in &boots {
        if !boot.complaints.is_empty() || boot.hung.is_some() {
            found.push(format!("{:?} {:?}", boot.complaints, boot.hung));
        }
    }
    let last = boots.last().expect("it was booted");
    if last.state("network/ssh") != "online" {
        found.push("nobody can log in".to_owned());
    }
    let _ = fs::remove_dir_all(guest.machine.folder());
    if found.is_empty() {
        return Ok(());
    }
    let consoles: String =
        boots.iter().enumerate().map(|(number, boot)| format!("boot {number}:\n{}", boot.console)).collect();
    Err(format!(
        "change {} {moment:?} {power:?} {}\n{}\n{consoles}",
        point.change,
        point.call,
        found.join("\n")
    ))
}

/// Tries points on several machines at once. `power` gives what is lost at a point by its place in the list.
fn sweep(era: &str, offset: usize, most: usize, power: impl Fn(usize) -> Option<Policy> + Sync) {
    let Some(image) = Image::build(era) else { return };
    let undisturbed = Undisturbed::of(&image);
    let mut points = undisturbed.chosen(offset);
    let step = points.len().div_ceil(most).max(1);
    points = points.into_iter().step_by(step).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(point) = points.get(at) else { return };
                    let moment = MOMENTS[at % MOMENTS.len()];
                    let name = format!("guest-{at}");
                    let stopped = stop_at(&image, &undisturbed, &name, (point, moment), power(at));
                    if let Err(failure) = stopped {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    println!("{era}: tried {} of {} points", points.len(), undisturbed.points.len());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} points\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn a_first_boot_ends_the_same_if_a_process_is_killed() {
    sweep(Era::ALL[0], 0, usize::MAX, |_| None);
}

#[test]
fn a_first_boot_ends_the_same_if_the_power_fails() {
    // Drop twice as often: it is what happens most.
    const LOSSES: [Policy; 5] = [Policy::Drop, Policy::Empty, Policy::Half, Policy::Torn, Policy::Keep];
    sweep(Era::ALL[0], 1, usize::MAX, |at| Some(LOSSES[at % LOSSES.len()]));
}

#[test]
fn so_it_does_on_the_newest_platform() {
    let newest = Era::ALL[Era::ALL.len() - 1];
    sweep(newest, 2, 12, |at| (at % 2 == 1).then_some(Policy::Drop));
}
