//! Disks, pools, mounts, swap and dump.

use serde::{Deserialize, Serialize};

/// The state of storage since the machine was switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {}
