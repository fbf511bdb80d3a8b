//! The stand-in for what cannot be had here: a kernel that takes what illumos' kernel takes. It goes into demo platforms
//! and nowhere else.

mod kernel;

pub use kernel::KERNEL;
