//! The full consistency check of a file system.
