//! `sdc:nics`: the network interfaces of the instance.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use super::{Address, Entries, MOST_ENTRIES, MacAddress, Problems, Subnet, entries, shown};
use crate::error::ValueProblem;

/// The longest name of a datalink on illumos, without its NUL.
const LONGEST_NAME: usize = 31;
/// The range of the sizes of packets: the least is what IPv4 demands (RFC 791), the most what its length field holds.
const MTU: std::ops::RangeInclusive<u64> = 68..=65535;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name, such as `net0`: letters, digits and underscores.
    pub interface: String,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Whether the default route goes over it. Hosts leave the field out where it is false.
    pub primary: bool,
    /// Its addresses, from `ips`, or on old hosts from `ip` and `netmask`.
    pub addresses: Vec<Address>,
    /// Its routers, from `gateways`, or on old hosts from `gateway`.
    pub gateways: Vec<IpAddr>,
    /// The largest packet in bytes.
    pub mtu: Option<u16>,
}

/// Reads the value of `sdc:nics`. An interface without a good name or Ethernet address is left out.
pub fn nics(text: &[u8]) -> Result<Entries<Nic>, ValueProblem> {
    entries(text, |entry, problems| {
        let Value::Object(fields) = entry else {
            problems.add("", "not an object");
            return None;
        };
        nic(fields, problems)
    })
}

fn nic(fields: &Map<String, Value>, problems: &mut Problems) -> Option<Nic> {
    let mac = required(fields, "mac", problems)?;
    let mac = problems.parse(".mac", mac, "Ethernet address")?;
    let interface = required(fields, "interface", problems)?;
    let is_name = |name: &str| {
        (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_name(interface) {
        problems.add(".interface", format_args!("'{}' is no name of an interface", shown(interface)));
        return None;
    }
    Some(Nic {
        interface: interface.to_owned(),
        mac,
        primary: matches!(fields.get("primary"), Some(Value::Bool(true))),
        addresses: addresses(fields, problems),
        gateways: gateways(fields, problems),
        mtu: number(fields, "mtu", MTU, problems),
    })
}

fn addresses(fields: &Map<String, Value>, problems: &mut Problems) -> Vec<Address> {
    if let Some(texts) = list(fields, "ips", problems) {
        return texts.iter().filter_map(|text| problems.parse(".ips", text, "address")).collect();
    }
    let Some(ip) = fields.get("ip").and_then(Value::as_str) else { return Vec::new() };
    if ip == "dhcp" {
        return vec![Address::Dhcp];
    }
    let Some(address) = problems.parse::<Ipv4Addr>(".ip", ip, "IPv4 address") else { return Vec::new() };
    let mask = required(fields, "netmask", problems)
        .and_then(|mask| problems.parse::<Ipv4Addr>(".netmask", mask, "netmask"));
    let subnet = mask.and_then(|mask| {
        let subnet = Subnet::with_netmask(address, mask);
        if subnet.is_none() {
            problems.add(".netmask", format_args!("'{mask}' is no netmask"));
        }
        subnet
    });
    subnet.map(Address::Static).into_iter().collect()
}

fn gateways(fields: &Map<String, Value>, problems: &mut Problems) -> Vec<IpAddr> {
    if let Some(texts) = list(fields, "gateways", problems) {
        return texts.iter().filter_map(|text| problems.parse(".gateways", text, "IP address")).collect();
    }
    let gateway = fields.get("gateway").and_then(Value::as_str).filter(|text| !text.is_empty());
    gateway.and_then(|text| problems.parse(".gateway", text, "IP address")).into_iter().collect()
}

fn required<'a>(fields: &'a Map<String, Value>, name: &str, problems: &mut Problems) -> Option<&'a str> {
    let text = fields.get(name).and_then(Value::as_str);
    if text.is_none() {
        problems.add(&format!(".{name}"), "missing, or not a string");
    }
    text
}

/// The strings of a field that is an array of at least one.
fn list<'a>(fields: &'a Map<String, Value>, name: &str, problems: &mut Problems) -> Option<Vec<&'a str>> {
    let Value::Array(values) = fields.get(name)? else {
        problems.add(&format!(".{name}"), "not an array");
        return None;
    };
    if values.len() > MOST_ENTRIES {
        problems
            .add(&format!(".{name}"), format_args!("more than {MOST_ENTRIES} entries; the rest is left out"));
    }
    let values = &values[..values.len().min(MOST_ENTRIES)];
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    if texts.len() < values.len() {
        problems.add(&format!(".{name}"), "not only strings");
    }
    (!texts.is_empty()).then_some(texts)
}

fn number(
    fields: &Map<String, Value>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
    problems: &mut Problems,
) -> Option<u16> {
    let value = fields.get(name)?;
    let number =
        value.as_u64().filter(|number| range.contains(number)).and_then(|number| number.try_into().ok());
    if number.is_none() {
        problems.add(
            &format!(".{name}"),
            format_args!(
                "{} is no number from {} to {}",
                shown(&value.to_string()),
                range.start(),
                range.end()
            ),
        );
    }
    number
}

