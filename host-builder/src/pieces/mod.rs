//! The files that kiln brings along: what goes over every platform's boot archive, and the tree that becomes
//! /opt/custom.
//!
//! They stand in the repository's folders `overlays` and `smf` as ordinary files and are part of the program, and so are the
//! guest's programs, which the build script compiles. Which platform gets which of them is said in one place, the
//! [table](self::table).

pub mod record;
mod table;

use std::borrow::Cow;
use std::path::Path;

use crate::overlay::{Contents, Kind, Layer};
use crate::ownership::Ownership;
use crate::stamp::Stamp;

/// What pieces write where a platform's stamp belongs.
const STAMP_MARK: &str = "@STAMP@";

/// Which tree a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// The platform's boot archive.
    BootArchive,
    /// The tree that becomes /opt/custom.
    Custom,
}

/// What a piece is.
#[derive(Clone, Copy, Debug)]
enum Matter {
    /// A file of text, in which the platform's stamp may be filled in.
    Text(&'static str),
    /// A program for the guest.
    Program(&'static [u8]),
    /// A symbolic link, and where it leads.
    Link(&'static str),
}

/// One file that kiln brings along.
#[derive(Debug)]
struct Piece {
    home: Home,
    /// Path in its tree.
    path: &'static str,
    matter: Matter,
    /// The first platform that gets it; the empty text when all early ones do.
    from: &'static str,
    /// The first platform that does not get it any more; the empty text when all late ones do.
    until: &'static str,
}

impl Piece {
    fn suits(&self, stamp: &Stamp) -> bool {
        // Stamps are all of one length and order like the times they stand for.
        stamp.as_str() >= self.from && (self.until.is_empty() || stamp.as_str() < self.until)
    }
}

/// What goes over the boot archive of the platform `stamp`.
pub fn boot_archive(stamp: &Stamp) -> Layer {
    layer(
        Home::BootArchive,
        stamp,
        "kiln's own overlay",
        include_bytes!("../../../overlays/boot_archive.mtree"),
    )
}

/// The tree that becomes /opt/custom on the platform `stamp`, but for the CA bundle.
pub fn custom(stamp: &Stamp) -> Layer {
    layer(Home::Custom, stamp, "kiln's own custom tree", include_bytes!("../../../overlays/custom.mtree"))
}

/// The record of an image, which goes over everything else in the boot archive.
pub fn record(record: &record::Record) -> Layer {
    let mut layer = Layer::new("kiln's record of the image", Ownership::default());
    layer.add(record::PATH.as_bytes(), Kind::File(Contents::Bytes(Cow::Owned(record.to_json()))));
    layer
}

fn layer(home: Home, stamp: &Stamp, origin: &str, manifest: &[u8]) -> Layer {
    let ownership =
        Ownership::parse(manifest, Path::new(origin)).expect("a test reads the built-in manifests");
    let mut layer = Layer::new(origin, ownership);
    for piece in table::PIECES.iter().filter(|piece| piece.home == home && piece.suits(stamp)) {
        let bytes = |bytes| Kind::File(Contents::Bytes(bytes));
        let kind = match piece.matter {
            Matter::Text(text) if text.contains(STAMP_MARK) => {
                bytes(Cow::Owned(text.replace(STAMP_MARK, stamp.as_str()).into_bytes()))
            }
            Matter::Text(text) => bytes(Cow::Borrowed(text.as_bytes())),
            Matter::Program(program) => bytes(Cow::Borrowed(program)),
            Matter::Link(target) => Kind::Symlink(target.as_bytes().to_vec()),
        };
        layer.add(piece.path.as_bytes(), kind);
    }
    layer
}

#[cfg(test)]
mod tests;
