//! What the first boot makes of the metadata and of the machine: `/usbkey/config`, rules of the packet filter, arguments of
//! commands, ntp.conf. None of it may be more than it should be, whatever the host says.
//!
//! The input is a byte of flags and, with NUL bytes between, the values of [`FIELDS`].
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guest_init::command::ifconfig::{self, Interface};
use guest_init::command::{Invocation, dladm, hostname, route};
use guest_init::phase::identity::config::decide::{Decision, Known, decide};
use guest_init::phase::identity::config::generate::{Facts, wanted};
use guest_init::phase::identity::config::{Config, format};
use guest_init::phase::identity::metadata::Metadata;
use guest_init::phase::identity::settings::{self, Settings};
use guest_init::phase::identity::{nics, ntp};
use guest_init::phase::setup::firewall::facts;
use guest_init::phase::setup::firewall::rules;
use guest_init::phase::setup::links::plan;
use guest_init::phase::setup::{routes, zone_network};
use guest_init::platform::Platform;
use guest_init::state::Link;
use guest_mdata::Monotonic;
use guest_mdata::source::Recorded;
use guest_mdata::values;
use kiln_simulator::network::{config, filter, nat};
use libfuzzer_sys::fuzz_target;

/// What is in the input: values of metadata keys, settings as lines, the file that there is and its second copy, and what
/// `dladm` and `ifconfig` say.
const FIELDS: [&str; 10] = [
    "sdc:nics",
    "sdc:resolvers",
    "sdc:routes",
    "sdc:hostname",
    "sdc:dns_domain",
    "settings",
    "config",
    "copy",
    "dladm",
    "ifconfig",
];

fuzz_target!(|input: &[u8]| {
    let Some((&flags, rest)) = input.split_first() else { return };
    let fields: BTreeMap<&str, &[u8]> = FIELDS.into_iter().zip(rest.split(|&byte| byte == 0)).collect();
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let text = |name: &str| String::from_utf8_lossy(field(name)).into_owned();
    let platforms = ["20130506", "20141030", "20180315", "20210107"];
    let stamp = platforms[usize::from(flags & 3)];
    let platform = Platform::of_kernel(&format!("joyent_{stamp}T000000Z")).expect("a platform");
    let is_said = flags & 4 != 0;
    let links = dladm::links(&text("dladm"));
    let known_links = (flags & 8 != 0).then_some(&links[..]);

    let mut metadata = metadata(&fields);
    let existing = Config::parse(field("config"));
    let (settings, _) = settings::with_config(&existing, &mut metadata);
    let nics = nics::load(&mut metadata);
    let names = [&settings.nat_if, &settings.etherstub];
    assert!(names.into_iter().all(|name| dladm::is_link_name(name)) && is_word(&settings.etherstub));

    let resolvers = settings::resolvers(&mut metadata);
    let domain = settings::domain(&mut metadata);
    let wanted = wanted(&Facts {
        nics: &nics.nics,
        links: known_links,
        last_resort: None,
        resolvers: &resolvers,
        domain: domain.as_deref(),
        hostname: settings.hostname.as_deref(),
        etherstub: &settings.etherstub,
    });
    let copy = Config::parse(field("copy"));
    let known = Known {
        platform: &platform,
        existing: (flags & 16 != 0).then_some(&existing),
        copy: (flags & 32 != 0).then_some(&copy),
        wanted: wanted.as_ref(),
        is_said,
        links: known_links,
    };
    check_config(&known);
    check_ntp(&text("copy"), &settings);

    let interfaces = ifconfig::interfaces(&text("ifconfig"));
    let occupied = settings::occupied(&mut metadata);
    let settings = zone_network::settle(settings, &interfaces, &occupied).settings;
    check_rules(&settings, &links, &interfaces);
    check_commands(&metadata_routes(field("sdc:routes")), &links);
    let admin = nics::admin(&nics.nics.iter()).map(|nic| nic.mac);
    let plan = plan::plan(&plan::Facts { nics: &nics.nics, admin, links: &links, interfaces: &interfaces });
    let commands: Vec<Invocation> = plan.changes.into_iter().map(|change| change.command).collect();
    assert!(commands.len() <= links.len() * 70);
    check_commands(&commands, &links);
    if let Some(name) = &settings.hostname {
        check_commands(&[hostname::set(name)], &links);
        assert!(!name.starts_with('-') && name.len() <= 63);
    }
});

/// A host that says what is in the fields.
fn metadata(fields: &BTreeMap<&str, &[u8]>) -> Metadata {
    let keys = fields.iter().filter(|(name, value)| name.contains(':') && !value.is_empty());
    let mut values: Vec<(String, Vec<u8>)> =
        keys.map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    let lines = fields.get("settings").copied().unwrap_or_default().split(|&byte| byte == b'\n');
    for line in lines.filter(|line| line.contains(&b'=')) {
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b'=').unwrap_or_default());
        values.push((format!("{}{}", settings::PREFIX, String::from_utf8_lossy(name)), value[1..].to_vec()));
    }
    Metadata::new(
        Box::new(Recorded::new(values)),
        Box::new(Monotonic::starting_now()),
        Duration::from_secs(1),
    )
}

