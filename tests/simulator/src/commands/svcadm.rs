//! `svcadm`: usr/src/cmd/svc/svcadm/svcadm.c, the same 2013 to 2022.

use super::options::Options;
use crate::services::State;
use crate::{Reply, World};

/// `svcadm enable [-rst] F...`, `disable [-st] F...`, `refresh F...`, `restart F...`, `clear F...`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    play(world, argv.get(1..).unwrap_or_default()).unwrap_or_else(|reply| reply)
}

fn play(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let Some((what, rest)) = arguments.split_first() else {
        return Err(Reply::fail(2, "Usage: svcadm [-v] [-Z | -z zone] [cmd [args ... ]]"));
    };
    let known = match *what {
        "enable" => "rst",
        "disable" => "st",
        "refresh" | "restart" | "clear" => "",
        _ => return Err(Reply::refuse(format!("is not played for {what:?}"))),
    };
    let options = Options::parse(rest, known)?;
    if options.operands.is_empty() {
        return Err(Reply::fail(2, format!("Usage: svcadm {what} <service> ...")));
    }
    let mut reply = Reply::ok();
    for pattern in &options.operands {
        let found = world.runtime.services.matching(pattern);
        match found.as_slice() {
            [fmri] => match one(world, what, fmri, options.has('s')) {
                Ok(()) => {}
                Err(problem) => return Err(problem),
            },
            [] => {
                reply.status = 1;
                reply = reply.with_stderr(format!("svcadm: Pattern '{pattern}' doesn't match any instances"));
            }
            several => {
                reply.status = 1;
                reply = reply
                    .with_stderr(format!("svcadm: Pattern '{pattern}' matches multiple instances:"))
                    .with_stderr(
                        several.iter().map(|fmri| format!("\t{fmri}")).collect::<Vec<_>>().join("\n"),
                    );
            }
        }
    }
    Ok(reply)
}

fn one(world: &mut World, what: &str, fmri: &str, wait: bool) -> Result<(), Reply> {
    let services = &mut world.runtime.services;
    let Some(service) = services.instances.get_mut(fmri) else { return Ok(()) };
    match what {
        "enable" => {
            if wait && service.state == State::Maintenance {
                return Err(Reply::fail(3, format!("svcadm: Instance \"{fmri}\" is in maintenance.")));
            }
            if wait && service.state != State::Online {
                // svc.startd here plays one method at a time, and this may be called from one.
                return Err(Reply::refuse(format!("enable -s would wait for {fmri}")));
            }
            service.enabled = true;
            if service.state == State::Disabled {
                service.state = State::Offline;
            }
        }
        "disable" => {
            service.enabled = false;
            if service.state != State::Maintenance {
                service.state = State::Disabled;
            }
        }
        "clear" => {
            if service.state != State::Maintenance {
                let text = format!("svcadm: Instance \"{fmri}\" is not in a maintenance or degraded state.");
                return Err(Reply::fail(1, text));
            }
            service.state = State::Offline;
        }
        // A restart of what does not run does nothing.
        "restart" if service.state != State::Online => {}
        order => services.orders.push((fmri.to_owned(), order.to_owned())),
    }
    Ok(())
}
