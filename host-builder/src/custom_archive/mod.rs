//! `custom.tgz`: the tree that becomes /opt/custom, as a tarball that is the same bytes for the same contents.
//!
//! Every field of every header is set here: entries sorted by path, numeric owners without names, and the platform's
//! stamp as every time. It is one gzip member, written by the encoder whose version is part of what kiln promises, so
//! that neither the number of processors nor their kind shows.

mod ca_bundle;

use std::borrow::Cow;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use libdeflater::{CompressionLvl, Compressor};
use sha1::{Digest, Sha1};
use tar::{Builder, EntryType, Header};

use crate::overlay::{Contents, Entry, Kind, Layer, Tree};
use crate::ownership::{Attributes, Ownership};
use crate::pieces;
use crate::report::Hint;
use crate::stamp::Stamp;

/// The one folder at the top of the tarball.
const TOP: &str = "custom";

/// Where the CA bundle goes in the tree.
const CA_BUNDLE: &str = "etc/ssl/ca-bundle.crt";

/// Largest sum of all files, in bytes. The tarball is made in memory, and the guest keeps it on its boot partition.
const TREE_LIMIT: u64 = 64 * 1024 * 1024;

/// Largest CA bundle that is read, in bytes; that of Mozilla has about 240,000.
const CA_BUNDLE_LIMIT: u64 = 8 * 1024 * 1024;

/// Largest owner number of a tar header, seven octal digits.
const OWNER_LIMIT: u32 = 0o7_777_777;

/// Level of libdeflate: the tree is small, and its best level costs a fraction of a second.
const LEVEL: i32 = 12;

/// A finished `custom.tgz`.
#[derive(Clone, Debug)]
pub struct CustomArchive {
    /// The tarball.
    pub bytes: Vec<u8>,
    /// SHA-1 of the tarball, 40 hexadecimal digits.
    pub sha1: String,
    /// Paths of the members, as they stand in the tarball; what is not UTF-8 is escaped.
    pub members: Vec<String>,
}

/// Builds the tarball for the platform `stamp` from the built-in tree, the CA bundle (Mozilla's roots unless
/// `ca_bundle` names a PEM file) and the user's layers, later ones on top.
///
/// # Errors
/// Layers that clash, files that cannot be read, a bundle without certificates, and a tree that is too large.
pub fn build(stamp: &Stamp, layers: Vec<Layer>, ca_bundle: Option<&Path>) -> Result<CustomArchive> {
    let bundle = bundle_layer(ca_bundle)?;
    let tree = Tree::stack([pieces::custom(stamp), bundle].into_iter().chain(layers))?;
    let mtime = u64::from(stamp.unix_seconds().unsigned_abs());
    let (tar, members) = tarball(&tree, mtime)?;
    let bytes = gzip(&tar);
    let sha1 = format!("{:x}", HexBytes(&Sha1::digest(&bytes)));
    Ok(CustomArchive { bytes, sha1, members })
}

/// Bytes that print as hexadecimal digits.
struct HexBytes<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexBytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
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

fn tarball(tree: &Tree, mtime: u64) -> Result<(Vec<u8>, Vec<String>)> {
    let mut builder = Builder::new(Vec::new());
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
    builder: &mut Builder<Vec<u8>>,
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
fn append_records(builder: &mut Builder<Vec<u8>>, records: &[(&str, &[u8])], mtime: u64) -> Result<()> {
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

fn gzip(data: &[u8]) -> Vec<u8> {
    let level = CompressionLvl::new(LEVEL).expect("libdeflate has levels 1 to 12");
    let mut compressor = Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(data.len())];
    let length = compressor.gzip_compress(data, &mut out).expect("the bound holds for every input");
    out.truncate(length);
    out
}

#[cfg(test)]
mod tests;
