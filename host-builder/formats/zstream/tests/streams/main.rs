//! The crate against streams of real ZFS, streams made by hand, and ZFS's own tools.

mod checked_volumes;
mod common;
mod deholing;
mod filesystems;
mod foreign;
mod records;
mod volumes;
mod writing;
