//! The SSH keys of the owner.

mod folder;
pub mod line;
pub mod merge;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::folder::Ids;
use self::merge::Merged;
use super::home::HOME;
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};
use crate::phase::identity::metadata::Known;

/// The metadata key with the keys, one a line.
const KEY: &str = "root_authorized_keys";

/// The longest `authorized_keys` that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// The most types of keys that the console is told of, and the longest name of one, in characters: names are from outside.
const MOST_IGNORED: usize = 8;
const LONGEST_KIND: usize = 50;

/// The keys of the metadata are in root's `authorized_keys`, and the SSH server has no reason to refuse the file.
pub struct Keys;

impl Step for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        guest.state.has_usable_key = false;
        let place = Place::in_home(Path::new(HOME), folder::ROOT);
        let (merged, _) = wanted(&place, guest)?;
        guest.state.ignored_keys = line::ignored_kinds(&merged.contents, &guest.platform)
            .into_iter()
            .take(MOST_IGNORED)
            .map(|kind| kind.chars().take(LONGEST_KIND).collect())
            .collect();
        let finding = place.look(&merged)?;
        if finding == Finding::Done {
            guest.state.has_usable_key = merged.usable > 0;
        }
        Ok(finding)
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let place = Place::in_home(Path::new(HOME), folder::ROOT);
        let (merged, warnings) = wanted(&place, guest)?;
        for warning in warnings {
            guest.log.warn(&warning);
        }
        place.write(&merged)
    }
}

/// The file as it should be, and what its owner should know.
fn wanted(place: &Place, guest: &mut Guest<'_>) -> Result<(Merged, Vec<String>)> {
    let existing = place.read()?;
    let mut warnings = Vec::new();
    let value = match guest.metadata.lookup(KEY) {
        Known::Said(value) | Known::Remembered(value) => Some(value.unwrap_or_default()),
        Known::Unknown(error) => {
            warnings.push(format!("no keys from the metadata, those that were there stay: {error}"));
            None
        }
    };
    let keys = value.as_ref().map(|value| {
        let (keys, problems) = merge::wanted(value);
        warnings.extend(problems);
        keys
    });
    let platform = &guest.platform;
    let merged = merge::merge(&existing, keys.as_deref(), |key| key.opens_a_shell(platform));
    if merged.keeps_removed {
        warnings.push(format!(
            "{KEY} has no key that this platform's SSH server takes; the keys of earlier boots stay"
        ));
    }
    Ok((merged, warnings))
}

/// Where the keys are.
struct Place {
    home: PathBuf,
    ids: Ids,
}

impl Place {
    fn in_home(home: &Path, ids: Ids) -> Self {
        Self { home: home.to_owned(), ids }
    }

    fn folder(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// The file; if it is a link of the owner to another file, that.
    fn file(&self) -> PathBuf {
        let file = self.folder().join("authorized_keys");
        file.canonicalize().unwrap_or(file)
    }

    fn owner(&self) -> Owner {
        Owner { mode: 0o600, ids: Some(self.ids) }
    }

    fn read(&self) -> Result<Vec<u8>> {
        let file = self.file();
        match files::read(&file, LONGEST) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    fn look(&self, merged: &Merged) -> Result<Finding> {
        let file = self.file();
        // Without a key to put there, a missing file is as good as an empty one.
        let is_right = if merged.contents.is_empty() && !file.exists() {
            true
        } else {
            files::is(&file, &merged.contents, self.owner())
                .with_context(|| format!("cannot look at {}", file.display()))?
        };
        if !is_right {
            return Ok(Finding::Needed(format!("{} has to be written", file.display())));
        }
        Ok(folder::complaint(&self.folder(), self.ids)?.map_or(Finding::Done, Finding::Needed))
    }

    fn write(&self, merged: &Merged) -> Result<()> {
        folder::make_safe(&self.home, self.ids)?;
        folder::make_private(&self.folder(), self.ids)?;
        let file = self.file();
        // Its folder is another one if the owner keeps the keys elsewhere.
        if let Some(folder) = file.parent() {
            folder::make_safe(folder, self.ids)?;
        }
        files::keep(&file, &merged.contents, self.owner())
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::line::tests::{line, platform};
    use super::*;

    /// A home below a folder of its own, and what the keys of `value` make of its file.
    fn install(home: &Path, value: &str) -> Result<()> {
        let place = Place::in_home(home, folder::tests::own());
        let platform = platform("20141030");
        let merged = merge::merge(&place.read()?, Some(&merge::wanted(value.as_bytes()).0), |key| {
            key.opens_a_shell(&platform)
        });
        place.write(&merged)?;
        assert_eq!(place.look(&merged)?, Finding::Done);
        Ok(())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o7777
    }

    #[test]
    fn hazard_21_keys_are_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("root");
        fs::create_dir(&home).expect("made");
        install(&home, &line("ssh-rsa", 1)).expect("installed");
        assert_eq!((mode(&home.join(".ssh")), mode(&home.join(".ssh/authorized_keys"))), (0o700, 0o600));
        fs::set_permissions(home.join(".ssh"), fs::Permissions::from_mode(0o777)).expect("opened");
        install(&home, &line("ssh-rsa", 1)).expect("installed again");
        assert_eq!(mode(&home.join(".ssh")), 0o700);
    }

    #[test]
    fn hazard_22_the_whole_path_is_nobody_elses_to_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = folder.path().join("custom/root");
        fs::create_dir_all(kept.join(".ssh")).expect("made");
        for path in [&folder.path().join("custom"), &kept, &kept.join(".ssh")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o775)).expect("opened");
        }
        let home = folder.path().join("root");
        symlink(&kept, &home).expect("linked");
        install(&home, &line("ssh-rsa", 1)).expect("installed");
        assert_eq!(mode(&folder.path().join("custom")), 0o755);
        assert_eq!((mode(&kept), mode(&kept.join(".ssh"))), (0o755, 0o700));
    }

    #[test]
    fn keys_that_the_owner_keeps_elsewhere_stay_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("root");
        let elsewhere = folder.path().join("keys");
        fs::create_dir_all(home.join(".ssh")).expect("made");
        fs::write(&elsewhere, "# mine\n").expect("written");
        symlink(&elsewhere, home.join(".ssh/authorized_keys")).expect("linked");
        install(&home, &line("ssh-rsa", 1)).expect("installed");
        assert!(fs::symlink_metadata(home.join(".ssh/authorized_keys")).expect("there").is_symlink());
        assert!(fs::read_to_string(&elsewhere).expect("read").starts_with("# mine\n# BEGIN"));
    }
}
