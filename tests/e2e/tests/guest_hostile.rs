//! Metadata that somebody else writes: too much of everything, and everything that a shell knows.

use std::fs;
use std::net::IpAddr;

use kiln_e2e::first_boot::{Guest, Image, RSA_KEY, logs, metadata};
use kiln_e2e::shell::{self, CANARY};
use kiln_simulator::network::inet::Family;
use kiln_simulator::network::model::{From, Model, Service};
use kiln_simulator::{Boot, BootOptions, Era, Hardware, Nic, static_program};
use serde_json::{Value, json};

const OLD: &str = Era::ALL[0];

/// How many cards a machine has that has many.
const MANY: u8 = 64;

/// A long value.
const MEBIBYTE: usize = 1 << 20;

/// How much faster than real clocks run where the host has much to say.
const SLOWLY: u32 = 10;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The services without which nobody gets in, and SSH from outside.
fn can_be_reached(guest: &Guest<'_>, boot: &Boot, link: &str) {
    for service in [
        "system/filesystem/smartdc",
        "system/smartdc/config",
        "network/physical",
        "network/ssh",
        "smartos/setup",
    ] {
        assert_eq!(boot.state(service), "online", "{service}\n{}", logs(boot));
    }
    let login = Model::new(&boot.runtime.network).connect(
        From::outside(link, "198.51.100.7"),
        ip("192.0.2.10"),
        Service::Tcp(22),
    );
    assert!(login.is_passed(), "{login}\n{}", logs(boot));
    let opt = guest.machine.dataset("zones/opt").unwrap_or_else(|error| panic!("{error}\n{}", logs(boot)));
    let keys = fs::read_to_string(opt.join("custom/root/.ssh/authorized_keys")).unwrap();
    assert!(keys.lines().any(|line| line == RSA_KEY), "{}", &keys[..keys.len().min(4000)]);
}

fn status(guest: &Guest<'_>) -> Value {
    let status = guest.kept()["customer_metadata"]["guest-init:status"].clone();
    serde_json::from_str(status.as_str().expect("the host was told")).expect("JSON")
}

/// No shell finds anything in what was written, no command got anything of it, and the console shows no orders to a terminal.
fn nothing_is_evaluated(guest: &Guest<'_>, boot: &Boot) {
    let config = fs::read(guest.machine.key().join("config")).unwrap();
    assert!(config.starts_with(b"# Made by guest-init.\nadmin_nic=") || config.len() > 100, "{}", logs(boot));
    assert_eq!(shell::harm(&config), [""; 0], "{}", String::from_utf8_lossy(&config));
    for call in &boot.calls {
        let line = call.argv.join(" ");
        assert!(
            !line.contains(CANARY) && !line.contains(['$', '`', ';', '|', '&', '<', '>', '\n']),
            "{line}"
        );
    }
    assert!(!boot.console.contains('\u{1b}'), "{}", boot.console.escape_debug());
    let name = &boot.runtime.host.name;
    assert!(
        name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "{name}"
    );
}

/// A card of the metadata, and of the machine.
fn card(number: u8) -> (Value, Nic) {
    let mac =
        if number == 0 { "52:54:00:12:34:56".to_owned() } else { format!("52:54:00:00:01:{number:02x}") };
    let said = json!({
        "interface": format!("net{number}"), "mac": mac, "nic_tag": "many", "model": "e1000",
        "ips": [format!("10.{number}.0.5/24"), format!("fd00:{number:x}::5/64")],
    });
    (said, Nic { link: format!("e1000g{number}"), mac, up: true, dhcp: None })
}

