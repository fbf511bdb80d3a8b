//! Address translation for zones.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::firewall::{self, rules};
use crate::command::{Commands, ipnat};
use crate::engine::{Finding, Guest, Step};
use crate::state::FOLDER;

/// Where the platform's service looks for rules, whenever it is restarted.
const FILE: &str = "/etc/ipf/ipnat.conf";

/// Where rules are until they have proved themselves.
pub const NEW: &str = "/etc/svc/volatile/guest-init/ipnat.conf";

/// Zones reach the outside with this guest's address.
pub struct Nat;

impl Step for Nat {
    fn name(&self) -> &'static str {
        "nat"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(text) = rules::nat(&firewall::facts::facts(guest)?) else {
            // Without zones there is nothing to translate, and no file unless there were some earlier in this boot.
            return Ok(if Path::new(FILE).exists() {
                Finding::Needed("there is no network for zones any more".to_owned())
            } else {
                Finding::Done
            });
        };
        if !firewall::is_written(FILE, &text)? {
            return Ok(Finding::Needed("the address translation gets rules".to_owned()));
        }
        Ok(difference(&text, guest.commands)?.map_or(Finding::Done, Finding::Needed))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(text) = rules::nat(&firewall::facts::facts(guest)?) else {
            guest.commands.text(&ipnat::clear())?;
            return fs::remove_file(FILE).with_context(|| format!("cannot remove {FILE}"));
        };
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        firewall::write(NEW, &text)?;
        load(&text, Path::new(FILE).try_exists(), guest.commands)?;
        firewall::write(FILE, &text)
    }

    /// The rules that the kernel has were counted when they had been loaded.
    fn verify(&self, _: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// How the kernel's rules differ in number from these.
pub fn difference(text: &str, commands: &mut dyn Commands) -> Result<Option<String>> {
    let show = ipnat::show();
    let found = ipnat::rules(&commands.text(&show)?);
    let wanted = rules::count(text);
    Ok((found != wanted).then(|| format!("{show} lists {found} rules instead of {wanted}")))
}

/// Loads the rules from the new file; if that goes wrong, those from the old file again.
pub fn load(text: &str, has_old: io::Result<bool>, commands: &mut dyn Commands) -> Result<()> {
    commands.text(&ipnat::parse(NEW)).context("the rules are not used")?;
    let loaded = commands.text(&ipnat::load(NEW)).and_then(|_| difference(text, commands));
    let problem = match loaded {
        Ok(None) => return Ok(()),
        Ok(Some(difference)) => difference,
        Err(error) => format!("{error:#}"),
    };
    if has_old.unwrap_or(false) {
        commands
            .text(&ipnat::load(FILE))
            .with_context(|| format!("{problem}; and the old rules are not back"))?;
        bail!("the old rules are in use again: {problem}");
    }
    bail!(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::double::{Double, failed, said};

    const TEXT: &str = "# heading\nmap e1000g0 172.16.9.0/24 -> 0/32\n";
    const LISTED: &str = "List of active MAP/Redirect filters:\nmap e1000g0 172.16.9.0/24 -> 0.0.0.0/32\n\n";
    const PARSE: &str = "/usr/sbin/ipnat -n -f /etc/svc/volatile/guest-init/ipnat.conf";
    const LOAD: &str = "/usr/sbin/ipnat -CF -f /etc/svc/volatile/guest-init/ipnat.conf";
    const RELOAD: &str = "/usr/sbin/ipnat -CF -f /etc/ipf/ipnat.conf";
    const SHOW: &str = "/usr/sbin/ipnat -l";

    #[test]
    fn good_rules_are_parsed_loaded_and_counted() {
        let mut commands = Double::new([(PARSE, said("")), (LOAD, said("")), (SHOW, said(LISTED))]);
        load(TEXT, Ok(false), &mut commands).expect("loaded");
        commands.finish();
    }

    #[test]
    fn hazard_24_the_old_translation_comes_back() {
        let mut commands = Double::new([(PARSE, failed(1, "syntax error"))]);
        load(TEXT, Ok(true), &mut commands).expect_err("refused");
        commands.finish();
        let mut commands =
            Double::new([(PARSE, said("")), (LOAD, said("")), (SHOW, said("")), (RELOAD, said(""))]);
        let error = load(TEXT, Ok(true), &mut commands).expect_err("a rule is missing");
        commands.finish();
        assert!(error.to_string().contains("lists 0 rules instead of 1"), "{error:#}");
        let mut commands = Double::new([(PARSE, said("")), (LOAD, failed(1, "ioctl(SIOCADNAT)"))]);
        load(TEXT, Ok(false), &mut commands).expect_err("not loaded, and nothing to go back to");
        commands.finish();
    }
}
