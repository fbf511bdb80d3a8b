#![forbid(unsafe_code)]
//! ZFS send streams, written and read without ZFS.
//!
//! A send stream is a sequence of 312-byte records, some followed by a payload, closed by a fletcher-4 checksum over
//! everything before it. The crate has three layers, each usable alone:
//!
//! * the on-disk layouts ([`wire`]), the records they decode to ([`record`]) and the checksum ([`checksum`]);
//! * a reader and a writer of whole streams, record by record, in constant memory ([`reader`], [`writer`]);
//! * what the records mean: block volumes ([`volume`]), file systems ([`fs`]) and the name tables of both ([`zap`]).
//!
//! What is written is what a receiver of May 2013 (SmartOS 20130506) knows: no feature flag but that of spill blocks for file
//! systems of version 5, no newer record type, no checksum inside records. What is read includes all that later senders do, either byte order, and the compound
//! streams of `zfs send -R`.
//!
//! The facts of the format come from the illumos-gate sources of October 2013 (`uts/common/fs/zfs/dmu_send.c`,
//! `zvol.c`, `zap_micro.c`, `sys/zfs_ioctl.h`, `sys/zap_impl.h`) and OpenZFS 2026 (`dmu_send.c`, `dmu_recv.c`).

pub mod checksum;
mod compress;
pub mod dehole;
mod error;
mod finding;
pub mod fs;
pub mod reader;
pub mod record;
pub mod volume;
pub mod wire;
pub mod writer;
pub mod zap;
pub mod zero;

pub use error::{Error, ErrorKind, Result};
pub use finding::{Finding, Harm};
pub use reader::StreamReader;
pub use record::{Features, Record};
pub use writer::StreamWriter;
