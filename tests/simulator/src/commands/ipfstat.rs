//! `ipfstat`: usr/src/cmd/ipf/tools/ipfstat.c, the same from 2008 to 2022 in what is played here: lists of rules.

use crate::{Reply, World};

/// Runs `ipfstat` with `-i`, `-o`, `-n`, `-6`, `-I`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let (mut input, mut output, mut numbers, mut v6, mut inactive) = (false, false, false, false, false);
    for word in argv.get(1..).unwrap_or_default() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            return Reply::refuse(format!("is not known with {word}"));
        };
        for letter in letters.chars() {
            match letter {
                'i' => input = true,
                'o' => output = true,
                'n' => numbers = true,
                '6' => v6 = true,
                'I' => inactive = true,
                other => return Reply::refuse(format!("is not played with -{other}")),
            }
        }
    }
    if !input && !output {
        return Reply::refuse("is played with -i or -o alone");
    }
    let set = world.runtime.network.filter.set(inactive);
    let mut reply = Reply::ok();
    // The rules for leaving packets come first.
    for (wanted, out) in [(output, true), (input, false)] {
        if !wanted {
            continue;
        }
        let rules = set.rules(v6, out);
        if rules.is_empty() {
            let which = if inactive { "inactive " } else { "" };
            let direction = if out { "out" } else { "in" };
            reply = reply.with_stderr(format!("empty list for {which}ipfilter({direction})"));
        }
        for (place, rule) in rules.iter().enumerate() {
            let number = if numbers { format!("@{} ", place + 1) } else { String::new() };
            reply.stdout.extend_from_slice(format!("{number}{rule}\n").as_bytes());
        }
    }
    reply
}
