//! What there is to say without the feature.

use std::io::Empty;

use anyhow::{Result, anyhow};

use crate::report::Hint;

/// Says that this kiln cannot, how to build one that can, and how to do without.
///
/// # Errors
/// Always.
pub fn open(dataset: &str, origin: Option<&str>) -> Result<Empty> {
    let from = origin.map(|origin| format!("-i {origin} ")).unwrap_or_default();
    Err(anyhow!("this kiln was built without native-zfs and cannot take a snapshot of '{dataset}'")).misuse(
        format!(
            "take one yourself, as in: zfs snapshot {dataset}@final && zfs send {from}{dataset}@final | \
             kiln create-image --stream - …; or build a kiln that can, where libclang and the headers of libzfs_core are: \
             cargo build --release -p kiln --features native-zfs"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{hint_of, is_misuse};

    #[test]
    fn both_ways_out_are_named() {
        let error = open("tank/a", Some("tank/b@final")).unwrap_err();
        let hint = hint_of(&error).unwrap();
        assert!(is_misuse(&error) && error.to_string().contains("without native-zfs"), "{error}");
        assert!(hint.contains("zfs send -i tank/b@final tank/a@final | kiln create-image --stream -"), "{hint}");
        assert!(hint.contains("--features native-zfs"), "{hint}");
    }
}
