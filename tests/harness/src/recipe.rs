//! What the guest is made from, and where it is kept.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The Debian release that the guest runs. It has Linux 6.1 and OpenZFS 2.1.
pub const SUITE: &str = "bookworm";

/// Components of the archive that the guest's packages come from. ZFS is in `contrib`.
pub const COMPONENTS: &[&str] = &["main", "contrib"];

/// The files of the recipe, by name. `build` is the program that turns the others into a guest.
pub const FILES: &[(&str, &str)] = &[
    ("build", include_str!("../guest/build")),
    ("initramfs-init", include_str!("../guest/initramfs-init")),
    ("packages", include_str!("../guest/packages")),
    ("vm-init", include_str!("../guest/vm-init")),
];

/// The files of a finished guest: its root disk, kernel and initramfs.
pub const PRODUCTS: &[&str] = &["root.img", "vmlinuz", "initrd.gz"];

/// The first 16 hexadecimal digits of the SHA-256 over everything that decides what the guest is.
pub fn digest() -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(SUITE.as_bytes());
    for component in COMPONENTS {
        part(component.as_bytes());
    }
    for (name, text) in FILES {
        part(name.as_bytes());
        part(text.as_bytes());
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        hex
    })
}

/// kiln's folder in the user's cache: `$XDG_CACHE_HOME/kiln`, else `$HOME/.cache/kiln`.
///
/// # Panics
/// When neither variable holds an absolute path: there is no sensible place for gigabytes then.
pub fn cache_folder() -> PathBuf {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .expect("XDG_CACHE_HOME or HOME names the user's folder")
        .join("kiln")
}

/// The folder of the guest that this recipe makes, whether it has been built or not.
pub fn guest_folder() -> PathBuf {
    cache_folder().join(format!("guest-{}", digest()))
}

/// Whether `folder` holds a finished guest. It appears there by rename, so it is either whole or absent.
pub fn is_built(folder: &Path) -> bool {
    PRODUCTS.iter().all(|name| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_recipe_is_in_the_digest() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        on_disk.sort();
        let in_digest: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(on_disk, in_digest);
    }

    #[test]
    fn a_folder_counts_as_built_only_with_every_product() {
        let folder = tempfile::tempdir().unwrap();
        for name in PRODUCTS {
            assert!(!is_built(folder.path()));
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        assert!(is_built(folder.path()));
    }
}
