//! A first boot stopped at every point: a process killed there, or the power lost.
//!
//! A point is a call of the guest's programs that changes something outside the process: a command started, a file made,
//! written, synchronised, renamed or removed, a lock, an ioctl. Power is also lost when a command is half done, and when it
//! is done and its caller does not know yet. Each test tries every third point, and with `KILN_LONG_TESTS` all of them. The
//! ways to stop there take turns. `KILN_POINTS=FIRST-LAST` tries all whose number is in that range and no others: what a
//! failure names can be looked at alone.

mod trial;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kiln_e2e::first_boot::Image;
use kiln_shim::Moment;
use kiln_shim::power::Policy;
use kiln_simulator::{Action, Era};

use trial::{Stop, Undisturbed};

/// Fewest points that a first boot has.
const FEWEST: usize = 200;
/// Machines that run at the same time.
const MACHINES: usize = 2;
/// Of so many points, one is tried.
const PART: usize = 3;

/// What the unsynchronised part of the disks comes to, in turns.
const LOSSES: [Policy; 5] = [Policy::Drop, Policy::Empty, Policy::Half, Policy::Torn, Policy::Keep];

/// The moments of a call at which it can be stopped, which take turns. Only writing can be half done.
fn moment(call: &str, turn: usize) -> Moment {
    const OF_WRITES: [Moment; 3] = [Moment::Half, Moment::After, Moment::Before];
    const OF_OTHERS: [Moment; 2] = [Moment::After, Moment::Before];
    if call.contains("write") { OF_WRITES[turn % 3] } else { OF_OTHERS[turn % 2] }
}

/// The range of `KILN_POINTS`, if it is set.
fn range() -> Option<std::ops::RangeInclusive<usize>> {
    let text = std::env::var("KILN_POINTS").ok()?;
    let (first, last) = text.split_once('-').expect("KILN_POINTS=FIRST-LAST");
    Some(first.parse().expect("a number")..=last.parse().expect("a number"))
}

/// Tries stops on several machines at once, each `part`-th from that at `offset` on.
fn sweep(image: &Image, undisturbed: &Undisturbed, stops: Vec<Stop>, (part, offset): (usize, usize)) {
    let all = stops.len();
    let range = range();
    let part = if std::env::var_os("KILN_LONG_TESTS").is_some() || range.is_some() { 1 } else { part };
    let chosen: Vec<(usize, Stop)> = stops
        .into_iter()
        .enumerate()
        .skip(offset % part)
        .step_by(part)
        .filter(|(number, _)| range.as_ref().is_none_or(|range| range.contains(number)))
        .collect();
    let (next, missed, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                while let Some((number, stop)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match trial::run(image, undisturbed, &format!("guest-{number}"), stop) {
                        Ok(true) => {}
                        Ok(false) => {
                            missed.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(failure) => {
                            failures.lock().unwrap().push(format!("point {number}, {stop}: {failure}"));
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner();
    println!("{}: tried {} of {all} points, {missed} of which no boot came to", image.stamp(), chosen.len());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} points failed\n{}", failures.len(), failures.join("\n\n"));
    // A busy machine makes some boots shorter or longer than the one by which the points were counted.
    assert!(missed * 10 <= chosen.len(), "no boot came to {missed} of {} points", chosen.len());
}

/// A process killed at every call.
fn kills(undisturbed: &Undisturbed) -> Vec<Stop> {
    let calls = undisturbed.points.iter().enumerate();
    calls
        .map(|(turn, point)| Stop::Kill { point: point.clone(), moment: moment(&point.call, turn) })
        .collect()
}

/// The power lost at every call, and around every command.
fn power_failures(undisturbed: &Undisturbed) -> Vec<Stop> {
    let calls = undisturbed.points.iter().enumerate().map(|(turn, point)| Stop::Power {
        point: point.clone(),
        // One of each five has each policy, and of those one of each two or three each moment.
        moment: moment(&point.call, turn / LOSSES.len()),
        policy: LOSSES[turn % LOSSES.len()],
    });
    let commands = undisturbed.commands.iter().enumerate().flat_map(|(turn, command)| {
        [Action::DieHalf, Action::DieAfter].map(|action| Stop::Command {
            command: command.clone(),
            action,
            policy: LOSSES[turn % LOSSES.len()],
        })
    });
    calls.chain(commands).collect()
}

#[test]
fn a_first_boot_ends_the_same_if_a_process_is_killed() {
    let Some(image) = Image::build(Era::ALL[0]) else { return };
    let undisturbed = Undisturbed::of(&image);
    assert!(undisturbed.points.len() > FEWEST, "{} points", undisturbed.points.len());
    sweep(&image, &undisturbed, kills(&undisturbed), (PART, 0));
}

#[test]
fn a_first_boot_ends_the_same_if_the_power_fails() {
    let Some(image) = Image::build(Era::ALL[0]) else { return };
    let undisturbed = Undisturbed::of(&image);
    sweep(&image, &undisturbed, power_failures(&undisturbed), (PART, 1));
}

#[test]
fn so_it_does_on_the_newest_platform() {
    const FEW: usize = 120;
    let Some(image) = Image::build(Era::ALL[Era::ALL.len() - 1]) else { return };
    let undisturbed = Undisturbed::of(&image);
    let mut stops = kills(&undisturbed);
    stops.extend(power_failures(&undisturbed));
    sweep(&image, &undisturbed, stops, (FEW, 2));
}
