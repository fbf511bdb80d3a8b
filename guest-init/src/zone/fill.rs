//! Fills in the template of a zone.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};

use super::image::{self, Image};
use crate::platform::Platform;

/// What is known of the machine.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The platform.
    pub platform: &'a Platform,
    /// The memory, in MiB.
    pub memory: u64,
    /// The number of processors.
    pub processors: u64,
    /// What is free in the pool, in GiB.
    pub free: u64,
    /// The network for zones, if there is one; its first address is the machine's own.
    pub network: Option<Ipv4Net>,
    /// The switch that zones are connected to.
    pub switch: &'a str,
    /// The name servers that the host names, if any.
    pub resolvers: Vec<String>,
    /// The DNS domain that the host names, if any.
    pub domain: Option<String>,
    /// The zones that there are, as vmadm describes them.
    pub zones: &'a [Value],
    /// Addresses that somebody has of whom vmadm does not know.
    pub answering: Vec<Ipv4Addr>,
    /// The manifests of the images that are installed.
    pub images: &'a [Value],
}

/// What stays for the machine itself, in MiB.
const OWN_MEMORY: u64 = 512;

/// The least memory of a zone, in MiB.
const LEAST_MEMORY: u64 = 128;

/// Properties of an interface that platforms know since a day, with what stands for them before.
const NEWER_OF_NIC: [(&str, &str); 2] = [("ips", "20150715"), ("gateways", "20150715")];

/// Properties of an interface that belong to the network it is in.
const OF_NETWORK: [&str; 5] = ["ip", "ips", "netmask", "gateway", "gateways"];

/// Properties that go into the first interface.
const OF_NIC: [&str; 6] = ["ip", "netmask", "gateway", "nic_tag", "interface", "mac"];

/// Properties that are text, whatever the text looks like.
const TEXTS: [&str; 7] =
    ["alias", "brand", "dns_domain", "hostname", "image_uuid", "kernel_version", "zfs_root_compression"];

/// The description of a zone that suits the machine, from the template and the values that the owner gave.
///
/// # Errors
/// When something is missing or does not fit, with what to do about it.
pub fn fill(template: &Value, values: &[(String, String)], machine: &Machine<'_>) -> Result<Value> {
    let template = template.as_object().context("the template is no JSON object")?;
    let mut zone = template.clone();
    // What the template leaves to be filled in.
    zone.retain(|_, value| !value.as_str().is_some_and(is_placeholder));
    let mut nic = first_nic(&zone);
    nic.retain(|key, _| {
        NEWER_OF_NIC.iter().all(|(newer, since)| key != newer || machine.platform.is_since(since))
    });
    for (key, text) in values {
        let target = if OF_NIC.contains(&key.as_str()) { &mut nic } else { &mut zone };
        let is_text = OF_NIC.contains(&key.as_str()) || TEXTS.contains(&key.as_str());
        let value = if is_text { json!(text) } else { typed(text, template.get(key)) };
        target.insert(key.clone(), value);
    }
    let given = |key: &str| values.iter().any(|(name, _)| name == key);

    let wanted = zone.get("image_uuid").and_then(Value::as_str).map(str::to_owned);
    let image = image::choose(machine.images, wanted.as_deref(), machine.platform)?;
    set_image(&mut zone, image, given("brand"))?;
    let address = connect(&mut nic, &given, machine)?;
    zone.insert("nics".to_owned(), json!([nic]));
    if !given("resolvers") && !machine.resolvers.is_empty() {
        zone.insert("resolvers".to_owned(), json!(machine.resolvers));
    }
    if let Some(domain) = machine.domain.as_ref().filter(|_| !given("dns_domain")) {
        zone.insert("dns_domain".to_owned(), json!(domain));
    }
    name(&mut zone, address, machine.zones)?;
    set_sizes(&mut zone, &given, machine)?;
    Ok(Value::Object(zone))
}

/// Whether the text is one like `@ALIAS@`, which stands for a value.
fn is_placeholder(text: &str) -> bool {
    text.len() > 2 && text.starts_with('@') && text.ends_with('@')
}

fn first_nic(zone: &Map<String, Value>) -> Map<String, Value> {
    let nic = zone.get("nics").and_then(|nics| nics.get(0)).and_then(Value::as_object).cloned();
    let mut nic = nic.unwrap_or_default();
    nic.retain(|_, value| !value.as_str().is_some_and(is_placeholder));
    nic
}

