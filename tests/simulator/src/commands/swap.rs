//! `swap`: usr/src/cmd/swap/swap.c, the same 2013 to 2022.

use super::options::Options;
use crate::storage::Kind;
use crate::{Reply, World};

/// `swap -l`, `swap -a PATH`, `swap -d PATH`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "la:d:") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    if !options.operands.is_empty() {
        return Reply::refuse("is played without offset and length");
    }
    if options.has('l') {
        return list(world);
    }
    if let Some(path) = options.value('a') {
        let Some(Kind::Volume { .. }) = volume(world, path) else {
            return Reply::fail(1, format!("{path}: No such file or directory"));
        };
        if world.runtime.storage.swap.iter().any(|swap| swap == path) {
            return Reply::fail(1, format!("\"{path}\": Overlapping swap files are not allowed"));
        }
        if world.runtime.storage.dump.as_deref() == Some(path) {
            return Reply::fail(1, format!("{path}: Device busy"));
        }
        world.runtime.storage.swap.push(path.to_owned());
        return Reply::ok();
    }
    let Some(path) = options.value('d') else { return Reply::refuse("is played with -l, -a and -d only") };
    let before = world.runtime.storage.swap.len();
    world.runtime.storage.swap.retain(|swap| swap != path);
    if world.runtime.storage.swap.len() == before {
        return Reply::fail(1, format!("{path}: Not a swap device"));
    }
    Reply::ok()
}

/// The kind of the volume that a path of /dev/zvol/dsk names.
pub fn volume(world: &World, path: &str) -> Option<Kind> {
    let (_, dataset) = world.dataset(path.strip_prefix("/dev/zvol/dsk/")?)?;
    (dataset.kind != Kind::Filesystem).then_some(dataset.kind)
}

fn list(world: &World) -> Reply {
    let swap = &world.runtime.storage.swap;
    if swap.is_empty() {
        return Reply::fail(1, "No swap devices configured");
    }
    let mut text = "swapfile             dev    swaplo   blocks     free\n".to_owned();
    for (at, path) in swap.iter().enumerate() {
        let Some(Kind::Volume { bytes }) = volume(world, path) else { continue };
        let blocks = bytes / 512 - 8;
        text += &format!("{path:<20} {:<6} {:>6} {blocks:>8} {blocks:>8}\n", format!("90,{}", at + 1), 8);
    }
    Reply::text(text)
}
