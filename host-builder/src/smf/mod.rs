//! SMF manifests: whether svccfg would import them, and whether the services in them can start.
//!
//! A manifest that svccfg refuses is skipped at boot with a line in a log, and then a service is simply missing; one whose
//! dependencies go in a circle keeps its services offline for ever. So both are found here.

mod document;
mod grammar;
mod manifest;

pub use manifest::{Manifest, cycle};
