//! `kiln ls`: what is in an image.

use std::ffi::OsString;
use std::io::{BufWriter, Write};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::civil::iso;
use crate::cli::Ending;
use crate::contents::dataset::Keep;
use crate::contents::open::How;
use crate::contents::origin::Origins;
use crate::contents::output;
use crate::contents::path::{self, Expression, Subject};
use crate::contents::source::Source;
use crate::contents::tree::{self, Node, Tree, show};
use crate::report::{Hint, Report};

/// Lists files inside images, archives and platforms
///
/// The image may be a .zvol or .zvol.gz, a .zfs.gz of a zone (the zone's own files are below /root),
/// a raw disk, a platform tarball, a bare boot archive or FAT volume; names do not matter. Each '!' in
/// a path steps into the file before it:
///
///     kiln ls -l retro.zvol.gz:/os
///     kiln ls -R 'retro.zvol.gz:/os/20141030T081701Z/platform/i86pc/amd64/boot_archive!/etc'
///     kiln ls 'retro.zvol.gz:/custom.tgz!'
///     kiln ls -l base-64.zfs.gz:/root/etc --origin minimal-64.zfs.gz
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Image, or a path in it as IMAGE:/path[!/inner]
    #[arg(value_name = "IMAGE[:/PATH]")]
    place: OsString,

    /// Show kind and mode, number of names, owner, size and time too (a '-' stands for what is not
    /// known; '@' behind the mode tells of extended attributes, which --json lists)
    #[arg(short, long)]
    long: bool,

    /// List folders with everything below them, as full paths
    #[arg(short = 'R', long)]
    recursive: bool,

    #[command(flatten)]
    origins: Origins,
}

/// Runs the command.
///
/// # Errors
/// The image cannot be read or has no such path.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let expression = Expression::parse(&arguments.place);
    // A link that is named is shown as the link that it is, as long listings elsewhere do; one with a slash behind it
    // is looked through.
    let ends_in_slash = expression.steps.last().is_some_and(|step| step.ends_with(b"/"));
    let how = How { digests: false, keep: Keep::Small, origins: &arguments.origins.files };
    let found = path::resolve(&expression, !arguments.long || ends_in_slash, how, &output::quiet())?;
    let Subject::Node { tree, node } = found.subject else {
        return Err(anyhow::anyhow!("{} holds no files", arguments.place.display()))
            .hint("`kiln inspect` says what it is");
    };
    let mut out = BufWriter::new(output::standard());
    let listing = Listing { long: arguments.long, json: report.is_json() };
    output::until_closed(|| {
        if !node.is_directory() {
            listing.line(&mut out, &*tree, &node, &node.path)?;
        } else if arguments.recursive {
            tree::walk(&*tree, &node, &mut |inner: &Node| {
                let shown: &[u8] = if inner.path.is_empty() { b"/" } else { &inner.path };
                listing.line(&mut out, &*tree, inner, shown)
            })?;
        } else {
            listing.children(&mut out, &*tree, &node)?;
        }
        Ok(out.flush()?)
    })?;
    Ok(Ending::Done)
}

struct Listing {
    long: bool,
    json: bool,
}

impl Listing {
    fn children(&self, out: &mut impl Write, tree: &dyn Tree, directory: &Node) -> Result<()> {
        for child in tree.children(directory)? {
            self.line(out, tree, &child, child.name())?;
        }
        Ok(())
    }

    fn line(&self, out: &mut impl Write, tree: &dyn Tree, node: &Node, name: &[u8]) -> Result<()> {
        if self.json {
            writeln!(out, "{}", as_json(node, &tree.extended(node)?))?;
        } else if self.long {
            let has_attributes = !tree.extended(node)?.is_empty();
            writeln!(out, "{}", long_line(node, name, has_attributes))?;
        } else {
            writeln!(out, "{}", show(name))?;
        }
        Ok(())
    }
}

fn long_line(node: &Node, name: &[u8], has_attributes: bool) -> String {
    let metadata = &node.metadata;
    let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let size = match metadata.device {
        Some((major, minor)) => format!("{major}, {minor}"),
        None => metadata.size.to_string(),
    };
    let target = match &metadata.target {
        Some(target) => format!(" -> {}", show(target)),
        None => String::new(),
    };
    format!(
        "{}{}{} {:>3} {:>5} {:>5} {size:>11} {:<20} {}{target}",
        metadata.kind.letter(),
        metadata.mode.map_or_else(|| "---------".to_owned(), permissions),
        if has_attributes { '@' } else { ' ' },
        number(metadata.links),
        number(metadata.uid),
        number(metadata.gid),
        metadata.mtime.map_or_else(|| "-".to_owned(), iso),
        show(name),
    )
}

/// Permission bits as `ls -l` shows them.
fn permissions(mode: u32) -> String {
    let mut shown = String::with_capacity(9);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        shown.push(if bits & 4 == 0 { '-' } else { 'r' });
        shown.push(if bits & 2 == 0 { '-' } else { 'w' });
        shown.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    shown
}

fn as_json(node: &Node, extended: &[(Vec<u8>, Source)]) -> Value {
    let extended: serde_json::Map<String, Value> =
        extended.iter().map(|(name, value)| (show(name), value.size().into())).collect();
    let metadata = &node.metadata;
    json!({
        "event": "entry",
        "path": node.shown(),
        "kind": metadata.kind.name(),
        "mode": metadata.mode.map(|mode| format!("{mode:04o}")),
        "uid": metadata.uid,
        "gid": metadata.gid,
        "size": metadata.size,
        "mtime": metadata.mtime.map(iso),
        "target": metadata.target.as_deref().map(show),
        "device": metadata.device.map(|(major, minor)| json!([major, minor])),
        "links": metadata.links,
        "extended": extended,
    })
}

#[cfg(test)]
mod tests {
    use super::permissions;

    #[test]
    fn permissions_are_shown_as_everywhere() {
        for (mode, shown) in [
            (0o755, "rwxr-xr-x"),
            (0o644, "rw-r--r--"),
            (0o4511, "r-s--x--x"),
            (0o2644, "rw-r-Sr--"),
            (0o1777, "rwxrwxrwt"),
            (0o1000, "--------T"),
        ] {
            assert_eq!(permissions(mode), shown);
        }
    }
}
