//! Paths inside the file system: absolute, made of bytes.

use crate::error::{Error, ErrorKind, Result};
use crate::layout::NAME_MAX;

/// Longest path accepted, in bytes; illumos' own limit is 1,024.
const PATH_MAX: usize = 4096;

/// Refuses what cannot be a path: relative, with a NUL, or beyond all measure.
pub(crate) fn check(path: &[u8]) -> Result<()> {
    if path.first() == Some(&b'/') && path.len() <= PATH_MAX && !path.contains(&0) {
        Ok(())
    } else {
        Err(Error::path(ErrorKind::InvalidPath, path))
    }
}

/// Splits a path into its directory and its last component, which must be a name that can be given to something.
pub(crate) fn split(path: &[u8]) -> Result<(&[u8], &[u8])> {
    check(path)?;
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let name = &path[start..end];
    if name.is_empty() || name.len() > NAME_MAX || name == b"." || name == b".." {
        return Err(Error::path(ErrorKind::InvalidPath, path));
    }
    Ok((&path[..start], name))
}

/// The components of a path still to be looked up. Targets of symbolic links are put in front.
#[derive(Debug)]
pub(crate) struct Components {
    /// Last component first.
    names: Vec<Vec<u8>>,
    /// Whether the path ended in a slash.
    directory: bool,
}

impl Components {
    pub fn new(path: &[u8]) -> Self {
        let mut components = Self { names: Vec::new(), directory: path.ends_with(b"/") };
        components.put_before(path);
        components
    }

    /// Puts the components of `path` in front of those left.
    pub fn put_before(&mut self, path: &[u8]) {
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
        self.names.extend(names.rev().map(<[u8]>::to_vec));
    }

    pub fn next(&mut self) -> Option<Vec<u8>> {
        self.names.pop()
    }

    /// Whether the last component has been taken. With a slash behind it, it must be looked into as a directory is.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.directory
    }

    /// Whether the path can only mean a directory.
    pub fn wants_directory(&self) -> bool {
        self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_into_directory_and_name() {
        assert_eq!(split(b"/etc/shadow").unwrap(), (&b"/etc/"[..], &b"shadow"[..]));
        assert_eq!(split(b"/etc/").unwrap(), (&b"/"[..], &b"etc"[..]));
        for bad in [&b"/"[..], b"", b"etc", b"/a/..", b"/.", b"/a\0b"] {
            assert_eq!(split(bad).unwrap_err().kind(), ErrorKind::InvalidPath, "{bad:?}");
        }
        let long = [&b"/"[..], &[b'n'; 256]].concat();
        assert_eq!(split(&long).unwrap_err().kind(), ErrorKind::InvalidPath);
    }
}
