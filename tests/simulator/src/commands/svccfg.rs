//! `svccfg` and `svcprop`: usr/src/cmd/svc/{svccfg,svcprop}, the same 2013 to 2022.

use super::options::Options;
use crate::services::read_manifest;
use crate::{Reply, World};

/// `svccfg import FILE`, `svccfg validate FILE`, `svccfg -s FMRI setprop|addpg|delprop|refresh ...`, `svccfg [-s FMRI] -f FILE`.
pub fn svccfg(world: &mut World, argv: &[&str]) -> Reply {
    configure(world, argv.get(1..).unwrap_or_default()).unwrap_or_else(|reply| reply)
}

fn configure(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "f:s:")?;
    let words = options.operands.as_slice();
    if let Some(file) = options.value('f') {
        return source(world, options.value('s'), file);
    }
    match (options.value('s'), words) {
        (None, ["import", file]) => {
            let manifest = read(world, file)?;
            world.runtime.services.import(manifest);
            Ok(Reply::ok())
        }
        (None, ["validate", file]) => read(world, file).map(|_| Reply::ok()),
        (Some(entity), words) => edit(world, entity, words),
        _ => Err(Reply::refuse(format!("is not played for {arguments:?}"))),
    }
}

/// Carries out the lines of a file, of which `select` changes what the others are about; the first that fails ends it with 1
/// (`engine_source` of svccfg_engine.c, `semerr` of svccfg_main.c).
fn source(world: &mut World, selected: Option<&str>, file: &str) -> Result<Reply, Reply> {
    let text = std::fs::read_to_string(world.path(file)).map_err(|_| {
        Reply::fail(1, format!("svccfg: Could not open file \"{file}\": No such file or directory"))
    })?;
    let mut selected = selected.map(str::to_owned);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &selected) {
            ([], _) => {}
            (["select", name], _) => {
                entity(world, name)?;
                selected = Some((*name).to_owned());
            }
            (words, Some(name)) => drop(edit(world, name, words)?),
            (_, None) => {
                return Err(Reply::refuse(format!("is not played for '{line}' without a selection")));
            }
        }
    }
    Ok(Reply::ok())
}

fn read(world: &World, file: &str) -> Result<crate::services::Manifest, Reply> {
    let text = std::fs::read_to_string(world.path(file)).map_err(|_| {
        Reply::fail(1, format!("svccfg: couldn't open \"{file}\": No such file or directory"))
    })?;
    read_manifest(&text).map_err(|error| {
        Reply::fail(1, "svccfg: couldn't parse document".to_string()).with_stderr(format!("{file}: {error}"))
    })
}

/// The instance that an entity means: itself, or a service's only one. Properties of services and instances are kept together.
fn entity(world: &World, name: &str) -> Result<String, Reply> {
    let found = world.runtime.services.matching(name);
    let default = found.iter().find(|fmri| fmri.ends_with(":default"));
    match (found.as_slice(), default) {
        ([only], _) => Ok(only.clone()),
        ([], _) => {
            Err(Reply::fail(1, format!("svccfg: Pattern '{name}' doesn't match any instances or services")))
        }
        (_, Some(default)) => Ok(default.clone()),
        _ => Err(Reply::fail(1, format!("svccfg: Pattern '{name}' matches multiple instances or services"))),
    }
}

fn edit(world: &mut World, name: &str, words: &[&str]) -> Result<Reply, Reply> {
    let fmri = entity(world, name)?;
    let Some(service) = world.runtime.services.instances.get_mut(&fmri) else { return Ok(Reply::ok()) };
    match words {
        ["refresh"] => {
            service.running = service.properties.clone();
            if name.contains(':') && name.trim_start_matches("svc:").contains(':') {
                let order = (fmri, "refresh".to_owned());
                world.runtime.services.orders.push(order);
            }
        }
        ["addpg", group, _kind] => {
            if !service.groups.insert((*group).to_owned()) {
                return Err(Reply::fail(
                    1,
                    format!("svccfg: The \"{group}\" property group already exists."),
                ));
            }
        }
        ["delprop", property] => {
            if service.properties.remove(*property).is_none() {
                return Err(Reply::fail(1, "svccfg: No such property"));
            }
        }
        ["setprop", assignment @ ..] => {
            let text = assignment.join(" ");
            let (property, value) =
                text.split_once('=').ok_or_else(|| Reply::fail(1, "svccfg: Syntax error."))?;
            let (property, value) = (property.trim(), value.trim());
            let kinds =
                ["astring:", "boolean:", "count:", "integer:", "ustring:", "host:", "net_address_v4:"];
            let kind = kinds.iter().find(|kind| value.starts_with(**kind));
            let value = kind.map_or(value, |kind| value[kind.len()..].trim()).trim_matches('"');
            let group = property.split_once('/').ok_or_else(|| Reply::fail(1, "svccfg: Syntax error."))?.0;
            if !service.groups.contains(group) {
                return Err(Reply::fail(1, format!("svccfg: No such property group \"{group}\".")));
            }
            if kind.is_none() && !service.properties.contains_key(property) {
                return Err(Reply::fail(1, "svccfg: Type required for new properties."));
            }
            service.properties.insert(property.to_owned(), value.to_owned());
        }
        _ => return Err(Reply::refuse(format!("is not played for {words:?}"))),
    }
    Ok(Reply::ok())
}

/// `svcprop [-c] -p GROUP/NAME FMRI`: -c shows what was edited, without it what the service runs with.
pub fn svcprop(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "cp:") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    let (Some(property), [name]) = (options.value('p'), options.operands.as_slice()) else {
        return Reply::refuse("is played with -p and one service only");
    };
    let found = world.runtime.services.matching(name);
    let [fmri] = found.as_slice() else {
        return Reply::fail(1, format!("svcprop: Pattern '{name}' doesn't match any entities"));
    };
    let Some(service) = world.runtime.services.instances.get(fmri) else { return Reply::ok() };
    let values = if options.has('c') { &service.properties } else { &service.running };
    match (property, values.get(property)) {
        ("restarter/state", _) => Reply::text(format!("{}\n", service.state.word())),
        ("general/enabled", _) => Reply::text(format!("{}\n", service.enabled)),
        (_, Some(value)) if value.is_empty() => Reply::text("\"\"\n"),
        (_, Some(value)) => {
            // print_property: blanks and what a shell takes apart are quoted.
            let quoted: String = value
                .chars()
                .flat_map(|c| if " \t\\;&|<>()$`'\"*?[]#~=%".contains(c) { vec!['\\', c] } else { vec![c] })
                .collect();
            Reply::text(format!("{quoted}\n"))
        }
        (_, None) => {
            let what = if property.contains('/') { "property" } else { "property group" };
            Reply::fail(1, format!("svcprop: Couldn't find {what} `{property}' for instance `{fmri}'."))
        }
    }
}