/// The value that a text stands for: of the kind that the template has there, or else what it looks like.
fn typed(text: &str, present: Option<&Value>) -> Value {
    match present {
        Some(Value::Array(_)) => json!(text.split(',').map(str::trim).collect::<Vec<_>>()),
        Some(Value::String(_)) => json!(text),
        _ => match text {
            "true" => json!(true),
            "false" => json!(false),
            _ => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
        },
    }
}

fn set_image(zone: &mut Map<String, Value>, image: Image, brand_is_given: bool) -> Result<()> {
    if brand_is_given {
        let brand = zone.get("brand").and_then(Value::as_str).unwrap_or_default();
        ensure!(
            brand == image.brand,
            "image {} makes zones of brand '{}', not '{brand}'",
            image.uuid,
            image.brand
        );
    }
    zone.insert("image_uuid".to_owned(), json!(image.uuid));
    zone.insert("brand".to_owned(), json!(image.brand));
    if image.brand != "lx" {
        zone.remove("kernel_version");
    } else if let Some(version) = image.kernel_version {
        zone.entry("kernel_version").or_insert(json!(version));
    } else {
        ensure!(
            zone.contains_key("kernel_version"),
            "zones of Linux want a version of it: say kernel_version=4.3.0"
        );
    }
    Ok(())
}

/// Gives the interface an address of the network for zones that no other zone has. On another network the owner knows best.
fn connect(
    nic: &mut Map<String, Value>,
    given: &impl Fn(&str) -> bool,
    machine: &Machine<'_>,
) -> Result<Option<Ipv4Addr>> {
    nic.entry("interface").or_insert(json!("net0"));
    nic.insert("primary".to_owned(), json!(true));
    if given("nic_tag") && nic.get("nic_tag").and_then(Value::as_str) != Some(machine.switch) {
        // What the template says is of the network for zones.
        nic.retain(|key, _| given(key) || !OF_NETWORK.contains(&key.as_str()));
        ensure!(given("ip"), "with nic_tag= say ip= as well");
        let is_dhcp = nic.get("ip").is_some_and(|ip| ip == "dhcp");
        ensure!(is_dhcp || given("netmask"), "with nic_tag= and ip= say netmask= as well");
        return Ok(None);
    }
    let network = machine.network.context(
        "there is no network for zones (nat=no); set nat=yes in /usbkey/config, or say nic_tag= and ip=",
    )?;
    let used: Vec<Ipv4Addr> = machine.zones.iter().flat_map(addresses).collect();
    let own = network.hosts().next().context("the network for zones has no room")?;
    let reserved = [network.network(), network.broadcast(), own];
    let is_free = |address: &Ipv4Addr| {
        network.contains(address)
            && !reserved.contains(address)
            && !used.contains(address)
            && !machine.answering.contains(address)
    };
    let template = nic.get("ip").and_then(Value::as_str).and_then(|ip| ip.parse::<Ipv4Addr>().ok());
    let address = if given("ip") {
        let address = template.context("ip= wants an IPv4 address")?;
        ensure!(
            is_free(&address),
            "{address} is not free in {network}, or not in it; leave ip= out to have one chosen"
        );
        address
    } else {
        template.filter(|address| is_free(address)).or_else(|| network.hosts().find(is_free)).with_context(
            || format!("every address of {network} is taken; nat_subnet in /usbkey/config sets another"),
        )?
    };
    nic.insert("nic_tag".to_owned(), json!(machine.switch));
    nic.insert("ip".to_owned(), json!(address));
    nic.insert("netmask".to_owned(), json!(network.netmask()));
    nic.insert("gateway".to_owned(), json!(own));
    nic.remove("ips");
    nic.remove("gateways");
    Ok(Some(address))
}

/// The addresses of a zone.
fn addresses(zone: &Value) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let nics = zone["nics"].as_array().into_iter().flatten();
    let texts = nics.flat_map(|nic| nic["ips"].as_array().into_iter().flatten().chain([&nic["ip"]]));
    texts.filter_map(|text| text.as_str()?.split('/').next()?.parse().ok())
}

fn name(zone: &mut Map<String, Value>, address: Option<Ipv4Addr>, zones: &[Value]) -> Result<()> {
    let is_taken = |alias: &str| zones.iter().any(|zone| zone["alias"] == alias);
    if let Some(alias) = zone.get("alias").and_then(Value::as_str) {
        if is_taken(alias) {
            bail!("there is a zone called '{alias}' already; say alias= for another name");
        }
        return Ok(());
    }
    let first = address.map_or_else(|| "zone".to_owned(), |address| format!("zone{}", address.octets()[3]));
    let others = (2..).map(|number| format!("{first}-{number}"));
    let free = [first.clone()].into_iter().chain(others).find(|alias| !is_taken(alias));
    zone.insert("alias".to_owned(), json!(free));
    Ok(())
}

