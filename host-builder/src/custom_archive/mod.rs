//! `custom.tgz`: the tree that becomes /opt/custom, as a tarball that is the same bytes for the same contents.
//!
//! Every field of every header is set here: entries sorted by path, numeric owners without names, and the platform's
//! stamp as every time. The compressor's version is part of what kiln promises, so that neither the number of processors
//! nor their kind shows. A small tree is one gzip member; a larger one is several, so that memory does not grow with it.

pub mod ca_bundle;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::digest::Hashing;
use crate::overlay::{Contents, Entry, Kind, Layer, Tree};
use crate::ownership::{Attributes, Ownership};
use crate::pieces;
use crate::report::Hint;
use crate::stamp::Stamp;

/// The one folder at the top of the tarball.
const TOP: &str = "custom";

/// Where the CA bundle goes in the tree.
const CA_BUNDLE: &str = "etc/ssl/ca-bundle.crt";

/// Largest sum of all files, in bytes. The guest keeps the tarball on its boot partition, whose files end below 4 GiB,
/// and what cannot be compressed becomes a little larger.
const TREE_LIMIT: u64 = 3 << 30;

/// Bytes of tar in one gzip member; the built-in tree has a tenth of it.
const MEMBER: usize = 4 << 20;

/// Most threads that compress. Each takes two members and some 10 MiB for the best level.
const THREADS: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");

/// Largest CA bundle that is read, in bytes; that of Mozilla has about 240,000.
const CA_BUNDLE_LIMIT: u64 = 8 * 1024 * 1024;

/// Largest owner number of a tar header, seven octal digits.
const OWNER_LIMIT: u32 = 0o7_777_777;

/// Level of libdeflate: the tree is small, and its best level costs a fraction of a second.
const LEVEL: u8 = 12;

/// A finished `custom.tgz`.
#[derive(Debug)]
pub struct CustomArchive {
    /// The tarball.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Paths of the members, as they stand in the tarball; what is not UTF-8 is escaped.
    pub members: Vec<String>,
}

/// Builds the tarball for the platform `stamp` from the built-in tree, the CA bundle (Mozilla's roots unless
/// `ca_bundle` names a PEM file) and the user's layers, later ones on top. It goes into `output`, an empty scratch file,
/// compressed by up to `jobs` threads.
///
/// # Errors
/// Layers that clash, files that cannot be read, a bundle without certificates, a tree that is too large, and an output
/// that cannot be written.
pub fn build(
    stamp: &Stamp,
    layers: Vec<Layer>,
    ca_bundle: Option<&Path>,
    jobs: NonZeroUsize,
    output: File,
) -> Result<CustomArchive> {
    let bundle = bundle_layer(ca_bundle)?;
    let tree = Tree::stack([pieces::custom(stamp), bundle].into_iter().chain(layers))?;
    let mtime = u64::from(stamp.unix_seconds().unsigned_abs());
    let options = kiln_pgzip::Options { level: LEVEL, threads: jobs.min(THREADS), member_size: MEMBER };
    let gzip = kiln_pgzip::Writer::new(Hashing::<_, Sha256>::new(output), options)?;
    let (gzip, members) = tarball(&tree, mtime, gzip)?;
    let (digested, totals) = gzip.finish().context("cannot write custom.tgz")?;
    Ok(CustomArchive {
        file: digested.inner,
        size: totals.bytes_out,
        sha256: digested.sum.finalize().into(),
        members,
    })
}

/// The CA bundle as a layer of its own, so that a clash names where it comes from.
fn bundle_layer(file: Option<&Path>) -> Result<Layer> {
    let (origin, text) = match file {
        None => ("Mozilla's roots".to_owned(), ca_bundle::mozilla().into_bytes()),
        Some(file) => (file.display().to_string(), read_bundle(file)?),
    };
    let mut layer = Layer::new(&origin, Ownership::default());
    layer.add(CA_BUNDLE.as_bytes(), Kind::File(Contents::Bytes(Cow::Owned(text))));
    Ok(layer)
}

fn read_bundle(file: &Path) -> Result<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let unreadable = || format!("CA bundle {} cannot be read", file.display());
    let mut text = Vec::new();
    fs::File::open(file)
        .and_then(|input| input.take(CA_BUNDLE_LIMIT + 1).read_to_end(&mut text))
        .with_context(unreadable)
        .hint("name a file of PEM certificates, or leave --ca-bundle out for Mozilla's")?;
    if text.len() as u64 > CA_BUNDLE_LIMIT {
        return Err(anyhow!("CA bundle {} is longer than {CA_BUNDLE_LIMIT} bytes", file.display()))
            .hint("name a file of PEM certificates alone");
    }
    if !text.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(anyhow!("CA bundle {} holds no certificate in PEM form", file.display()))
            .hint("convert it with: openssl x509 -inform DER -in FILE");
    }
    Ok(text)
}

