//! The last pass: the paths of the inodes that findings name.

use std::collections::BTreeMap;

use positioned_io::ReadAt;

use super::Checker;
use super::directories::Records;
use crate::error::Result;
use crate::layout::{DIR_CHUNK, ROOT_INODE};

/// Names in a path at most; longer chains of parents are taken for cycles.
const DEPTH_MAX: usize = 512;
/// Bytes of a path at most.
const PATH_MAX: usize = 4096;

impl<D: ReadAt> Checker<'_, D> {
    /// Adds the path to every listed finding about an inode that hangs on the root. Directories know their parents;
    /// for anything else the directories are read a second time, if there is anything to name at all.
    pub(super) fn name_findings(&mut self) -> Result<()> {
        let mut paths: BTreeMap<u32, Option<Vec<u8>>> = BTreeMap::new();
        let mut missing = 0_usize;
        for inode in self.findings.listed.iter().filter_map(|finding| finding.location.inode) {
            let path = self.directory_path(inode);
            missing += usize::from(paths.insert(inode, path.clone()).is_none() && path.is_none());
        }
        let mut block = vec![0; self.geometry.bsize as usize];
        for index in 0..self.directories.len() {
            // Computed for the few directories that name something wanted, and only once for each.
            let mut folder: Option<Option<Vec<u8>>> = None;
            let mut run = 0;
            while missing != 0
                && folder != Some(None)
                && let Some((_, bytes, _)) = self.read_run(index, run, &mut block)?
            {
                for record in bytes.chunks_exact(DIR_CHUNK as usize).flat_map(Records::new).flatten() {
                    if let Some(path @ None) = paths.get_mut(&record.inode)
                        && ![&b""[..], b".", b".."].contains(&record.name)
                        && let inode = self.directories[index].inode
                        && let Some(folder) = folder.get_or_insert_with(|| self.directory_path(inode))
                    {
                        let mut found = folder.clone();
                        push_name(&mut found, record.name);
                        *path = Some(found);
                        missing -= 1;
                    }
                }
                run += 1;
            }
        }
        for finding in &mut self.findings.listed {
            finding.location.path =
                finding.location.inode.and_then(|inode| paths.get(&inode).cloned().flatten());
        }
        Ok(())
    }

    /// The path of a directory that hangs on the root.
    fn directory_path(&self, inode: u32) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut directory = self.directory(inode)?;
        while directory.inode != ROOT_INODE {
            let (parent, name) = directory.parent.as_ref()?;
            if names.len() == DEPTH_MAX {
                return None;
            }
            names.push(name);
            directory = self.directory(*parent)?;
        }
        let mut path = b"/".to_vec();
        for name in names.iter().rev() {
            push_name(&mut path, name);
        }
        (path.len() <= PATH_MAX).then_some(path)
    }
}

/// Adds a name to a path.
fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
