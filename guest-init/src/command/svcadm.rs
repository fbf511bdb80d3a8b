//! `svcadm`: services.

use super::{Invocation, Output};

/// Switches services off, without waiting until they have stopped. The repository is in memory, so that lasts until the next
/// boot. Services that the platform lacks are complained about, and the others switched off all the same: each name is
/// looked up by itself (illumos `libscf`, `scf_walk_fmri`).
pub fn disable(services: &[&str]) -> Invocation {
    Invocation::changes("/usr/sbin/svcadm", std::iter::once("disable").chain(services.iter().copied()))
}

/// Whether all that went wrong is that some of the services do not exist.
pub fn only_misses_services(output: &Output) -> bool {
    let complaints = String::from_utf8_lossy(&output.stderr);
    let mut lines = complaints.lines().filter(|line| !line.trim().is_empty()).peekable();
    output.status == 1 && lines.peek().is_some() && lines.all(|line| line.contains("doesn't match any"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_services_are_told_from_real_trouble() {
        let ended = |status, stderr: &str| Output { status, stdout: Vec::new(), stderr: stderr.into() };
        let missing = "svcadm: Pattern 'svc:/smartdc/agent/ur:default' doesn't match any instances\n";
        assert!(only_misses_services(&ended(1, missing)));
        assert!(!only_misses_services(&ended(1, &format!("{missing}svcadm: Permission denied\n"))));
        assert!(!only_misses_services(&ended(1, "")));
        assert!(!only_misses_services(&ended(0, missing)));
    }
}
