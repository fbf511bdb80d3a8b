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

use super::open::{Contents, Image};
use crate::report::Hint;

/// Endings of image files, and of the manifests that stand beside them.
const IMAGE_ENDINGS: [&str; 5] = [".zvol.gz", ".zfs.gz", ".zvol", ".zfs", ".gz"];
const MANIFEST_ENDINGS: [&str; 2] = [".manifest", ".imgmanifest"];

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
    /// When it was published.
    pub published_at: Option<String>,
    /// What `imgadm install` would refuse or no instance starts with, and where the manifest and the image disagree.
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
/// The manifest cannot be read or is not JSON, or the image cannot be read.
pub fn check(path: &Path, image: &Image) -> Result<Manifest> {
    let cannot = || format!("cannot read the manifest {}", path.display());
    let mut text = Vec::new();
    let file = File::open(path)
        .with_context(cannot)
        .hint("check the path: --manifest FILE takes the JSON file that belongs to the image")?;
    file.take(MANIFEST_LIMIT as u64 + 1).read_to_end(&mut text).with_context(cannot)?;
    let manifest =
        read_value(&text).with_context(cannot).hint("a manifest is the JSON file beside an image")?;
    let field = |name: &str| manifest.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut problems: Vec<String> = validate(&manifest, Kind::Minimal)
        .iter()
        .chain(&defects(&manifest))
        .map(ToString::to_string)
        .collect();
    disagreements(&manifest, image, &mut problems)?;
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

    fn file(&mut self, file: &Value, image: &Image) -> Result<()> {
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
        let actual = compression(contents)?;
        if let Some(stated) = member("compression")
            && stated.as_str() != Some(actual)
        {
            self.differs("files[0].compression", &shown(stated), actual);
        }
        if let (Some(guid), Some(stream)) = (member("dataset_guid"), &contents.stream) {
            let actual = stream.volume.as_ref().map_or(stream.begin.to_guid, |volume| volume.guid);
            if shown(guid) != actual.to_string() {
                self.differs("files[0].dataset_guid", &shown(guid), &actual.to_string());
            }
        }
        Ok(())
    }

    /// Whether the image is of the type stated, and an increment only when the manifest names an origin.
    fn stream(&mut self, image: &Image) -> Result<()> {
        let contents = &image.contents;
        let Some(kind) = self.manifest.get("type").and_then(Value::as_str) else { return Ok(()) };
        let Some(stream) = &contents.stream else {
            // What other tools have compressed is not looked into.
            let looked_into = matches!(compression(contents)?, "gzip" | "none");
            if looked_into && matches!(kind, "zvol" | "zone-dataset" | "lx-dataset") {
                let actual = format!("no ZFS send stream: {}", contents.shape.name());
                self.differs("type", kind, &actual);
            }
            return Ok(());
        };
        let (actual, known): (&str, &[&str]) = match (&stream.volume, stream.begin.objset_type) {
            (Some(_), _) | (None, ObjsetType::Volume) => ("a volume, which is zvol", &["zvol"]),
            (None, ObjsetType::FileSystem) => ("a file system", &["zone-dataset", "lx-dataset"]),
            (None, _) => return Ok(()),
        };
        if !known.contains(&kind) {
            self.differs("type", kind, actual);
        }
        let increment = stream.begin.from_guid != 0;
        match self.stated("origin").map(shown) {
            Some(origin) if !increment => self.differs("origin", &origin, "everything and needs none"),
            None if increment => self.differs("origin", "missing", "an increment to another"),
            _ => {}
        }
        Ok(())
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

fn disagreements(manifest: &Value, image: &Image, problems: &mut Vec<String>) -> Result<()> {
    let mut comparison = Comparison { manifest, problems };
    if let Some(file) = manifest.get("files").and_then(|files| files.get(0)) {
        comparison.file(file, image)?;
    }
    comparison.stream(image)?;
    if let Some(volume) = image.contents.stream.as_ref().and_then(|stream| stream.volume.as_ref()) {
        comparison.volume(volume.size);
    }
    Ok(())
}

/// The compression of an image file, in the words of manifests. Of those that kiln cannot read the first bytes tell.
fn compression(contents: &Contents) -> Result<&'static str> {
    if contents.compressed {
        return Ok("gzip");
    }
    let head = contents.source.head(6).context("cannot read the image")?;
    Ok(match head.as_slice() {
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0xFD, b'7', b'z', b'X', b'Z', 0] => "xz",
        _ => "none",
    })
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
