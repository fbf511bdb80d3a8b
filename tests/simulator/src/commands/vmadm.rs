//! `vmadm` and `imgadm`: smartos-live src/vm and src/img, as far as making a first zone needs them.
//!
//! Images are in the machine's `images.json` as `imgadm list -j` prints them; zones that were made are in `zones.json`.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::world::{read_json, write_json};
use crate::{Era, Reply, World};

/// What a value must be: `type` in src/vm/node_modules/proptable.js.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `string` and `uuid`.
    Text,
    /// `integer`.
    Number,
    /// `boolean`.
    Flag,
    /// `list`: an array, or text with commas.
    List,
    /// `object-array`.
    Objects,
    /// `flat-object`.
    Object,
}

/// Keys of a payload with their type and the date since when they are known.
type Keys = &'static [(Kind, &'static str, &'static str)];

const KEYS: Keys = &[
    (Kind::Text, "alias brand dns_domain hostname image_uuid owner_uuid uuid zfs_root_compression", ""),
    (
        Kind::Number,
        "cpu_cap cpu_shares max_locked_memory max_lwps max_physical_memory max_swap quota tmpfs zfs_io_priority \
         zfs_root_recsize",
        "",
    ),
    (Kind::Flag, "autoboot delegate_dataset", ""),
    (Kind::List, "fs_allowed limit_priv resolvers", ""),
    (Kind::Objects, "filesystems nics", ""),
    (Kind::Object, "customer_metadata internal_metadata tags", ""),
    (Kind::Text, "init_name kernel_version", "20140801"),
    (Kind::Flag, "docker", "20140801"),
    (Kind::Flag, "maintain_resolvers", "20140101"),
    (Kind::Object, "routes", "20140101"),
    (Kind::Number, "zlog_max_size", "20150101"),
];

const NIC_KEYS: Keys = &[
    (Kind::Text, "gateway interface ip mac model netmask nic_tag", ""),
    (Kind::Number, "vlan_id", ""),
    (
        Kind::Flag,
        "allow_dhcp_spoofing allow_ip_spoofing allow_mac_spoofing allow_restricted_traffic dhcp_server primary",
        "",
    ),
    (Kind::Number, "mtu", "20140801"),
    (Kind::List, "gateways ips", "20150701"),
];

/// The keys that an object may not have, or not with these values.
fn wrong(table: Keys, era: &Era, object: &Map<String, Value>) -> Vec<String> {
    let is_right = |key: &str, value: &Value| {
        let known = |(_, keys, since): &&(Kind, &str, &str)| {
            era.since_or_always(since) && keys.split_whitespace().any(|known| known == key)
        };
        table.iter().find(known).is_some_and(|(kind, ..)| match kind {
            Kind::Text => value.is_string(),
            Kind::Number => value.is_u64(),
            Kind::Flag => value.is_boolean(),
            Kind::List => value.is_array() || value.is_string(),
            Kind::Objects => value.as_array().is_some_and(|array| array.iter().all(Value::is_object)),
            Kind::Object => value.is_object(),
        })
    };
    object.iter().filter(|(key, value)| !is_right(key, value)).map(|(key, _)| key.clone()).collect()
}

/// The brands that a platform has.
fn brands(era: &Era) -> Vec<&'static str> {
    let mut brands = vec!["joyent", "joyent-minimal", "kvm"];
    brands.extend(era.since("20141001").then_some("lx"));
    brands.extend((!era.since("20140601")).then_some("sngl"));
    brands.extend(era.since("20180301").then_some("bhyve"));
    brands
}

/// `vmadm lookup -j [KEY=VALUE]`, `vmadm create -f FILE`.
pub fn vmadm(world: &mut World, argv: &[&str]) -> Reply {
    match argv {
        [_, "lookup", "-j"] => Reply::text(format!("{:#}\n", Value::Array(zones(world)))),
        [_, "create", "-f", file] => create(world, file).unwrap_or_else(|reply| reply),
        _ => Reply::refuse("is played for `lookup -j` and `create -f FILE` only"),
    }
}

fn zones(world: &World) -> Vec<Value> {
    read_json(&world.machine.join("zones.json")).ok().flatten().unwrap_or_default()
}

fn images(world: &World) -> Vec<Value> {
    read_json(&world.machine.join("images.json")).ok().flatten().unwrap_or_default()
}

/// `imgadm list -j`.
pub fn imgadm(world: &mut World, argv: &[&str]) -> Reply {
    match argv {
        [_, "list", "-j"] => Reply::text(format!("{:#}\n", Value::Array(images(world)))),
        _ => Reply::refuse("is played for `list -j` only"),
    }
}

