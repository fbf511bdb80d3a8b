//! The stand-in for what cannot be had here: a kernel that takes what illumos' kernel takes, and files such as a platform has.
//! They go into demo platforms and nowhere else.

mod files;
mod kernel;

pub use files::{FILES, FOLDERS, OWNED, REPOSITORIES, repository, usr};
pub use kernel::KERNEL;
