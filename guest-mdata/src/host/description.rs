//! The description of a machine, as `vmadm get` prints it.

use std::fmt;

use serde_json::{Map, Value};

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where: `nics[0].mac`, or empty for the description itself.
    pub place: String,
    /// What should be there.
    pub wanted: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            write!(formatter, "the description must be {}", self.wanted)
        } else {
            write!(formatter, "'{}' must be {}", self.place, self.wanted)
        }
    }
}

impl std::error::Error for Flaw {}

fn flaw(place: impl Into<String>, wanted: &'static str) -> Flaw {
    Flaw { place: place.into(), wanted }
}

/// The description of a machine: `customer_metadata`, `internal_metadata`, `internal_metadata_namespaces`, `nics`,
/// `resolvers`, `routes`, `tags`, and any other property.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// As given, but that both kinds of metadata exist.
    properties: Map<String, Value>,
    /// The NICs, completed.
    nics: Option<Value>,
}

impl Description {
    /// Takes a description that was parsed from JSON. Its NICs are completed: old guests read `ip`, `netmask` and
    /// `gateway`, new ones `ips` and `gateways`, so each form that is missing is made from the other, and a NIC without
    /// an `interface` gets the name of its place, `net0` and so on.
    ///
    /// # Errors
    /// A property that the agent looks into has another type than `vmadm` gives it, or a NIC has no `mac`.
    pub fn new(value: Value) -> Result<Self, Flaw> {
        let Value::Object(mut properties) = value else {
            return Err(flaw("", "a JSON object, such as `vmadm get` prints"));
        };
        for name in ["customer_metadata", "internal_metadata"] {
            match properties.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(pairs) => {
                    for (key, value) in pairs {
                        if value.is_array() || value.is_object() || value.is_null() {
                            return Err(flaw(format!("{name}.{key}"), "a string, a number or a boolean"));
                        }
                    }
                }
                _ => return Err(flaw(name, "an object")),
            }
        }
        for name in ["tags", "routes"] {
            if properties.get(name).is_some_and(|value| !value.is_object()) {
                return Err(flaw(name, "an object"));
            }
        }
        for name in ["resolvers", "internal_metadata_namespaces"] {
            let strings =
                |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
            if properties.get(name).is_some_and(|value| !strings(value)) {
                return Err(flaw(name, "an array of strings"));
            }
        }
        let mut nics = properties.get("nics").cloned();
        if let Some(nics) = &mut nics {
            let nics = nics.as_array_mut().ok_or_else(|| flaw("nics", "an array"))?;
            for (index, nic) in nics.iter_mut().enumerate() {
                let nic = nic.as_object_mut().ok_or_else(|| flaw(format!("nics[{index}]"), "an object"))?;
                complete(nic, index)?;
            }
        }
        Ok(Self { properties, nics })
    }

    /// The description as it was given, with the changes since, as JSON in lines with sorted names.
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(&self.properties).expect("an object of JSON values is JSON");
        text.push('\n');
        text
    }

    /// A property at the top.
    pub fn property(&self, name: &str) -> Option<&Value> {
        if name == "nics" { self.nics.as_ref() } else { self.properties.get(name) }
    }

    /// The values that the guest's owner set.
    pub(super) fn customer_metadata(&self) -> &Map<String, Value> {
        self.map("customer_metadata")
    }

    /// The values that the operator set.
    pub(super) fn internal_metadata(&self) -> &Map<String, Value> {
        self.map("internal_metadata")
    }

    pub(super) fn customer_metadata_mut(&mut self) -> &mut Map<String, Value> {
        self.map_mut("customer_metadata")
    }

    pub(super) fn internal_metadata_mut(&mut self) -> &mut Map<String, Value> {
        self.map_mut("internal_metadata")
    }

    /// Whether a key without `sdc:` is kept in the internal metadata because the operator reserved its prefix.
    pub(super) fn internal_namespace<'a>(&self, key: &'a str) -> Option<&'a str> {
        let (prefix, _) = key.split_once(':')?;
        let namespaces = self.property("internal_metadata_namespaces")?.as_array()?;
        namespaces.iter().any(|name| name == prefix).then_some(prefix)
    }

    fn map(&self, name: &str) -> &Map<String, Value> {
        self.properties[name].as_object().expect("new made it an object")
    }

    fn map_mut(&mut self, name: &str) -> &mut Map<String, Value> {
        self.properties[name].as_object_mut().expect("new made it an object")
    }
}

