//! The manifest beside an image, and whether it tells the truth.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kiln_imgapi::{Kind, MANIFEST_LIMIT, cautions, defects, read_value, validate};
use kiln_zstream::record::ObjsetType;
use serde::Serialize;
use serde_json::Value;

use super::open::{Contents, Image, Stream};
use crate::report::Hint;

/// Endings of image files, and of the manifests that stand beside them.
const COMPRESSED_ENDINGS: [&str; 3] = [".gz", ".bz2", ".xz"];
const IMAGE_ENDINGS: [&str; 2] = [".zvol", ".zfs"];
const MANIFEST_ENDINGS: [&str; 3] = [".manifest", ".imgmanifest", ".json"];

/// Up to here every whole number has a form of its own as a floating-point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

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
    /// What the image is.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What zones of it are, when the manifest says so.
    pub brand: Option<String>,
    /// When it was published.
    pub published_at: Option<String>,
    /// What `imgadm install` would refuse or no instance starts with, and where the manifest and the image disagree.
    pub problems: Vec<String>,
    /// What is legal but goes wrong on real hosts.
    pub cautions: Vec<String>,
}

/// The manifest that stands beside an image: `X.manifest`, `X.imgmanifest` or, as imagetools calls it, `X.json` for
/// `X.zvol.gz`.
pub fn beside(image: &Path) -> Option<PathBuf> {
    let name = image.file_name()?.to_str()?;
    let without = |name: &'_ str, endings: &[&str]| {
        let stem = endings.iter().find_map(|ending| name.strip_suffix(ending));
        stem.map_or(name.len(), str::len)
    };
    let stem = &name[..without(name, &COMPRESSED_ENDINGS)];
    let stem = &stem[..without(stem, &IMAGE_ENDINGS)];
    MANIFEST_ENDINGS
        .iter()
        .map(|ending| image.with_file_name(OsString::from(format!("{stem}{ending}"))))
        .find(|path| path.is_file() && path != image)
}

/// Reads a manifest and compares it with its image, which has to be opened with digests.
///
/// # Errors
/// The manifest cannot be read or is not JSON, or the image cannot be read.
pub fn check(path: &Path, image: &Image) -> Result<Manifest> {
    let manifest = read(path)?;
    let field = |name: &str| manifest.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut problems: Vec<String> = validate(&manifest, Kind::Minimal)
        .iter()
        .chain(&defects(&manifest))
        .map(ToString::to_string)
        .collect();
    disagreements(&manifest, image, &mut problems);
    Ok(Manifest {
        path: path.display().to_string(),
        uuid: field("uuid"),
        name: field("name"),
        version: field("version"),
        kind: field("type"),
        brand: manifest.pointer("/requirements/brand").and_then(Value::as_str).map(str::to_owned),
        published_at: field("published_at"),
        problems,
        cautions: cautions(&manifest).iter().map(ToString::to_string).collect(),
    })
}

fn read(path: &Path) -> Result<Value> {
    let cannot = || format!("cannot read the manifest {}", path.display());
    let mut text = Vec::new();
    let file = File::open(path)
        .with_context(cannot)
        .hint("check the path: --manifest FILE takes the JSON file that belongs to the image")?;
    file.take(MANIFEST_LIMIT as u64 + 1).read_to_end(&mut text).with_context(cannot)?;
    read_value(&text).with_context(cannot).hint("a manifest is the JSON file beside an image")
}

/// A whole number that may be written as text, which servers allow.
fn number(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..EXACT).contains(number));
    value.as_u64().or_else(|| fraction().map(|number| number as u64)).or_else(|| value.as_str()?.parse().ok())
}

/// What a manifest says, as a message shows it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What the disagreements of a manifest with its image are gathered in.
struct Comparison<'a> {
    manifest: &'a Value,
    problems: &'a mut Vec<String>,
}