#[cfg(test)]
mod tests {
    use super::nics;
    use crate::values::Address;

    fn subnet(text: &str) -> Address {
        Address::Static(text.parse().expect("a subnet"))
    }

    #[test]
    fn new_fields_come_before_old_ones() {
        let read = nics(
            br#"[{"interface": "net0", "mac": "02:08:20:5b:a1:00", "vlan_id": 0, "nic_tag": "external",
                "gateway": "10.0.0.1", "gateways": ["10.0.0.254", "fd00::1"], "netmask": "255.255.255.0",
                "ip": "10.0.0.5", "ips": ["10.0.0.6/23", "fd00::6/64", "addrconf"], "model": "virtio",
                "primary": true, "mtu": 1500}]"#,
        )
        .expect("an array");
        assert_eq!(read.problems, [""; 0]);
        let nic = &read.good[0];
        assert_eq!((nic.interface.as_str(), nic.primary, nic.mtu), ("net0", true, Some(1500)));
        assert_eq!(nic.addresses, [subnet("10.0.0.6/23"), subnet("fd00::6/64"), Address::Addrconf]);
        assert_eq!(nic.gateways.len(), 2);
    }

    #[test]
    fn hosts_of_2013_send_the_old_fields_only() {
        let read = nics(
            br#"[{"interface": "net0", "mac": "2:8:20:5b:a1:0", "ip": "10.0.0.5", "netmask": "255.255.255.0",
                 "gateway": "10.0.0.1", "primary": true},
                {"interface": "net1", "mac": "2:8:20:5b:a1:1", "ip": "dhcp", "ips": []}]"#,
        )
        .expect("an array");
        assert_eq!(read.problems, [""; 0]);
        assert_eq!(read.good[0].addresses, [subnet("10.0.0.5/24")]);
        assert_eq!(read.good[0].gateways.len(), 1);
        assert_eq!(read.good[1].addresses, [Address::Dhcp]);
        assert!(!read.good[1].primary);
    }

    #[test]
    fn what_is_bad_is_told_and_left_out_alone() {
        let read = nics(
            br#"[7, {"interface": "net0"}, {"interface": "a b", "mac": "2:8:20:5b:a1:0"},
                {"interface": "net3", "mac": "2:8:20:5b:a1:3", "ips": ["10.0.0.5", "10.0.0.6/24"], "mtu": 9,
                 "gateways": "10.0.0.1"},
                {"interface": "net4", "mac": "2:8:20:5b:a1:4", "ip": "10.0.0.5", "netmask": "255.0.255.0"}]"#,
        )
        .expect("an array");
        assert_eq!(
            read.problems,
            [
                "[0]: not an object",
                "[1].mac: missing, or not a string",
                "[2].interface: 'a b' is no name of an interface",
                "[3].ips: '10.0.0.5' is no address",
                "[3].gateways: not an array",
                "[3].mtu: 9 is no number from 68 to 65535",
                "[4].netmask: '255.0.255.0' is no netmask",
            ]
        );
        let names: Vec<&str> = read.good.iter().map(|nic| nic.interface.as_str()).collect();
        assert_eq!(names, ["net3", "net4"]);
        assert_eq!(read.good[0].addresses, [subnet("10.0.0.6/24")]);
    }

    #[test]
    fn what_is_no_array_is_an_error_with_its_place() {
        let error = nics(b"{\n}").expect_err("an object");
        assert!(error.to_string().contains("not a JSON array"), "{error}");
        let many = format!("[{}0]", "0,".repeat(300));
        let read = nics(many.as_bytes()).expect("an array");
        assert_eq!(read.problems.len(), 257);
    }

    #[test]
    fn what_is_told_of_a_huge_value_is_short() {
        let bad = "\u{1b}x".repeat(1000);
        let escaped = bad.replace('\u{1b}', "\\u001b");
        let nic = |rest: &str| format!(r#"[{{"interface": "net0", "mac": "2:8:20:5b:a1:0", {rest}}}]"#);
        for value in [
            nic(&format!(r#""ips": [{}"10.0.0.5/24"]"#, format!(r#""{escaped}","#).repeat(3000))),
            nic(&format!(r#""mtu": [{}0]"#, "7,".repeat(100_000))),
            nic(&format!(r#""gateways": [{}0]"#, "7,".repeat(100_000))),
            format!(r#"[{{"interface": "{escaped}", "mac": "2:8:20:5b:a1:0"}}]"#),
            format!(r#"[{{"interface": "net0", "mac": "{escaped}"}}]"#),
        ] {
            let told: String = nics(value.as_bytes()).expect("an array").problems.concat();
            assert!((10..100_000).contains(&told.len()), "{} bytes", told.len());
            assert!(!told.contains('\u{1b}'));
        }
    }
}
