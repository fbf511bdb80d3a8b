//! The rules of `requirements`.

use serde_json::{Map, Value};

use super::{Context, Findings, one_of, shown};
use crate::js;

/// Everything that may be required.
const KNOWN: &[&str] =
    &["networks", "brand", "ssh_key", "min_ram", "max_ram", "min_platform", "max_platform", "bootrom"];

/// Oldest year of a platform.
const FIRST_YEAR: f64 = 2012.0;

/// Requirements that count as empty (`false`, `0`, `""`, `null`) are let pass whatever their type.
pub fn check(at: &Context<'_>, found: &mut Findings) {
    let none = Map::new();
    let required = match at.value {
        Value::Object(required) => required,
        // These have no members, which is all that is asked.
        Value::Bool(_) | Value::Number(_) => &none,
        Value::String(text) if text.is_empty() => &none,
        Value::Array(list) if list.is_empty() => &none,
        other => {
            found.add(at.field, format!("is {}, not an object", shown(other)), "write an object");
            return;
        }
    };
    let given = |name: &str| required.get(name).filter(|value| js::truthy(Some(value)));

    if let Some(networks) = given("networks") {
        self::networks(networks, found);
    }
    if let Some(brand) = given("brand").filter(|brand| !brand.is_string()) {
        found.add(
            "requirements.brand",
            format!("is {}, not a text", shown(brand)),
            "write a brand, such as bhyve",
        );
    }
    if let Some(key) = given("ssh_key").filter(|key| !key.is_boolean()) {
        found.add("requirements.ssh_key", format!("is {}, no flag", shown(key)), "write true or false");
    }
    let least = memory("requirements.min_ram", given("min_ram"), found);
    let most = memory("requirements.max_ram", given("max_ram"), found);
    if let (Some(least), Some(most)) = (least, most)
        && most < least
    {
        found.add(
            "requirements.max_ram",
            format!("is {most}, below min_ram's {least}"),
            "swap or widen them",
        );
    }
    for name in ["min_platform", "max_platform"] {
        if let Some(platforms) = given(name) {
            self::platforms(&format!("requirements.{name}"), platforms, found);
        }
    }
    if let Some(rom) = given("bootrom") {
        bootrom(rom, given("brand"), found);
    }
    for name in required.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        found.add(format!("requirements.{name}"), "is no requirement of version 2", "remove it");
    }
}

fn networks(networks: &Value, found: &mut Findings) {
    let field = "requirements.networks";
    let Value::Array(networks) = networks else {
        found.add(field, format!("is {}, not a list", shown(networks)), "write a list");
        return;
    };
    for network in networks {
        let good = network.as_object().is_some_and(|network| {
            network.len() == 2 && network.contains_key("name") && network.contains_key("description")
        });
        if !good {
            found.add(
                field,
                format!("has the entry {}", shown(network)),
                "give each a name and a description and nothing else",
            );
        }
    }
}

fn memory(field: &str, value: Option<&Value>, found: &mut Findings) -> Option<f64> {
    let value = value?;
    let number = value.as_f64().filter(|&number| js::is_whole(number));
    if number.is_none() {
        found.add(field, format!("is {}, not a whole number", shown(value)), "write a number of MiB");
    }
    number
}

fn platforms(field: &str, platforms: &Value, found: &mut Findings) {
    let stamps: Vec<&Value> = match platforms {
        Value::Object(platforms) => platforms.values().collect(),
        // A list is an object with numbers for keys.
        Value::Array(platforms) => platforms.iter().collect(),
        _ => Vec::new(),
    };
    if stamps.is_empty() {
        found.add(
            field,
            format!("is {}, no object with an entry", shown(platforms)),
            r#"write it like {"7.0": "20130723T015243Z"}"#,
        );
    }
    for stamp in stamps.into_iter().filter(|stamp| !is_stamp(stamp)) {
        found.add(
            field,
            format!("names {}, no platform", shown(stamp)),
            "write a stamp like 20130723T015243Z",
        );
    }
}

/// Whether a value passes for a stamp `YYYYMMDDTHHMMSSZ`. Only bounds are tested, so letters in place of digits pass:
/// they are not numbers and therefore neither too large nor too small.
fn is_stamp(value: &Value) -> bool {
    let Some(units) = value.as_str().map(|text| text.encode_utf16().collect::<Vec<u16>>()) else {
        return false;
    };
    if units.len() != 16 {
        return false;
    }
    let part = |from: usize, to: usize| js::number_of_text(&String::from_utf16_lossy(&units[from..to]));
    let too_large = |number: f64, largest: f64| number > largest;
    let (month, day) = (part(4, 6), part(6, 8));
    let outside = part(0, 4) < FIRST_YEAR
        || too_large(month, 12.0)
        || month == 0.0
        || too_large(day, 31.0)
        || day == 0.0
        || too_large(part(9, 11), 23.0)
        || too_large(part(11, 13), 59.0)
        || too_large(part(13, 15), 59.0);
    !outside && units[8] == u16::from(b'T') && units[15] == u16::from(b'Z')
}

fn bootrom(rom: &Value, brand: Option<&Value>, found: &mut Findings) {
    const ROMS: &[&str] = &["bios", "uefi"];
    let field = "requirements.bootrom";
    match brand {
        None => found.add(field, "needs requirements.brand", "add the brand bhyve"),
        Some(brand) if brand.as_str() != Some("bhyve") => {
            found.add(
                field,
                format!("does not go with the brand {}", shown(brand)),
                "remove it, or write bhyve",
            );
        }
        Some(_) if !rom.as_str().is_some_and(|rom| ROMS.contains(&rom)) => {
            found.add(field, format!("is {}, which is not known", shown(rom)), one_of(ROMS));
        }
        Some(_) => {}
    }
}
