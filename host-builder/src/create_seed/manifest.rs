//! The manifest of a seed image.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kiln_imgapi::{ImageFile, Kind, Manifest, NOBODY, Network, Requirements};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::stamp::Stamp;
use crate::zone::image::Written;

/// Namespace of the image UUIDs that kiln derives (itself a version 5 UUID of `kiln.image` in the DNS namespace).
const NAMESPACE: Uuid = Uuid::from_u128(0xadbc_c575_45e1_5bc8_adf8_f5e8_1f3f_c43d);

/// The manifest of a seed, with the values of imagetools' template but for the platform: a zone of a seed runs on the platform that the
/// seed was made from, and on later ones. Its UUID follows from everything else in it.
///
/// # Errors
/// Name or version are none for an image server.
pub fn make(name: &str, version: &str, stamp: Option<&Stamp>, written: &Written) -> Result<Manifest> {
    let tags = json!({ "role": "os", "group": name });
    let mut manifest = Manifest {
        v: 2,
        uuid: Uuid::nil().to_string(),
        owner: Some(NOBODY.to_owned()),
        name: name.to_owned(),
        version: version.to_owned(),
        state: Some("active".to_owned()),
        disabled: Some(false),
        public: Some(true),
        published_at: Some(stamp.map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), Stamp::iso)),
        type_: "zone-dataset".to_owned(),
        os: "smartos".to_owned(),
        files: Some(vec![ImageFile {
            sha1: written.sha1.clone(),
            size: written.size,
            compression: "gzip".to_owned(),
            others: Map::from_iter([("dataset_guid".to_owned(), json!(written.guid.to_string()))]),
        }]),
        description: Some(
            "SmartOS as a platform brings it, without packages: what base images are made from".to_owned(),
        ),
        urn: Some(format!("sdc:sdc:{name}:{version}")),
        requirements: Some(Requirements {
            min_platform: stamp.map(|stamp| BTreeMap::from([("7.0".to_owned(), stamp.to_string())])),
            networks: Some(vec![Network { name: "net0".to_owned(), description: "public".to_owned() }]),
            ..Requirements::default()
        }),
        tags: tags.as_object().cloned(),
        ..Manifest::default()
    };
    manifest.uuid = Uuid::new_v5(&NAMESPACE, manifest.to_json().as_bytes()).to_string();
    let violations = kiln_imgapi::validate(&manifest.to_value(), Kind::Minimal);
    if !violations.is_empty() {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        bail!("the manifest would be refused: {}", list.join("; "));
    }
    Ok(manifest)
}

/// Refuses before the work what would be refused after it.
///
/// # Errors
/// As [`make`].
pub fn check(name: &str, version: &str) -> Result<()> {
    let file = Written {
        size: 1,
        sha1: "0".repeat(40),
        guid: 1,
        stream_sha1: String::new(),
        stream: kiln_zstream::fs::Summary { records: 0, objects: 0, stream_bytes: 0, checksum: [0; 4] },
    };
    make(name, version, None, &file).map(drop)
}
