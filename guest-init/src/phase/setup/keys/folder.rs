//! Folders as SSH servers want them: with `StrictModes`, a file of keys does not count if anybody but its owner or root can
//! write to it or to a folder above it.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A user and a group.
pub type Ids = (u32, u32);

/// The superuser.
pub const ROOT: Ids = (0, 0);

/// What others must not do.
const WRITE: u32 = 0o022;

/// What an SSH server would hold against `folder` or one above it; also if `folder` is not private. A folder that is not there
/// is nothing to complain about.
pub fn complaint(folder: &Path, ids: Ids) -> Result<Option<String>> {
    let real = match folder.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot find {}", folder.display())),
    };
    let found = look(&real)?;
    if found.uid() != ids.0 || found.mode() & 0o7777 != 0o700 {
        return Ok(Some(format!("{} is not private", real.display())));
    }
    for above in real.ancestors().skip(1) {
        if !is_safe(&look(above)?, ids) {
            return Ok(Some(format!("others can write to {}", above.display())));
        }
    }
    Ok(None)
}

/// Makes a folder that only its owner can enter, if it is not one.
pub fn make_private(folder: &Path, ids: Ids) -> Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        _ => {}
    }
    let found = look(folder)?;
    if !found.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    if (found.uid(), found.gid()) != ids {
        own(folder, ids)?;
    }
    if found.mode() & 0o7777 != 0o700 {
        restrict(folder, 0o700)?;
    }
    Ok(())
}

/// Sees to it that nobody else can write to a folder and to those above it, wherever links lead.
pub fn make_safe(folder: &Path, ids: Ids) -> Result<()> {
    let real = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    for place in real.ancestors() {
        let found = look(place)?;
        if is_safe(&found, ids) {
            continue;
        }
        if found.uid() != ids.0 && found.uid() != ROOT.0 {
            own(place, ids)?;
        }
        restrict(place, found.mode() & 0o7777 & !WRITE)?;
    }
    Ok(())
}

/// Whether only its owner can write to it, and that is the user or root. Where files can be removed by their owners alone, as
/// in `/tmp`, that is as good.
fn is_safe(found: &Metadata, ids: Ids) -> bool {
    let is_sticky = found.mode() & 0o1000 != 0;
    (found.uid() == ids.0 || found.uid() == ROOT.0) && (is_sticky || found.mode() & WRITE == 0)
}

fn look(path: &Path) -> Result<Metadata> {
    fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))
}

fn own(path: &Path, (user, group): Ids) -> Result<()> {
    chown(path, Some(user), Some(group)).with_context(|| format!("cannot own {}", path.display()))
}

fn restrict(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the permissions of {}", path.display()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Whoever runs the tests.
    pub fn own() -> Ids {
        (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    }

    #[test]
    fn a_complaint_names_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let above = folder.path().join("above");
        let private = above.join("private");
        assert_eq!(complaint(&private, own()).expect("looked"), None);
        fs::create_dir(&above).expect("made");
        make_private(&private, own()).expect("made");
        assert_eq!(complaint(&private, own()).expect("looked"), None);
        restrict(&above, 0o757).expect("opened");
        let text = complaint(&private, own()).expect("looked").expect("a complaint");
        assert!(text.starts_with("others can write to") && text.ends_with("above"), "{text}");
        make_safe(&private, own()).expect("closed");
        assert_eq!(complaint(&private, own()).expect("looked"), None);
        restrict(&private, 0o750).expect("opened");
        assert!(
            complaint(&private, own()).expect("looked").expect("a complaint").ends_with("is not private")
        );
    }
}
