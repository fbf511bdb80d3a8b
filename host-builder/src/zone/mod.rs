//! Zone images: the file system of a zone as a tree, what is done to it before it is an image, and the image.
//!
//! A zone's dataset holds a folder `root`, which the zone sees as `/` (source: smartos-live, `src/vm`; images.md of imgadm calls
//! the type `zone-dataset`). All commands that make such images work on one [`kiln_zstream::fs::Tree`] in memory, whose contents
//! stay where they come from: [`area`] edits it by paths, [`accounts`] turns names of owners into the numbers of the image's own
//! tables, [`stream`] reads the tree of an image that is there, and [`image`] writes one.

pub mod accounts;
pub mod area;
pub mod image;
pub mod stream;
