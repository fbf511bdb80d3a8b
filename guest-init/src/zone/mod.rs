//! `zone-create`: a zone from the template, made to suit this machine.

mod fill;
mod image;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::boot;
use crate::command::{Commands, Processes, ifconfig, imgadm, ping, vmadm, zpool};
use crate::engine::Lock;
use crate::files::{self, Owner};
use crate::phase::identity::config::{Config, format};
use crate::phase::identity::settings;
use crate::phase::setup::zone_network;
use crate::platform::Platform;
use crate::state::{self, State};
use crate::system;
use fill::Machine;
use guest_mdata::Monotonic;

/// The template.
const TEMPLATE: &str = "/opt/custom/etc/zone.json.tmpl";

/// The longest template, in bytes.
const LONGEST: u64 = 1 << 20;

/// The lock of whoever makes a zone.
const LOCK: &str = "zone-create";

/// How long another one that makes a zone is waited for. Copying an image takes its time.
const PATIENCE: Duration = Duration::from_mins(15);

/// Bytes in a MiB and in a GiB.
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The most addresses that are tried. A second goes by for the free one alone.
const MOST_ANSWERING: usize = 32;

/// Makes a zone, or with `print` only describes it. What to tell the owner.
///
/// # Errors
/// When something is missing or does not fit, with what to do about it.
pub fn create(print: bool, values: &[(String, String)]) -> Result<String> {
    let state = State::load_or_rescue();
    if let Some(reason) = &state.rescue {
        anyhow::bail!("there is no pool in rescue mode: {reason}");
    }
    let pool = state.pool.context("there is no pool yet; see guest-init status")?;
    let template = files::read(Path::new(TEMPLATE), LONGEST)
        .with_context(|| format!("cannot read the template {TEMPLATE}"))?;
    let template = serde_json::from_slice(&template).with_context(|| format!("{TEMPLATE} is no JSON"))?;
    let clock = Monotonic::starting_now();
    // Until the zone is there, its address looks free to the next who asks.
    let _lock =
        if print { None } else { Some(Lock::take(Path::new(state::FOLDER), LOCK, &clock, PATIENCE)?) };
    let mut processes = Processes::new(&clock, print);
    let commands: &mut dyn Commands = &mut processes;
    let mut metadata = boot::metadata(boot::HOST_BY_HAND);
    let config = files::read(Path::new(settings::CONFIG), format::LONGEST).unwrap_or_default();
    // What is refused in the settings was told by the phase that used them.
    let (settings, _) = settings::with_config(&Config::parse(&config), &mut metadata);
    let interfaces = ifconfig::interfaces(&commands.text(&ifconfig::show_all())?);
    let occupied = settings::occupied(&mut metadata);
    let settings = zone_network::settle(settings, &interfaces, &occupied).settings;
    let zones = vmadm::zones(commands)?;
    let images = imgadm::manifests(commands)?;
    let mut machine = Machine {
        platform: &Platform::running()?,
        memory: system::memory() / MIB,
        processors: std::thread::available_parallelism().map_or(1, |number| number.get() as u64),
        free: zpool::space(commands, &pool.name)?.free / GIB,
        network: settings.nat.then_some(settings.nat_subnet),
        switch: &settings.etherstub,
        resolvers: settings::resolvers(&mut metadata).iter().map(ToString::to_string).collect(),
        domain: settings::domain(&mut metadata),
        zones: &zones,
        answering: Vec::new(),
        images: &images,
    };
    let zone = loop {
        let zone = fill::fill(&template, values, &machine)?;
        // Somebody may have an address of whom vmadm does not know, such as a machine that was given one by hand.
        match address(&zone)
            .filter(|address| machine.network.is_some_and(|network| network.contains(address)))
        {
            Some(address) if ping::answers(commands, address) => machine.answering.push(address),
            _ => break zone,
        }
        ensure!(
            machine.answering.len() < MOST_ANSWERING,
            "somebody has each of the first free addresses; say ip= to choose one"
        );
    };
    let text = serde_json::to_string_pretty(&zone).context("cannot write the zone as JSON")? + "\n";
    if print {
        return Ok(text);
    }
    let file = Path::new(state::FOLDER).join("zone.json");
    fs::create_dir_all(state::FOLDER).with_context(|| format!("cannot make {}", state::FOLDER))?;
    files::replace(&file, text.as_bytes(), Owner { mode: 0o600, ids: None })
        .with_context(|| format!("cannot write {}", file.display()))?;
    let output = commands.run(&vmadm::create(&file))?;
    ensure!(
        output.status == 0,
        "vmadm made no zone: {}; {} has what it was given",
        output.complaint(),
        file.display()
    );
    let (alias, ip) = (&zone["alias"], &zone["nics"][0]["ip"]);
    // The zone's UUID is in what vmadm says.
    Ok(format!("{}\nalias {}, address {}\n", output.complaint(), plain(alias), plain(ip)))
}

/// The address of a zone's first interface.
fn address(zone: &serde_json::Value) -> Option<Ipv4Addr> {
    zone["nics"][0]["ip"].as_str()?.parse().ok()
}

fn plain(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("none")
}