/// Checks a NIC and fills in what it says in one form only.
fn complete(nic: &mut Map<String, Value>, index: usize) -> Result<(), Flaw> {
    let place = |name: &str| format!("nics[{index}].{name}");
    if !nic.get("mac").is_some_and(Value::is_string) {
        return Err(flaw(place("mac"), "the NIC's address, a string"));
    }
    if !nic.get("interface").is_none_or(Value::is_string) {
        return Err(flaw(place("interface"), "a string"));
    }
    nic.entry("interface").or_insert_with(|| format!("net{index}").into());
    for name in ["ips", "gateways"] {
        let strings = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if nic.get(name).is_some_and(|value| !strings(value)) {
            return Err(flaw(place(name), "an array of strings"));
        }
    }
    for name in ["ip", "netmask", "gateway"] {
        if !nic.get(name).is_none_or(Value::is_string) {
            return Err(flaw(place(name), "a string"));
        }
    }
    let text = |name: &str| nic.get(name).and_then(Value::as_str).map(str::to_owned);
    let first = |name: &str| Some(nic.get(name)?.as_array()?.first()?.as_str()?.to_owned());
    let (ip, netmask, gateway) = (text("ip"), text("netmask"), text("gateway"));
    let (first_ip, first_gateway) = (first("ips"), first("gateways"));
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value.filter(|_| !nic.contains_key(name)) {
            nic.insert(name.to_owned(), value);
        }
    };
    match (ip, first_ip) {
        (Some(ip), None) => {
            let cidr = match netmask.as_deref().and_then(prefix_length) {
                Some(length) => format!("{ip}/{length}"),
                None => ip,
            };
            set("ips", Some(Value::from(vec![cidr])));
        }
        (None, Some(cidr)) => match cidr.split_once('/') {
            Some((ip, length)) => {
                set("ip", Some(ip.into()));
                set("netmask", netmask_of(length).map(Value::from));
            }
            // `dhcp` is the same word in both forms; `addrconf` has no old form.
            None if cidr == "dhcp" => set("ip", Some(cidr.into())),
            None => {}
        },
        _ => {}
    }
    set("gateways", gateway.map(|gateway| Value::from(vec![gateway])));
    set("gateway", first_gateway.map(Value::from));
    Ok(())
}

/// The length of the prefix that an IPv4 netmask means, if it is one.
fn prefix_length(netmask: &str) -> Option<u32> {
    let mask = u32::from(netmask.parse::<std::net::Ipv4Addr>().ok()?);
    (mask.leading_ones() + mask.trailing_zeros() == 32).then(|| mask.leading_ones())
}

/// The netmask of an IPv4 prefix length from 0 to 32.
fn netmask_of(length: &str) -> Option<String> {
    let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some(std::net::Ipv4Addr::from(mask).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Description, netmask_of, prefix_length};

    fn nic(nic: &serde_json::Value) -> serde_json::Value {
        let description = Description::new(json!({ "nics": [nic] })).expect("sound");
        description.property("nics").expect("there")[0].clone()
    }

    #[test]
    fn a_nic_says_everything_in_the_old_and_in_the_new_form() {
        let both = json!({
            "interface": "net0", "mac": "90:b8:d0:00:00:01",
            "ip": "10.0.0.2", "netmask": "255.255.254.0", "gateway": "10.0.0.1",
            "ips": ["10.0.0.2/23"], "gateways": ["10.0.0.1"],
        });
        let old = json!({ "mac": "90:b8:d0:00:00:01", "ip": "10.0.0.2", "netmask": "255.255.254.0", "gateway": "10.0.0.1" });
        let new = json!({ "mac": "90:b8:d0:00:00:01", "ips": ["10.0.0.2/23"], "gateways": ["10.0.0.1"] });
        assert_eq!(nic(&old), both);
        assert_eq!(nic(&new), both);
        assert_eq!(nic(&both), both);
    }

    #[test]
    fn dhcp_and_addrconf_are_words() {
        assert_eq!(nic(&json!({ "mac": "m", "ips": ["dhcp", "addrconf"] }))["ip"], "dhcp");
        assert_eq!(nic(&json!({ "mac": "m", "ip": "dhcp" }))["ips"], json!(["dhcp"]));
        assert!(nic(&json!({ "mac": "m", "ips": ["addrconf"] })).get("ip").is_none());
        let six = nic(&json!({ "mac": "m", "ips": ["fd00::2/64"] }));
        assert_eq!((six["ip"].as_str(), six.get("netmask")), (Some("fd00::2"), None));
    }

    #[test]
    fn prefixes_and_netmasks() {
        for (length, netmask) in
            [("0", "0.0.0.0"), ("1", "128.0.0.0"), ("23", "255.255.254.0"), ("32", "255.255.255.255")]
        {
            assert_eq!(netmask_of(length).as_deref(), Some(netmask));
            assert_eq!(prefix_length(netmask), length.parse().ok());
        }
        assert_eq!(netmask_of("33"), None);
        assert_eq!(prefix_length("255.0.255.0"), None);
    }

    #[test]
    fn flaws_name_their_place() {
        for (description, words) in [
            (json!([]), "the description must be a JSON object"),
            (json!({ "customer_metadata": { "a": [1] } }), "'customer_metadata.a' must be a string"),
            (json!({ "internal_metadata": 3 }), "'internal_metadata' must be an object"),
            (json!({ "routes": [] }), "'routes' must be an object"),
            (json!({ "resolvers": ["1.1.1.1", 8] }), "'resolvers' must be an array of strings"),
            (json!({ "nics": {} }), "'nics' must be an array"),
            (json!({ "nics": [{ "mac": "m" }, {}] }), "'nics[1].mac' must be the NIC's address"),
            (json!({ "nics": [{ "mac": "m", "ips": "dhcp" }] }), "'nics[0].ips' must be an array"),
        ] {
            let flaw = Description::new(description).expect_err(words).to_string();
            assert!(flaw.starts_with(words), "{flaw}");
        }
    }
}
