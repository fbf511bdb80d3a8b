//! `kiln diff`: what is different between two images.

mod compare;
mod disks;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};

use self::compare::{Comparison, Difference, Side, What};
use crate::cli::Ending;
use crate::contents::open::How;
use crate::contents::origin::Origins;
use crate::contents::output;
use crate::contents::path::{self, Expression, Found, Subject};
use crate::contents::shape::Shape;
use crate::report::{self, Hint, Report};

/// Tells what is different between two images, archives, platforms, or files and folders in them.
///
/// Compares files, modes, owners, link targets, devices, numbers of names, extended attributes and contents, not times;
/// of disks also the partition table and the boot area. What only one of the formats knows is no difference. Files that
/// are archives themselves (boot archives, custom.tgz) are looked into. How an image is wrapped does not count: a
/// .zvol.gz equals the raw disk in it, and the .zfs.gz of a zone can be compared with a tar archive.
///
/// Exit status: 0 the same, 1 different, 2 wrong usage, 3 could not compare.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Image, or a path in it as IMAGE:/path[!/inner]
    #[arg(value_name = "A")]
    a: OsString,

    /// What to compare it with
    #[arg(value_name = "B")]
    b: OsString,

    #[command(flatten)]
    origins: Origins,
}

/// Runs the command. What goes wrong is reported here, because it has an exit status of its own.
pub fn run(arguments: &Arguments, report: &Report) -> Ending {
    match compare(arguments, report) {
        Ok(0) => Ending::Done,
        Ok(_) => Ending::Findings,
        Err(error) => {
            report::fail(report, &error.context("cannot compare"));
            Ending::NotComparable
        }
    }
}

/// Compares, prints, and returns the number of differences.
fn compare(arguments: &Arguments, report: &Report) -> Result<u64> {
    let quiet = output::quiet();
    let how = How { origins: &arguments.origins.files, ..How::default() };
    let found = |text: &OsStr| path::resolve(&Expression::parse(text), true, how, &quiet);
    let (a, b) = (found(&arguments.a)?, found(&arguments.b)?);
    let mut broken = None;
    let mut show = |difference: &Difference| {
        // The exit status still tells whether there are differences when nobody reads on.
        if broken.is_none() {
            broken = write_line(difference, report.is_json()).err();
        }
    };
    let mut comparison = Comparison::new(&quiet, [a.scratch.clone(), b.scratch.clone()], &mut show);
    compare_found(&mut comparison, &a, &b, arguments)?;
    let count = comparison.count();
    output::until_closed(|| broken.map_or(Ok(()), |error| Err(error.into())))?;
    if report.is_json() {
        output::object(&json!({ "event": "compared", "same": count == 0, "differences": count }))?;
    }
    Ok(count)
}

fn compare_found(comparison: &mut Comparison<'_>, a: &Found, b: &Found, arguments: &Arguments) -> Result<()> {
    let different_things = |what_a: &str, what_b: &str| {
        let (a, b) = (arguments.a.display(), arguments.b.display());
        Err(anyhow!("{a} is a {what_a}, {b} is a {what_b}"))
            .hint("compare things of the same kind, or parts of them, as IMAGE:/path")
    };
    if let (Some(whole_a), Some(whole_b)) = (&a.whole, &b.whole) {
        let comparable =
            whole_a.shape == whole_b.shape || whole_a.shape.is_files() && whole_b.shape.is_files();
        if !comparable {
            return different_things(whole_a.shape.name(), whole_b.shape.name());
        }
        if whole_a.shape == Shape::Disk {
            disks::compare(comparison, &whole_a.source, &whole_b.source)?;
        }
    }
    match (&a.subject, &b.subject) {
        (Subject::Bytes(a), Subject::Bytes(b)) => comparison.bytes("", a, b),
        (Subject::Node { tree: tree_a, node: a }, Subject::Node { tree: tree_b, node: b }) => {
            let (kind_a, kind_b) = (a.metadata.kind, b.metadata.kind);
            if kind_a != kind_b {
                return different_things(kind_a.name(), kind_b.name());
            }
            let side_a = Side { tree: Arc::clone(tree_a), node: a.clone() };
            let side_b = Side { tree: Arc::clone(tree_b), node: b.clone() };
            comparison.nodes("", side_a, side_b)
        }
        (Subject::Bytes(_), Subject::Node { node, .. }) => {
            different_things("plain file", node.metadata.kind.name())
        }
        (Subject::Node { node, .. }, Subject::Bytes(_)) => {
            different_things(node.metadata.kind.name(), "plain file")
        }
    }
}

fn write_line(difference: &Difference, machine: bool) -> std::io::Result<()> {
    let mut out = output::standard();
    let Difference { place, what } = difference;
    let place = if place.is_empty() { "/" } else { place };
    match what {
        _ if machine => {
            writeln!(out, "{}", as_json(place, what))
        }
        What::OnlyInA(kind) => writeln!(out, "- {place}  ({}, only in A)", kind.name()),
        What::OnlyInB(kind) => writeln!(out, "+ {place}  ({}, only in B)", kind.name()),
        What::Property { name, a, b } => writeln!(out, "! {place}  {name}: {a} -> {b}"),
        What::Content(detail) => writeln!(out, "! {place}  {detail}"),
    }
}

fn as_json(place: &str, what: &What) -> Value {
    let (word, a, b, detail) = match what {
        What::OnlyInA(kind) => ("only-in-a", Some(kind.name()), None, None),
        What::OnlyInB(kind) => ("only-in-b", None, Some(kind.name()), None),
        What::Property { name, a, b } => (*name, Some(a.as_str()), Some(b.as_str()), None),
        What::Content(detail) => ("content", None, None, Some(detail)),
    };
    json!({ "event": "difference", "path": place, "what": word, "a": a, "b": b, "detail": detail })
}
