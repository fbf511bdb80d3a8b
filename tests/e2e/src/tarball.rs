//! Platform tarballs taken apart and put together again with something changed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha1::{Digest, Sha1};
use tar::{EntryType, Header};

/// One member of a tarball, with every header field that matters to a test.
#[derive(Clone, Debug)]
pub struct Member {
    /// Path as written in the archive.
    pub path: String,
    /// Type.
    pub kind: EntryType,
    /// Contents, or a link's target.
    pub content: Vec<u8>,
    /// The size that the header claims, when it is not that of the contents.
    pub claimed: Option<u64>,
}

impl Member {
    /// A regular file.
    pub fn file(path: &str, content: &[u8]) -> Member {
        Member { path: path.into(), kind: EntryType::Regular, content: content.into(), claimed: None }
    }

    /// A member of another type; `target` is that of a link.
    pub fn other(path: &str, kind: EntryType, target: &str) -> Member {
        Member { path: path.into(), kind, content: target.into(), claimed: None }
    }
}

/// Reads all members of a small `.tgz`.
///
/// # Panics
/// The file is not what it should be.
pub fn read(path: &Path) -> Vec<Member> {
    let file = File::open(path).expect("the tarball exists");
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("the tarball is whole");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("the tarball is whole");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("paths are UTF-8");
        Member { path, kind: entry.header().entry_type(), content, claimed: None }
    };
    archive.entries().expect("the tarball is whole").map(read).collect()
}

/// Writes members as a `.tgz`.
///
/// # Panics
/// The file cannot be written.
pub fn write(path: &Path, members: &[Member]) {
    let mut gzip = GzEncoder::new(File::create(path).expect("the folder is writable"), Compression::fast());
    for member in members {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..member.path.len()].copy_from_slice(member.path.as_bytes());
        header.set_entry_type(member.kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let link = matches!(member.kind, EntryType::Symlink | EntryType::Link);
        if link {
            header.set_link_name_literal(&member.content).expect("the target is short");
        }
        let content: &[u8] = if link { &[] } else { &member.content };
        header.set_size(member.claimed.unwrap_or(content.len() as u64));
        header.set_cksum();
        gzip.write_all(header.as_bytes()).expect("the disk has room");
        gzip.write_all(content).expect("the disk has room");
        gzip.write_all(&vec![0; content.len().wrapping_neg() % 512]).expect("the disk has room");
    }
    gzip.write_all(&[0; 1024]).expect("the disk has room");
    gzip.finish().expect("the disk has room");
}

/// The boot archive's member of a platform, and the text that its hash file must hold.
///
/// # Panics
/// There is none.
pub fn boot_archive(members: &mut [Member]) -> &mut Member {
    members
        .iter_mut()
        .find(|member| member.path.ends_with("/boot_archive"))
        .expect("a platform has a boot archive")
}

/// Makes `boot_archive.hash` agree with the boot archive again.
///
/// # Panics
/// There is no boot archive or no hash.
pub fn rehash(members: &mut [Member]) {
    let sum = Sha1::digest(&boot_archive(members).content);
    let text: String = sum.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect();
    let hash = members.iter_mut().find(|member| member.path.ends_with("/boot_archive.hash"));
    hash.expect("the platform has a hash").content = text.into_bytes();
}
