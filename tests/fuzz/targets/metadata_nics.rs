//! The values of `sdc:nics`, `sdc:routes` and `sdc:resolvers`, and what names a guest.
#![no_main]

use guest_mdata::values::{Address, hostname, nics, resolvers, routes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(read) = nics(input) {
        for nic in read.good {
            assert!((1..=31).contains(&nic.interface.len()));
            for address in nic.addresses {
                let Address::Static(subnet) = address else { continue };
                assert_eq!(subnet.to_string().parse(), Ok(subnet));
            }
        }
    }
    if let Ok(read) = routes(input) {
        for route in read.good {
            assert_eq!(route.destination.to_string().parse(), Ok(route.destination));
        }
    }
    let _ = resolvers(input);
    if let Some(name) = hostname(input) {
        assert!((1..=63).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-'));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    }
});
