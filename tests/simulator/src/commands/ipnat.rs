//! `ipnat`: usr/src/cmd/ipf/tools/ipnat.c, the same from 2008 to 2022 in what is played here.
//!
//! All options are read first; then tables are flushed, the file is loaded, and rules are listed.

use std::fmt::Write;
use std::fs;

use crate::network::filter::Refusal;
use crate::network::nat::parse;
use crate::{Reply, World};

/// Runs `ipnat`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let (mut clear, mut flush, mut dry, mut list, mut verbose) = (false, false, false, false, false);
    let mut file = None;
    let mut words = argv.get(1..).unwrap_or_default().iter().copied();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            return Reply::refuse(format!("is not known with {word}"));
        };
        for (place, letter) in letters.char_indices() {
            match letter {
                'C' => clear = true,
                'F' => flush = true,
                'n' => dry = true,
                'l' => list = true,
                'v' => verbose = true,
                'f' => {
                    let rest = &letters[place + 1..];
                    file = if rest.is_empty() { words.next() } else { Some(rest) };
                    if file.is_none_or(|file| file == "-") {
                        return Reply::refuse("is not played with -f and no file");
                    }
                    break;
                }
                other => return Reply::refuse(format!("is not played with -{other}")),
            }
        }
    }
    let network = &mut world.runtime.network;
    if !dry && !network.filter.running {
        return Reply::fail(1, "ioctl(SIOCGNATS): I/O error");
    }
    let mut said = String::new();
    let mut warned = String::new();
    if flush {
        network.nat_flushes += u64::from(!dry);
        said += "0 entries flushed from NAT table\n";
    }
    if clear {
        // With -n the number is the one that would tell the kernel what to flush.
        let count = if dry { 1 } else { network.nat.len() };
        if !dry {
            network.nat.clear();
        }
        let _ = writeln!(said, "{count} entries flushed from NAT list");
    }
    let mut status = 0;
    let mut complaint = None;
    if let Some(file) = file {
        match fs::read(world.path(file)) {
            Err(_) => {
                let _ = writeln!(warned, "fopen({file}) failed: No such file or directory");
            }
            Ok(bytes) => {
                let read = parse(&String::from_utf8_lossy(&bytes));
                let nat = &mut world.runtime.network.nat;
                for (rule, line) in read.rules {
                    if verbose {
                        let _ = writeln!(said, "{rule}");
                    }
                    if dry {
                        continue;
                    }
                    if nat.contains(&rule) {
                        let _ = writeln!(warned, "{line}:ioctl(add/insert nat rule): File exists");
                    } else {
                        nat.push(rule);
                    }
                }
                match read.stopped {
                    None => {}
                    Some(Refusal::Error(text)) => {
                        let _ = writeln!(warned, "{text}");
                        status = 1;
                    }
                    Some(Refusal::Unknown(what)) => {
                        status = Reply::REFUSED;
                        complaint = Some(what);
                    }
                }
            }
        }
    }
    if list && status == 0 && !dry {
        said += "List of active MAP/Redirect filters:\n";
        for rule in &world.runtime.network.nat {
            let _ = writeln!(said, "{rule}");
        }
        said += "\nList of active sessions:\n";
    }
    Reply { status, stdout: said.into_bytes(), stderr: warned.into_bytes(), complaint }
}
