//! Whether the file is kept, made anew, or passed over for this boot.

use std::net::Ipv4Addr;

use guest_mdata::values::MacAddress;

use super::format::{self, Config, Line};
use super::generate::{self, MTU, Wanted};
use crate::platform::Platform;
use crate::state::Link;

/// What is known when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The platform that will read the file.
    pub platform: &'a Platform,
    /// The file, if there is one.
    pub existing: Option<&'a Config>,
    /// The copy in the pool, if there is one.
    pub copy: Option<&'a Config>,
    /// What follows from what is known of the interfaces, if anything does.
    pub wanted: Option<&'a Wanted>,
    /// Whether the host says so now, and may be the reason to change a file that is good otherwise.
    pub is_said: bool,
    /// The links, if they are known.
    pub links: Option<&'a [Link]>,
}

/// What becomes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is kept.
    Keep {
        /// What its owner should know.
        warnings: Vec<String>,
    },
    /// It is replaced by this text.
    Write {
        /// The text.
        text: String,
        /// Why.
        why: String,
    },
    /// It is its owner's and is kept, but this boot goes with this text, since with that of the owner there would be no
    /// network and no way to mend it.
    PassOver {
        /// The text.
        text: String,
        /// Why.
        why: String,
    },
    /// There is no file and nothing to make one from.
    Nothing,
}

/// Decides.
pub fn decide(known: &Known<'_>) -> Decision {
    let existing = known.existing.filter(|config| !config.is_empty());
    match existing {
        Some(own) if !own.is_ours => match usable(own, known) {
            Ok(()) => Decision::Keep { warnings: own.problems.clone() },
            Err(problem) => match made_anew(None, known) {
                Some(text) => {
                    Decision::PassOver { text, why: format!("/usbkey/config cannot be used: {problem}") }
                }
                None => Decision::Keep { warnings: vec![problem] },
            },
        },
        Some(ours) => {
            let state = usable(ours, known);
            if state.is_ok() && !known.is_said {
                return Decision::Keep { warnings: ours.problems.clone() };
            }
            let Some(text) = made_anew(Some(ours), known) else {
                return Decision::Keep { warnings: state.err().into_iter().collect() };
            };
            // Comments of the owner do not survive, but neither are they a reason to write.
            if state.is_ok() && ours.problems.is_empty() && Config::parse(text.as_bytes()).lines == ours.lines
            {
                return Decision::Keep { warnings: Vec::new() };
            }
            let why = state.err().unwrap_or_else(|| "it is not what the host says any more".to_owned());
            Decision::Write { text, why: format!("/usbkey/config is made anew: {why}") }
        }
        None => {
            let why = match known.existing {
                Some(_) => "there is nothing in /usbkey/config",
                None => "there is no /usbkey/config",
            };
            match made_anew(None, known) {
                Some(text) => Decision::Write { text, why: why.to_owned() },
                None => Decision::Nothing,
            }
        }
    }
}

/// The text of a new file; lines of `before` that are not made here stay in it.
fn made_anew(before: Option<&Config>, known: &Known<'_>) -> Option<String> {
    let copy = known.copy.filter(|copy| !copy.is_empty());
    let before = before.or(copy);
    // A copy of a good file says more than what was remembered of the host. It is judged as the file of ours that it becomes:
    // of an owner's, more is taken on trust.
    if !known.is_said
        && let Some(copy) = copy
        && usable(&Config { is_ours: true, ..copy.clone() }, known).is_ok()
    {
        return Some(format::text(&copy.lines));
    }
    let stays = |line: &&Line| !generate::is_made_here(line.name()) && !ends_the_service(line);
    let own = before.into_iter().flat_map(|config| &config.lines).filter(stays);
    let lines: Vec<Line> = known.wanted?.lines.iter().chain(own).cloned().collect();
    Some(format::text(&lines))
}

/// Whether the platform gets a network from a file.
///
/// # Errors
/// Why not.
pub fn usable(config: &Config, known: &Known<'_>) -> Result<(), String> {
    if config.is_cut_short {
        return Err("it was cut short".to_owned());
    }
    let nic = config.get("admin_nic").filter(|nic| !nic.is_empty()).ok_or("it has no admin_nic")?;
    if let Ok(mac) = nic.parse::<MacAddress>() {
        let is_there = |link: &Link| link.mac == mac.0;
        if known.links.is_some_and(|links| !links.iter().any(is_there)) {
            return Err(format!("no link of this machine has the Ethernet address {nic} of its admin_nic"));
        }
    } else if config.is_ours || nic.contains(':') {
        // Otherwise it is the name of an aggregation, of which only its owner knows.
        return Err(format!("its admin_nic {nic} is no Ethernet address"));
    }
    match config.get("admin_ip") {
        None => {}
        Some("none") if known.platform.is_since("2018") => {}
        Some("dhcp") if known.platform.is_since("2014") => {}
        Some(address) => {
            let address_is_good = address.parse::<Ipv4Addr>().is_ok();
            let mask = config.get("admin_netmask").unwrap_or_default();
            let mask_is_good = mask.parse::<Ipv4Addr>().is_ok_and(|mask| {
                guest_mdata::values::Subnet::with_netmask(Ipv4Addr::UNSPECIFIED, mask).is_some()
            });
            if !address_is_good || !mask_is_good {
                return Err(format!("its admin_ip {address} with admin_netmask {mask} is no address"));
            }
        }
    }
    match config.lines.iter().find(|line| ends_the_service(line)) {
        Some(line) => {
            let (name, mtu) = (line.name(), line.value());
            Err(format!("its {name} {mtu} is not from {} to {}", MTU.start(), MTU.end()))
        }
        None => Ok(()),
    }
}

