//! The files that kiln brings along: what goes over every platform's boot archive, and the tree that becomes
//! /opt/custom.
//!
//! They stand in the repository's `overlays` folder as ordinary files and are part of the program. Which platform gets
//! which of them is said in one place, the [table](self::table).

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

/// One file that kiln brings along.
#[derive(Debug)]
struct Piece {
    home: Home,
    /// Path in its tree.
    path: &'static str,
    contents: &'static str,
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

fn layer(home: Home, stamp: &Stamp, origin: &str, manifest: &[u8]) -> Layer {
    let ownership =
        Ownership::parse(manifest, Path::new(origin)).expect("a test reads the built-in manifests");
    let mut layer = Layer::new(origin, ownership);
    for piece in table::PIECES.iter().filter(|piece| piece.home == home && piece.suits(stamp)) {
        let contents = if piece.contents.contains(STAMP_MARK) {
            Cow::Owned(piece.contents.replace(STAMP_MARK, stamp.as_str()).into_bytes())
        } else {
            Cow::Borrowed(piece.contents.as_bytes())
        };
        layer.add(piece.path.as_bytes(), Kind::File(Contents::Bytes(contents)));
    }
    layer
}

#[cfg(test)]
mod tests;