/// Makes sizes suit the machine. Those that the owner gave are refused rather than changed.
fn set_sizes(
    zone: &mut Map<String, Value>,
    given: &impl Fn(&str) -> bool,
    machine: &Machine<'_>,
) -> Result<()> {
    let number = |zone: &Map<String, Value>, key: &str, missing: u64| {
        zone.get(key).map_or(Some(missing), Value::as_u64).with_context(|| format!("{key} is no number"))
    };
    let most = machine.memory.saturating_sub(OWN_MEMORY);
    ensure!(
        most >= LEAST_MEMORY,
        "this machine has {} MiB of memory; with a zone it wants {}",
        machine.memory,
        OWN_MEMORY + LEAST_MEMORY
    );
    // What other zones may take is theirs, unless the owner says otherwise: it is a limit and not set aside.
    let others = machine.zones.iter().filter_map(|zone| zone["max_physical_memory"].as_u64());
    let left = others.fold(most, u64::saturating_sub);
    ensure!(
        left >= LEAST_MEMORY || given("max_physical_memory"),
        "the zones that there are may take all memory but {left} MiB; say max_physical_memory= to share it"
    );
    let wanted = number(zone, "max_physical_memory", left)?;
    if given("max_physical_memory") {
        ensure!(
            (LEAST_MEMORY..=most).contains(&wanted),
            "max_physical_memory={wanted} does not fit: it takes between {LEAST_MEMORY} and {most} MiB here"
        );
    }
    let memory = if given("max_physical_memory") { wanted } else { wanted.min(left) };
    // vmadm wants no less swap than memory, and at least 256 MiB; and no more locked memory than memory.
    let least_swap = memory.max(256);
    let swap = number(zone, "max_swap", memory * 2)?;
    let swap = if given("max_swap") {
        ensure!(swap >= least_swap, "max_swap={swap} is too small: it takes at least {least_swap} MiB");
        swap
    } else {
        swap.min(memory * 2).max(least_swap)
    };
    let locked = number(zone, "max_locked_memory", memory)?;
    if given("max_locked_memory") {
        ensure!(locked <= memory, "max_locked_memory={locked} is more than max_physical_memory={memory}");
    }
    ensure!(machine.free > 0, "less than 1 GiB is free in the pool");
    let quota = number(zone, "quota", machine.free)?;
    if given("quota") {
        ensure!(
            (1..=machine.free).contains(&quota),
            "quota={quota} does not fit: {} GiB are free in the pool",
            machine.free
        );
    }
    let sizes = [
        ("max_physical_memory", memory),
        ("max_swap", swap),
        ("max_locked_memory", locked.min(memory)),
        ("quota", quota.min(machine.free)),
    ];
    for (key, size) in sizes {
        zone.insert(key.to_owned(), json!(size));
    }
    if !given("cpu_cap") && zone.contains_key("cpu_cap") {
        // In hundredths of a processor; 0 is no cap.
        let cap = number(zone, "cpu_cap", 0)?;
        zone.insert("cpu_cap".to_owned(), json!(cap.min(machine.processors.saturating_mul(100))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../overlays/custom/etc/zone.json.tmpl");

    struct Bench {
        platform: Platform,
        zones: Vec<Value>,
        answering: Vec<Ipv4Addr>,
        images: Vec<Value>,
        network: Option<&'static str>,
        memory: u64,
        free: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                platform: Platform::of_kernel("joyent_20141030T081701Z").expect("a platform"),
                zones: vec![],
                answering: vec![],
                images: vec![json!({"uuid": "base", "type": "zone-dataset", "os": "smartos"})],
                network: Some("172.16.9.0/24"),
                memory: 4096,
                free: 20,
            }
        }

        fn fill(&self, values: &[&str]) -> Result<Value> {
            let values: Vec<_> = values
                .iter()
                .map(|value| value.split_once('=').expect("KEY=VALUE"))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let machine = Machine {
                platform: &self.platform,
                memory: self.memory,
                processors: 2,
                free: self.free,
                network: self.network.map(|network| network.parse().expect("a network")),
                switch: "vswitch0",
                resolvers: vec!["10.0.0.2".to_owned()],
                domain: None,
                zones: &self.zones,
                answering: self.answering.clone(),
                images: &self.images,
            };
            fill(&serde_json::from_str(TEMPLATE).expect("JSON"), &values, &machine)
        }

        fn refusal(&self, values: &[&str]) -> String {
            format!("{:#}", self.fill(values).expect_err("refused"))
        }
    }

    #[test]
    fn the_template_becomes_a_zone_of_this_machine() {
        let zone = Bench::new().fill(&[]).expect("a zone");
        let expected = json!({
            "alias": "zone3", "brand": "joyent", "image_uuid": "base", "autoboot": true, "cpu_cap": 200,
            "cpu_shares": 64, "delegate_dataset": true, "dns_domain": "retro.smartos.org",
            "fs_allowed": "ufs,pcfs,tmpfs", "limit_priv": "default", "max_locked_memory": 3584, "max_lwps": 4000,
            "max_physical_memory": 3584, "max_swap": 7168, "quota": 20, "resolvers": ["10.0.0.2"], "tmpfs": 0,
            "zfs_io_priority": 1000, "zfs_root_compression": "lzjb",
            "nics": [{"interface": "net0", "nic_tag": "vswitch0", "ip": "172.16.9.3", "netmask": "255.255.255.0",
                      "gateway": "172.16.9.1", "primary": true}],
        });
        assert_eq!(zone, expected);
    }

    #[test]
    fn no_two_zones_have_one_address_or_name() {
        let mut bench = Bench::new();
        let mut seen = Vec::new();
        for _ in 0..253 {
            let mut zone = bench.fill(&[]).expect("a zone");
            zone["max_physical_memory"] = json!(0);
            let (ip, alias) = (zone["nics"][0]["ip"].clone(), zone["alias"].clone());
            assert!(!seen.contains(&ip) && ip != "172.16.9.1", "{ip}");
            assert!(bench.zones.iter().all(|other| other["alias"] != alias), "{alias}");
            seen.push(ip);
            bench.zones.push(zone);
        }
        assert!(bench.refusal(&[]).starts_with("every address of 172.16.9.0/24 is taken"));
        bench.zones =
            vec![json!({"nics": [{"ips": ["172.16.9.3/24", "addrconf"]}]}), json!({"nics": 7}), json!(null)];
        assert_eq!(bench.fill(&[]).expect("a zone")["nics"][0]["ip"], "172.16.9.2");
    }

    #[test]
    fn the_network_may_be_another() {
        let mut bench = Bench::new();
        bench.network = Some("10.99.0.64/29");
        let nic = &bench.fill(&[]).expect("a zone")["nics"][0];
        assert_eq!(
            (&nic["ip"], &nic["netmask"], &nic["gateway"]),
            (&json!("10.99.0.66"), &json!("255.255.255.248"), &json!("10.99.0.65"))
        );
        bench.network = None;
        assert!(bench.refusal(&[]).starts_with("there is no network for zones"));
    }

    #[test]
    fn on_another_network_the_owner_says_everything() {
        for network in [None, Some("172.16.9.0/24")] {
            let bench = Bench { network, ..Bench::new() };
            let nic = |values: &[&str]| bench.fill(values).expect("a zone")["nics"][0].clone();
            assert_eq!(
                nic(&["nic_tag=external", "ip=dhcp"]),
                json!({"interface": "net0", "primary": true, "nic_tag": "external", "ip": "dhcp"})
            );
            assert_eq!(
                nic(&["nic_tag=net1", "ip=10.0.1.7", "netmask=255.255.255.0", "gateway=10.0.1.1"]),
                json!({"interface": "net0", "primary": true, "nic_tag": "net1", "ip": "10.0.1.7",
                       "netmask": "255.255.255.0", "gateway": "10.0.1.1"})
            );
            assert_eq!(bench.refusal(&["nic_tag=external"]), "with nic_tag= say ip= as well");
            assert_eq!(
                bench.refusal(&["nic_tag=external", "ip=10.0.1.7"]),
                "with nic_tag= and ip= say netmask= as well"
            );
        }
        let nic = &Bench::new().fill(&["nic_tag=vswitch0"]).expect("a zone")["nics"][0];
        assert_eq!(nic["ip"], "172.16.9.3", "it is the network for zones after all");
    }

    #[test]
    fn what_is_text_stays_text() {
        let zone =
            Bench::new().fill(&["alias=7", "hostname=true", "dns_domain=1", "quota=5"]).expect("a zone");
        assert_eq!(
            [&zone["alias"], &zone["hostname"], &zone["dns_domain"], &zone["quota"]],
            [&json!("7"), &json!("true"), &json!("1"), &json!(5)]
        );
    }

    #[test]
    fn the_owner_decides_within_what_fits() {
        let bench = Bench::new();
        let zone = bench
            .fill(&[
                "alias=web",
                "ip=172.16.9.77",
                "quota=5",
                "max_physical_memory=512",
                "resolvers=1.1.1.1,9.9.9.9",
                "autoboot=false",
                "tmpfs=64",
                "hostname=www",
            ])
            .expect("a zone");
        assert_eq!(zone["alias"], "web");
        assert_eq!(zone["nics"][0]["ip"], "172.16.9.77");
        assert_eq!(
            [&zone["quota"], &zone["max_physical_memory"], &zone["max_swap"], &zone["tmpfs"]]
                .map(Value::as_u64),
            [5, 512, 1024, 64].map(Some)
        );
        assert_eq!(zone["resolvers"], json!(["1.1.1.1", "9.9.9.9"]));
        assert_eq!((&zone["autoboot"], &zone["hostname"]), (&json!(false), &json!("www")));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_hint() {
        let mut bench = Bench::new();
        for (value, hint) in [
            ("quota=21", "quota=21 does not fit: 20 GiB are free in the pool"),
            ("quota=0", "quota=0 does not fit"),
            ("quota=much", "quota is no number"),
            (
                "max_physical_memory=4000",
                "max_physical_memory=4000 does not fit: it takes between 128 and 3584 MiB",
            ),
            ("max_swap=100", "max_swap=100 is too small"),
            ("max_locked_memory=4000", "max_locked_memory=4000 is more than"),
            ("ip=172.16.9.1", "172.16.9.1 is not free"),
            ("ip=172.16.9.255", "172.16.9.255 is not free"),
            ("ip=10.0.0.1", "10.0.0.1 is not free in 172.16.9.0/24, or not in it"),
            ("ip=x", "ip= wants an IPv4 address"),
            ("brand=lx", "image base makes zones of brand 'joyent', not 'lx'"),
            ("image_uuid=gone", "image gone is not installed: 'imgadm import gone' fetches it"),
        ] {
            assert!(bench.refusal(&[value]).starts_with(hint), "{}", bench.refusal(&[value]));
        }
        bench.zones = vec![json!({"alias": "web"})];
        assert!(bench.refusal(&["alias=web"]).starts_with("there is a zone called 'web' already"));
        bench.memory = 600;
        assert!(bench.refusal(&[]).starts_with("this machine has 600 MiB of memory"));
        (bench.memory, bench.free) = (1024, 0);
        assert!(bench.refusal(&[]).starts_with("less than 1 GiB is free"));
    }

    #[test]
    fn a_zone_has_no_address_that_somebody_else_answers_at() {
        let mut bench = Bench::new();
        bench.answering = [3, 2].map(|last| Ipv4Addr::new(172, 16, 9, last)).into();
        assert_eq!(bench.fill(&[]).expect("a zone")["nics"][0]["ip"], "172.16.9.4");
        assert!(bench.refusal(&["ip=172.16.9.3"]).starts_with("172.16.9.3 is not free"));
    }

    #[test]
    fn a_second_zone_has_the_memory_that_is_left() {
        let mut bench = Bench::new();
        bench.zones =
            vec![json!({"max_physical_memory": 1024}), json!({"max_physical_memory": "much"}), json!({})];
        let memory = |bench: &Bench, values: &[&str]| {
            bench.fill(values).expect("a zone")["max_physical_memory"].as_u64()
        };
        assert_eq!(memory(&bench, &[]), Some(4096 - 512 - 1024));
        assert_eq!(
            memory(&bench, &["max_physical_memory=3000"]),
            Some(3000),
            "the owner may share it out twice"
        );
        bench.zones.push(json!({"max_physical_memory": u64::MAX}));
        assert!(bench.refusal(&[]).starts_with("the zones that there are may take all memory but 0 MiB"));
        assert_eq!(memory(&bench, &["max_physical_memory=256"]), Some(256));
    }

    #[test]
    fn a_template_may_be_anything() {
        let bench = Bench::new();
        let machine = |zones, images| Machine {
            platform: &bench.platform,
            memory: 4096,
            processors: 1,
            free: 9,
            switch: "vswitch0",
            resolvers: vec![],
            domain: None,
            network: Some("172.16.9.0/30".parse().expect("a network")),
            zones,
            answering: vec![],
            images,
        };
        for template in [json!([]), json!(null), json!("@"), json!(7)] {
            fill(&template, &[], &machine(&[], &bench.images)).expect_err("no object");
        }
        let odd = json!({"nics": [{"ip": "@IP@", "ips": ["dhcp"], "gateways": []}], "alias": "@@"});
        let zone = fill(&odd, &[], &machine(&[], &bench.images)).expect("a zone");
        assert_eq!(
            zone["nics"][0],
            json!({"interface": "net0", "primary": true, "nic_tag": "vswitch0",
            "ip": "172.16.9.2", "netmask": "255.255.255.252", "gateway": "172.16.9.1"})
        );
    }
}
