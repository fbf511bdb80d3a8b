//! What a zone needs to boot.

use anyhow::{Result, anyhow};

use super::origin::Origin;
use crate::report::Hint;
use crate::zone::area::Area;

/// What has to be in its image, and what for.
const IN_IMAGE: [(&str, &str); 5] = [
    ("etc/passwd", "the accounts"),
    ("etc/shadow", "their passwords"),
    ("etc/group", "their groups"),
    ("etc/inittab", "from which init knows to start svc.startd"),
    (super::repository::PATH, "the services"),
];

/// What the zone takes from the host that it runs on, with what for: `/sbin`, `/lib` and `/usr` are mounted there (source: smartos-live,
/// `usr/lib/brand/joyent/platform.xml`).
const ON_HOST: [(&str, &str); 4] = [
    ("sbin/init", "its first program"),
    ("lib/svc/bin/svc.startd", "which starts its services"),
    ("lib/svc/bin/svc.configd", "which keeps its repository"),
    ("usr/lib/brand/joyent/platform.xml", "what the host mounts into it"),
];

/// Refuses what no zone could boot with, and names everything that is missing.
///
/// # Errors
/// Something is missing.
pub fn check(area: &Area<'_>, origin: &dyn Origin) -> Result<()> {
    let in_image = IN_IMAGE.iter().filter(|(path, _)| area.find(path.as_bytes()).is_none());
    let lacking = origin.lacks(&ON_HOST.map(|(path, _)| path))?;
    let on_host = ON_HOST.iter().filter(|(path, _)| lacking.contains(path));
    let missing: Vec<String> =
        in_image.chain(on_host).map(|(path, what)| format!("/{path} ({what})")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let name = origin.name();
    Err(anyhow!("{name} lacks what a zone needs to boot: {}", missing.join(", ")))
        .hint("take the platform or build of a whole SmartOS, from 2012 or later")
}
