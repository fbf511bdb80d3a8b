//! `ipnat`: usr/src/cmd/ipf/tools/ipnat.c, the same from 2008 to 2022 in what is played here.
//!
//! All options are read first; then tables are flushed, the file is loaded, and rules are listed.

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
        said += &format!("{count} entries flushed from NAT list\n");
    }
    let mut status = 0;
    let mut complaint = None;
    if let Some(file) = file {
        match fs::read(world.path(file)) {
            Err(_) => warned += &format!("fopen({file}) failed: No such file or directory\n"),
            Ok(bytes) => {
                let read = parse(&String::from_utf8_lossy(&bytes));
                let nat = &mut world.runtime.network.nat;
                for (rule, line) in read.rules {
                    if verbose {
                        said += &format!("{rule}\n");
                    }
                    if dry {
                        continue;
                    }
                    if nat.contains(&rule) {
                        warned += &format!("{line}:ioctl(add/insert nat rule): File exists\n");
                    } else {
                        nat.push(rule);
                    }
                }
                match read.stopped {
                    None => {}
                    Some(Refusal::Error(text)) => {
                        warned += &format!("{text}\n");
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
            said += &format!("{rule}\n");
        }
        said += "\nList of active sessions:\n";
    }
    Reply { status, stdout: said.into_bytes(), stderr: warned.into_bytes(), complaint }
}
