//! Commands that tell what the machine is: `bootparams`, `smbios`, `sysinfo`, `uname`.

use super::options::Options;
use crate::{Reply, World};

/// `bootparams`: smartos-live src/bootparams.c, one `name=value` a line, the same 2013 to 2022.
pub fn bootparams(world: &mut World, argv: &[&str]) -> Reply {
    if argv.len() > 1 {
        return Reply::refuse("takes no arguments");
    }
    Reply::text(
        world
            .hardware
            .boot_properties
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect::<String>(),
    )
}

/// `smbios -t TYPE`, of the BIOS or of the system, by number or by name: usr/src/cmd/smbios/smbios.c. From 2018-04 (OS-6727) a
/// UUID under bhyve has a second line in the right byte order; before, the one line has the first three parts swapped as the
/// table does.
pub fn smbios(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "t:") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    let hardware = &world.hardware;
    let header = "ID    SIZE TYPE\n";
    match options.value('t') {
        Some("0" | "SMB_TYPE_BIOS") => Reply::text(format!(
            "{header}0     62   SMB_TYPE_BIOS (BIOS Information)\n\n  Vendor: {}\n  Version String: 1.0\n  Release Date: \
             01/01/2011\n",
            hardware.bios_vendor
        )),
        Some("1" | "SMB_TYPE_SYSTEM") => {
            let bhyve = hardware.bios_vendor == "BHYVE";
            let new = hardware.era.since("20180401");
            let swapped = swap(&hardware.uuid);
            let uuid = match (bhyve, new) {
                (true, true) => format!("  UUID: {swapped}\n  UUID (Endian-corrected): {}\n", hardware.uuid),
                (true, false) => format!("  UUID: {swapped}\n"),
                (false, _) => format!("  UUID: {}\n", hardware.uuid),
            };
            Reply::text(format!(
                "{header}1     72   SMB_TYPE_SYSTEM (system information)\n\n  Manufacturer: {}\n  Product: SmartDC HVM\n  \
                 Version: 7.20130506T233003Z\n  Serial Number: {}\n\n{uuid}  Wake-Up Event: 0x6 (power switch)\n  SKU \
                 Number: \n  Family: Virtual Machine\n",
                hardware.manufacturer, hardware.serial
            ))
        }
        _ => Reply::refuse("is played for the types of BIOS and system only"),
    }
}

/// A UUID whose first three parts are stored the other way round.
fn swap(uuid: &str) -> String {
    let turned = |part: &str| {
        let bytes: Vec<&str> =
            (0..part.len() / 2).map(|at| part.get(2 * at..2 * at + 2).unwrap_or("")).collect();
        bytes.into_iter().rev().collect::<String>()
    };
    let parts =
        uuid.split('-').enumerate().map(|(at, part)| if at < 3 { turned(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("-")
}

/// Where sysinfo looks for programs, in this order.
const SYSINFO_PATH: [&str; 4] = ["/system/usr/bin", "/usr/bin", "/sbin", "/usr/sbin"];

/// `sysinfo [-f] [-p] [-u]`: smartos-live src/sysinfo, as far as a guest reads it, and without its cache. The UUID is what
/// `smbios` says, the first of its path: the one with bytes in the right order from 2018-04 on if the machine is of bhyve, or
/// that of the boot property `override_uuid`.
pub fn sysinfo(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "fpu") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    let Some(program) =
        SYSINFO_PATH.iter().map(|folder| format!("{folder}/smbios")).find(|path| world.path(path).exists())
    else {
        return Reply::refuse("finds no smbios");
    };
    let mut ask = |kind: &str| {
        world.run_inside(&program, &["-t", kind]).map_err(|error| Reply::refuse(format!("{error:#}")))
    };
    let (system, bios) = match (ask("SMB_TYPE_SYSTEM"), ask("SMB_TYPE_BIOS")) {
        (Ok(system), Ok(bios)) => (system, bios),
        (Err(reply), _) | (_, Err(reply)) => return reply,
    };
    let of = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        line.map(|value| value.trim().to_owned())
    };
    let hardware = &world.hardware;
    let is_bhyve =
        of(&bios, "Vendor").is_some_and(|vendor| vendor == "BHYVE") && hardware.era.since("20180401");
    let corrected = of(&system, "UUID (Endian-corrected)").filter(|_| is_bhyve);
    let told = hardware.boot_property("override_uuid").map(str::to_owned).or(corrected);
    let uuid = told.or_else(|| of(&system, "UUID")).unwrap_or_default();
    let memory = hardware.memory >> 20;
    if options.has('u') {
        return Reply::ok();
    }
    if options.has('p') {
        return Reply::text(format!(
            "Live_Image='{}'\nSystem_Type='SunOS'\nHostname='{}'\nUUID='{uuid}'\nMiB_of_Memory='{memory}'\n",
            hardware.era, world.runtime.host.name
        ));
    }
    let nics: serde_json::Map<String, serde_json::Value> = hardware
        .nics
        .iter()
        .map(|nic| {
            let state = if nic.up { "up" } else { "down" };
            (
                nic.link.clone(),
                serde_json::json!({"MAC Address": nic.mac, "Link Status": state, "NIC Names": []}),
            )
        })
        .collect();
    let parameters: serde_json::Map<String, serde_json::Value> =
        hardware.boot_properties.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let text = serde_json::json!({
        "Live Image": hardware.era.stamp(), "System Type": "SunOS", "Hostname": world.runtime.host.name,
        "UUID": uuid, "MiB of Memory": memory.to_string(), "Network Interfaces": nics,
        "Boot Parameters": parameters,
    });
    Reply::text(format!("{text:#}\n"))
}

/// `uname [-snrvmapi]`: usr/src/cmd/uname/uname.c, the same 2013 to 2022; its `-S` and `-X` are not played.
pub fn uname(world: &mut World, argv: &[&str]) -> Reply {
    let options = match Options::parse(argv.get(1..).unwrap_or_default(), "amnprsvi") {
        Ok(options) => options,
        Err(reply) => return reply,
    };
    let version = format!("joyent_{}", world.era());
    let name = world.runtime.host.name.clone();
    let all = [
        ('s', "SunOS"),
        ('n', name.as_str()),
        ('r', "5.11"),
        ('v', version.as_str()),
        ('m', "i86pc"),
        ('p', "i386"),
        ('i', "i86pc"),
    ];
    let none = argv.len() == 1;
    let shown =
        all.iter().filter(|(letter, _)| options.has('a') || options.has(*letter) || (none && *letter == 's'));
    let words: Vec<&str> = shown.map(|(_, word)| *word).collect();
    Reply::text(format!("{}\n", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Era, Hardware};

    #[test]
    fn the_uuid_under_bhyve_is_turned_and_later_told_twice() {
        let told = |era: &str| {
            let hardware = Hardware { bios_vendor: "BHYVE".into(), ..Hardware::usual(era) };
            let mut world = World::switched_on(hardware, std::path::Path::new("/nonexistent"));
            String::from_utf8(smbios(&mut world, &["smbios", "-t", "1"]).stdout).unwrap()
        };
        let turned = "  UUID: 9e1e4d56-0c5a-0b4f-8a4c-3b8a4b1c7d2e\n";
        assert!(told(Era::ALL[0]).contains(turned) && !told(Era::ALL[0]).contains("corrected"));
        assert!(told(Era::ALL[3]).contains(turned));
        assert!(
            told(Era::ALL[3]).contains("  UUID (Endian-corrected): 564d1e9e-5a0c-4f0b-8a4c-3b8a4b1c7d2e\n")
        );
    }
}
