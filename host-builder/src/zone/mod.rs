//! Zone images: the file system of a zone as a tree, what is done to it before it is an image, and the image.
//!
//! A zone's dataset holds a folder `root`, which the zone sees as `/` (source: smartos-live, `src/vm`; imgadm calls the type of
//! such images `zone-dataset`). All commands that make such images work on one [`kiln_zstream::fs::Tree`] in memory, whose contents
//! stay where they come from:
//!
//! * a tree is read by [`folder`] from this machine, by [`archive`] from a tar, and by [`stream`] from an image that is there;
//! * [`area`] edits it by paths, [`accounts`] turns names of owners into the numbers of the image's own tables, [`owners`] goes by a list
//!   of them, [`dataset`] puts the zone's `/` where it belongs, and [`needs`] says what it lacks;
//! * [`image`] writes it, whole or on top of an [`origin`], and [`manifest`] describes it with the [`fields`] that were given.

pub mod accounts;
pub mod archive;
pub mod area;
mod buffer;
pub mod dataset;
pub mod fields;
pub mod folder;
mod guid;
pub mod image;
pub mod manifest;
pub mod needs;
pub mod origin;
pub mod owners;
pub mod stream;
mod sum;