/// Whatever is written is harmless to the platform's reader, and what the next boot would write as well.
fn check_config(known: &Known<'_>) {
    let (text, is_ours) = match decide(known) {
        Decision::Write { text, .. } => (text, true),
        Decision::PassOver { text, .. } => (text, false),
        Decision::Keep { .. } | Decision::Nothing => return,
    };
    assert!(text.len() as u64 <= format::LONGEST);
    let (read, evaluated) = config::Config::read(&[&text]);
    assert!(evaluated.iter().all(|line| is_hash(line)), "{evaluated:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('=').expect("an assignment");
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let is_harmless =
            value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:,/@+-".contains(&byte));
        assert!(is_harmless || is_hash(line), "{line}");
        // The assignment that counts is the same to both readers.
        let ours = Config::parse(text.as_bytes());
        assert!(is_hash(line) || ours.get(name).filter(|value| !value.is_empty()) == read.get(name));
    }
    let next = Config::parse(text.as_bytes());
    assert!(next.is_ours && !next.is_cut_short && next.problems.is_empty(), "{:?}", next.problems);
    if is_ours {
        let again = decide(&Known { existing: Some(&next), ..*known });
        assert_eq!(again, Decision::Keep { warnings: Vec::new() }, "{text}");
    }
}

/// The one line that has quotes, and between them nothing that means anything there.
fn is_hash(line: &str) -> bool {
    let value = line.strip_prefix("root_shadow='").and_then(|rest| rest.strip_suffix('\''));
    value.is_some_and(|value| {
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:,/@+-$=".contains(&byte))
    })
}

/// No line is there but the old ones, the servers' and the zones'.
fn check_ntp(original: &str, settings: &Settings) {
    let plain = |line| str::trim_end_matches(line, '\r');
    let old: BTreeSet<&str> = original.split('\n').map(plain).collect();
    let text = ntp::adapted(original, settings);
    for line in text.split('\n').map(plain).filter(|line| !line.is_empty() && !old.contains(line)) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["server", host, "iburst"] => {
                assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte)));
                assert!(!host.starts_with('-'));
            }
            ["restrict", address, "mask", ..] => {
                assert_eq!(address, settings.nat_subnet.network().to_string());
            }
            _ => panic!("a line of another kind: {line}"),
        }
    }
}

/// The rules are what they look like: the platform's parser, as the simulator has it, reads one for each line, each for one of
/// the cards, and the last for what comes in by a card blocks everything.
fn check_rules(settings: &Settings, links: &[Link], interfaces: &[Interface]) {
    let facts = facts::from(settings, links, interfaces);
    let cards: BTreeSet<&str> = facts.outside.iter().map(|card| &*card.link).collect();
    let inside = facts.zones.as_ref().map(|zones| &*zones.link);
    let addresses: usize = facts.outside.iter().map(|card| card.addresses.len()).sum();
    // A card outside has one for each address; the one inside for each address and each network of `ssh_allow`.
    let most = cards.len() * (addresses + facts.ssh_allow.len() + 20)
        + (addresses + 1) * (facts.ssh_allow.len().max(1) + 2)
        + 20;
    for (text, v6) in [(rules::ipv4(&facts), false), (rules::ipv6(&facts), true)] {
        let file = filter::parser::parse(&text, v6);
        assert_eq!(file.stopped, None, "{text}");
        assert_eq!(file.rules.len(), rules::count(&text), "{text}");
        assert!(file.rules.len() <= most, "{} rules, not {most}", file.rules.len());
        assert!(file.rules.iter().all(|rule| rule.warning.is_none() && rule.place.is_none()));
        let mut set = filter::Filter::default();
        for parsed in &file.rules {
            let rule = &parsed.rule;
            assert!(rule.quick && rule.v6 == v6, "{rule}");
            assert!(
                matches!(&rule.on[..], [link] if cards.contains(&**link) || Some(&**link) == inside),
                "{rule}"
            );
            assert!(set.add(false, rule.clone(), None), "the kernel refuses the second {rule}");
        }
        for card in &cards {
            let last = file.rules.iter().rfind(|parsed| !parsed.rule.out && parsed.rule.on == [*card]);
            let last = last.expect("a rule for each card").rule.to_string();
            assert_eq!(last, format!("block in log first quick on {card} all"));
        }
        // What zones may reach is what the rules with their card say, and they have no IPv6.
        if let Some(inside) = inside {
            let reach = file.rules.iter().filter(|parsed| parsed.rule.on == [inside]);
            assert!(!v6 || reach.clone().all(|parsed| parsed.rule.to_string().starts_with("block in quick")));
            assert!(reach.count() > 0);
        }
    }
    match (rules::nat(&facts), &facts.zones) {
        (None, None) => {}
        (Some(text), Some(zones)) => {
            let file = nat::parse(&text);
            assert_eq!(file.stopped, None, "{text}");
            assert_eq!(file.rules.len(), rules::count(&text), "{text}");
            for (rule, _) in &file.rules {
                assert!(cards.contains(&*rule.interface) && Some(&*rule.interface) != inside, "{text}");
                assert_eq!(rule.matches.0, zones.subnet.network());
            }
            assert!(
                zones.subnet.contains(&zones.gateway)
                    && zones.gateway == zone_network::own_address(settings).0
            );
        }
        (rules, zones) => panic!("{rules:?} for {zones:?}"),
    }
}

/// What adds the routes of the value.
fn metadata_routes(value: &[u8]) -> Vec<Invocation> {
    let Ok(read) = values::routes(value) else { return Vec::new() };
    let (good, _) = routes::acceptable(read.good);
    good.iter().map(route::add).collect()
}

/// Every argument is one word, and none is an option but the program's own.
fn check_commands(commands: &[Invocation], links: &[Link]) {
    const OPTIONS: [&str; 4] = ["-n", "-inet6", "-interface", "-ifp"];
    for command in commands {
        let arguments: Vec<&str> = command.arguments.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(arguments.len(), command.arguments.len());
        for word in &arguments {
            assert!(is_word(word) && (!word.starts_with('-') || OPTIONS.contains(word)), "{command}");
        }
        if command.program.ends_with("/ifconfig") {
            assert!(links.iter().any(|link| link.name == arguments[0]), "{command}");
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}
