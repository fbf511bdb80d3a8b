//! Which channel a guest has.

use guest_mdata::channel::{Device, Guest, ZONE_SOCKETS};
// What an illumos executable needs to start.
use guest_rt as _;

fn linux(product: Option<&str>, kernel: &str) -> Guest {
    Guest::Linux { product: product.map(str::to_owned), kernel: kernel.to_owned() }
}

fn global(product: Option<&str>) -> Guest {
    Guest::GlobalZone { product: product.map(str::to_owned) }
}

#[test]
fn case_44_each_kind_of_guest_has_its_channel() {
    let sockets = ZONE_SOCKETS.map(Into::into).to_vec();
    assert_eq!(Guest::Zone.device(), Ok(Device::Unix(sockets)));
    assert_eq!(global(Some("SmartDC HVM")).device(), Ok(Device::Serial("/dev/term/b".into())));
    for product in [None, Some("SmartDC HVM"), Some("SmartDC Something")] {
        assert_eq!(linux(product, "#1 SMP").device(), Ok(Device::Serial("/dev/ttyS1".into())));
    }
    let lx = linux(Some("SmartDC HVM"), "BrandZ virtual linux").device();
    assert_eq!(lx, Ok(Device::Unix(vec!["/native/.zonecontrol/metadata.sock".into()])));
}

#[test]
fn case_44_what_is_no_guest_is_told_so() {
    for guest in [global(None), global(Some("SmartDC")), linux(Some("Standard PC (Q35 + ICH9, 2009)"), "#1")]
    {
        let text = guest.device().expect_err("no guest").to_string();
        assert!(text.starts_with("I don't know how to get metadata on this system."), "{text}");
        assert!(text.contains("--device"), "{text}");
    }
    let text = linux(Some("X200"), "#1").device().expect_err("no guest").to_string();
    assert!(text.contains("'X200'"), "{text}");
}

#[test]
fn case_44_devices_by_name() {
    assert_eq!("/dev/ttyS1".parse(), Ok(Device::Serial("/dev/ttyS1".into())));
    assert_eq!("unix:/tmp/s".parse(), Ok(Device::Unix(vec!["/tmp/s".into()])));
    assert_eq!("tcp:127.0.0.1:4555".parse(), Ok(Device::Tcp(([127, 0, 0, 1], 4555).into())));
    assert!("tcp:[::1]:4555".parse::<Device>().is_ok());
    for bad in ["", "unix:", "tcp:", "tcp:4555", "tcp:localhost:4555"] {
        assert!(bad.parse::<Device>().is_err(), "{bad}");
    }
}
