//! Brings `/usbkey/config` about, with its second copies.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_mdata::values::MacAddress;

use super::decide::{self, Decision, Known};
use super::format::{self, Config};
use super::generate::{self, Facts, Wanted};
use crate::engine::{Finding, Guest, Step};
use crate::files;
use crate::phase::identity::live;
use crate::phase::identity::metadata;
use crate::phase::identity::nics;
use crate::phase::identity::places;
use crate::phase::identity::settings::{self, CONFIG};
use crate::phase::storage;
use crate::state::Link;

/// The step.
pub struct ConfigFile;

impl Step for ConfigFile {
    fn name(&self) -> &'static str {
        "config"
    }

    fn limit(&self) -> Duration {
        storage::key::LIMIT
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let work = work(guest)?;
        for note in &work.notes {
            guest.log.line(&format!("WARNING: {note}"));
        }
        for warning in &work.warnings {
            guest.log.warn(&format!("{CONFIG}: {warning}"));
        }
        Ok(work.finding())
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let mut work = self::work(guest)?;
        if work.is_last_resort && guest.state.live_link.is_none() && look_for_network(guest) {
            work = self::work(guest)?;
        }
        let mut failed = Vec::new();
        if let Some(text) = &work.in_memory {
            guest.log.warn(&format!(
                "{}; this boot goes with a file in memory, the one on the key stays as it is",
                work.reasons.join(", ")
            ));
            places::write_in_memory(guest, text.as_bytes())?;
        }
        if let Err(error) = work.write_on_key(guest) {
            failed.push(format!("{error:#}"));
        }
        // Whatever has become of the key on the way: without the file there would be no network.
        if !holds(Path::new(CONFIG), &work.settled) {
            failed.push("this boot goes with a file in memory".to_owned());
            places::write_in_memory(guest, &work.settled).with_context(|| failed.join("; "))?;
        }
        for (path, contents) in &work.in_pool {
            if let Err(error) = places::write_in_pool(path, contents) {
                failed.push(format!("{error:#}"));
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!(failed.join("; ")) }
    }

    fn verify(&self, guest: &mut Guest<'_>) -> Result<()> {
        match work(guest)?.finding() {
            Finding::Done => Ok(()),
            Finding::Needed(what) => bail!("it was done, and yet: {what}"),
        }
    }
}

/// What there is to do.
#[derive(Debug, Default)]
struct Work {
    /// The platform's file as it is to be, wherever it lies.
    settled: Vec<u8>,
    /// Whether the platform gets a network from the file that is there.
    is_usable: bool,
    /// The new text of the platform's file on the key.
    config_on_key: Option<String>,
    /// The new text of the platform's file for this boot alone.
    in_memory: Option<String>,
    /// The new stored copy of the metadata.
    metadata_on_key: Option<Vec<u8>>,
    /// Paths and contents of second copies.
    in_pool: Vec<(&'static str, Vec<u8>)>,
    /// Whether the new text names a link on the off chance.
    is_last_resort: bool,
    /// Why there is something to do.
    reasons: Vec<String>,
    /// What was left out of what the host said.
    notes: Vec<String>,
    /// What is amiss with a file that is kept.
    warnings: Vec<String>,
}

impl Work {
    fn finding(&self) -> Finding {
        if self.reasons.is_empty() { Finding::Done } else { Finding::Needed(self.reasons.join(", ")) }
    }

