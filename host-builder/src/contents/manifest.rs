//! The manifest beside an image, and whether it tells the truth.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kiln_imgapi::{Kind, MANIFEST_LIMIT, cautions, read_value, validate};
use serde::Serialize;
use serde_json::Value;

use super::open::Image;
use crate::report::Hint;

/// Endings of image files, and of the manifests that stand beside them.
const IMAGE_ENDINGS: [&str; 5] = [".zvol.gz", ".zfs.gz", ".zvol", ".zfs", ".gz"];
const MANIFEST_ENDINGS: [&str; 2] = [".manifest", ".imgmanifest"];

/// Bytes in a MiB, the unit of `image_size`.
const MIB: u64 = 1 << 20;

/// What a manifest says and what is wrong with it.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// Where it is.
    pub path: String,
    /// UUID of the image.
    pub uuid: Option<String>,
    /// Name of the image.
    pub name: Option<String>,
    /// Version of the image.
    pub version: Option<String>,
    /// When it was published.
    pub published_at: Option<String>,
    /// What `imgadm install` would refuse, and where the manifest and the image disagree.
    pub problems: Vec<String>,
    /// What is legal but goes wrong on real hosts.
    pub cautions: Vec<String>,
}

/// The manifest that stands beside an image: `X.manifest` or `X.imgmanifest` for `X.zvol.gz`.
pub fn beside(image: &Path) -> Option<PathBuf> {
    let name = image.file_name()?.to_str()?;
    let stem = IMAGE_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    MANIFEST_ENDINGS
        .iter()
        .map(|ending| image.with_file_name(OsString::from(format!("{stem}{ending}"))))
        .find(|path| path.is_file() && path != image)
}

/// Reads a manifest and compares it with its image, which has to be opened with digests.
///
/// # Errors
/// The manifest cannot be read or is not JSON.
pub fn check(path: &Path, image: &Image) -> Result<Manifest> {
    let cannot = || format!("cannot read the manifest {}", path.display());
    let mut text = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(MANIFEST_LIMIT as u64 + 1).read_to_end(&mut text).with_context(cannot)?;
    let manifest =
        read_value(&text).with_context(cannot).hint("a manifest is the JSON file beside an image")?;
    let field = |name: &str| manifest.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut problems: Vec<String> =
        validate(&manifest, Kind::Minimal).iter().map(ToString::to_string).collect();
    disagreements(&manifest, image, &mut problems);
    Ok(Manifest {
        path: path.display().to_string(),
        uuid: field("uuid"),
        name: field("name"),
        version: field("version"),
        published_at: field("published_at"),
        problems,
        cautions: cautions(&manifest).iter().map(ToString::to_string).collect(),
    })
}

/// A number that may be written as text, which servers allow.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn disagreements(manifest: &Value, image: &Image, problems: &mut Vec<String>) {
    let mut must_be = |field: &str, stated: String, actual: String| {
        if stated != actual {
            problems.push(format!("{field} is {stated} in the manifest, but the image has {actual}"));
        }
    };
    let contents = &image.contents;
    if let Some(file) = manifest.get("files").and_then(|files| files.get(0)) {
        let text = |name: &str| file.get(name).and_then(Value::as_str);
        if let Some(size) = file.get("size").and_then(number) {
            must_be("files[0].size", size.to_string(), image.size.to_string());
        }
        if let (Some(sha1), Some(digests)) = (text("sha1"), &image.digests) {
            must_be("files[0].sha1", sha1.to_ascii_lowercase(), digests.sha1.clone());
        }
        // kiln knows gzip alone; what else a manifest may name is a matter of other tools.
        if let Some(compression @ ("gzip" | "none")) = text("compression") {
            let actual = if contents.compressed { "gzip" } else { "none" };
            must_be("files[0].compression", compression.to_owned(), actual.to_owned());
        }
        if let (Some(guid), Some(stream)) = (text("dataset_guid"), &contents.stream) {
            must_be("files[0].dataset_guid", guid.to_owned(), stream.begin.to_guid.to_string());
        }
    }
    let Some(volume) = contents.stream.as_ref().and_then(|stream| stream.volume.as_ref()) else { return };
    if let Some(kind) = manifest.get("type").and_then(Value::as_str) {
        must_be("type", kind.to_owned(), "zvol".to_owned());
    }
    if let Some(mib) = manifest.get("image_size").and_then(number) {
        let actual = if volume.size % MIB == 0 {
            format!("{} MiB", volume.size / MIB)
        } else {
            format!("{} bytes", volume.size)
        };
        must_be("image_size", format!("{mib} MiB"), actual);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_found_beside_their_images() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        assert_eq!(beside(&path("x.zvol.gz")), None);
        std::fs::write(path("x.imgmanifest"), "").unwrap();
        assert_eq!(beside(&path("x.zvol.gz")), Some(path("x.imgmanifest")));
        std::fs::write(path("x.manifest"), "").unwrap();
        assert_eq!(beside(&path("x.zvol")), Some(path("x.manifest")));
        assert_eq!(
            beside(&path("x.manifest")),
            Some(path("x.manifest.manifest")).filter(|path| path.exists())
        );
    }
}
