//! Datasets of this machine, of which only a kiln that was built for it can take snapshots.

use std::io::{self, Read};

use anyhow::{Result, anyhow};

use crate::report::Hint;

/// The stream of a dataset as it is now.
///
/// # Errors
/// Always: this kiln cannot.
pub fn open(dataset: &str) -> Result<impl Read + Send + use<>> {
    let without = anyhow!("this kiln was built without native-zfs and cannot take a snapshot of '{dataset}'");
    Err::<io::Empty, _>(without).misuse(format!(
        "take one yourself, as in: zfs snapshot {dataset}@final && zfs send {dataset}@final | kiln create-image NAME-VERSION --stream -"
    ))
}
