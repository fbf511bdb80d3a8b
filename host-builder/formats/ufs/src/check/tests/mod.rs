//! Each corruption of the format's list, made alone in a fixture that is sound otherwise, must be found as what it is.

mod geometry;
mod groups;
mod hostile;
mod image;
mod inodes;
mod sound;
mod superblock;
mod tree;
