//! Which link leads to a network, when nobody says which is this guest's.
//!
//! Drivers do not know the state of a link that nothing has open, and before the platform's network service runs, nothing has.
//! So IP opens each link for a moment, without an address. The script that this phase replaces did the same at this point,
//! before it asked its questions (smartos-live, `prompt-config.sh`); and the network service minds no link that was left
//! open, since to plumb a link twice is no error.

use std::time::Duration;

use guest_mdata::Clock;

use crate::command::dladm::{self, LinkState};
use crate::command::{Commands, ifconfig};
use crate::engine::Log;
use crate::state::Link;

/// The most links that are tried.
const MOST: usize = 16;

/// How long a link may take to come up; the platform's network service waits as long (`/lib/sdc/network.sh`).
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before the links are looked at again.
const PAUSE: Duration = Duration::from_secs(1);

/// The name of the first link that is up, if one is.
pub fn first_up(
    links: &[Link],
    commands: &mut dyn Commands,
    clock: &dyn Clock,
    log: &mut Log,
) -> Option<String> {
    let names: Vec<&str> = links.iter().take(MOST).map(|link| &*link.name).collect();
    for name in &names {
        // A link that cannot be opened stays in an unknown state.
        if let Err(error) = commands.text(&ifconfig::plumb(name)) {
            log.line(&format!("{error:#}"));
        }
    }
    let end = clock.now().saturating_add(PATIENCE);
    let found = loop {
        let states = dladm::states(commands).unwrap_or_else(|error| {
            log.line(&format!("{error:#}"));
            Vec::new()
        });
        let state = |name: &&&str| {
            states.iter().find(|(of, _)| of == **name).map_or(LinkState::Unknown, |(_, state)| *state)
        };
        // One that is up counts as soon as none before it can come up any more.
        match names.iter().find(|name| state(name) != LinkState::Down) {
            Some(first) if state(&first) == LinkState::Up => break Some(*first),
            None => break None,
            Some(_) if clock.now() >= end => {
                break names.iter().find(|name| state(name) == LinkState::Up).copied();
            }
            Some(_) => clock.sleep(PAUSE),
        }
    };
    for name in &names {
        if let Err(error) = commands.text(&ifconfig::unplumb(name)) {
            log.line(&format!("{error:#}"));
        }
    }
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use guest_mdata::Monotonic;

    use super::*;
    use crate::command::Output;
    use crate::command::double::{Double, failed, said};

    const STATES: &str = "/usr/sbin/dladm show-phys -p -o link,state";

    /// The link that is chosen of `e1000g0` and `e1000g1` when they are in these states, one look after another.
    fn chosen(plumbed: Output, looks: &[&str]) -> Option<String> {
        let links: Vec<Link> = (0..2)
            .map(|index| Link { name: format!("e1000g{index}"), mac: [2, 0, 0, 0, 0, index] })
            .collect();
        let mut expected = vec![
            ("/usr/sbin/ifconfig e1000g0 plumb", plumbed),
            ("/usr/sbin/ifconfig e1000g1 plumb", said("")),
        ];
        expected.extend(looks.iter().map(|text| (STATES, said(text))));
        expected.push(("/usr/sbin/ifconfig e1000g0 unplumb", said("")));
        expected.push(("/usr/sbin/ifconfig e1000g1 unplumb", failed(1, "cannot unplumb")));
        let mut commands = Double::new(expected);
        let clock = Hurried(Monotonic::starting_now(), std::cell::Cell::new(Duration::ZERO));
        let found = first_up(&links, &mut commands, &clock, &mut Log::new("identity", false));
        commands.finish();
        found
    }

    /// A clock on which pauses are over at once.
    struct Hurried(Monotonic, std::cell::Cell<Duration>);

    impl Clock for Hurried {
        fn now(&self) -> Duration {
            self.0.now() + self.1.get()
        }

        fn sleep(&self, duration: Duration) {
            self.1.set(self.1.get() + duration);
        }
    }

    #[test]
    fn hazard_17_the_first_link_that_is_up_is_waited_for() {
        let both_up = "e1000g0:up\ne1000g1:up\n";
        assert_eq!(chosen(said(""), &[both_up]).as_deref(), Some("e1000g0"));
        assert_eq!(chosen(said(""), &["e1000g0:down\ne1000g1:up\n"]).as_deref(), Some("e1000g1"));
        let coming = ["e1000g0:unknown\ne1000g1:unknown\n", "e1000g0:unknown\ne1000g1:up\n", both_up];
        assert_eq!(chosen(said(""), &coming).as_deref(), Some("e1000g0"));
        assert_eq!(chosen(said(""), &["e1000g0:down\ne1000g1:down\n"]), None);
    }

    #[test]
    fn a_link_that_cannot_be_opened_is_waited_for_in_vain() {
        let looks = vec!["e1000g0:unknown\ne1000g1:up\n"; 11];
        let refused = failed(1, "ifconfig: cannot plumb e1000g0: Could not open DLPI link");
        assert_eq!(chosen(refused, &looks).as_deref(), Some("e1000g1"));
        assert_eq!(chosen(said(""), &["garbage"; 11]), None);
    }
}
