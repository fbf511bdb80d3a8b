//! Root's home: where the pool keeps it, with its dot files and everything that the owner left there.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::engine::{Finding, Guest, Step};

/// Root's home, as `/etc/passwd` has it.
pub const HOME: &str = "/root";

/// What the pool has for it, in a dataset that outlives the boot.
const KEPT: &str = "/opt/custom/root";

/// Root's home leads to the pool.
pub struct Home;

impl Step for Home {
    fn name(&self) -> &'static str {
        "home"
    }

    fn check(&self, _: &mut Guest<'_>) -> Result<Finding> {
        look(Path::new(HOME), Path::new(KEPT))
    }

    fn apply(&self, _: &mut Guest<'_>) -> Result<()> {
        link(Path::new(HOME), Path::new(KEPT))
    }
}

/// Whether `home` has to become a link to `kept`: only if that is a folder (it is not without a pool), and only if `home` is
/// no link already, for then somebody has made other arrangements.
fn look(home: &Path, kept: &Path) -> Result<Finding> {
    if !fs::symlink_metadata(kept).is_ok_and(|found| found.is_dir()) {
        return Ok(Finding::Done);
    }
    match fs::symlink_metadata(home) {
        Ok(found) if found.is_symlink() => Ok(Finding::Done),
        Ok(_) => Ok(Finding::Needed(format!("{} becomes a link to {}", home.display(), kept.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Finding::Needed(format!("{} is missing", home.display())))
        }
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", home.display())),
    }
}

/// Makes `home` a link. What was there is not removed but renamed: it may have keys in it, and somebody may work in it.
fn link(home: &Path, kept: &Path) -> Result<()> {
    let link = home.with_extension("link");
    let aside = home.with_extension("platform");
    let fresh = fs::remove_file(&link).and_then(|()| symlink(kept, &link));
    match fresh {
        Err(error) if error.kind() == io::ErrorKind::NotFound => symlink(kept, &link),
        other => other,
    }
    .with_context(|| format!("cannot make {}", link.display()))?;
    if fs::symlink_metadata(home).is_ok() {
        fs::rename(home, &aside)
            .with_context(|| format!("cannot rename {} to {}", home.display(), aside.display()))?;
    }
    if let Err(error) = fs::rename(&link, home) {
        // Rather the platform's home than none.
        let _ = fs::rename(&aside, home);
        return Err(error).with_context(|| format!("cannot rename {} to {}", link.display(), home.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_home_gives_way_to_the_pools() {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, kept) = (folder.path().join("root"), folder.path().join("kept"));
        fs::create_dir(&home).expect("made");
        fs::write(home.join("file"), "of the platform").expect("written");
        assert_eq!(look(&home, &kept).expect("looked"), Finding::Done, "there is no pool");
        fs::create_dir(&kept).expect("made");
        assert!(matches!(look(&home, &kept).expect("looked"), Finding::Needed(_)));
        // As if an attempt had been cut short.
        symlink("nowhere", home.with_extension("link")).expect("linked");
        link(&home, &kept).expect("linked");
        assert_eq!(fs::read_link(&home).expect("a link"), kept);
        assert_eq!(look(&home, &kept).expect("looked"), Finding::Done);
        let aside = fs::read(folder.path().join("root.platform/file")).expect("kept");
        assert_eq!(aside, b"of the platform");
        fs::remove_file(&home).expect("removed");
        link(&home, &kept).expect("linked again");
        assert_eq!(fs::read_link(&home).expect("a link"), kept);
    }

    #[test]
    fn a_link_of_the_owner_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, kept) = (folder.path().join("root"), folder.path().join("kept"));
        fs::create_dir(&kept).expect("made");
        symlink("/elsewhere", &home).expect("linked");
        assert_eq!(look(&home, &kept).expect("looked"), Finding::Done);
    }
}
