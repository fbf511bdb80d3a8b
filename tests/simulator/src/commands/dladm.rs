//! `dladm`: usr/src/cmd/dladm/dladm.c and usr/src/lib/libdladm, the same 2013 to 2022 in what is played here.
//!
//! Tables for people (`show-*` without `-p`) are not played.

use crate::network::inet;
use crate::network::link::{Class, LONGEST_NAME, Link, made_up_mac, valid_name};
use crate::{Reply, World};

/// `die` of dladm.c: a message and status 1.
fn die(text: impl std::fmt::Display) -> Reply {
    Reply::fail(1, format!("dladm: {text}"))
}

/// Options and operands as getopt finds them, or the reply when an option is not played.
struct Arguments<'a> {
    flags: Vec<char>,
    values: Vec<(char, &'a str)>,
    operands: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    /// `flags` are the options without, `valued` those with a value.
    fn read(words: &[&'a str], flags: &str, valued: &str) -> Result<Self, Reply> {
        let mut found = Self { flags: Vec::new(), values: Vec::new(), operands: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(options) = word.strip_prefix('-').filter(|options| !options.is_empty()) else {
                found.operands.push(word);
                found.operands.extend(words.by_ref().copied());
                break;
            };
            for (place, option) in options.char_indices() {
                if flags.contains(option) {
                    found.flags.push(option);
                } else if valued.contains(option) {
                    let rest = &options[place + option.len_utf8()..];
                    let value = if rest.is_empty() { words.next().copied() } else { Some(rest) };
                    let Some(value) = value else {
                        return Err(Reply::refuse(format!("is not known without a value of -{option}")));
                    };
                    found.values.push((option, value));
                    break;
                } else {
                    return Err(Reply::refuse(format!("does not know -{option} here")));
                }
            }
        }
        Ok(found)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(&flag)
    }

    fn value(&self, option: char) -> Option<&'a str> {
        self.values.iter().rev().find(|(name, _)| *name == option).map(|&(_, value)| value)
    }
}

/// Runs `dladm`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let words = argv.get(2..).unwrap_or_default();
    let played = match argv.get(1).copied() {
        Some("init-phys") if words.is_empty() => {
            world.runtime.network.init_phys(&world.hardware);
            Ok(Reply::ok())
        }
        Some("show-phys") => show_phys(world, words),
        Some("show-vnic") => show_virtual(world, words, false),
        Some("show-etherstub") => show_virtual(world, words, true),
        Some("show-link") => show_link(world, words),
        Some("create-etherstub") => create_etherstub(world, words),
        Some("create-vnic") => create_vnic(world, words),
        Some("delete-vnic") => delete(world, words, false),
        Some("delete-etherstub") => delete(world, words, true),
        Some("show-linkprop") => show_linkprop(world, words),
        Some("set-linkprop") => set_linkprop(world, words),
        Some(other) => Err(Reply::refuse(format!("is not known with {other} {}", words.join(" ")))),
        None => Err(Reply::refuse("is not known without a subcommand")),
    };
    played.unwrap_or_else(|reply| reply)
}

/// The lines of `-p -o FIELDS`. With two or more fields, `:` and `\` in a value get a backslash; with one, nothing does.
/// usr/src/lib/libinetutil/common/ofmt.c, `ofmt_print_field`.
fn parsable<'a>(
    arguments: &Arguments<'_>,
    links: impl Iterator<Item = &'a Link>,
    field: impl Fn(&Link, &str) -> Option<String>,
) -> Result<Reply, Reply> {
    let Some(fields) = arguments.value('o') else { return Err(die("-p requires -o")) };
    if fields.eq_ignore_ascii_case("all") {
        return Err(die("\"-o all\" is invalid with -p"));
    }
    let fields: Vec<&str> = fields.split(',').collect();
    let mut text = String::new();
    for link in links {
        let mut values = Vec::new();
        for name in &fields {
            let Some(value) = field(link, &name.to_ascii_lowercase()) else {
                return Err(Reply::refuse(format!("does not know the field {name} here")));
            };
            let escaped = value.replace('\\', "\\\\").replace(':', "\\:");
            values.push(if fields.len() > 1 { escaped } else { value });
        }
        text += &values.join(":");
        text.push('\n');
    }
    Ok(Reply::text(text))
}