#[test]
fn sixty_four_cards_and_some_of_them_twice() {
    let Some(image) = Image::build(OLD) else { return };
    let mut hardware = Hardware::usual(OLD);
    let (said, nics): (Vec<Value>, Vec<Nic>) = (1..MANY).map(card).unzip();
    hardware.nics.extend(nics);
    let mut told = metadata();
    let own = told["nics"].as_array_mut().unwrap();
    own.extend(said);
    // Three more that claim the Ethernet addresses of others, one of them that of the way out.
    for (number, of) in [(64, 0), (65, 7), (66, 7)] {
        let mut twice = card(of).0;
        twice["interface"] = json!(format!("net{number}"));
        twice["ips"] = json!([format!("10.200.{number}.5/24")]);
        twice["primary"] = json!(true);
        own.push(twice);
    }
    let mut guest = image.guest("many", &hardware, &told);
    guest.start_host();
    let options = slow(&guest);
    let boot = guest.boot(&options);
    can_be_reached(&guest, &boot, "e1000g0");
    nothing_is_evaluated(&guest, &boot);
    assert_eq!(status(&guest)["result"], "ok", "{}", logs(&boot));
    let network = &boot.runtime.network;
    let mut model = Model::new(network);
    for number in 1..MANY {
        let link = format!("e1000g{number}");
        for (family, own) in
            [(Family::Inet, format!("10.{number}.0.5")), (Family::Inet6, format!("fd00:{number:x}::5"))]
        {
            let interface = network.interface(&link, family);
            let has = interface
                .is_some_and(|interface| interface.up().any(|logical| logical.prefix.address == ip(&own)));
            assert!(has, "{link} lacks {own}\n{}", logs(&boot));
            let other = own.replace(".0.5", ".0.9").replace("::5", "::9");
            for (service, passes) in [(Service::Tcp(22), true), (Service::Tcp(111), false)] {
                let verdict = model.connect(From::outside(&link, &other), ip(&own), service);
                assert_eq!(verdict.is_passed(), passes, "{link} {own}: {verdict}");
            }
        }
    }
    let taken = |address: &str| {
        network.interfaces.iter().any(|interface| interface.up().any(|own| own.prefix.address == ip(address)))
    };
    assert!(!taken("10.200.64.5") && !taken("10.200.65.5") && !taken("10.200.66.5"), "{}", logs(&boot));
    let out = model.connect(From::zone("172.16.9.3"), ip("10.63.0.9"), Service::Tcp(443));
    assert_eq!(out.seen.map(|(address, _)| address), Some(ip("10.63.0.5")), "{out}");
}

/// A boot whose clocks run so slowly that long answers of the host come in time.
fn slow(guest: &Guest<'_>) -> BootOptions {
    let mut options = guest.options();
    options.settings = options.settings.time_scale(SLOWLY);
    options
}

