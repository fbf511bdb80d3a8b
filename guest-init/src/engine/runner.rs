//! Runs the steps of a phase.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use guest_mdata::Clock;

use super::{Finding, Guest, OnFailure, Step};
use crate::state::PhaseResult;

/// What one SMF service runs.
pub struct Phase {
    /// Its name, as the owner sees it.
    pub name: &'static str,
    /// The base names of the methods that it stands for.
    pub methods: &'static [&'static str],
    /// Whether it is run once more when its process is killed: nobody gets in without it, and nothing that it started can still be
    /// at work on a disk.
    pub is_repeated: bool,
    /// Its steps, in order.
    pub steps: &'static [&'static dyn Step],
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The longest reason that is told and kept, in characters. What phases find out is kept in a file of which a phase reads
/// so much and no more; a reason that grew with what the host says could make it too long.
const LONGEST_REASON: usize = 1000;

/// Tells what the steps of `phase` would do, and does nothing.
pub fn plan(phase: &Phase, guest: &mut Guest<'_>) {
    let mut basis = None;
    for step in phase.steps {
        let name = step.name();
        if let Some(basis) = basis {
            guest.log.line(&format!("{name}: depends on what {basis} comes to"));
            continue;
        }
        guest.commands.end_by(deadline(guest.clock, *step));
        let would = match step.check(guest) {
            Ok(Finding::Done) => "nothing to do".to_owned(),
            Ok(Finding::Needed(what)) => {
                basis = step.others_depend().then_some(name);
                what
            }
            // What earlier steps would bring about is not there.
            Err(error) => {
                basis = step.others_depend().then_some(name);
                format!("cannot be told before the steps above are done: {error:#}")
            }
        };
        guest.log.line(&format!("{name}: {would}"));
    }
}

/// Runs the steps of `phase` and tells what they came to. Steps that fail are told on the console, and do not keep others from
/// being done, unless they say so.
pub fn run(phase: &Phase, guest: &mut Guest<'_>) -> PhaseResult {
    let mut result = PhaseResult::of(phase.name);
    for step in phase.steps {
        let name = step.name();
        guest.commands.end_by(deadline(guest.clock, *step));
        let outcome = match step.check(guest) {
            Ok(Finding::Done) => {
                guest.log.line(&format!("{name}: nothing to do"));
                continue;
            }
            Ok(Finding::Needed(what)) => {
                guest.log.line(&format!("{name}: {what}"));
                step.apply(guest).and_then(|()| step.verify(guest))
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                guest.log.line(&format!("{name}: done"));
                result.changed.push(name.to_owned());
            }
            Err(error) => {
                let reason: String = format!("{error:#}").chars().take(LONGEST_REASON).collect();
                guest.log.console(&format!("ERROR: {name}: {reason}"));
                result.failed.push((name.to_owned(), reason.clone()));
                if let OnFailure::End(tell) = step.on_failure() {
                    tell(guest, &reason);
                    break;
                }
            }
        }
    }
    result.warnings = guest.log.take_warnings();
    result.ended = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    result
}

