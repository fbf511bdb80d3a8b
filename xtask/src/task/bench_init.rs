//! `cargo xtask bench init`: how many programs a first boot starts, beside the original's.

use anyhow::Result;

use crate::first_boot::{self, FirstBoot};
use crate::machine;
use crate::task::promises::{self, Promise};

/// The stamp of the platform: the original has a published image of it.
const STAMP: &str = "20141030T081701Z";

/// The most external commands of a first boot until the setup is done, as the project promises.
const PROMISED_COMMANDS: u64 = 40;

/// The largest size of guest-init that the project promises, in bytes.
const PROMISED_SIZE: u64 = 6 * 1024 * 1024 / 5;

/// A phase, with what the original's script of its place starts.
struct Phase {
    name: &'static str,
    service: &'static str,
    /// What is started, and how many programs that are.
    original: &'static [(&'static str, u64)],
}

impl Phase {
    fn original_programs(&self) -> u64 {
        self.original.iter().map(|(_, count)| count).sum()
    }
}

/// The phases until the setup is done.
///
/// The original was counted by reading its scripts (TritonDataCenter/joyent-retro: `fs-joyent` of commit af6c5dc,
/// `smartdc-config` of 3e274c5, `smartos-setup` of 1040df7) and the functions that they take from the platform
/// (TritonDataCenter/smartos-live, `overlay/generic/lib/sdc/config.sh`), for a first boot with a blank disk, one network card,
/// a host name and keys. Each program that a script starts counts once. What these start in turn does not, although `sysinfo`,
/// which is a script of its own, runs four times; and neither do the copies of the shell for pipes and substitutions.
const PHASES: [Phase; 3] = [
    Phase {
        name: "storage",
        service: "svc:/system/filesystem/smartdc:default",
        original: &[
            ("syseventd", 1),
            ("the platform's data: sysinfo, sed", 2),
            ("noimport: bootparams, grep", 2),
            ("pools: zpool, grep, awk", 3),
            ("factory reset: zfs", 1),
            ("the key: disklist, cut, mkdir, mount", 4),
            ("whether there is a pool: zpool", 1),
            ("a new pool: disklayout, json, mkzpool", 3),
            ("dump: zfs", 1),
            ("config: zfs twice, chmod, cp", 4),
            ("cores: zfs twice", 2),
            ("opt: zfs twice, tar", 3),
            ("var: zfs twice, chmod, find, cpio", 5),
            ("swap: tr twice, ksh93 four times, zfs three times", 9),
            ("the pool's mark: touch", 1),
            ("mounts: mount four times, cp", 5),
            ("swap, dumpadm, ln, uname", 4),
        ],
    },
    Phase {
        name: "identity",
        service: "svc:/system/smartdc/config:default",
        original: &[
            ("metadata: mdata-get three times", 3),
            ("fields of the card: json four times", 4),
            ("the machine's name: sysinfo, json, cut", 3),
            ("the file: cat", 1),
            ("ntpd and ntpq of its own: mount twice and grep, for each", 6),
            ("reading the file: bootparams, svcprop, dirname, cat, sed twice, grep three times", 9),
            ("the platform's data: sysinfo, sed", 2),
            ("consoles: svccfg, svcadm twice", 3),
            ("the platform's data anew: sysinfo", 1),
        ],
    },
    Phase {
        name: "setup",
        service: "svc:/smartos/setup:default",
        original: &[
            ("host name: tr, hostname twice", 3),
            ("services: svcadm nine times, seq", 10),
            ("root's home: rm, ln", 2),
            ("network for zones: dladm, ifconfig, routeadm", 3),
            ("rules: rm twice, cat twice, svcadm, ipf, ipnat", 7),
            ("keys: mdata-get, cp, cat, sort, grep, uniq, mv, rm", 8),
        ],
    },
];

/// Runs the benchmark.
pub fn run() -> Result<()> {
    let kiln = machine::build_kiln()?;
    let boot = first_boot::play(&kiln, STAMP)?;
    println!(
        "programs started by a first boot on the simulated {STAMP}, and by the original's scripts, as read:"
    );
    println!("{:<10} {:>10} {:>10} {:>10}", "phase", "guest-init", "original", "seconds");
    let mut commands = 0;
    for phase in &PHASES {
        let (own, seconds) = taken(&boot, phase.service);
        commands += own;
        println!("{:<10} {own:>10} {:>10} {seconds:>10.2}", phase.name, phase.original_programs());
    }
    let original: u64 = PHASES.iter().map(Phase::original_programs).sum();
    println!("{:<10} {commands:>10} {original:>10}", "together");
    println!("the original's, as they were counted (what these start in turn comes on top):");
    for phase in &PHASES {
        for (what, count) in phase.original {
            println!("  {:<9} {count:>2}  {what}", phase.name);
        }
    }
    println!("The seconds are of this machine, whose stand-ins for illumos' commands do no real work.");
    judge(commands, boot.program)
}

/// The commands of a service's methods, and the seconds that they took.
fn taken(boot: &FirstBoot, service: &str) -> (u64, f64) {
    let methods = || boot.methods.iter().filter(|method| method.service == service);
    let microseconds: u64 = methods().map(|method| method.microseconds).sum();
    let seconds = std::time::Duration::from_micros(microseconds).as_secs_f64();
    (methods().map(|method| method.commands).sum(), seconds)
}

/// Fails if a promise is not kept.
fn judge(commands: u64, size: u64) -> Result<()> {
    promises::judge(&[
        Promise::at_most("external commands until the setup is done", commands, PROMISED_COMMANDS),
        Promise::at_most("bytes of guest-init", size, PROMISED_SIZE),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::first_boot::Method;

    #[test]
    fn each_promise_is_judged() {
        assert!(judge(PROMISED_COMMANDS, PROMISED_SIZE).is_ok());
        for (commands, size) in
            [(PROMISED_COMMANDS + 1, 1), (1, PROMISED_SIZE + 1), (0, PROMISED_SIZE), (PROMISED_COMMANDS, 0)]
        {
            let error = judge(commands, size).unwrap_err();
            assert_eq!(error.to_string(), "promises that do not hold: 1");
        }
    }

    #[test]
    fn a_service_that_runs_twice_counts_twice() {
        let method = |service: &str, commands, microseconds| Method {
            service: service.to_owned(),
            commands,
            microseconds,
        };
        let methods = vec![method("a", 3, 250_000), method("b", 9, 1), method("a", 4, 500_000)];
        let boot = FirstBoot { console: String::new(), status: String::new(), program: 1, methods };
        assert_eq!(taken(&boot, "a"), (7, 0.75));
    }

    #[test]
    fn the_words_about_the_original_count_what_its_number_says() {
        // "zfs twice" is two programs, and so on.
        let times = [("twice", 1), ("three times", 2), ("four times", 3), ("nine times", 8)];
        for (words, count) in PHASES.iter().flat_map(|phase| phase.original) {
            let (_, programs) = words.split_once(": ").unwrap_or(("", words));
            let (programs, factor) =
                programs.strip_suffix(", for each").map_or((programs, 1), |programs| (programs, 2));
            let named = programs.split(", ").flat_map(|part| part.split(" and ")).count();
            let more: usize = times.iter().map(|(time, more)| programs.matches(time).count() * more).sum();
            assert_eq!((factor * (named + more)) as u64, *count, "{words}");
        }
    }
}
