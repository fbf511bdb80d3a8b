//! The bootstrap kit: a tar archive with the package tools themselves, which no package can bring.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tempfile::NamedTempFile;

use super::config::Wanted;
use crate::contents::scratch::Scratch;
use crate::packages::repository;
use crate::report::Hint;

/// Largest kit that is fetched, in bytes; they have some 20 MiB.
const KIT_LIMIT: u64 = 4 << 30;

/// A kit that was found.
pub struct Kit {
    /// What it is called in messages and reports.
    pub name: String,
    file: Place,
}

enum Place {
    /// A file of the user.
    Given(PathBuf),
    /// A file that was fetched.
    Fetched(NamedTempFile),
}

impl Kit {
    /// Finds the kit of an image: the file that was given, or else the one beside the packages or in the folder `bootstrap` of their
    /// whole repository, as `packages/SmartOS/bootstrap` is for `packages/SmartOS/2023Q4/x86_64/All`.
    ///
    /// # Errors
    /// There is none, or it cannot be fetched.
    pub fn find(wanted: &Wanted, packages: &str, given: Option<&Path>) -> Result<Self> {
        let name = wanted.kit();
        if let Some(path) = given {
            let name = path.file_name().map_or(name, |name| name.to_string_lossy().into_owned());
            return Ok(Self { name, file: Place::Given(path.to_owned()) });
        }
        let places = neighbours(packages, &name);
        for place in &places {
            if !place.contains("://") {
                if Path::new(place).exists() {
                    return Ok(Self { name, file: Place::Given(place.into()) });
                }
                continue;
            }
            if let Some(mut fetched) = repository::fetch(place, KIT_LIMIT, &Scratch::of_the_system())? {
                let mut file = NamedTempFile::new().context("cannot make a temporary file")?;
                std::io::copy(&mut fetched, file.as_file_mut())
                    .context("cannot keep the bootstrap kit in a temporary file")?;
                return Ok(Self { name, file: Place::Fetched(file) });
            }
        }
        Err(anyhow!("there is no bootstrap kit {name} at {}", places.join(" or ")))
            .hint("name its file with --bootstrap, or another of its dates with -d")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match &self.file {
            Place::Given(path) => path,
            Place::Fetched(file) => file.path(),
        }
    }
}

/// Where a kit may be that belongs to these packages.
fn neighbours(packages: &str, name: &str) -> Vec<String> {
    let packages = packages.trim_end_matches('/');
    let mut places = vec![format!("{packages}/{name}")];
    // All, the architecture, the branch.
    let above =
        packages.rsplitn(4, '/').nth(3).filter(|above| !above.ends_with('/') && !above.ends_with(':'));
    if packages.contains("://") {
        places.extend(above.map(|above| format!("{above}/bootstrap/{name}")));
    } else {
        places.push(format!("{packages}/../../../bootstrap/{name}"));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kits_are_in_the_repository_of_their_packages() {
        assert_eq!(
            neighbours("https://example.org/packages/SmartOS/2023Q4/x86_64/All/", "kit"),
            [
                "https://example.org/packages/SmartOS/2023Q4/x86_64/All/kit",
                "https://example.org/packages/SmartOS/bootstrap/kit"
            ]
        );
        assert_eq!(neighbours("http://example.org/a/b", "kit"), ["http://example.org/a/b/kit"]);
        assert_eq!(
            neighbours("packages/All", "kit"),
            ["packages/All/kit", "packages/All/../../../bootstrap/kit"]
        );
    }
}
