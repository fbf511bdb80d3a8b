//! Changes to files, as they are asked for: an argument for each, of words with spaces between.

use std::error::Error;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};

pub fn make(changes: &[&str]) -> Result<u8, Box<dyn Error>> {
    for change in changes {
        let words: Vec<&str> = change.split(' ').collect();
        one(&words).map_err(|error| format!("{change}: {error}"))?;
    }
    Ok(0)
}

fn one(words: &[&str]) -> Result<(), Box<dyn Error>> {
    match *words {
        // The whole contents, by two writes.
        ["write", path, text] => {
            let mut file = File::create(path)?;
            let (one, two) = text.split_at(text.len() / 2);
            file.write_all(one.as_bytes())?;
            file.write_all(two.as_bytes())?;
        }
        ["append", path, text] => {
            OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())?;
        }
        ["at", path, offset, text] => {
            OpenOptions::new().write(true).open(path)?.write_all_at(text.as_bytes(), offset.parse()?)?;
        }
        ["length", path, length] => OpenOptions::new().write(true).open(path)?.set_len(length.parse()?)?,
        // Of a file or directory.
        ["fsync", path] => File::open(path)?.sync_all()?,
        ["sync"] => nix::unistd::sync(),
        ["rename", from, to] => fs::rename(from, to)?,
        ["link", from, to] => fs::hard_link(from, to)?,
        ["symlink", target, path] => symlink(target, path)?,
        ["remove", path] => fs::remove_file(path)?,
        ["mkdir", path] => fs::create_dir(path)?,
        ["rmdir", path] => fs::remove_dir(path)?,
        ["tree", path] => fs::remove_dir_all(path)?,
        ["mode", path, mode] => {
            fs::set_permissions(path, Permissions::from_mode(u32::from_str_radix(mode, 8)?))?;
        }
        ["owner", path, uid] => chown(path, Some(uid.parse()?), None)?,
        _ => return Err("not a change".into()),
    }
    Ok(())
}
