//! The manifest as a typed value.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};

use crate::Kind;

/// Largest manifest that is read, in bytes. The rules allow 100 KiB of tags and 10 KiB of description; the rest is
/// small.
pub const MANIFEST_LIMIT: usize = 1024 * 1024;

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`MANIFEST_LIMIT`].
    #[error("the manifest has {bytes} bytes, more than the {MANIFEST_LIMIT} that are read")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It is not JSON. The source names line and column.
    #[error("the manifest is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but a field is missing or has a type that has no reading. The source names it.
    #[error("the manifest does not have the form of version 2")]
    NotAManifest(#[source] serde_json::Error),
}

/// Reads JSON of bounded length, for [`crate::validate`]. Of repeated keys the last wins, as in JavaScript.
///
/// # Errors
/// [`ManifestError::TooLong`] and [`ManifestError::NotJson`].
pub fn read_value(text: &[u8]) -> Result<Value, ManifestError> {
    if text.len() > MANIFEST_LIMIT {
        return Err(ManifestError::TooLong { bytes: text.len() });
    }
    serde_json::from_slice(text).map_err(ManifestError::NotJson)
}

/// An image manifest of version 2.
///
/// Fields stand in the order in which image servers write them (source: `Image.prototype.serialize` of sdc-imgapi).
/// Absent fields are not written. Numbers and flags written as text, which the rules allow, are read as what they
/// mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the manifest's form: 2.
    #[serde(deserialize_with = "whole")]
    pub v: u64,
    /// Identity of the image, lower case.
    pub uuid: String,
    /// Account that owns the image; [`crate::NOBODY`] when that means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name, shared by all versions of the image.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Version, free text without spaces.
    #[serde(deserialize_with = "text")]
    pub version: String,
    /// One of active, unactivated, disabled, creating, failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whether new instances are refused.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "flag")]
    pub disabled: Option<bool>,
    /// Whether the server has the file and offers the image. Servers keep it to themselves but demand it on import.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "flag")]
    pub activated: Option<bool>,
    /// Whether everybody sees the image.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "flag")]
    pub public: Option<bool>,
    /// When it was published, `YYYY-MM-DDTHH:MM:SS(.mmm)Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// zone-dataset, lx-dataset, zvol, lxd, docker or other.
    #[serde(rename = "type")]
    pub type_: String,
    /// smartos, linux, windows, bsd, illumos or other.
    pub os: String,
    /// The image that this one is an increment to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The image's file; lxd images have two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<ImageFile>>,
    /// Accounts that see a private image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<String>>,
    /// A sentence about the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Address of a page about the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Address of the licence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eula: Option<String>,
    /// Whether the server has an icon.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "flag")]
    pub icon: Option<bool>,
    /// Name in the form of the first image servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urn: Option<String>,
    /// What the image asks of hosts and instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// Accounts inside the image for which passwords are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<User>>,
    /// Words for billing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_tags: Option<Vec<String>>,
    /// Properties that hosts must have; values are texts, flags or lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traits: Option<Map<String, Value>>,
    /// Anything that the maker wants to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// Whether passwords are made for `users`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "flag")]
    pub generate_passwords: Option<bool>,
    /// Folders that instances take from the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited_directories: Option<Vec<String>>,
    /// Network card of instances of a volume image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic_driver: Option<String>,
    /// Disk controller of instances of a volume image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_driver: Option<String>,
    /// Processor that instances of a volume image see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_type: Option<String>,
    /// Size of a volume image in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_whole")]
    pub image_size: Option<u64>,
    /// Channels of the server that offer the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// Why the image failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// Fields that version 2 does not know, kept so that they can be reported. Every server refuses them.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The file of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageFile {
    /// SHA-1 of the file as it is downloaded, 40 hexadecimal digits.
    #[serde(default)]
    pub sha1: String,
    /// Size of the file as it is downloaded, in bytes.
    #[serde(default, deserialize_with = "whole")]
    pub size: u64,
    /// gzip, bzip2, xz or none.
    #[serde(default)]
    pub compression: String,
    /// What else is said about the file, such as `dataset_guid`; servers carry it unchecked.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What an image asks of hosts and instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Requirements {
    /// Oldest platform for each version of Triton: the only useful key is `7.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_platform: Option<BTreeMap<String, String>>,
    /// Newest platform for each version of Triton.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_platform: Option<BTreeMap<String, String>>,
    /// Network cards, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Network>>,
    /// Brand of the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// bios or uefi; only for the brand bhyve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootrom: Option<String>,
    /// Whether users log in by key only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<bool>,
    /// Least memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ram: Option<u64>,
    /// Most memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ram: Option<u64>,
    /// Requirements that version 2 does not know. Every server refuses them.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// One network card that an image asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Interface name inside the instance.
    pub name: String,
    /// Which kind of network it wants, such as `public`.
    pub description: String,
}

/// One account inside an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Login name.
    pub name: String,
}

impl Manifest {
    /// Reads a manifest of at most [`MANIFEST_LIMIT`] bytes.
    ///
    /// # Errors
    /// Every [`ManifestError`].
    pub fn from_slice(text: &[u8]) -> Result<Manifest, ManifestError> {
        // By way of a value: it takes the last of repeated keys, as every consumer of manifests does.
        serde_json::from_value(read_value(text)?).map_err(ManifestError::NotAManifest)
    }

    /// The manifest as JSON value, for [`crate::validate`].
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("all keys are texts, and no member refuses to be written")
    }

    /// The manifest as it is written to a file: indented by two spaces, with an end of line.
    pub fn to_json(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text).expect("memory takes every write, all keys are texts");
        String::from_utf8(text).expect("JSON is UTF-8")
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }

    /// Sets what a server of that kind demands beyond the minimal manifest: `activated`, and `public` to the one value
    /// that it takes. A data centre takes both; the image becomes public there, because images of [`crate::NOBODY`]
    /// would otherwise be seen by nobody.
    pub fn prepare_for(&mut self, kind: Kind) {
        let public = match kind {
            Kind::Minimal => return,
            Kind::Public | Kind::Dc => true,
            Kind::Private => false,
        };
        self.public = Some(public);
        self.activated = Some(true);
    }
}

/// A text, or a number or flag in its place, which the rules match in printed form.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        value @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => {
            Ok(crate::js::text(&value).into_owned())
        }
        _ => Err(D::Error::custom("expected a text")),
    }
}

/// A whole number, or a text of its digits.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
    .ok_or_else(|| D::Error::custom("expected a whole number that is not negative"))
}

fn optional_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    whole(deserializer).map(Some)
}

/// A flag, or one of the words `true` and `false`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(Some(flag)),
        Value::String(word) if word == "true" => Ok(Some(true)),
        Value::String(word) if word == "false" => Ok(Some(false)),
        _ => Err(D::Error::custom("expected true or false")),
    }
}
