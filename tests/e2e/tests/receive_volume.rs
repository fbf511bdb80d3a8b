//! Real OpenZFS receives volume streams, and the volumes read back are what went in.

use std::fs;

use kiln_harness::guest::Guest;
use kiln_harness::{fixtures, scratch};

/// Receives `$1.zs` into a volume of its own and prints the digest of its device.
const RECEIVE: &str = r#"
set -euo pipefail
zpool create -O mountpoint=none tank /dev/disk/by-id/virtio-scratch
for stream in *.zs; do
    volume=tank/${stream%.zs}
    zfs receive "$volume" <"$stream"
    udevadm settle -t 120
    device=/dev/zvol/$volume
    for tries in $(seq 300); do [ -b "$device" ] && break; sleep 0.2; done
    echo "$stream $(zfs get -Hpo value volsize "$volume") $(sha256sum <"$device" | cut -d' ' -f1)"
done
"#;

#[test]
fn openzfs_receives_the_streams_of_the_fixtures() {
    let Some(guest) = Guest::find() else { return };
    let folder = scratch::folder("receive");
    // The size of each volume and the digest of its content are those of the fixtures' README.md.
    let volumes = [
        ("zvol64-sparse", 67_108_864, "452905ea69688f164280377e05dc9bdc56266118f1ef031c03619a61a38ccae6"),
        ("zvol64b-full", 67_108_864, "c107cd71681452bbcfc2dc75311436af4f0cf30488d7ff7fbbf1508dbe6fbae1"),
    ];
    let mut guest = guest.zfs();
    let mut expected = String::new();
    for (name, size, digest) in volumes {
        let stream = fixtures::unpack(&format!("zstream/{name}.zs.gz"), folder.path());
        guest = guest.file(format!("{name}.zs"), stream);
        expected.extend([&format!("{name}.zs"), " ", &size.to_string(), " ", digest, "\n"]);
    }
    assert_eq!(guest.run(RECEIVE).expect("the guest runs").succeeded(), expected);
}

#[test]
fn openzfs_refuses_a_damaged_stream() {
    let Some(guest) = Guest::find() else { return };
    let folder = scratch::folder("receive");
    let stream = fixtures::unpack("zstream/zvol64-sparse.zs.gz", folder.path());
    let mut bytes = fs::read(&stream).expect("the fixture was just written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&stream, bytes).expect("the scratch folder is writable");
    let done = guest.zfs().file("zvol64-sparse.zs", stream).run(RECEIVE).expect("the guest runs");
    assert_ne!(done.status, 0);
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(words.contains("cannot receive"), "{words}");
}