impl Comparison<'_> {
    /// A field that the manifest has and the rules do not check against the image.
    fn stated(&self, field: &str) -> Option<&Value> {
        self.manifest.get(field).filter(|value| !value.is_null())
    }

    fn differs(&mut self, field: &str, stated: &str, actual: &str) {
        self.problems.push(format!("{field} is {stated} in the manifest, but the image has {actual}"));
    }

    fn file(&mut self, file: &Value, image: &Image) {
        let contents = &image.contents;
        // A missing member is a violation of the rules already.
        let member = |name: &str| file.get(name).filter(|value| !value.is_null());
        if let Some(size) = member("size")
            && number(size) != Some(image.size)
        {
            self.differs("files[0].size", &shown(size), &format!("{} bytes", image.size));
        }
        if let (Some(sha1), Some(digests)) = (member("sha1"), &image.digests)
            // Hosts compare the digits as they are.
            && sha1.as_str() != Some(&digests.sha1)
        {
            self.differs("files[0].sha1", &shown(sha1), &digests.sha1);
        }
        let actual = contents.compression.name();
        if let Some(stated) = member("compression")
            && stated.as_str() != Some(actual)
        {
            self.differs("files[0].compression", &shown(stated), actual);
        }
        if let (Some(stated), Some(stream)) = (member("dataset_guid"), &contents.stream) {
            let actual = guid(contents, stream);
            if shown(stated) != actual.to_string() {
                self.differs("files[0].dataset_guid", &shown(stated), &actual.to_string());
            }
        }
    }

    /// Whether the image is of the type stated, and an increment only when the manifest names an origin.
    fn stream(&mut self, contents: &Contents) {
        let Some(kind) = self.manifest.get("type").and_then(Value::as_str) else { return };
        let Some(stream) = &contents.stream else {
            if matches!(kind, "zvol" | "zone-dataset" | "lx-dataset") {
                let actual = format!("no ZFS send stream: {}", contents.shape.name());
                self.differs("type", kind, &actual);
            }
            return;
        };
        let (actual, known): (&str, &[&str]) = match stream.snapshot.objset_type {
            ObjsetType::Volume => ("a volume, which is zvol", &["zvol"]),
            ObjsetType::FileSystem => ("a file system", &["zone-dataset", "lx-dataset"]),
            _ => return,
        };
        if !known.contains(&kind) {
            self.differs("type", kind, actual);
        }
        let increment = stream.snapshot.from_guid != 0;
        match self.stated("origin").map(shown) {
            Some(origin) if !increment => self.differs("origin", &origin, "everything and needs none"),
            Some(origin) => self.origin(&origin, contents),
            None if increment => self.differs("origin", "missing", "an increment to another"),
            None => {}
        }
    }

    /// Whether the origin that was named and fits is the one that the manifest means, when it has a manifest.
    fn origin(&mut self, stated: &str, contents: &Contents) {
        let origin = contents.dataset.as_ref().and_then(|dataset| dataset.origins.last());
        let Some(manifest) = origin.and_then(|origin| beside(&origin.path)) else { return };
        let read = read(&manifest).ok();
        let uuid = read.as_ref().and_then(|manifest| manifest.get("uuid")).map(shown);
        if let Some(uuid) = uuid.filter(|uuid| uuid != stated) {
            self.differs("origin", stated, &format!("{uuid} under it, by {}", manifest.display()));
        }
    }

    fn volume(&mut self, size: u64) {
        let Some(stated) = self.stated("image_size") else { return };
        let mib = number(stated);
        if mib.and_then(|mib| mib.checked_mul(MIB)) != Some(size) {
            let actual = if size.is_multiple_of(MIB) {
                format!("{} MiB", size / MIB)
            } else {
                format!("{size} bytes")
            };
            let stated = mib.map_or_else(|| shown(stated), |mib| format!("{mib} MiB"));
            self.differs("image_size", &stated, &actual);
        }
    }
}

fn disagreements(manifest: &Value, image: &Image, problems: &mut Vec<String>) {
    let mut comparison = Comparison { manifest, problems };
    if let Some(file) = manifest.get("files").and_then(|files| files.get(0)) {
        comparison.file(file, image);
    }
    comparison.stream(&image.contents);
    if let Some(volume) = image.contents.stream.as_ref().and_then(|stream| stream.volume.as_ref()) {
        comparison.volume(volume.size);
    }
}

/// The GUID of the last snapshot in a stream.
fn guid(contents: &Contents, stream: &Stream) -> u64 {
    let of_volume = stream.volume.as_ref().map(|volume| volume.guid);
    let of_dataset = contents.dataset.as_ref().map(|dataset| dataset.info.guid);
    of_volume.or(of_dataset).unwrap_or(stream.snapshot.to_guid)
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
        assert_eq!(beside(&path("x.zfs.bz2")), Some(path("x.manifest")));
        std::fs::write(path("y.json"), "").unwrap();
        assert_eq!(beside(&path("y.zfs.gz")), Some(path("y.json")));
        assert_eq!(beside(&path("y.json")), None);
        assert_eq!(
            beside(&path("x.manifest")),
            Some(path("x.manifest.manifest")).filter(|path| path.exists())
        );
    }
}