/// Whether a line is an MTU, of whichever interface, that ends the network service.
fn ends_the_service(line: &Line) -> bool {
    line.name().ends_with("_mtu") && !line.value().parse().is_ok_and(|mtu| MTU.contains(&mtu))
}

#[cfg(test)]
mod tests {
    use super::super::generate::{Facts, wanted};
    use super::*;
    use crate::phase::identity::nics;

    const NICS: &[u8] =
        br#"[{"interface": "net0", "mac": "02:08:20:5b:a1:00", "primary": true, "ips": ["10.0.0.5/24"],
        "gateways": ["10.0.0.1"], "ip": "10.0.0.5", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}]"#;
    const LINK: [u8; 6] = [2, 8, 0x20, 0x5b, 0xa1, 0];

    fn platform() -> Platform {
        Platform::of_kernel("joyent_20130506T233003Z").expect("a platform")
    }

    fn link(mac: [u8; 6]) -> Vec<Link> {
        vec![Link { name: "e1000g0".to_owned(), mac }]
    }

    fn from(nics: &[u8], links: &[Link]) -> Option<Wanted> {
        let nics = nics::read(nics).nics;
        wanted(&Facts {
            nics: &nics,
            links: Some(links),
            last_resort: None,
            resolvers: &["8.8.8.8".parse().expect("an address")],
            domain: None,
            hostname: Some("web"),
            etherstub: "vswitch0",
        })
    }

    struct Case<'a> {
        existing: Option<&'a str>,
        copy: Option<&'a str>,
        nics: &'a [u8],
        is_said: bool,
        mac: [u8; 6],
    }

    fn decided(case: &Case<'_>) -> Decision {
        let links = link(case.mac);
        let parse = |text: &str| Config::parse(text.as_bytes());
        let (existing, copy) = (case.existing.map(parse), case.copy.map(parse));
        decide(&Known {
            platform: &platform(),
            existing: existing.as_ref(),
            copy: copy.as_ref(),
            wanted: from(case.nics, &links).as_ref(),
            is_said: case.is_said,
            links: Some(&links),
        })
    }

    fn first() -> String {
        let case = Case { existing: None, copy: None, nics: NICS, is_said: true, mac: LINK };
        let Decision::Write { text, .. } = decided(&case) else { panic!("not written") };
        text
    }

    fn written(decision: Decision) -> Config {
        let Decision::Write { text, .. } = decision else { panic!("{decision:?}") };
        Config::parse(text.as_bytes())
    }

    #[test]
    fn a_first_boot_writes_what_the_host_says_and_a_second_keeps_it() {
        let text = first();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "admin_nic=02:08:20:5b:a1:00",
                "admin_ip=10.0.0.5",
                "admin_netmask=255.255.255.0",
                "admin_gateway=10.0.0.1",
                "headnode_default_gateway=10.0.0.1",
                "dns_resolvers=8.8.8.8",
                "dns_domain=local",
                "hostname=web",
                "etherstub=vswitch0",
            ]
        );
        let again = Case { existing: Some(&text), copy: None, nics: NICS, is_said: true, mac: LINK };
        assert_eq!(decided(&again), Decision::Keep { warnings: Vec::new() });
    }

    #[test]
    fn hazard_16_a_file_that_was_cut_short_is_made_anew() {
        let whole = first();
        for length in [0, 10, whole.find("admin_ip").expect("there"), whole.len() - 2] {
            for is_said in [true, false] {
                let cut = &whole[..length];
                let case = Case { existing: Some(cut), copy: None, nics: NICS, is_said, mac: LINK };
                assert_eq!(written(decided(&case)), Config::parse(whole.as_bytes()), "{length}");
            }
        }
        let case =
            Case { existing: Some("\0\0\0"), copy: Some(&whole), nics: b"", is_said: false, mac: LINK };
        assert_eq!(
            written(decided(&case)).lines,
            Config::parse(whole.as_bytes()).lines,
            "from the copy in the pool"
        );
    }

    #[test]
    fn hazard_17_another_ethernet_address_makes_another_file() {
        let text = first();
        let other = [2, 8, 0x20, 0, 0, 9];
        let nics = String::from_utf8_lossy(NICS).replace("02:08:20:5b:a1:00", "02:08:20:00:00:09");
        let case = Case {
            existing: Some(&text),
            copy: Some(&text),
            nics: nics.as_bytes(),
            is_said: true,
            mac: other,
        };
        let config = written(decided(&case));
        assert_eq!(config.get("admin_nic"), Some("02:08:20:00:00:09"));
        assert_eq!(config.get("admin_ip"), Some("10.0.0.5"));
        for (nics, is_said) in
            [(&b""[..], false), (NICS, false), (NICS, true), (b"[]", true), (b"garbage", false)]
        {
            let case = Case { existing: Some(&text), copy: Some(&text), nics, is_said, mac: other };
            let config = written(decided(&case));
            assert_eq!(config.get("admin_nic"), Some("02:08:20:00:00:09"), "the first link of the machine");
            assert_eq!(config.get("admin_ip"), None, "which asks a DHCP server");
        }
    }

    #[test]
    fn hazard_18_a_silent_host_costs_nothing_that_was_good() {
        let text = first();
        let case = Case { existing: Some(&text), copy: None, nics: b"", is_said: false, mac: LINK };
        assert_eq!(decided(&case), Decision::Keep { warnings: Vec::new() });
        let case = Case { existing: None, copy: Some(&text), nics: b"", is_said: false, mac: LINK };
        assert_eq!(written(decided(&case)).get("admin_ip"), Some("10.0.0.5"));
        let case = Case { existing: None, copy: None, nics: NICS, is_said: false, mac: LINK };
        assert_eq!(written(decided(&case)).get("admin_ip"), Some("10.0.0.5"), "from what was remembered");
        let case = Case { existing: None, copy: None, nics: b"", is_said: false, mac: LINK };
        assert_eq!(written(decided(&case)).get("admin_nic"), Some("02:08:20:5b:a1:00"));
        let platform = platform();
        let nothing = Known {
            platform: &platform,
            existing: None,
            copy: None,
            wanted: None,
            is_said: false,
            links: None,
        };
        assert_eq!(decide(&nothing), Decision::Nothing);
    }

    #[test]
    fn lines_of_the_owner_stay_in_a_file_that_is_made_anew() {
        let text = first().replace("admin_ip=10.0.0.5", "admin_ip=10.0.0.99")
            + "nat=no\nroot_shadow='$5$a$b'\nnet1_ip=dhcp\n";
        let case = Case { existing: Some(&text), copy: None, nics: NICS, is_said: true, mac: LINK };
        let config = written(decided(&case));
        assert_eq!(config.get("admin_ip"), Some("10.0.0.5"));
        assert_eq!((config.get("nat"), config.get("root_shadow")), (Some("no"), Some("$5$a$b")));
        assert_eq!(config.get("net1_ip"), Some("dhcp"));
        let text = first() + "nat=no\nnet1_mtu=1400\n";
        let case = Case { existing: Some(&text), copy: None, nics: b"", is_said: false, mac: LINK };
        let config = written(decided(&case));
        assert_eq!(
            (config.get("nat"), config.get("net1_mtu")),
            (Some("no"), None),
            "it would end the service"
        );
    }

    #[test]
    fn an_owners_copy_that_would_not_do_as_a_file_of_ours_is_not_taken_for_one() {
        let copy = Some("admin_nic=aggr0\nnat=no\n");
        let case = Case { existing: None, copy, nics: NICS, is_said: false, mac: LINK };
        let config = written(decided(&case));
        assert_eq!(config.get("admin_nic"), Some("02:08:20:5b:a1:00"));
        assert_eq!(config.get("nat"), Some("no"));
    }

    #[test]
    fn a_file_of_the_owner_is_never_written() {
        let own = "admin_nic=2:8:20:5b:a1:0\nhostname=mine\nx=$(id)\n";
        let case = Case { existing: Some(own), copy: None, nics: NICS, is_said: true, mac: LINK };
        let Decision::Keep { warnings } = decided(&case) else { panic!("not kept") };
        assert!(warnings.len() == 1 && warnings[0].starts_with("line 3: "), "{warnings:?}");
        for bad in [
            "hostname=mine\n",
            "admin_nic=02:08:20:00:00:09\n",
            "admin_nic=2:8:20\n",
            "admin_nic=2:8:20:5b:a1:0\nadmin_ip=dhcp\n",
            "admin_nic=2:8:20:5b:a1:0\nadmin_ip=10.0.0.5\n",
            "admin_nic=2:8:20:5b:a1:0\nadmin_mtu=1400\n",
            "admin_nic=2:8:20:5b:a1:0\nnet1_mtu=jumbo\n",
        ] {
            let case = Case { existing: Some(bad), copy: None, nics: NICS, is_said: true, mac: LINK };
            let Decision::PassOver { text, .. } = decided(&case) else { panic!("{bad}") };
            assert_eq!(text, first(), "{bad}");
        }
    }
}