/// Values of a MiB in every key that is read, good ones before the rest.
fn too_much() -> Value {
    let mut told = metadata();
    let long = "a".repeat(MEBIBYTE);
    let entries = |entry: fn(usize) -> Value| {
        let mut entries = Vec::new();
        let mut length = 0;
        while length < MEBIBYTE {
            let entry = entry(entries.len());
            length += entry.to_string().len() + 1;
            entries.push(entry);
        }
        entries
    };
    told["nics"].as_array_mut().unwrap().extend(entries(|number| {
        json!({
            "interface": format!("net{}", number + 1), "mac": format!("52:54:01:{:02x}:{:02x}:{:02x}", number >> 16, number >> 8 & 255, number & 255),
            "ips": [format!("10.{}.{}.5/24", number >> 8 & 255, number & 255)], "model": "e1000", "mtu": number,
        })
    }));
    let routes =
        entries(|number| json!(format!("10.{}.{}.{}/32", number >> 16, number >> 8 & 255, number & 255)));
    told["routes"] = routes
        .iter()
        .map(|to| (to.as_str().unwrap().to_owned(), json!("192.0.2.77")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut resolvers = vec![json!("192.0.2.53")];
    resolvers.extend(entries(|number| json!(format!("10.7.{}.{}", number >> 8 & 255, number & 255))));
    told["resolvers"] = json!(resolvers);
    for name in ["hostname", "alias", "dns_domain"] {
        told[name] = json!(long);
    }
    for setting in
        ["nat_subnet", "ssh_allow", "hostname", "ntp_hosts", "etherstub", "nat", "nat_if", "sendmail"]
    {
        told["customer_metadata"][format!("guest-init:{setting}")] = json!(long);
    }
    let program = format!("#!/usr/bin/interpreter\n#{long}\n");
    told["customer_metadata"]["user-script"] = json!(program);
    told["internal_metadata"]["operator-script"] = json!(program);
    told["customer_metadata"]["root_authorized_keys"] =
        json!(format!("{RSA_KEY}\n{}", "ssh-rsa AAAA no key\n".repeat(MEBIBYTE / 20)));
    told
}

#[test]
fn a_mebibyte_of_everything() {
    let Some(image) = Image::build(OLD) else { return };
    let mut guest = image.guest("much", &Hardware::usual(OLD), &too_much());
    guest.start_host();
    let mut options = slow(&guest);
    let folder = guest.machine.folder().join("interpreter");
    fs::create_dir_all(folder.join("etc/scripted")).unwrap();
    fs::write(folder.join("etc/scripted/interpreter"), "/usr/bin/hostname ran\n").unwrap();
    options.overlays.push((folder, "/".into()));
    options.programs.push((static_program("scripted").unwrap(), "/usr/bin/interpreter".into()));
    let boot = guest.boot(&options);
    can_be_reached(&guest, &boot, "e1000g0");
    nothing_is_evaluated(&guest, &boot);
    assert_eq!(boot.runtime.host.name, "ran", "{}", logs(&boot));
    let var = guest.machine.dataset("zones/var").unwrap();
    for script in ["operator", "user"] {
        let path = var.join(format!("svc/mdata-{script}-script"));
        assert!(fs::metadata(path).unwrap().len() > MEBIBYTE as u64);
    }
    // The host has no room left to be told in, and that is no trouble of the guest's.
    assert!(boot.console.contains("guest-init userscript: ok"), "{}", logs(&boot));
    let kept = fs::metadata(guest.machine.key().join("guest-init/metadata.json")).unwrap().len();
    assert!(kept < MEBIBYTE as u64, "{kept} bytes are remembered");
    let log = fs::metadata(var.join("log/guest-init.log")).unwrap().len();
    assert!(log <= MEBIBYTE as u64, "{log} bytes are logged");
}

/// Words that a shell would run, each in another way.
const RUNS: [&str; 8] = [
    "x$(touch canary)",
    "x`touch canary`",
    "x;touch canary",
    "x|touch canary",
    "x&touch canary",
    "x>canary",
    "x\ntouch canary\n",
    "x touch canary \u{1b}[2J\u{7}",
];

/// Metadata with this in every place where there is text, and addresses that no machine can have.
fn hostile(words: &str) -> Value {
    let mut told = metadata();
    for name in ["hostname", "alias", "dns_domain"] {
        told[name] = json!(words);
    }
    told["resolvers"] = json!([words, "192.0.2.53", "256.0.0.1", "fe80::1%0"]);
    told["nics"][0]["nic_tag"] = json!(words);
    told["nics"][0]["ips"] = json!([
        "192.0.2.10/24",
        words,
        "192.0.2.11/33",
        "0.0.0.0/0",
        "300.1.1.1/8",
        "::1/128",
        "fd00::1/129"
    ]);
    told["nics"][0]["gateways"] = json!([words, "192.0.2.1", "10.0.0.0.1"]);
    let nics = told["nics"].as_array_mut().unwrap();
    for (interface, mac, ips) in [
        (words, "52:54:00:00:00:01", json!(["10.1.0.5/24"])),
        ("net2", words, json!(["10.2.0.5/24"])),
        ("net3", "52:54:00:00:00:03", json!([words])),
        ("net4", "52:54:00:00:00:04:05", json!([words, words])),
        ("net5", "ff:ff:ff:ff:ff:ff", json!(["224.0.0.1/4", "127.0.0.1/8", "10.5.0.0/24"])),
    ] {
        nics.push(json!({ "interface": interface, "mac": mac, "ips": ips, "mtu": words, "vlan_id": -1, "primary": words }));
    }
    told["routes"] = json!({ words: "192.0.2.7", "10.6.0.0/99": "192.0.2.7", "10.7.0.0/16": words, "0.0.0.0/0": "192.0.2.7" });
    for setting in [
        "nat",
        "nat_subnet",
        "nat_if",
        "etherstub",
        "ssh_allow",
        "sendmail",
        "hostname",
        "ntp_hosts",
        "no_such",
    ] {
        told["customer_metadata"][format!("guest-init:{setting}")] = json!(words);
    }
    told["customer_metadata"]["user-script"] = json!(words);
    told["customer_metadata"]["root_authorized_keys"] = json!(format!(
        "{words}\nssh-rsa {words}\ncommand=\"{words}\" ssh-rsa AAAA\n{RSA_KEY}\n{words} {RSA_KEY}"
    ));
    told
}

#[test]
fn what_a_shell_would_run_is_run_by_none() {
    let Some(image) = Image::build(OLD) else { return };
    let mut hardware = Hardware::usual(OLD);
    hardware
        .nics
        .extend([1, 3].map(|number| Nic { mac: format!("52:54:00:00:00:0{number}"), ..card(number).1 }));
    for (at, words) in RUNS.iter().enumerate() {
        let mut guest = image.guest(&format!("hostile{at}"), &hardware, &hostile(words));
        guest.start_host();
        let boot = guest.boot(&slow(&guest));
        can_be_reached(&guest, &boot, "e1000g0");
        nothing_is_evaluated(&guest, &boot);
        let routes = &boot.runtime.network.routes;
        assert!(routes.iter().all(|route| route.gateway == ip("192.0.2.1")), "{routes:?}");
    }
}
