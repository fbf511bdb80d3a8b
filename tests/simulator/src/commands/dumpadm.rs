//! `dumpadm`: usr/src/cmd/dumpadm, the same 2013 to 2022.

use super::options::Options;
use super::swap::volume;
use crate::storage::Kind;
use crate::{Reply, World};

/// `dumpadm [-yn] [-d PATH|none] [-z on|off]`; without options it reports.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "ynd:z:") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    if !options.operands.is_empty() {
        return Reply::fail(2, format!("dumpadm: unexpected argument -- {}\nusage:", options.operands[0]));
    }
    match options.value('d') {
        None => {}
        Some("none") => world.runtime.storage.dump = None,
        Some(path) => {
            let Some(Kind::Volume { bytes }) = volume(world, path) else {
                return Reply::fail(
                    1,
                    format!("dumpadm: cannot use {path} as dump device: No such file or directory"),
                );
            };
            if world.runtime.storage.swap.iter().any(|swap| swap == path) {
                return Reply::fail(1, format!("dumpadm: cannot use {path} as dump device: Device busy"));
            }
            // zvol_dumpify allocates the whole volume.
            let dataset = path.trim_start_matches("/dev/zvol/dsk/").to_owned();
            let reserved = world.dataset(&dataset).map_or(0, |(_, dataset)| dataset.number("refreservation"));
            let available =
                world.dataset(&dataset).map_or(0, |(pool, _)| pool.available(&world.machine, world.era()));
            if bytes > available + reserved {
                return Reply::fail(
                    1,
                    format!("dumpadm: cannot use {path} as dump device: No space left on device"),
                );
            }
            if let Some(dataset) = world.dataset_mut(&dataset) {
                dataset.set_local("refreservation", &bytes.max(reserved).to_string());
            }
            world.runtime.storage.dump = Some(path.to_owned());
        }
    }
    let device = world.runtime.storage.dump.clone();
    let enabled = if options.has('n') { "no" } else { "yes" };
    let conf = format!(
        "DUMPADM_DEVICE={}\nDUMPADM_SAVDIR=/var/crash/volatile\nDUMPADM_CONTENT=kernel\n\
         DUMPADM_ENABLE={enabled}\nDUMPADM_CSAVE=on\n",
        device.as_deref().unwrap_or("none")
    );
    if std::fs::write(world.path("/etc/dumpadm.conf"), conf).is_err() {
        return Reply::fail(1, "dumpadm: failed to update /etc/dumpadm.conf");
    }
    let device =
        device.map_or_else(|| "none (dumps disabled)".to_owned(), |path| format!("{path} (dedicated)"));
    Reply::text(format!(
        "      Dump content: kernel pages\n       Dump device: {device}\nSavecore directory: /var/crash/volatile\n  Savecore \
         enabled: {enabled}\n   Save compressed: on\n"
    ))
}
