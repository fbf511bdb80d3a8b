//! Image manifests of SmartOS and Triton, version 2: reading, writing, and the rules of the image server.
//!
//! A [`Manifest`] is the typed form, in the order of fields that image servers write. [`validate`] judges a manifest
//! as the reference implementation does (the npm package `imgmanifest` 3.2.1, which `imgadm` and the image server
//! share); it looks at the JSON itself, because that implementation is loose about types in places and a typed form
//! could not show it. [`defects`] names what those rules allow and no image works with; [`cautions`] what real hosts
//! may stumble over.

#![forbid(unsafe_code)]

mod cautions;
mod defects;
mod js;
mod manifest;
mod retro;
mod validate;

pub use cautions::cautions;
pub use defects::defects;
pub use manifest::{
    ImageFile, MANIFEST_LIMIT, Manifest, ManifestError, Network, Requirements, User, read_value,
};
pub use retro::{NOBODY, RetroImage};
pub use validate::{Kind, Rules, UnknownKind, Violation, validate};
