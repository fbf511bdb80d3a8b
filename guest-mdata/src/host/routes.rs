//! `sdc:routes`: the routes of a machine, as guests want them.

use serde_json::{Value, json};

use super::Description;

/// The routes as a list of `{linklocal, dst, gateway}`; `None` when the machine has no property of that name.
///
/// The property maps a destination to an address, to `nics[N]`, or to `macs[ADDRESS]`. The last two mean the address of
/// that NIC on its own link; when there is no such NIC, or it has no address of its own, the route is left out.
pub(super) fn for_guests(description: &Description) -> Option<Value> {
    let routes = description.property("routes")?.as_object()?;
    let nics = description.property("nics").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let list = routes.iter().filter_map(|(destination, target)| {
        let target = target.as_str()?;
        let nic = if let Some(index) = argument(target, "nics") {
            Some(nics.get(index.parse::<usize>().ok()?)?)
        } else if let Some(mac) = argument(target, "macs") {
            let mac = octets(mac)?;
            Some(nics.iter().find(|nic| nic["mac"].as_str().and_then(octets) == Some(mac))?)
        } else {
            None
        };
        let gateway = match nic {
            Some(nic) => nic["ip"].as_str().filter(|ip| *ip != "dhcp")?,
            None => target,
        };
        Some(json!({ "linklocal": nic.is_some(), "dst": destination, "gateway": gateway }))
    });
    Some(list.collect())
}

/// `ARGUMENT` of `name[ARGUMENT]`.
fn argument<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    target.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')
}

/// The six octets of an address, which may be written without leading zeros and in either case.
fn octets(mac: &str) -> Option<[u8; 6]> {
    let mut parts = mac.split([':', '-']);
    let mut octets = [0; 6];
    for octet in &mut octets {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::for_guests;
    use crate::host::Description;

    #[test]
    fn each_kind_of_target() {
        let description = Description::new(json!({
            "nics": [
                { "mac": "90:b8:d0:00:00:0a", "ips": ["10.0.0.2/24"] },
                { "mac": "90:b8:d0:00:00:0b", "ips": ["dhcp"] },
                { "mac": "90:b8:d0:00:00:0c" },
            ],
            "routes": {
                "192.168.1.0/24": "10.0.0.9",
                "192.168.2.0/24": "nics[0]",
                "192.168.3.0/24": "macs[90:B8:D0:0:0:A]",
                "192.168.4.0/24": "nics[1]",
                "192.168.5.0/24": "nics[2]",
                "192.168.6.0/24": "nics[7]",
                "192.168.7.0/24": "macs[90:b8:d0:00:00:0b]",
                "192.168.8.0/24": "macs[rubbish]",
                "192.168.9.0/24": "macs[+1:b8:d0:00:00:0a]",
            },
        }))
        .expect("sound");
        assert_eq!(
            for_guests(&description),
            Some(json!([
                { "linklocal": false, "dst": "192.168.1.0/24", "gateway": "10.0.0.9" },
                { "linklocal": true, "dst": "192.168.2.0/24", "gateway": "10.0.0.2" },
                { "linklocal": true, "dst": "192.168.3.0/24", "gateway": "10.0.0.2" },
            ]))
        );
    }

    #[test]
    fn no_routes_and_no_property_differ() {
        let routes = |description| for_guests(&Description::new(description).expect("sound"));
        assert_eq!(routes(json!({ "routes": {} })), Some(json!([])));
        assert_eq!(routes(json!({})), None);
    }
}
