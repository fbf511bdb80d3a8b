//! Links, addresses, routes, forwarding and packet filter.

use serde::{Deserialize, Serialize};

use crate::commands::Command;

/// The commands of this part.
pub const COMMANDS: &[Command] = &[];

/// The state of the network since the machine was switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {}