    fn write_on_key(&self, guest: &mut Guest<'_>) -> Result<()> {
        if self.config_on_key.is_none() && self.metadata_on_key.is_none() {
            return Ok(());
        }
        places::on_key(guest, |folder| {
            if let Some(text) = &self.config_on_key {
                places::write_on_key(folder, places::CONFIG_ON_KEY, text.as_bytes())?;
            }
            if let Some(text) = &self.metadata_on_key {
                places::write_on_key(folder, places::METADATA_ON_KEY, text)?;
            }
            Ok(())
        })
    }
}

/// Whether the platform gets a network from the file that is there.
pub fn is_usable(guest: &mut Guest<'_>) -> bool {
    work(guest).is_ok_and(|work| work.is_usable)
}

/// Looks at everything, and tells what there is to do.
fn work(guest: &mut Guest<'_>) -> Result<Work> {
    let mut work = Work::default();
    let mut look =
        |path: &str| read(Path::new(path)).map_err(|error| work.warnings.push(format!("{error:#}")));
    let existing = look(CONFIG);
    let copy = if places::has_pool(guest) { look(places::CONFIG_IN_POOL).unwrap_or_default() } else { None };
    // What cannot be read may be worth more than what would take its place.
    let has_key = places::has_key(guest) && existing.is_ok();
    let existing = existing.unwrap_or_default();
    let links = guest.state.links.clone();
    let parsed = existing.as_deref().map(Config::parse);
    let wanted = wanted(guest, parsed.as_ref(), &mut work);
    let parsed_copy = copy.as_deref().map(Config::parse);
    let known = Known {
        platform: &guest.platform,
        existing: parsed.as_ref(),
        copy: parsed_copy.as_ref(),
        wanted: wanted.0.as_ref(),
        is_said: wanted.1,
        links: links.as_deref(),
    };
    work.is_usable = parsed.as_ref().is_some_and(|config| decide::usable(config, &known).is_ok());
    let mut is_worth_a_copy = work.is_usable;
    match decide::decide(&known) {
        Decision::Keep { warnings } => {
            work.settled = existing.unwrap_or_default();
            work.warnings.extend(warnings);
        }
        Decision::Write { text, why } => {
            work.settled = text.clone().into_bytes();
            is_worth_a_copy = true;
            work.reasons.push(why);
            *(if has_key { &mut work.config_on_key } else { &mut work.in_memory }) = Some(text);
        }
        Decision::PassOver { text, why } => {
            work.settled = text.clone().into_bytes();
            is_worth_a_copy = false;
            work.reasons.push(why);
            work.in_memory = Some(text);
        }
        Decision::Nothing => {
            bail!(
                "there will be no network: the host said nothing of it, now or before, and no link is known"
            );
        }
    }
    let is_written = work.config_on_key.is_some() || work.in_memory.is_some();
    work.is_last_resort = is_written && wanted.0.is_some_and(|wanted| wanted.is_last_resort);
    if has_key && work.in_memory.is_none() {
        let config = is_worth_a_copy.then(|| work.settled.clone());
        copies(guest, &mut work, config, copy.as_deref())?;
    }
    Ok(work)
}

/// Looks for a link that leads to a network, and notes it. Whether one was found where there was a choice.
fn look_for_network(guest: &mut Guest<'_>) -> bool {
    let links = guest.state.links.clone().unwrap_or_default();
    if links.len() < 2 {
        return false;
    }
    guest.state.live_link = live::first_up(&links, guest.commands, guest.clock, guest.log);
    guest.state.live_link.is_some()
}

/// The link to take when none is known to be this guest's: the one on which a network was found, now or when the file was made.
fn last_resort<'a>(guest: &'a Guest<'_>, existing: Option<&Config>) -> Option<&'a Link> {
    let mut links = guest.state.links.iter().flatten();
    if let Some(name) = &guest.state.live_link {
        return links.find(|link| link.name == *name);
    }
    let mac: MacAddress = existing.filter(|config| config.is_ours)?.get("admin_nic")?.parse().ok()?;
    links.find(|link| link.mac == mac.0)
}

/// The lines that follow from what is known, and whether the host says so now.
fn wanted(guest: &mut Guest<'_>, existing: Option<&Config>, work: &mut Work) -> (Option<Wanted>, bool) {
    // The file itself has no say in what it is to be, but for what was found out when it was made.
    let (settings, notes) = settings::with_config(&Config::default(), guest.metadata);
    let nics = nics::load(guest.metadata);
    let resolvers = settings::resolvers(guest.metadata);
    let domain = settings::domain(guest.metadata);
    let facts = Facts {
        nics: &nics.nics,
        links: guest.state.links.as_deref(),
        last_resort: last_resort(guest, existing),
        resolvers: &resolvers,
        domain: domain.as_deref(),
        hostname: settings.hostname.as_deref(),
        etherstub: &settings.etherstub,
    };
    let wanted = generate::wanted(&facts);
    work.notes.extend(notes);
    work.notes.extend(nics.problems);
    work.notes.extend(wanted.iter().flat_map(|wanted| wanted.notes.iter().cloned()));
    // A host that knows of no interface says nothing that a good file should give way to.
    (wanted, nics.is_said && !nics.nics.is_empty())
}

/// What there is to do about the copies.
fn copies(
    guest: &mut Guest<'_>,
    work: &mut Work,
    config: Option<Vec<u8>>,
    copy: Option<&[u8]>,
) -> Result<()> {
    let has_pool = places::has_pool(guest);
    if let Some(config) = config
        && has_pool
        && copy != Some(&config)
    {
        work.reasons.push("the pool is to have a copy of it".to_owned());
        work.in_pool.push((places::CONFIG_IN_POOL, config));
    }
    // What a silent host said before is stored already.
    if guest.metadata.is_silent() {
        return Ok(());
    }
    let stored = metadata::stored_text(guest.metadata.remembered())?;
    let on_key = guest.state.key.as_ref().map(|key| Path::new(&key.folder).join(places::METADATA_ON_KEY));
    if let Some(path) = on_key
        && !holds(&path, &stored)
    {
        work.reasons.push("the key is to have what the host says".to_owned());
        work.metadata_on_key = Some(stored.clone());
    }
    if has_pool && !holds(Path::new(places::METADATA_IN_POOL), &stored) {
        work.reasons.push("the pool is to have what the host says".to_owned());
        work.in_pool.push((places::METADATA_IN_POOL, stored));
    }
    Ok(())
}

fn holds(path: &Path, contents: &[u8]) -> bool {
    files::read(path, contents.len() as u64).is_ok_and(|found| found == contents)
}

/// The contents of a file, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match files::read(path, format::LONGEST) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
