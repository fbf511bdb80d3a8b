//! `ipf`: usr/src/cmd/ipf/tools/ipf.c, the same from 2008 to 2022 in what is played here (zones' filters, since 2013-12, are
//! not).
//!
//! Options do their work one after the other, so their order counts: `-n -f FILE` only reads the file, `-f FILE -n` loads it.
//! A file that cannot be opened, and a rule that the kernel refuses, are told on standard error and do not change the status.

use std::fs;

use crate::network::filter::Refusal;
use crate::network::filter::parser::parse;
use crate::{Reply, World};

/// What the kernel says while the filter does not run: usr/src/uts/common/inet/ipf/ip_fil_solaris.c, `iplioctl`.
const NOT_RUNNING: &str = "I/O error";

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Options {
    inactive: bool,
    dry: bool,
    verbose: bool,
    v6: bool,
}

/// Runs `ipf`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let mut options = Options { inactive: false, dry: false, verbose: false, v6: false };
    let mut reply = Reply::ok();
    let mut words = argv.get(1..).unwrap_or_default().iter().copied();
    let mut any = false;
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            return Reply::refuse(format!("is not known with {word}"));
        };
        for (place, letter) in letters.char_indices() {
            any = true;
            if matches!(letter, 'f' | 'F') {
                let rest = &letters[place + 1..];
                let value = if rest.is_empty() { words.next() } else { Some(rest) };
                let Some(value) = value else {
                    return Reply::refuse(format!("is not known with -{letter} alone"));
                };
                let ended = if letter == 'f' {
                    load(world, &options, value, &mut reply)
                } else {
                    flush(world, &options, value)
                };
                if let Err(ended) = ended {
                    return end(reply, ended);
                }
                break;
            }
            if let Err(ended) = simple(world, &mut options, letter, &mut reply) {
                return end(reply, ended);
            }
        }
    }
    if !any {
        return Reply::refuse("is not known without an option");
    }
    reply
}

/// What was said before the end, and the end.
fn end(mut reply: Reply, ended: Reply) -> Reply {
    reply.status = ended.status;
    reply.stdout.extend(ended.stdout);
    reply.stderr.extend(ended.stderr);
    reply.complaint = ended.complaint;
    reply
}

fn say(reply: &mut Reply, text: &str) {
    reply.stdout.extend_from_slice(text.as_bytes());
    reply.stdout.push(b'\n');
}

fn warn(reply: &mut Reply, text: &str) {
    reply.stderr.extend_from_slice(text.as_bytes());
    reply.stderr.push(b'\n');
}

fn simple(world: &mut World, options: &mut Options, letter: char, reply: &mut Reply) -> Result<(), Reply> {
    let filter = &mut world.runtime.network.filter;
    match letter {
        '6' => options.v6 = true,
        'A' => options.inactive = false,
        'I' => options.inactive = !options.inactive,
        'n' => options.dry = !options.dry,
        'v' => options.verbose = true,
        // Enabling an enabled filter succeeds without a word.
        'E' if !options.dry => filter.running = true,
        // A disabled filter has forgotten rules, states and translations.
        'D' if !options.dry => {
            let flushes = filter.state_flushes + 1;
            *filter = crate::network::filter::Filter { state_flushes: flushes, ..Default::default() };
            world.runtime.network.nat.clear();
            world.runtime.network.nat_flushes += 1;
        }
        'E' | 'D' => {}
        's' if options.dry => say(reply, "Set 2 now inactive"),
        's' if !filter.running => warn(reply, &format!("ioctl(SIOCSWAPA): {NOT_RUNNING}")),
        's' => {
            say(reply, &format!("Set {} now inactive", filter.active));
            filter.active = 1 - filter.active;
        }
        'y' if !options.dry && !filter.running => warn(reply, &format!("SIOCFRSYN: {NOT_RUNNING}")),
        'y' => say(reply, "filter sync'd"),
        'V' => {
            // The number of bytes of a rule differs from platform to platform; nobody should look at it.
            let running = if filter.running { "yes" } else { "no" };
            say(
                reply,
                &format!(
                    "ipf: IP Filter: v4.1.9 (592)\nKernel: IP Filter: v4.1.9\nRunning: {running}\nLog Flags: 0 = none \
                     set\nDefault: pass all, Logging: available\nActive list: {}\nFeature mask: 0x107",
                    filter.active
                ),
            );
        }
        other => return Err(Reply::refuse(format!("is not played with -{other}"))),
    }
    Ok(())
}

fn flush(world: &mut World, options: &Options, what: &str) -> Result<(), Reply> {
    let filter = &mut world.runtime.network.filter;
    if options.dry || options.verbose {
        return Err(Reply::refuse("is not played with -F after -n or -v"));
    }
    if what.chars().any(|letter| !"aAiIoOsS".contains(letter)) || what.is_empty() {
        return Err(Reply::refuse(format!("is not played with -F {what}")));
    }
    if !filter.running {
        let name = if options.v6 { "SIOCIPFL6" } else { "SIOCIPFFL" };
        return Err(Reply::fail(1, format!("ioctl({name}): {NOT_RUNNING}")));
    }
    if matches!(what, "s" | "S") {
        // s only those that are closing; of which nothing that tests look at depends.
        filter.state_flushes += u64::from(what == "S");
        return Ok(());
    }
    let all = what.contains(['a', 'A']);
    // The letters i and o do not add up: the later in the source wins.
    let output = all || what.contains(['o', 'O']);
    let input = all || !output;
    for (wanted, out) in [(input, false), (output, true)] {
        if wanted {
            filter.flush(options.inactive, options.v6, out);
        }
    }
    Ok(())
}

fn load(world: &mut World, options: &Options, file: &str, reply: &mut Reply) -> Result<(), Reply> {
    if file == "-" {
        return Err(Reply::refuse("is not played with -f -"));
    }
    let Ok(bytes) = fs::read(world.path(file)) else {
        warn(reply, &format!("fopen({file}) failed: No such file or directory"));
        return Ok(());
    };
    let read = parse(&String::from_utf8_lossy(&bytes), options.v6);
    let filter = &mut world.runtime.network.filter;
    for parsed in read.rules {
        if let Some(warning) = &parsed.warning {
            warn(reply, warning);
        }
        if options.verbose {
            say(reply, &parsed.rule.to_string());
        }
        if options.dry {
            continue;
        }
        let why = if !filter.running {
            NOT_RUNNING
        } else if filter.add(options.inactive, parsed.rule, parsed.place) {
            continue;
        } else {
            "File exists"
        };
        warn(reply, &format!("{}:ioctl(add/insert rule): {why}", parsed.line));
    }
    match read.stopped {
        None => Ok(()),
        Some(Refusal::Error(text)) => Err(Reply::fail(1, text)),
        Some(Refusal::Unknown(what)) => Err(Reply::refuse(what)),
    }
}
