//! The third pass: whether the directories form one tree, and whether the link counts fit the references.

use std::mem;

use positioned_io::ReadAt;

use super::Checker;
use super::finding::{FindingKind, Location};
use crate::layout::{MODE_ATTRIBUTE_DIRECTORY, MODE_DIRECTORY, MODE_SHADOW, ROOT_INODE};

/// How far the search for cycles knows a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unknown,
    /// On the way that is being followed.
    Passed,
    /// Leads to a directory without parent, or to a cycle that was reported.
    Done,
}

impl<D: ReadAt> Checker<'_, D> {
    /// Joins what the directories said about each other.
    pub(super) fn check_tree(&mut self) {
        self.check_attachments();
        let parentless = self.check_parents();
        self.check_cycles();
        self.check_links(&parentless);
    }

    /// References to ACLs and attribute directories count as links of these.
    fn check_attachments(&mut self) {
        for attachment in mem::take(&mut self.attachments) {
            let references = [
                (attachment.shadow, MODE_SHADOW, FindingKind::ShadowReference),
                (attachment.attributes, MODE_ATTRIBUTE_DIRECTORY, FindingKind::AttributeReference),
            ];
            for (target, mode_type, kind) in references {
                if target == 0 {
                    continue;
                }
                if self.inodes.mode_type(target) == mode_type {
                    self.inodes.refer(target);
                } else {
                    let location = Location::inode(attachment.owner);
                    self.findings.add(kind, location, format_args!("to inode {target}"));
                }
            }
        }
    }

    /// Settles which directory contains which, counts `.` and `..` as if they were right, and returns the
    /// directories that have no place, in the order of their inodes.
    fn check_parents(&mut self) -> Vec<u32> {
        let mut parentless = Vec::new();
        for index in 0..self.directories.len() {
            let directory = &mut self.directories[index];
            let (inode, dotdot) = (directory.inode, directory.dotdot);
            if let (Some((parent, _)), Some((rival, _))) = (&directory.parent, &directory.rival)
                && dotdot != Some(*parent)
                && dotdot == Some(*rival)
            {
                mem::swap(&mut directory.parent, &mut directory.rival);
            }
            let parent = directory.parent.as_ref().map(|&(parent, _)| parent);
            self.inodes.refer(inode);
            if self.inodes.mode_type(inode) == MODE_ATTRIBUTE_DIRECTORY {
                // `..` leads to the owner, which does not count it, or to the directory itself.
                if dotdot == Some(inode) {
                    self.inodes.refer(inode);
                }
                continue;
            }
            let parent = if inode == ROOT_INODE { Some(ROOT_INODE) } else { parent };
            match (parent, dotdot) {
                (Some(parent), dotdot) => {
                    self.inodes.refer(parent);
                    if let Some(dotdot) = dotdot.filter(|&dotdot| dotdot != parent) {
                        let detail = format_args!("inode {dotdot}, not {parent}");
                        self.findings.add(FindingKind::DotDotEntry, Location::inode(inode), detail);
                    }
                }
                (None, dotdot) => {
                    parentless.push(inode);
                    let claimed = dotdot.filter(|&up| self.inodes.mode_type(up) == MODE_DIRECTORY);
                    if let Some(claimed) = claimed {
                        self.inodes.refer(claimed);
                    }
                    let location = Location::inode(inode);
                    let detail = format_args!("its parent is {}", dotdot.unwrap_or_default());
                    self.findings.add(FindingKind::OrphanDirectory, location, detail);
                }
            }
            // The entry in the parent, which `adopt` did not count as long as the parent was in doubt.
            if parent.is_some() && inode != ROOT_INODE {
                self.inodes.refer(inode);
            }
        }
        parentless
    }

    /// Every chain of parents ends in the root or in an orphan, or it is a cycle.
    fn check_cycles(&mut self) {
        let mut marks = vec![Mark::Unknown; self.directories.len()];
        let index_of =
            |inode: u32| self.directories.binary_search_by_key(&inode, |directory| directory.inode).ok();
        let mut cycles = Vec::new();
        for start in 0..self.directories.len() {
            let mut way = Vec::new();
            let mut next = Some(start);
            while let Some(index) = next.filter(|&index| marks[index] == Mark::Unknown) {
                marks[index] = Mark::Passed;
                way.push(index);
                next = self.directories[index].parent.as_ref().and_then(|&(parent, _)| index_of(parent));
            }
            if let Some(index) = next.filter(|&index| marks[index] == Mark::Passed) {
                let cycle = way.iter().skip_while(|&&passed| passed != index);
                let members = cycle.clone().count();
                let first = cycle.map(|&member| self.directories[member].inode).min();
                cycles.push((first.unwrap_or_default(), members));
            }
            for index in way {
                marks[index] = Mark::Done;
            }
        }
        for (first, members) in cycles {
            let detail = format_args!("{members} directories");
            self.findings.add(FindingKind::DirectoryCycle, Location::inode(first), detail);
        }
    }

    /// Compares every link count with the references, and finds what nothing refers to.
    fn check_links(&mut self, parentless: &[u32]) {
        for inode in ROOT_INODE..self.geometry.inodes() {
            if !self.inodes.allocated(inode) || parentless.binary_search(&inode).is_ok() {
                continue;
            }
            let (nlink, references) = self.inodes.links(inode);
            let attributes = self.inodes.mode_type(inode) == MODE_ATTRIBUTE_DIRECTORY;
            // An attribute directory refers to itself by `.` and perhaps by `..`.
            let own = if attributes {
                let dotdot = self.directory(inode).and_then(|directory| directory.dotdot);
                1 + u16::from(dotdot == Some(inode))
            } else {
                0
            };
            let mut location = Location::inode(inode);
            location.offset = Some(self.geometry.inode_offset(inode));
            if references == own {
                let kind = if attributes { FindingKind::OrphanDirectory } else { FindingKind::OrphanInode };
                self.findings.add(kind, location, format_args!("ic_nlink is {nlink}"));
            } else if i32::from(nlink) != i32::from(references) {
                let detail = format_args!("ic_nlink is {nlink}, not {references}");
                self.findings.add(FindingKind::LinkCount, location, detail);
            }
        }
    }
}
