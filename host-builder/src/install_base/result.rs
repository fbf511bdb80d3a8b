//! What comes of a build: the image, what was done and is left to do, and the manifest.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use kiln_imgapi::Manifest;
use kiln_zstream::fs::Version;
use serde_json::{Value, json};

use super::config::Wanted;
use super::proto::Proto;
use crate::packages::Installed;
use crate::report::{Hint, Report, changed};
use crate::staging::{NO_ROOM, OutputFolder, StagedFile};
use crate::zone::dataset::newest;
use crate::zone::fields::Fields;
use crate::zone::image::{self, Compression, SNAPSHOT, Snapshot, snapshot_name};
use crate::zone::manifest::{About, Draft, warnings};

/// The files of an image in the making.
pub struct Files {
    image: StagedFile,
    report: StagedFile,
    manifest: StagedFile,
    draft: Draft,
}

impl Files {
    /// Starts the files of an image, whose manifest has these fields among others.
    ///
    /// # Errors
    /// One of the names is taken and `replace` is false, the folder cannot be written to, or no manifest takes such a name or field.
    pub fn stage(folder: &OutputFolder, wanted: &Wanted, given: &Fields, replace: bool) -> Result<Self> {
        let (name, version) = (wanted.name.to_string(), wanted.release.to_string());
        let draft = Draft::new(&About {
            name: &name,
            version: &version,
            given,
            origin: None,
            incremental: false,
            min_platform: None,
            audience: None,
        });
        draft.check()?;
        let stage = |ending: &str| folder.stage(format!("{}{ending}", wanted.title()), replace);
        Ok(Self {
            image: stage(".zfs.gz")?,
            report: stage("-report.json")?,
            manifest: stage(".json")?,
            draft,
        })
    }

    /// Writes all three and gives them their names.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(
        mut self,
        done: &Done<'_>,
        compression: Compression,
        folder: &OutputFolder,
        replace: bool,
        report: &Report,
    ) -> Result<Made> {
        let tree = &done.proto.tree;
        let newest = newest(tree);
        let written = report.step("write-image", || {
            let snapshot = Snapshot {
                name: snapshot_name(SNAPSHOT),
                creation_time: u64::try_from(newest).unwrap_or(0),
                guid: None,
                version: done.version,
            };
            let written = image::write(tree, None, &snapshot, compression, &mut self.image, report)?;
            let detail = format!("{} bytes, SHA-1 {}", written.size, written.sha1);
            Ok(changed(written, detail))
        })?;
        let manifest = self.draft.complete(newest, &written, compression)?;
        for warning in warnings(&manifest) {
            report.warn(&warning);
        }
        let summary = done.summary(&manifest);
        let text = format!("{summary:#}\n");
        report.step("write-manifest", || {
            for (file, text) in [(&mut self.report, text), (&mut self.manifest, manifest.to_json())] {
                let cannot = format!("cannot write {}", file.target().display());
                file.file_mut().write_all(text.as_bytes()).context(cannot).hint(NO_ROOM)?;
            }
            Ok(changed((), format!("image {}", manifest.uuid)))
        })?;
        let Self { image, report: list, manifest: file, .. } = self;
        let paths = [&image, &list, &file].map(|file| file.target().to_owned());
        // The manifest speaks for the others, so it comes last.
        folder.publish(vec![image, list, file], replace)?;
        Ok(Made { manifest, summary, paths })
    }
}

/// What was done.
pub struct Done<'a> {
    /// The zone as it is now.
    pub proto: &'a Proto,
    /// The version of its file system.
    pub version: Version,
    /// The bootstrap kit that was laid over it.
    pub kit: &'a str,
    /// The packages that were installed.
    pub installed: &'a Installed,
}

impl Done<'_> {
    /// The build for those who read later what it was, and what it left for the first boot.
    fn summary(&self, manifest: &Manifest) -> Value {
        let wanted = &self.proto.wanted;
        json!({
            "name": wanted.name.to_string(),
            "version": wanted.release.to_string(),
            "uuid": manifest.uuid,
            "config": wanted.config.to_string(),
            "git_branch": wanted.git_branch(),
            "bootstrap": self.kit,
            "requested": wanted.packages(),
            "installed": self.installed,
            "first_boot": self.proto.first_boot,
        })
    }
}

/// A finished image.
pub struct Made {
    manifest: Manifest,
    summary: Value,
    /// Image, report, manifest.
    paths: [PathBuf; 3],
}

impl Made {
    /// Says what was made, and what is left for the first boot.
    pub fn tell(&self, report: &Report) {
        let [image, list, manifest] = self.paths.each_ref().map(|path| path.display().to_string());
        if report.is_json() {
            report.event(&json!({
                "event": "summary",
                "image": image,
                "manifest": manifest,
                "report": list,
                "uuid": self.manifest.uuid,
                "build": self.summary,
            }));
            return;
        }
        report.result(&format!("image         {image}"));
        report.result(&format!("manifest      {manifest}"));
        report.result(&format!("  UUID        {}", self.manifest.uuid));
        report.result(&format!("report        {list}"));
        let entries = self.summary["first_boot"].as_array().map_or(&[][..], Vec::as_slice);
        report.result(&format!("first boot    {} things are left for it, in this order:", entries.len()));
        for (number, entry) in (1..).zip(entries) {
            report.result(&format!("  {number:>3}         {}", entry["why"].as_str().unwrap_or_default()));
        }
        report.result(&format!("install with  imgadm install -m {manifest} -f {image}"));
    }
}
