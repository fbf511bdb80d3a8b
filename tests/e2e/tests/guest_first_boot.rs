//! The first boot of a guest, and those after it, on a platform of each generation.

use std::fs;

use kiln_e2e::first_boot::{Image, RSA_KEY, differences, logs};
use kiln_simulator::Era;
use kiln_simulator::network::model::{From, Model, Outcome, Service};
use serde_json::{Value, json};

/// Most external commands of a first boot until the setup is done.
const MOST_COMMANDS: usize = 40;

#[test]
fn a_guest_sets_itself_up_once_and_stays_the_same() {
    for era in Era::ALL {
        let Some(image) = Image::build(era) else { return };
        let mut guest = image.usual_guest("guest");
        guest.start_host();
        let options = guest.options();

        let first = guest.boot(&options);
        for service in [
            "system/filesystem/smartdc",
            "system/smartdc/config",
            "network/physical",
            "network/ssh",
            "smartos/setup",
            "system/zones",
            "system/smartdc/init",
            "smartos/userscript",
        ] {
            assert_eq!(first.state(service), "online", "{era} {service}\n{}", logs(&first));
        }
        let status = &guest.kept()["customer_metadata"]["guest-init:status"];
        let status: Value =
            serde_json::from_str(status.as_str().expect("the guest has told its status")).unwrap();
        assert_eq!((&status["result"], &status["phase"]), (&json!("ok"), &json!("userscript")), "{era}");
        assert!(!first.console.contains("ERROR"), "{era}\n{}", logs(&first));
        assert_eq!(guest.machine.pools().unwrap().len(), 1, "{era}");
        let keys = guest.machine.dataset("zones/opt").unwrap().join("custom/root/.ssh/authorized_keys");
        assert!(fs::read_to_string(keys).unwrap().contains(RSA_KEY), "{era}\n{}", logs(&first));
        assert!(first.command_count() <= MOST_COMMANDS, "{era}: {}\n{}", first.command_count(), logs(&first));

        let mut model = Model::new(&first.runtime.network);
        let outside = "198.51.100.7".parse().unwrap();
        let from_zone = model.connect(From::zone("172.16.9.3"), outside, Service::Tcp(443));
        assert_eq!(from_zone.outcome, Outcome::Passed, "{era} {from_zone:?}");
        assert_eq!(from_zone.seen.map(|(address, _)| address.to_string()).as_deref(), Some("192.0.2.10"));
        let link = guest.machine.hardware().unwrap().nics[0].link.clone();
        let own = "192.0.2.10".parse().unwrap();
        let login = model.connect(From::outside(&link, "198.51.100.7"), own, Service::Tcp(22));
        assert_eq!(login.outcome, Outcome::Passed, "{era} {login:?}");

        let lasting = guest.lasting();
        for number in 2..=6 {
            let boot = guest.boot(&options);
            assert!(!boot.console.contains("ERROR"), "{era} boot {number}\n{}", logs(&boot));
            assert_eq!(boot.state("smartos/setup"), "online", "{era} boot {number}");
            assert_eq!(
                differences(&lasting, &guest.lasting()),
                [""; 0],
                "{era} boot {number}\n{}",
                logs(&boot)
            );
            assert_eq!(boot.runtime.network, first.runtime.network, "{era} boot {number}");
        }
    }
}
