//! Services of the platform that a guest has no use for.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::svcadm;
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};
use crate::phase::identity::settings;

/// What was switched off, for as long as that lasts: this file and the services' repository both live as long as the boot.
const DONE: &str = "/etc/svc/volatile/guest-init/services-off";

/// A guest is not managed by a headnode's agent, its multicast DNS would only fill logs, nobody reads its other virtual
/// consoles, and there are no virtual machines in it to look after. The platform may lack any of these.
const SERVICES: [&str; 9] = [
    // The agent, by the two names that it is known to have.
    "svc:/smartdc/agent/ur:default",
    "svc:/system/smartdc/ur:default",
    "svc:/network/dns/multicast:default",
    "svc:/system/console-login:vt2",
    "svc:/system/console-login:vt3",
    "svc:/system/console-login:vt4",
    "svc:/system/console-login:vt5",
    "svc:/system/console-login:vt6",
    "svc:/system/smartdc/vmadmd:default",
];

/// Those for mail, which the setting `sendmail` keeps.
const MAIL: [&str; 2] = ["svc:/network/smtp:sendmail", "svc:/network/sendmail-client:default"];

/// Those services are off. An owner who switches one on again is not contradicted before the next boot.
pub struct Services;

impl Step for Services {
    fn name(&self) -> &'static str {
        "services"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let wanted = record(&unwanted(settings::load(guest).sendmail));
        let is_done = files::is(Path::new(DONE), &wanted, Owner::root(0o600))
            .with_context(|| format!("cannot look at {DONE}"))?;
        if is_done {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed("services that a guest has no use for are switched off".to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let services = unwanted(settings::load(guest).sendmail);
        let invocation = svcadm::disable(&services);
        let output = guest.commands.run(&invocation)?;
        if output.status != 0 && !svcadm::only_misses_services(&output) {
            bail!("{invocation} ended with status {}: {}", output.status, output.complaint());
        }
        files::replace(Path::new(DONE), &record(&services), Owner::root(0o600))
            .with_context(|| format!("cannot write {DONE}"))
    }
}

fn unwanted(sendmail: bool) -> Vec<&'static str> {
    let mail = if sendmail { &[][..] } else { &MAIL[..] };
    SERVICES.iter().chain(mail).copied().collect()
}

fn record(services: &[&str]) -> Vec<u8> {
    services.iter().flat_map(|service| format!("{service}\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_stays_if_the_owner_wants_it() {
        let has_mail = |services: &[&str]| services.iter().any(|service| service.contains("sendmail"));
        assert!(has_mail(&unwanted(false)));
        assert!(!has_mail(&unwanted(true)));
        assert!(unwanted(true).contains(&"svc:/network/dns/multicast:default"));
    }
}
