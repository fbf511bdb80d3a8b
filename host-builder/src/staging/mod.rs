//! Results appear under their names whole or not at all.
//!
//! Everything that a command writes goes to files without a name first (`O_TMPFILE`), on the file system where the
//! result will be: when kiln ends, in whatever way, the kernel drops them. Where that cannot be done, because the file
//! system knows no nameless files or because `/proc` is not there to name them through, a file called `.kiln-…` stands
//! in, which errors and interruptions remove.
//!
//! A result that is itself a folder full of files has no nameless form: it is made in a folder called `.kiln-…` beside its
//! place and renamed when it is whole.
//!
//! # Publishing
//!
//! Results that belong together, an image and its manifest, get their names in [`publish`], and the order makes every
//! moment of it harmless. The last file of a set speaks for the others: a manifest without its image, or beside another
//! image, would be a lie, while an image without a manifest is merely one that nobody has described yet, and is what
//! `kiln verify` says of it.
//!
//! 1. The contents are written to the disk (fsync).
//! 2. The folder is locked (flock), so that two builds of the same names take turns.
//! 3. With `--force`, an old manifest is set aside as `.kiln-PID-N.old`.
//! 4. The image gets its name. An old one swaps names with it in one instant and is then `.kiln-PID-N.new`.
//! 5. The manifest gets its name.
//! 6. What was set aside is removed.
//!
//! The folder is written to the disk after each of 3, 4 and 5, so that a power cut cannot mix up their order either.
//! That and step 1 are the price: the time that the disk takes to write down the image, and at most three times that of
//! an empty synchronous write. A step that fails takes back those before it.
//!
//! Interruptions (SIGINT, SIGTERM, SIGHUP) wait while steps 3 to 6 run, and what is there then is whole: the old files
//! or the new ones. SIGKILL cannot wait. Before step 3 it leaves nothing but the folders that kiln made, and files
//! called `.kiln-…` where nameless files are impossible. Between 3 and 6 it leaves an image, old or new, that has no
//! manifest, or both new files; and what was set aside, which is whole as well. No moment leaves a manifest beside an
//! image that it does not describe. The user's side of this is in `docs/retro.md`.

mod file;
mod folder;
mod image;
pub mod interrupt;
mod publish;
mod tree;

pub use file::{StagedFile, refuse_existing};
pub use folder::OutputFolder;
pub use image::{NO_ROOM, publish_image};
pub use tree::StagedTree;
