//! Opening images and stepping into the files in them: what all commands that look inside share.
//!
//! Bytes are a [`source::Source`], which can be read anywhere. [`shape`] tells what they are, [`open`] takes off what
//! they are wrapped in, [`tree`] shows the files in them, and [`path`] finds one by an expression such as
//! `IMAGE:/boot_archive!/etc/issue`. A file in FAT, UFS or tar is a source again, so stepping in copies nothing; only
//! what is compressed is expanded once, into a temporary file with holes, and streams are taken apart into one.

use std::sync::Arc;

use anyhow::Result;

use self::open::Contents;
use self::path::Subject;
use self::shape::Shape;
use self::tree::Tree;

pub mod dataset;
pub(crate) mod disk;
pub(crate) mod fat;
pub(crate) mod manifest;
pub(crate) mod open;
pub(crate) mod origin;
pub(crate) mod output;
pub(crate) mod path;
pub(crate) mod scratch;
pub(crate) mod shape;
pub mod source;
pub(crate) mod spool;
pub(crate) mod survey;
pub mod tar;
pub mod tree;
pub(crate) mod ufs;

/// The files in what was opened; `None` for what holds no files.
///
/// # Errors
/// It should hold files, but they cannot be read.
pub(crate) fn tree_of(contents: &Contents) -> Result<Option<Arc<dyn Tree>>> {
    let source = contents.source.clone();
    Ok(match contents.shape {
        Shape::Disk => {
            let disk = disk::Disk::open(source)?;
            let (_, partition) = disk.require_fat()?;
            Some(fat::FatTree::open(disk.partition(&partition))?)
        }
        Shape::Fat => Some(fat::FatTree::open(source)?),
        Shape::Ufs => Some(ufs::UfsTree::open(source)?),
        Shape::Tar => Some(tar::TarTree::open(source)?),
        Shape::Dataset => match &contents.dataset {
            Some(dataset) => Some(dataset.tree()?),
            None => None,
        },
        Shape::Stream => match &contents.stream {
            Some(stream) if stream.lacks_origin() => return Err(origin::none_named(&stream.snapshot)),
            _ => None,
        },
        Shape::Compressed(_) | Shape::Other => None,
    })
}

/// The root of the files in what was opened, or its bytes when it holds none.
///
/// # Errors
/// As of [`tree_of`].
pub(crate) fn subject_of(contents: &Contents) -> Result<Subject> {
    Ok(match tree_of(contents)? {
        Some(tree) => {
            let node = tree.root()?;
            Subject::Node { tree, node }
        }
        None => Subject::Bytes(contents.source.clone()),
    })
}
