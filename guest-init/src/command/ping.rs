//! `ping`: whether somebody has an address.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Commands, Invocation};

const PROGRAM: &str = "/usr/sbin/ping";

/// Whether somebody answers at an address within a second. Who cannot be asked does not answer.
pub fn answers(commands: &mut dyn Commands, address: Ipv4Addr) -> bool {
    // The number is how many seconds it waits; without one it would be 20.
    let invocation = Invocation::reads(PROGRAM, ["-n", &address.to_string(), "1"]);
    commands.run(&invocation.within(Duration::from_secs(5))).is_ok_and(|output| output.status == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::double::{Double, failed, said};

    #[test]
    fn silence_and_failure_are_no_answer() {
        let line = "/usr/sbin/ping -n 172.16.9.3 1";
        for (output, expected) in [
            (said("172.16.9.3 is alive\n"), true),
            (failed(1, ""), false),
            (failed(2, "ping: socket"), false),
        ] {
            assert_eq!(answers(&mut Double::new([(line, output)]), Ipv4Addr::new(172, 16, 9, 3)), expected);
        }
        assert!(!answers(&mut Double::new([]), Ipv4Addr::new(172, 16, 9, 3)), "it cannot be run");
    }
}
