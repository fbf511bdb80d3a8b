//! Folders for the files of a test, below cargo's target folder: images are too large for a `/tmp` in memory.

use std::env;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// cargo's target folder: `CARGO_TARGET_DIR`, else `target` in the workspace.
pub fn target_folder() -> PathBuf {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/harness in the workspace");
    // A relative name is joined to the workspace, where xtask runs cargo.
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A new empty folder that is removed with its content when the value goes. `name` begins its name.
///
/// # Panics
/// When it cannot be made.
pub fn folder(name: &str) -> TempDir {
    let parent = target_folder().join("tmp");
    std::fs::create_dir_all(&parent)
        .and_then(|()| tempfile::Builder::new().prefix(&format!("{name}.")).tempdir_in(&parent))
        .unwrap_or_else(|error| panic!("cannot make a folder in {}: {error}", parent.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn folders_are_new_empty_and_removed() {
        let (first, second) = (super::folder("same"), super::folder("same"));
        assert_ne!(first.path(), second.path());
        assert_eq!(first.path().read_dir().unwrap().count(), 0);
        std::fs::write(first.path().join("file"), b"x").unwrap();
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }
}
