//! SMF manifests: whether svccfg would import them, and whether the services in them can start.
//!
//! A manifest that svccfg refuses is skipped at boot with a line in a log, and then a service is simply missing; one whose
//! dependencies go in a circle keeps its services offline for ever. So both are found here.

//!
//! A repository is no file that kiln writes. What is to be other than in a repository that is there goes into an image as
//! manifests and a profile of its site, which the zone imports: [`site`] makes them from a [`list`] of manifests.

mod document;
mod grammar;
pub mod list;
mod manifest;
pub mod site;

pub use manifest::{Manifest, cycle};
