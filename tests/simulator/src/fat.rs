//! What FAT cannot hold, and a folder that stands for a FAT file system can.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// Names below the folder that a FAT file system would not have taken: links, names that differ in case alone, characters
/// that FAT forbids. Each is a reason to distrust what the program that made it would do on a real key.
///
/// # Errors
/// When the folder cannot be read.
pub fn impossible(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if !kind.is_dir() && !kind.is_file() {
            found.push(format!("{name} is neither file nor folder"));
        }
        if name.contains(|c: char| c.is_control() || "\"*:<>?\\|".contains(c)) || name.ends_with(['.', ' ']) {
            found.push(format!("{name:?} is no name"));
        }
        if !names.insert(name.to_lowercase()) {
            found.push(format!("{name} is there twice, in other case"));
        }
        if kind.is_dir() {
            found.extend(impossible(&entry.path())?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_twins_and_forbidden_characters_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("dir");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("config"), "").unwrap();
        assert_eq!(impossible(folder.path()).unwrap(), [""; 0]);
        fs::write(inside.join("Config"), "").unwrap();
        fs::write(folder.path().join("a:b"), "").unwrap();
        std::os::unix::fs::symlink("config", inside.join("link")).unwrap();
        assert_eq!(impossible(folder.path()).unwrap().len(), 3);
    }
}