/// The state of a link: unknown until something has it open. usr/src/cmd/dladm/dladm.c, `get_linkstate`.
fn state(world: &World, link: &Link) -> &'static str {
    let network = &world.runtime.network;
    let open = network.is_plumbed(&link.name)
        || network
            .links
            .iter()
            .any(|other| other.over() == Some(&link.name) && network.is_plumbed(&other.name));
    match (&link.class, link.carrier) {
        (Class::Etherstub, _) => "unknown",
        (Class::Vnic { over, .. }, _) => {
            let below = network.link(over);
            if below.is_none_or(|below| below.class == Class::Etherstub || below.carrier) {
                "up"
            } else {
                "down"
            }
        }
        _ if !open => "unknown",
        (_, true) => "up",
        (_, false) => "down",
    }
}

fn only_parsable(arguments: &Arguments<'_>) -> Result<(), Reply> {
    if arguments.has('p') {
        Ok(())
    } else {
        Err(Reply::refuse("is played with -p alone, not as a table for people"))
    }
}

fn operand<'a>(arguments: &Arguments<'a>) -> Result<Option<&'a str>, Reply> {
    match arguments.operands[..] {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        _ => Err(Reply::refuse("is not known with so many operands")),
    }
}

fn show_phys(world: &World, words: &[&str]) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "pm", "o")?;
    only_parsable(&arguments)?;
    let name = operand(&arguments)?;
    let network = &world.runtime.network;
    if let Some(name) = name {
        match network.link(name).map(|link| &link.class) {
            None => return Err(die(format!("link {name} is not valid: object not found"))),
            Some(Class::Physical) => {}
            Some(_) => {
                return Err(die(format!("failed to show physical link {name}: invalid argument")));
            }
        }
    }
    let links = network
        .links
        .iter()
        .filter(|link| link.class == Class::Physical && name.is_none_or(|name| name == link.name));
    parsable(&arguments, links, |link, field| {
        let up = state(world, link) == "up";
        Some(match (arguments.has('m'), field) {
            (_, "link") | (false, "device") => link.name.clone(),
            (false, "media") => "Ethernet".to_owned(),
            (false, "state") => state(world, link).to_owned(),
            (false, "speed") => if up { "1000" } else { "0" }.to_owned(),
            (false, "duplex") => if up { "full" } else { "unknown" }.to_owned(),
            (true, "slot") => "primary".to_owned(),
            (true, "address") => link.mac.clone(),
            (true, "inuse") => if network.is_plumbed(&link.name) { "yes" } else { "no" }.to_owned(),
            (true, "client") => {
                if network.is_plumbed(&link.name) {
                    link.name.clone()
                } else {
                    "--".to_owned()
                }
            }
            _ => return None,
        })
    })
}

fn show_virtual(world: &World, words: &[&str], etherstub: bool) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "p", if etherstub { "o" } else { "ol" })?;
    only_parsable(&arguments)?;
    let network = &world.runtime.network;
    let name = operand(&arguments)?;
    if let Some(name) = name.filter(|name| network.link(name).is_none()) {
        return Err(die(format!("invalid vnic name '{name}': object not found")));
    }
    let over = arguments.value('l');
    if let Some(over) = over.filter(|over| network.link(over).is_none()) {
        return Err(die(format!("invalid link name '{over}': object not found")));
    }
    let links = network.links.iter().filter(|link| {
        let class = match link.class {
            Class::Physical => false,
            Class::Etherstub => etherstub,
            Class::Vnic { .. } => !etherstub,
        };
        class
            && name.is_none_or(|name| name == link.name)
            && over.is_none_or(|over| link.over() == Some(over))
    });
    parsable(&arguments, links, |link, field| {
        Some(match (&link.class, field) {
            (_, "link") => link.name.clone(),
            (Class::Vnic { over, .. }, "over") => over.clone(),
            (Class::Vnic { .. }, "speed") => "1000".to_owned(),
            (Class::Vnic { .. }, "macaddress") => link.mac.clone(),
            (Class::Vnic { fixed, .. }, "macaddrtype") => if *fixed { "fixed" } else { "random" }.to_owned(),
            (Class::Vnic { vlan, .. }, "vid") => vlan.to_string(),
            (Class::Vnic { .. }, "zone") => "--".to_owned(),
            _ => return None,
        })
    })
}

