//! Why an archive is refused.

use std::io;

/// Why an archive was refused, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}", place(.member.as_deref(), *.number, *.offset))]
pub struct TarError {
    /// The member's path as written in the archive, if it was readable; what is not UTF-8 is replaced.
    pub member: Option<String>,
    /// The header's number, counted from 1, extension records included.
    pub number: u64,
    /// Where the header stands in the uncompressed archive, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    #[source]
    pub problem: TarProblem,
}

fn place(member: Option<&str>, number: u64, offset: u64) -> String {
    match member {
        Some(path) => format!("tar member {number} at byte {offset} ({})", path.escape_debug()),
        None => format!("tar member {number} at byte {offset}"),
    }
}

/// What can be wrong with a member.
#[derive(Debug, thiserror::Error)]
pub enum TarProblem {
    /// The archive cannot be read here: damaged header, early end, or an error of the input.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// The archive ends inside a member.
    #[error("the archive ends inside a member")]
    CutOff,
    /// The block where a header should be is none: its checksum is wrong.
    #[error("no tar header here: the checksum is wrong")]
    NoHeader,
    /// An extension record says something that is no number where one belongs.
    #[error("an extension record gives '{}' as {what}", .value.escape_debug())]
    BadNumber {
        /// What the number stands for.
        what: &'static str,
        /// The text.
        value: String,
    },
    /// The map of a sparse member contradicts itself.
    #[error("the map of a sparse file is damaged")]
    BadSparseMap,
    /// A sparse member in more pieces than are looked at.
    #[error("a sparse file in more than {0} pieces: pack it without holes")]
    TooManyPieces(usize),
    /// A sparse member in a form that is not known.
    #[error("a sparse file of a form that kiln does not unpack")]
    UnknownSparse,
    /// A link without a target.
    #[error("a link without a target")]
    NoTarget,
    /// The path starts at the root.
    #[error("the path is absolute")]
    Absolute,
    /// The path contains `..`.
    #[error("the path climbs out of the archive")]
    ClimbsOut,
    /// The path is empty, too long, not UTF-8 or holds a NUL or control character.
    #[error("the name is not usable")]
    BadName,
    /// A link's target is absolute or climbs out.
    #[error("the link leads out of the archive, to {}", .0.escape_debug())]
    LinkLeadsOut(String),
    /// A device, FIFO or something else that does not belong here.
    #[error("a member of type '{}' does not belong here", .0.escape_default())]
    UnexpectedType(char),
    /// Larger than the limit.
    #[error("claims {claimed} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// Bytes that the header claims.
        claimed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// All members together are larger than the limit.
    #[error("the archive claims more than {0} bytes in all")]
    TotalTooLarge(u64),
    /// More members than the limit.
    #[error("the archive has more than {0} members")]
    TooManyMembers(u64),
    /// Two members with names that a file system without case could not tell apart.
    #[error("the name is already taken by {}", .0.escape_debug())]
    Duplicate(String),
    /// The visitor failed.
    #[error("cannot be unpacked")]
    Visitor(#[source] anyhow::Error),
}

impl TarProblem {
    /// What an error means that contents could not be read with.
    pub fn of(error: io::Error) -> TarProblem {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => TarProblem::CutOff,
            _ => TarProblem::Unreadable(error),
        }
    }
}