fn deadline(clock: &dyn Clock, step: &dyn Step) -> std::time::Duration {
    clock.now().saturating_add(step.limit())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use anyhow::{Result, bail};
    use guest_mdata::Monotonic;
    use guest_mdata::source::Recorded;

    use super::*;
    use crate::command::double::Double;
    use crate::engine::Log;
    use crate::phase::identity::metadata::Metadata;
    use crate::platform::Platform;
    use crate::state::{self, State};

    /// A step for tests: what it finds, whether it can do it, and whether that helps.
    struct Lamp {
        name: &'static str,
        is_on: AtomicBool,
        looks: AtomicUsize,
        bulb: Bulb,
        on_failure: OnFailure,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Bulb {
        Good,
        Stuck,
        Dead,
        Missing,
        Loud,
    }

    impl Lamp {
        const fn new(name: &'static str, bulb: Bulb, on_failure: OnFailure) -> Self {
            Self { name, is_on: AtomicBool::new(false), looks: AtomicUsize::new(0), bulb, on_failure }
        }
    }

    impl Step for Lamp {
        fn name(&self) -> &'static str {
            self.name
        }

        fn on_failure(&self) -> OnFailure {
            self.on_failure
        }

        fn check(&self, _: &mut Guest<'_>) -> Result<Finding> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            match (self.bulb, self.is_on.load(Ordering::Relaxed)) {
                (Bulb::Missing, _) => bail!("no bulb"),
                (Bulb::Loud, _) => bail!("bang {}", "\u{1}".repeat(1 << 20)),
                (_, true) => Ok(Finding::Done),
                (_, false) => Ok(Finding::Needed("it is dark".to_owned())),
            }
        }

        fn apply(&self, _: &mut Guest<'_>) -> Result<()> {
            self.is_on.store(self.bulb == Bulb::Good, Ordering::Relaxed);
            if self.bulb == Bulb::Stuck {
                bail!("the switch is stuck");
            }
            Ok(())
        }
    }

    fn result_of(steps: &'static [&'static Lamp]) -> PhaseResult {
        with(steps, run)
    }

    fn with<T>(steps: &'static [&'static Lamp], act: impl FnOnce(&Phase, &mut Guest<'_>) -> T) -> T {
        // A phase is made once, and lasts.
        let steps: Vec<&'static dyn Step> = steps.iter().map(|lamp| *lamp as &dyn Step).collect();
        let clock = Monotonic::starting_now();
        let source = Recorded::new::<&str, &str>([]);
        let mut guest = Guest {
            commands: &mut Double::new([]),
            clock: &clock,
            metadata: &mut Metadata::new(
                Box::new(source),
                Box::new(Monotonic::starting_now()),
                Duration::from_secs(1),
            ),
            platform: Platform::of_kernel("joyent_20141030T081701Z").expect("a platform"),
            state: State::default(),
            log: &mut Log::new("lights", false),
        };
        act(&Phase { name: "lights", methods: &[], is_repeated: false, steps: steps.leak() }, &mut guest)
    }

    fn reasons(result: &PhaseResult) -> Vec<String> {
        result.failed.iter().map(|(step, reason)| format!("{step}: {reason}")).collect()
    }

    #[test]
    fn steps_are_done_once_and_failures_keep_nothing_else_from_being_done() {
        static HALL: Lamp = Lamp::new("hall", Bulb::Good, OnFailure::GoOn);
        static STAIRS: Lamp = Lamp::new("stairs", Bulb::Stuck, OnFailure::GoOn);
        static CELLAR: Lamp = Lamp::new("cellar", Bulb::Dead, OnFailure::GoOn);
        static ATTIC: Lamp = Lamp::new("attic", Bulb::Missing, OnFailure::GoOn);
        static PORCH: Lamp = Lamp::new("porch", Bulb::Good, OnFailure::GoOn);
        static STEPS: [&Lamp; 5] = [&HALL, &STAIRS, &CELLAR, &ATTIC, &PORCH];
        let failures =
            ["stairs: the switch is stuck", "cellar: it was done, and yet: it is dark", "attic: no bulb"];
        let first = result_of(&STEPS);
        assert_eq!(first.changed, ["hall", "porch"]);
        assert_eq!(reasons(&first), failures);
        assert!(first.ended > 0);
        let second = result_of(&STEPS);
        assert_eq!(second.changed, Vec::<String>::new());
        assert_eq!(reasons(&second), failures);
    }

    #[test]
    fn a_step_that_others_build_on_ends_the_phase() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn tell(_: &mut Guest<'_>, reason: &str) {
            TOLD.lock().expect("nobody panics with it").push(reason.to_owned());
        }
        for (bulb, reason) in [
            (Bulb::Stuck, "the switch is stuck"),
            (Bulb::Missing, "no bulb"),
            (Bulb::Dead, "it was done, and yet: it is dark"),
        ] {
            let fuse: &Lamp = Box::leak(Box::new(Lamp::new("fuse", bulb, OnFailure::End(tell))));
            let hall: &Lamp = Box::leak(Box::new(Lamp::new("hall", Bulb::Good, OnFailure::GoOn)));
            let result = result_of(vec![fuse, hall].leak());
            assert_eq!(reasons(&result), [format!("fuse: {reason}")]);
            assert!(!hall.is_on.load(Ordering::Relaxed));
            assert_eq!(TOLD.lock().expect("nobody panics with it").pop().as_deref(), Some(reason));
        }
    }

    #[test]
    fn the_reasons_of_all_steps_fit_into_the_state() {
        static HALL: Lamp = Lamp::new("hall", Bulb::Loud, OnFailure::GoOn);
        let mut state = State::default();
        for phase in ["storage", "identity", "setup", "init", "userscript"] {
            let result = result_of(vec![&HALL; 20].leak());
            assert_eq!(result.failed.len(), 20);
            state.record(PhaseResult { phase: phase.to_owned(), ..result });
        }
        let text = serde_json::to_vec(&state).expect("JSON");
        assert!((text.len() as u64) < state::LONGEST, "{}", text.len());
    }

    #[test]
    fn a_plan_looks_and_does_nothing() {
        static HALL: Lamp = Lamp::new("hall", Bulb::Good, OnFailure::GoOn);
        static ATTIC: Lamp = Lamp::new("attic", Bulb::Missing, OnFailure::GoOn);
        static FUSE: Lamp = Lamp::new("fuse", Bulb::Good, OnFailure::End(|_, _| panic!("nothing is done")));
        static PORCH: Lamp = Lamp::new("porch", Bulb::Good, OnFailure::GoOn);
        static STEPS: [&Lamp; 4] = [&HALL, &ATTIC, &FUSE, &PORCH];
        with(&STEPS, plan);
        for lamp in STEPS {
            assert!(!lamp.is_on.load(Ordering::Relaxed), "{}", lamp.name);
            // Of what depends on others it cannot be known.
            assert_eq!(
                lamp.looks.load(Ordering::Relaxed),
                usize::from(lamp.name != "porch"),
                "{}",
                lamp.name
            );
        }
    }
}
