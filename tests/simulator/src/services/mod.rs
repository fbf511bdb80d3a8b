//! The service management facility.

use serde::{Deserialize, Serialize};

/// The state of services since the machine was switched on. The repository lies on the ramdisk, so all of it goes at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {}
