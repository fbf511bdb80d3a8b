//! Root's password: the one that the boot menu or the owner's file gave, and else none.

use std::path::Path;

use anyhow::Result;

use super::config::{Config, format};
use super::settings::CONFIG;
use crate::access::shadow::{self, NO_PASSWORD};
use crate::command::bootparams;
use crate::engine::{Finding, Guest, Step};
use crate::files;

/// The name of the boot property and of the line in the file.
const NAME: &str = "root_shadow";

/// The step.
pub struct RootPassword;

impl Step for RootPassword {
    fn name(&self) -> &'static str {
        "root-password"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let hash = hash(guest);
        // An emergency password was told to somebody at the console, who may be using it.
        let is_in_use = guest.state.emergency_password && hash == NO_PASSWORD;
        if is_in_use || shadow::is_root(&hash)? {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(match hash.as_str() {
            NO_PASSWORD => "root gets no password".to_owned(),
            _ => format!("root gets the password of {NAME}"),
        }))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        shadow::set_root(&hash(guest))
    }
}

/// Root's hash.
fn hash(guest: &mut Guest<'_>) -> String {
    // Without the properties there is still the file, and without both nobody gets in by password.
    let property = bootparams::property(guest, NAME).unwrap_or_else(|error| {
        guest.log.warn(&format!("{error:#}"));
        None
    });
    let config = Config::parse(&files::read(Path::new(CONFIG), format::LONGEST).unwrap_or_default());
    let (hash, refused) = choose(property.as_deref(), config.get(NAME));
    if let Some(place) = refused {
        guest.log.warn(&format!("{NAME} of {place} is no hash of a password; it is passed over"));
    }
    hash
}

/// The hash, and where there was something that is none.
fn choose(property: Option<&str>, line: Option<&str>) -> (String, Option<&'static str>) {
    // Boot menus quote the value, and the kernel keeps the quotes.
    let property = property.map(|value| value.trim_matches(['\'', '"']));
    let mut refused = None;
    for (place, value) in [("the boot properties", property), (CONFIG, line)] {
        match value.filter(|value| !value.is_empty()) {
            Some(value) if shadow::is_hash(value) => return (value.to_owned(), refused),
            Some(_) => refused = refused.or(Some(place)),
            None => {}
        }
    }
    (NO_PASSWORD.to_owned(), refused)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_boot_menu_wins_over_the_file_and_nonsense_over_neither() {
        let (menu, file) = ("$5$salt$aaaaaaaaaaaa", "$5$salt$bbbbbbbbbbbb");
        for (property, line, hash, refused) in [
            (Some(menu), Some(file), menu, None),
            (Some("'$5$salt$aaaaaaaaaaaa'"), None, menu, None),
            (None, Some(file), file, None),
            (Some("root"), Some(file), file, Some("the boot properties")),
            (Some("x:y"), Some("$(id)"), "NP", Some("the boot properties")),
            (Some(""), Some("z"), "NP", Some("/usbkey/config")),
            (None, None, "NP", None),
        ] {
            assert_eq!(choose(property, line), (hash.to_owned(), refused), "{property:?} {line:?}");
        }
    }
}
