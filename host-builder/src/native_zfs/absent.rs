//! What there is to say without the feature.

use std::io::Empty;

use anyhow::{Result, anyhow};

use crate::report::Hint;

/// Says that this kiln cannot, how to do without, and how to build one that can.
///
/// # Errors
/// Always.
pub fn open(dataset: &str) -> Result<Empty> {
    Err(anyhow!("this kiln was built without native-zfs and cannot take a snapshot of '{dataset}'")).misuse(
        format!(
            "take one yourself, as in: zfs snapshot {dataset}@final && zfs send {dataset}@final | \
             kiln create-image NAME-VERSION --stream -; or build a kiln that can, where libclang and the headers of \
             libzfs_core are: cargo build --release -p kiln --features native-zfs"
        ),
    )
}
