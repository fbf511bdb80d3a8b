//! The files of the image: where each one's bytes come from, and what they are.

use std::collections::BTreeMap;
use std::io;

use kiln_bootdisk::extent::{Content, DiskLayout, FileId};
use kiln_bootdisk::fat32::{Entry, EntryKind};
use positioned_io::ReadAt;
use sha2::{Digest, Sha256};

use crate::contents::source::Source;

/// Everything that goes into the FAT file system, with the digests from which identifiers are derived.
#[derive(Debug, Default)]
pub struct Sources {
    entries: Vec<Entry>,
    /// What is read while the image is written, by number.
    opened: Vec<Source>,
    /// Digest of each file by path, kept sorted so that no order of adding shows.
    digests: BTreeMap<String, Vec<u8>>,
    /// Which of `opened` a path is, for files that are not held in memory.
    ids: BTreeMap<String, FileId>,
    /// Sources that came without a digest.
    foreign: Vec<FileId>,
}

impl Sources {
    /// Adds a file whose bytes are those of `source`; `digest` is any digest of them.
    pub fn add_source(&mut self, path: &str, source: Source, digest: &[u8], modified: i64) {
        let id = FileId(self.opened.len() as u32);
        self.entries.push(Entry::file(path, source.size(), modified, id));
        self.opened.push(source);
        self.digests.insert(path.to_owned(), digest.to_vec());
        self.ids.insert(path.to_owned(), id);
    }

    /// Adds a file that is held in memory.
    pub fn add_bytes(&mut self, path: &str, bytes: Vec<u8>, modified: i64) {
        self.add_entry(Entry::bytes(path, bytes, modified));
    }

    /// Adds an entry whose contents, if it has any, are held in memory.
    pub fn add_entry(&mut self, entry: Entry) {
        let mut sum = Sha256::new();
        if let EntryKind::File { content, .. } = &entry.kind {
            for (_, piece) in content {
                if let Content::Bytes(bytes) = piece {
                    sum.update(bytes);
                }
            }
        }
        self.digests.insert(entry.path.clone(), sum.finalize().to_vec());
        self.entries.push(entry);
    }

    /// Adds a source that is in no entry of ours: the layout that refers to it comes from elsewhere (a template).
    pub fn add_foreign(&mut self, source: Source) -> FileId {
        let id = FileId(self.opened.len() as u32);
        self.opened.push(source);
        self.foreign.push(id);
        id
    }

    /// What the FAT writer takes.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The identifier of a file that is not held in memory.
    pub fn file_id(&self, path: &str) -> Option<FileId> {
        self.ids.get(path).copied()
    }

    /// The bytes behind an identifier.
    pub fn open(&self, id: FileId) -> Option<&Source> {
        self.opened.get(id.0 as usize)
    }

    /// A number that depends on every file in the image and on `purpose`, and on nothing else.
    pub fn derive(&self, purpose: &str) -> u64 {
        let mut sum = Sha256::new();
        sum.update(purpose);
        for (path, digest) in &self.digests {
            sum.update([0]);
            sum.update(path);
            sum.update([0, digest.len() as u8]);
            sum.update(digest);
        }
        number(sum)
    }

    /// Like [`Sources::derive`], over everything that the planned disk holds beside the files too.
    ///
    /// # Errors
    /// A source of the template cannot be read.
    pub fn derive_from_disk(&self, layout: &DiskLayout, purpose: &str) -> io::Result<u64> {
        let mut sum = Sha256::new();
        sum.update(purpose);
        sum.update(self.derive(purpose).to_le_bytes());
        sum.update(layout.size().to_le_bytes());
        for extent in layout.extents() {
            sum.update(extent.offset.to_le_bytes());
            sum.update(extent.length.to_le_bytes());
            match &extent.content {
                Content::Bytes(bytes) => sum.update(bytes),
                Content::File { file, offset } if self.foreign.contains(file) => {
                    self.digest_part(*file, *offset, extent.length, &mut sum)?;
                }
                // The digests of our own files are in the sum already.
                Content::File { .. } => {}
            }
        }
        Ok(number(sum))
    }

    fn digest_part(&self, file: FileId, offset: u64, length: u64, sum: &mut Sha256) -> io::Result<()> {
        let source = self.open(file).ok_or(io::ErrorKind::NotFound)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut done = 0;
        while done < length {
            let part = buffer.len().min(usize::try_from(length - done).unwrap_or(buffer.len()));
            source.read_exact_at(offset + done, &mut buffer[..part])?;
            sum.update(&buffer[..part]);
            done += part as u64;
        }
        Ok(())
    }
}

/// The first 8 bytes of a sum.
fn number(sum: Sha256) -> u64 {
    let sum = sum.finalize();
    u64::from_le_bytes(sum[..8].try_into().expect("a SHA-256 has more than 8 bytes"))
}