fn show_link(world: &World, words: &[&str]) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "p", "o")?;
    only_parsable(&arguments)?;
    let network = &world.runtime.network;
    let name = operand(&arguments)?;
    if let Some(name) = name.filter(|name| network.link(name).is_none()) {
        return Err(die(format!("link {name} is not valid: object not found")));
    }
    let links = network.links.iter().filter(|link| name.is_none_or(|name| name == link.name));
    parsable(&arguments, links, |link, field| {
        Some(match field {
            "link" => link.name.clone(),
            "class" => link.class_name().to_owned(),
            "mtu" => link.mtu.to_string(),
            "state" => state(world, link).to_owned(),
            // dladm prints empty values in this form.
            "bridge" => String::new(),
            "over" => link.over().unwrap_or_default().to_owned(),
            _ => return None,
        })
    })
}

/// The new link's name: the one operand.
fn new_name<'a>(arguments: &Arguments<'a>) -> Result<&'a str, Reply> {
    let Some(name) = operand(arguments)? else { return Err(Reply::refuse("is not known without a name")) };
    if name.len() > LONGEST_NAME {
        return Err(die(format!("link name too long '{name}'")));
    }
    if !valid_name(name) {
        return Err(die(format!("invalid link name '{name}'")));
    }
    Ok(name)
}

fn create_etherstub(world: &mut World, words: &[&str]) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "t", "")?;
    let name = new_name(&arguments)?;
    let network = &mut world.runtime.network;
    if network.link(name).is_some() {
        return Err(die("etherstub creation failed: object already exists"));
    }
    network.counter += 1;
    network.links.push(Link {
        name: name.to_owned(),
        class: Class::Etherstub,
        mac: made_up_mac(network.counter),
        mtu: 9000,
        carrier: true,
    });
    Ok(Reply::ok())
}

fn create_vnic(world: &mut World, words: &[&str]) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "t", "lmpv")?;
    let Some(over) = arguments.value('l') else { return Err(Reply::refuse("is not known without -l")) };
    let given = match arguments.value('m') {
        None | Some("auto" | "random") => None,
        Some("fixed") => return Err(die("'fixed' is not a valid MAC address")),
        Some(word @ ("factory" | "vrrp")) => {
            return Err(Reply::refuse(format!("is not played with -m {word}")));
        }
        Some(text) => Some(inet::mac(text).ok_or_else(|| die("invalid MAC address"))?),
    };
    let vlan = match arguments.value('v').map(str::parse::<u16>) {
        None => 0,
        Some(Ok(vlan @ 1..=4094)) => vlan,
        Some(_) => {
            let text = arguments.value('v').unwrap_or_default();
            return Err(die(format!("invalid VLAN identifier '{text}'")));
        }
    };
    let name = new_name(&arguments)?;
    let network = &mut world.runtime.network;
    let Some(below) = network.link(over) else { return Err(die(format!("invalid link name '{over}'"))) };
    let failed = |why: &str| Err(die(format!("vnic creation over {over} failed: {why}")));
    let mtu = match arguments.value('p') {
        None => below.mtu,
        Some(properties) => match properties.strip_prefix("mtu=").map(str::parse::<u32>) {
            Some(Ok(mtu)) if mtu <= below.mtu => mtu,
            Some(Ok(_)) => return failed("MTU check failed, MTU outside of device's supported range"),
            _ => return Err(Reply::refuse(format!("is not played with -p {properties}"))),
        },
    };
    if matches!(below.class, Class::Vnic { .. }) {
        return failed("operation not supported");
    }
    if network.link(name).is_some() {
        return failed("object already exists");
    }
    if let Some(mac) = &given {
        // A group address, or one that another link has.
        let first = mac.split(':').next().and_then(|octet| u8::from_str_radix(octet, 16).ok()).unwrap_or(1);
        if first & 1 == 1 {
            return failed("invalid MAC address value");
        }
        if network.links.iter().any(|link| link.mac == *mac) {
            return failed("MAC address is already in use");
        }
    }
    network.counter += 1;
    network.links.push(Link {
        name: name.to_owned(),
        class: Class::Vnic { over: over.to_owned(), fixed: given.is_some(), vlan },
        mac: given.unwrap_or_else(|| made_up_mac(network.counter)),
        mtu,
        carrier: true,
    });
    Ok(Reply::ok())
}