fn tarball<W: Write>(tree: &Tree, mtime: u64, output: W) -> Result<(W, Vec<String>)> {
    let mut builder = Builder::new(output);
    let mut members = vec![format!("{TOP}/")];
    let top = tree.top().unwrap_or(Attributes { mode: 0o755, uid: 0, gid: 0 });
    append(&mut builder, format!("{TOP}/").as_bytes(), top, mtime, Body::Directory)?;
    let mut total = 0;
    for (path, Entry { kind, attributes, .. }) in tree.entries() {
        let mut name = [TOP.as_bytes(), b"/", path].concat();
        match kind {
            Kind::Directory { .. } => {
                name.push(b'/');
                append(&mut builder, &name, *attributes, mtime, Body::Directory)
            }
            Kind::Symlink(target) => append(&mut builder, &name, *attributes, mtime, Body::Symlink(target)),
            Kind::File(contents) => {
                total += contents.length();
                if total > TREE_LIMIT {
                    return Err(anyhow!("the files of the custom tree have more than {TREE_LIMIT} bytes"))
                        .hint("leave large files out of --custom and fetch them in the guest");
                }
                append(&mut builder, &name, *attributes, mtime, Body::File(contents))
            }
        }
        .with_context(|| format!("{} cannot be put into custom.tgz", path.escape_ascii()))?;
        members.push(name.escape_ascii().to_string());
    }
    Ok((builder.into_inner()?, members))
}

/// What stands behind a header.
#[derive(Clone, Copy)]
enum Body<'a> {
    Directory,
    Symlink(&'a [u8]),
    File(&'a Contents),
}

/// Appends one member; a name or target too long for the header goes into a pax record before it.
fn append(
    builder: &mut Builder<impl Write>,
    name: &[u8],
    attributes: Attributes,
    mtime: u64,
    body: Body<'_>,
) -> Result<()> {
    if attributes.uid.max(attributes.gid) > OWNER_LIMIT {
        return Err(anyhow!("owner {}:{} does not fit a tarball", attributes.uid, attributes.gid))
            .hint(format!("use numbers up to {OWNER_LIMIT}"));
    }
    let mut records: Vec<(&str, &[u8])> = Vec::new();
    let mut header = Header::new_ustar();
    let fields = header.as_ustar_mut().expect("made as ustar");
    if !fill(&mut fields.name, name) {
        records.push(("path", name));
    }
    if let Body::Symlink(target) = body
        && !fill(&mut fields.linkname, target)
    {
        records.push(("linkpath", target));
    }
    let (type_, size) = match body {
        Body::Directory => (EntryType::Directory, 0),
        Body::Symlink(_) => (EntryType::Symlink, 0),
        Body::File(contents) => (EntryType::Regular, contents.length()),
    };
    header.set_entry_type(type_);
    header.set_size(size);
    seal(&mut header, attributes, mtime);

    if !records.is_empty() {
        append_records(builder, &records, mtime)?;
    }
    match body {
        Body::File(contents) => builder.append(&header, contents.open()?)?,
        Body::Directory | Body::Symlink(_) => builder.append(&header, std::io::empty())?,
    }
    Ok(())
}

/// Sets the fields that all headers have, and the checksum, which must be last.
fn seal(header: &mut Header, attributes: Attributes, mtime: u64) {
    header.set_mode(u32::from(attributes.mode));
    header.set_uid(u64::from(attributes.uid));
    header.set_gid(u64::from(attributes.gid));
    header.set_mtime(mtime);
    header.set_cksum();
}

/// Puts `text` into a header field, as much as fits; false when that is not all.
fn fill(field: &mut [u8], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    length == text.len()
}

/// Writes a pax record member: `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn append_records(builder: &mut Builder<impl Write>, records: &[(&str, &[u8])], mtime: u64) -> Result<()> {
    let mut text = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + " =\n".len();
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        write!(text, "{length} {key}=")?;
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    let mut header = Header::new_ustar();
    fill(&mut header.as_ustar_mut().expect("made as ustar").name, b"././@PaxHeader");
    header.set_entry_type(EntryType::XHeader);
    header.set_size(text.len() as u64);
    seal(&mut header, Attributes { mode: 0o644, uid: 0, gid: 0 }, mtime);
    builder.append(&header, &text[..])?;
    Ok(())
}

#[cfg(test)]
mod tests;
