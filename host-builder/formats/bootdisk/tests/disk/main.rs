//! Whole disks: written, read back, checked, damaged, and shown to the tools of others.

mod foreign;
mod grub;
mod hostile;
mod property;
mod support;
mod template;
mod writer;
