//! The manifest of a retro image.

use std::collections::BTreeMap;

use crate::manifest::{ImageFile, Manifest, Network, Requirements};

/// The owner of images that no account owns.
pub const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Oldest host platform for volume images in the form that kiln writes, as the original demands it.
const OLDEST_HOST: &str = "20130723T015243Z";

/// What differs between the manifests of two retro images.
#[derive(Clone, Debug)]
pub struct RetroImage<'a> {
    /// Identity of the image, lower case.
    pub uuid: &'a str,
    /// Stamp of the platform inside.
    pub stamp: &'a str,
    /// Version of the image.
    pub version: &'a str,
    /// When it was published, `YYYY-MM-DDTHH:MM:SS(.mmm)Z`.
    pub published_at: &'a str,
    /// SHA-1 of the compressed image, 40 hexadecimal digits.
    pub sha1: &'a str,
    /// Size of the compressed image in bytes.
    pub size: u64,
    /// Size of the volume in MiB.
    pub image_size_mib: u64,
}

impl RetroImage<'_> {
    /// The manifest, with the fields and values of the original tool's (joyent-retro 1.1.8, `manifest.tmpl`). It has
    /// neither `public` nor `activated` and so suits `imgadm install`; [`Manifest::prepare_for`] adds them.
    ///
    /// The network card is e1000 because platforms have a driver for virtio ones only from 2015-07-15 on.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            v: 2,
            uuid: self.uuid.to_owned(),
            owner: Some(NOBODY.to_owned()),
            name: format!("smartos-retro-{}", self.stamp),
            version: self.version.to_owned(),
            state: Some("active".to_owned()),
            disabled: Some(false),
            published_at: Some(self.published_at.to_owned()),
            type_: "zvol".to_owned(),
            os: "other".to_owned(),
            files: Some(vec![ImageFile {
                sha1: self.sha1.to_owned(),
                size: self.size,
                compression: "gzip".to_owned(),
                ..ImageFile::default()
            }]),
            description: Some(format!("smartos-retro build of SmartOS {}", self.stamp)),
            requirements: Some(Requirements {
                min_platform: Some(BTreeMap::from([("7.0".to_owned(), OLDEST_HOST.to_owned())])),
                networks: Some(vec![Network { name: "net0".to_owned(), description: "public".to_owned() }]),
                ssh_key: Some(true),
                ..Requirements::default()
            }),
            nic_driver: Some("e1000".to_owned()),
            disk_driver: Some("virtio".to_owned()),
            cpu_type: Some("qemu64".to_owned()),
            image_size: Some(self.image_size_mib),
            ..Manifest::default()
        }
    }
}
