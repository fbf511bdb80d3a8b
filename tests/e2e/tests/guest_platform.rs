//! What a guest owes to the age of its platform.

use kiln_e2e::first_boot::{INTERPRETED, Image, logs, metadata};
use kiln_simulator::{Era, Hardware};
use serde_json::json;

/// The oldest platform, whose own `mdata-get` is of no use in a global zone.
const OLD: &str = Era::ALL[0];

#[test]
fn scripts_find_an_mdata_get_that_works() {
    let Some(image) = Image::build(OLD) else { return };
    let mut told = metadata();
    told["customer_metadata"]["user-script"] = json!(INTERPRETED);
    told["alias"] = json!("found by name");
    let mut guest = image.guest("mdata", &Hardware::usual(OLD), &told);
    guest.start_host();
    let boot = guest.boot(&guest.options_with_interpreter("mdata-get sdc:alias\n"));
    let said = &boot.logs["svc:/smartos/userscript:default"];
    assert!(said.contains("+ mdata-get sdc:alias\nfound by name\n"), "{}", logs(&boot));
    assert!(said.contains("it ended with status 0"), "{}", logs(&boot));
}