fn delete(world: &mut World, words: &[&str], etherstub: bool) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "t", "")?;
    let Some(name) = operand(&arguments)? else { return Err(Reply::refuse("is not known without a name")) };
    let network = &mut world.runtime.network;
    let Some(link) = network.link(name) else { return Err(die(format!("invalid link name '{name}'"))) };
    match (&link.class, etherstub) {
        (Class::Etherstub, true) | (Class::Vnic { .. }, false) => {}
        // The two words are this way round in the source.
        (Class::Etherstub, false) => return Err(die(format!("'{name}' is not a vnic"))),
        (Class::Vnic { .. }, true) => return Err(die(format!("'{name}' is not an etherstub"))),
        (Class::Physical, _) => return Err(die("vnic deletion failed: invalid argument")),
    }
    if network.is_plumbed(name) || network.links.iter().any(|link| link.over() == Some(name)) {
        return Err(die("vnic deletion failed: link busy"));
    }
    network.links.retain(|link| link.name != name);
    Ok(Reply::ok())
}

/// `show-linkprop -c -o value -p mtu LINK`, as net-physical asks.
fn show_linkprop(world: &World, words: &[&str]) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "c", "op")?;
    if !arguments.has('c') || arguments.value('o') != Some("value") || arguments.value('p') != Some("mtu") {
        return Err(Reply::refuse("show-linkprop is played with -c -o value -p mtu alone"));
    }
    let Some(name) = operand(&arguments)? else { return Err(Reply::refuse("is not known without a link")) };
    match world.runtime.network.link(name) {
        Some(link) => Ok(Reply::text(format!("{}\n", link.mtu))),
        None => Err(die(format!("link {name} is not valid: object not found"))),
    }
}

/// `set-linkprop [-t] -p mtu=N LINK`.
fn set_linkprop(world: &mut World, words: &[&str]) -> Result<Reply, Reply> {
    let arguments = Arguments::read(words, "t", "p")?;
    let mtu = arguments.value('p').and_then(|property| property.strip_prefix("mtu=")).map(str::parse::<u32>);
    let (Some(Ok(mtu)), Some(name)) = (mtu, operand(&arguments)?) else {
        return Err(Reply::refuse("set-linkprop is played with -p mtu=NUMBER and a link alone"));
    };
    let network = &mut world.runtime.network;
    let plumbed = network.is_plumbed(name);
    let Some(link) = network.links.iter_mut().find(|link| link.name == name) else {
        return Err(die(format!("link {name} is not valid: object not found")));
    };
    // e1000g, ixgbe and vioif take up to 9000 here; others less, of which nothing is known.
    let why = match mtu {
        _ if plumbed => "link busy",
        1500..=9000 => {
            link.mtu = mtu;
            return Ok(Reply::ok());
        }
        _ => "invalid value",
    };
    Err(Reply::fail(1, format!("dladm: warning: cannot set link property 'mtu' on '{name}': {why}")))
}
