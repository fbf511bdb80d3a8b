//! The manifest of a seed image: that of any zone image, but that its platform is the one that it was made from.

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::report::Hint;
use crate::stamp::Stamp;
use crate::zone::fields::{self, Fields};
use crate::zone::manifest::{About, Draft, SEED, has_description};

/// How to name a seed.
pub const NAMING: &str = "name it NAME-VERSION, such as seed-20141030";

/// The manifest of a seed as far as it is known: a zone of it runs on the platform that it was made from, and on later ones. `image`
/// is what the image is called, whose version is what follows the last dash; without one, it is the platform's stamp.
///
/// # Errors
/// As misuse: the image has no version, or the fields break the rules of manifests.
pub fn draft(image: &str, stamp: Option<&Stamp>, mut given: Fields) -> Result<Draft> {
    fields::without_origin(&given)?;
    let stamp = stamp.map(ToString::to_string);
    let split = image.rsplit_once('-').filter(|(name, version)| !name.is_empty() && !version.is_empty());
    let (name, version) = split.map_or((image, stamp.as_deref()), |(name, version)| (name, Some(version)));
    let text = |field: &str| fields::text(&given, field).map(str::to_owned);
    let name = text("name").unwrap_or_else(|| name.to_owned());
    let version = text("version")
        .or_else(|| version.map(str::to_owned))
        .ok_or_else(|| anyhow!("'{image}' has no version"))
        .misuse(NAMING)?;
    if !has_description(&name) {
        given.entry("description").or_insert_with(|| json!(SEED));
    }
    let draft = Draft::new(&About {
        name: &name,
        version: &version,
        given: &given,
        origin: None,
        incremental: false,
        min_platform: stamp.as_deref(),
        audience: None,
    });
    draft.check()?;
    Ok(draft)
}
