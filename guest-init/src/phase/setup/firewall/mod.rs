//! The packet filter.

pub mod facts;
pub mod rules;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{Commands, ipf, ipfstat};
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};
use crate::state::FOLDER;

/// Where the platform's service looks for rules, whenever it is restarted.
const IPV4: &str = "/etc/ipf/ipf.conf";
const IPV6: &str = "/etc/ipf/ipf6.conf";

/// Where the IPv4 rules are until they have proved themselves.
pub const NEW_IPV4: &str = "/etc/svc/volatile/guest-init/ipf.conf";
/// Where those for IPv6 are until then.
pub const NEW_IPV6: &str = "/etc/svc/volatile/guest-init/ipf6.conf";

/// The kernel has the rules for this guest.
///
/// They are read without effect first, then loaded beside those in use, of both families, and change places with them in one
/// go: at no moment are there fewer rules than before. Rules that are not what was loaded give way to the old ones again.
pub struct Firewall;

impl Step for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let texts = Texts::of(&facts::facts(guest)?);
        if !texts.are_written()? {
            return Ok(Finding::Needed("the packet filter gets rules".to_owned()));
        }
        Ok(match texts.difference(guest.commands)? {
            None => Finding::Done,
            Some(difference) => Finding::Needed(difference),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let texts = Texts::of(&facts::facts(guest)?);
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        write(NEW_IPV4, &texts.ipv4)?;
        write(NEW_IPV6, &texts.ipv6)?;
        load(&texts, guest.commands)?;
        // What the service would load is what has been loaded.
        write(IPV4, &texts.ipv4)?;
        write(IPV6, &texts.ipv6)
    }

    /// The rules that the kernel has were counted when they had been loaded.
    fn verify(&self, _: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// Whether the rules for this guest are those that were loaded last.
pub fn is_up(guest: &mut Guest<'_>) -> Result<bool> {
    Texts::of(&facts::facts(guest)?).are_written()
}

/// Gives a file of rules this text, if it has another.
pub fn write(file: &str, text: &str) -> Result<()> {
    let path = Path::new(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    files::keep(path, text.as_bytes(), Owner::root(0o644)).with_context(|| format!("cannot write {file}"))?;
    Ok(())
}

/// Whether a file of rules has this text.
pub fn is_written(file: &str, text: &str) -> Result<bool> {
    files::is(Path::new(file), text.as_bytes(), Owner::root(0o644))
        .with_context(|| format!("cannot look at {file}"))
}

/// The rules as texts.
pub struct Texts {
    /// Those for IPv4.
    pub ipv4: String,
    /// Those for IPv6.
    pub ipv6: String,
}

impl Texts {
    /// The rules that follow from the facts.
    pub fn of(facts: &rules::Facts) -> Self {
        Self { ipv4: rules::ipv4(facts), ipv6: rules::ipv6(facts) }
    }

    fn are_written(&self) -> Result<bool> {
        Ok(is_written(IPV4, &self.ipv4)? && is_written(IPV6, &self.ipv6)?)
    }

    /// How the rules in use differ in number from these.
    pub fn difference(&self, commands: &mut dyn Commands) -> Result<Option<String>> {
        for (show, text) in [(ipfstat::show_ipv4(), &self.ipv4), (ipfstat::show_ipv6(), &self.ipv6)] {
            let found = ipfstat::rules(&commands.text(&show)?);
            let wanted = rules::count(text);
            if found != wanted {
                return Ok(Some(format!("{show} lists {found} rules instead of {wanted}")));
            }
        }
        Ok(None)
    }
}

/// Loads the rules from the new files.
pub fn load(texts: &Texts, commands: &mut dyn Commands) -> Result<()> {
    commands.text(&ipf::parse(NEW_IPV4, NEW_IPV6)).context("the rules are not used")?;
    let invocation = ipf::load_and_swap(NEW_IPV4, NEW_IPV6);
    let output = commands.run(&invocation)?;
    if !ipf::has_swapped(&output) {
        bail!(
            "{invocation} ended with status {} before the new rules were in use: {}",
            output.status,
            output.complaint()
        );
    }
    let problem = match texts.difference(commands) {
        Ok(None) if output.status == 0 => return Ok(()),
        Ok(None) => format!("{invocation} ended with status {}", output.status),
        Ok(Some(difference)) => difference,
        Err(error) => format!("{error:#}"),
    };
    commands.text(&ipf::swap()).with_context(|| format!("{problem}; and the old rules are not back"))?;
    bail!("the old rules are in use again: {problem}: {}", output.complaint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Output;
    use crate::command::double::{Double, failed, said};

    const PARSE: &str = "/usr/sbin/ipf -n -f /etc/svc/volatile/guest-init/ipf.conf -6 -f /etc/svc/volatile/guest-init/ipf6.conf";
    const LOAD: &str = "/usr/sbin/ipf -E -I -F a -f /etc/svc/volatile/guest-init/ipf.conf \
                        -6 -F a -f /etc/svc/volatile/guest-init/ipf6.conf -s -y";
    const SWAP: &str = "/usr/sbin/ipf -s -y";
    const SHOW: &str = "/usr/sbin/ipfstat -io";
    const SHOW_IPV6: &str = "/usr/sbin/ipfstat -6 -io";
    const SWAPPED: &str = "Set 0 now inactive\nfilter sync'd\n";

    fn texts() -> Texts {
        Texts {
            ipv4: "# heading\nblock in all\npass out all\n".to_owned(),
            ipv6: "# heading\nblock in all\n".to_owned(),
        }
    }

    fn loaded<'a>(expected: impl IntoIterator<Item = (&'a str, Output)>) -> Result<()> {
        let mut commands = Double::new(expected);
        let result = load(&texts(), &mut commands);
        commands.finish();
        result
    }

    #[test]
    fn hazard_24_good_rules_are_parsed_loaded_beside_and_counted() {
        loaded([
            (PARSE, said("")),
            (LOAD, said(SWAPPED)),
            (SHOW, said("pass out from any to any\nblock in from any to any\n")),
            (SHOW_IPV6, said("empty list for inet6 ipfilter(out)\nblock in from any to any\n")),
        ])
        .expect("loaded");
    }

    #[test]
    fn hazard_24_rules_that_cannot_be_read_never_reach_the_kernel() {
        let error =
            loaded([(PARSE, failed(1, "ipf: syntax error error at \"in\", line 2"))]).expect_err("refused");
        assert!(format!("{error:#}").contains("line 2"), "{error:#}");
    }

    #[test]
    fn hazard_24_without_a_swap_the_old_rules_are_in_use_and_stay() {
        for ended in
            [failed(1, "error at \"in\", line 2"), failed(0, "ioctl(SIOCSWAPA): Invalid argument"), said("")]
        {
            loaded([(PARSE, said("")), (LOAD, ended)]).expect_err("not loaded");
        }
    }

    #[test]
    fn hazard_24_rules_that_the_kernel_has_not_all_taken_give_way_to_the_old_ones() {
        let error = loaded([
            (PARSE, said("")),
            (LOAD, said(SWAPPED)),
            (SHOW, said("pass out from any to any\n")),
            (SWAP, said(SWAPPED)),
        ])
        .expect_err("a rule is missing");
        assert!(format!("{error:#}").contains("lists 1 rules instead of 2"), "{error:#}");
        loaded([
            (PARSE, said("")),
            (LOAD, said(SWAPPED)),
            (SHOW, failed(1, "open(IPSTATE_NAME): No such device")),
            (SWAP, failed(1, "open device: No such device")),
        ])
        .expect_err("nobody knows");
    }
}