fn create(world: &mut World, file: &str) -> Result<Reply, Reply> {
    let bad = |text: String| Reply::fail(1, text);
    let text =
        std::fs::read_to_string(world.path(file)).map_err(|_| bad(format!("Unable to open {file}")))?;
    let payload: Value =
        serde_json::from_str(&text).map_err(|error| bad(format!("Invalid JSON payload: {error}")))?;
    let Value::Object(payload) = payload else { return Err(bad("Invalid JSON payload".into())) };
    let era = world.era().clone();
    let wrong = wrong(KEYS, &era, &payload);
    if !wrong.is_empty() {
        return Err(bad(format!("Invalid value(s) for: {}", wrong.join(","))));
    }
    let brand = payload.get("brand").and_then(Value::as_str).unwrap_or_default();
    if !brands(&era).contains(&brand) {
        return Err(bad(format!("Invalid brand: '{brand}', must be one of: {}", brands(&era).join(", "))));
    }
    if ["kvm", "bhyve"].contains(&brand) {
        return Err(Reply::refuse(format!("create of a {brand} zone does not work inside a guest")));
    }
    // `allowed` and `required` of the table.
    if payload.contains_key("kernel_version") != (brand == "lx") {
        return Err(bad(format!(
            "kernel_version is for zones of brand lx, which want it, and not for {brand}"
        )));
    }
    let image = payload.get("image_uuid").and_then(Value::as_str).unwrap_or_default();
    let has_image = images(world)
        .iter()
        .any(|entry| entry.pointer("/manifest/uuid").and_then(Value::as_str) == Some(image));
    if !has_image {
        return Err(bad(format!("Unable to find image {image}, is it installed?")));
    }
    let number = |key: &str| payload.get(key).and_then(Value::as_u64);
    let memory = number("max_physical_memory").unwrap_or(256);
    if number("max_swap").is_some_and(|swap| swap < memory.max(256)) {
        return Err(bad("Invalid value(s) for: max_swap".into()));
    }
    if number("max_locked_memory").is_some_and(|locked| locked > memory) {
        return Err(bad("Invalid value(s) for: max_locked_memory".into()));
    }
    for nic in payload.get("nics").and_then(Value::as_array).into_iter().flatten() {
        check_nic(world, nic)?;
    }
    let uuid = payload
        .get("uuid")
        .and_then(Value::as_str)
        .map_or_else(|| format!("00000000-0000-4000-8000-{:012x}", zones(world).len() + 1), str::to_owned);
    let mut zones = zones(world);
    let mut zone = payload.clone();
    zone.insert("uuid".into(), json!(uuid));
    zone.insert("state".into(), json!("running"));
    zones.push(Value::Object(zone));
    write_json(&world.machine.join("zones.json"), &zones).map_err(|error| bad(error.to_string()))?;
    // Messages go to standard error since ever: the last line is what scripts look for.
    Ok(Reply::ok().with_stderr(format!("Successfully created VM {uuid}")))
}

fn check_nic(world: &mut World, nic: &Value) -> Result<(), Reply> {
    let bad = |text: String| Reply::fail(1, text);
    let Value::Object(nic) = nic else { return Err(bad("Invalid value(s) for: nics".into())) };
    let era = world.era().clone();
    if let Some(key) = wrong(NIC_KEYS, &era, nic).first() {
        return Err(bad(format!("Invalid value(s) for: nics.*.{key}")));
    }
    let tag = nic.get("nic_tag").and_then(Value::as_str).unwrap_or_default().to_owned();
    let stubs = super::call(world, &["dladm", "show-etherstub", "-p", "-o", "link"]);
    let stubs = String::from_utf8_lossy(&stubs.stdout).into_owned();
    if tag != "admin" && !stubs.lines().any(|stub| stub == tag) {
        return Err(bad(format!("Invalid nic tag \"{tag}\"")));
    }
    let ip = nic.get("ip").and_then(Value::as_str).unwrap_or_default().to_owned();
    if ip == "dhcp" {
        return Ok(());
    }
    if !nic.contains_key("netmask") || ip.parse::<Ipv4Addr>().is_err() {
        return Err(bad("Invalid value(s) for: nics.*.ip".into()));
    }
    let taken = zones(world).iter().any(|zone| {
        let nics = zone.get("nics").and_then(Value::as_array);
        nics.into_iter().flatten().any(|other| other.get("ip").and_then(Value::as_str) == Some(&ip))
    });
    if taken {
        return Err(Reply::refuse(format!("create with the address {ip} collides with another zone")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hardware;

    fn created(era: &str, change: impl FnOnce(&mut Value)) -> Reply {
        let root = tempfile::tempdir().unwrap();
        let image = "11111111-2222-4333-8444-555555555555";
        std::fs::create_dir_all(root.path().join(".simulator")).unwrap();
        let mut world = World::switched_on(Hardware::usual(era), root.path());
        write_json(&world.machine.join("images.json"), &json!([{"manifest": {"uuid": image}}])).unwrap();
        let mut payload =
            json!({"brand": "joyent", "image_uuid": image, "max_physical_memory": 512, "quota": 10});
        change(&mut payload);
        std::fs::write(root.path().join("zone.json"), payload.to_string()).unwrap();
        vmadm(&mut world, &["vmadm", "create", "-f", "/zone.json"])
    }

    #[test]
    fn payloads_are_checked_by_era() {
        assert_eq!(created(Era::ALL[0], |_| {}).status, 0);
        assert_eq!(created(Era::ALL[0], |zone| zone["brand"] = json!("lx")).status, 1);
        assert_eq!(created(Era::ALL[2], |zone| zone["brand"] = json!("lx")).status, 1);
        let linux = |zone: &mut Value| {
            zone["brand"] = json!("lx");
            zone["kernel_version"] = json!("4.3.0");
        };
        assert_eq!(created(Era::ALL[2], linux).status, 0);
        assert_eq!(created(Era::ALL[2], |zone| zone["kernel_version"] = json!("4.3.0")).status, 1);
        for (key, value) in [("alias", json!(7)), ("quota", json!("10")), ("autoboot", json!("yes"))] {
            assert_eq!(created(Era::ALL[2], |zone| zone[key] = value).status, 1, "{key}");
        }
        assert_eq!(created(Era::ALL[0], |zone| zone["image_uuid"] = json!("x")).status, 1);
        assert_eq!(created(Era::ALL[0], |zone| zone["max_swap"] = json!(300)).status, 1);
        assert_eq!(created(Era::ALL[0], |zone| zone["max_locked_memory"] = json!(513)).status, 1);
        assert_eq!(created(Era::ALL[0], |zone| zone["no_such_key"] = json!(1)).status, 1);
        assert_eq!(
            created(Era::ALL[0], |zone| zone["nics"] = json!([{"nic_tag": "admin", "ips": []}])).status,
            1
        );
    }
}
