//! What OpenZFS sends of file systems that it made itself is read here as it lists them.

use kiln_e2e::trees::{self, Dice, System};
use kiln_zstream::ErrorKind;
use kiln_zstream::fs::objects::NoStore;
use kiln_zstream::fs::{Objects, Version};

use crate::increments::{self, Case};
use crate::judge::{self, Bench, assert_same};
use crate::menagerie::{Extent, menagerie};

/// A dataset and the ways in which it is sent.
struct Dataset {
    name: &'static str,
    /// Options with which it is created.
    options: &'static str,
    /// Options with which it is sent.
    sent: &'static [&'static str],
}

const DATASETS: [Dataset; 6] = [
    Dataset { name: "old/plain", options: "", sent: &["", "-R", "-p"] },
    Dataset { name: "full/plain", options: "-o recordsize=4k -o compression=lzjb", sent: &["-e", "-c"] },
    Dataset {
        name: "full/wide",
        options: "-o recordsize=1m -o compression=lz4",
        sent: &["", "-L", "-c", "-Lec"],
    },
    Dataset {
        name: "full/packed",
        options: "-o xattr=sa -o dnodesize=auto -o compression=gzip",
        sent: &["-Lec"],
    },
    Dataset { name: "full/zle", options: "-o compression=zle", sent: &["-c"] },
    Dataset { name: "full/zstd", options: "-o compression=zstd", sent: &["-c"] },
];

/// Those of them that serve as origins, with the pool that receives them.
const ORIGINS: [(&str, &str); 5] = [
    ("old", "old-plain-one"),
    ("full", "full-plain-one-e"),
    ("full", "full-wide-one-Lec"),
    ("old", "full-wide-one"),
    ("full", "full-packed-one-Lec"),
];

/// Copies of what was received are made by programs that know nothing of streams.
const SCRIPT: &str = r#"
pools
receive origin.zs full/origin
make() {
    local name=$1 options=$2
    shift 2
    zfs create $options "$name"
    cp -a /full/origin/. "/$name/"
    step "$name is made"
    for state in one two; do
        if [ "$state" = two ]; then /tmp/witness alter "/$name" 2; fi
        zfs snapshot "$name@$state"
        /tmp/witness list "/$name" "$OUT/${name//\//-}-$state.list" /dev/null
    done
    for flags; do
        zfs send $flags "$name@one" | keep "${name//\//-}-one$flags.zs"
        zfs send ${flags/-R/} -i @one "$name@two" | keep "${name//\//-}-two$flags.zs"
    done
    step "$name is sent"
}
head -c 32 /dev/urandom >/tmp/key
zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///tmp/key full/secret
echo secret >/full/secret/file
zfs snapshot full/secret@one
zfs send -w full/secret@one | keep raw.zs
"#;

#[test]
fn what_openzfs_sends_is_what_it_lists() {
    let Some(mut bench) = Bench::open() else { return };
    bench.file("origin.zs", &judge::full(&menagerie(Extent::SMALL), Version::Five, 1));
    let mut script = vec![SCRIPT.to_owned()];
    for Dataset { name, options, sent } in &DATASETS {
        let sent: Vec<String> = sent.iter().map(|flags| format!("'{flags}'")).collect();
        script.push(format!("make {name} '{options}' {}", sent.join(" ")));
    }
    let results = bench.run(&script.join("\n"));
    for Dataset { name, sent, .. } in &DATASETS {
        let name = name.replace('/', "-");
        let lists = ["one", "two"].map(|state| results.text(&format!("{name}-{state}.list")));
        assert_ne!(lists[0], lists[1], "{name}");
        for flags in *sent {
            let streams = ["one", "two"].map(|state| results.bytes(&format!("{name}-{state}{flags}.zs")));
            let what = format!("{name} sent with {flags:?}");
            for (streams, list) in
                [(&[&streams[0][..]][..], &lists[0]), (&[&streams[0], &streams[1]], &lists[1])]
            {
                let read = trees::of_tree(&judge::read(streams).tree, System::OpenZfs);
                assert_same(&read.lines, list, &what);
            }
        }
    }
    // What it sent is an origin, too.
    let cases = ORIGINS.iter().zip(0..).map(|(&(pool, stream), number)| {
        let origin = results.bytes(&format!("{stream}.zs"));
        Case::new(format!("sent-{number}"), pool, origin, &mut Dice::new(2000 + number), System::OpenZfs)
    });
    let cases: Vec<Case> = cases.collect();

    let error = Objects::new(NoStore).apply(&results.bytes("raw.zs")[..]).expect_err("it is encrypted");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("raw stream (zfs send -w) of an encrypted dataset"), "{error}");
    increments::follow(Bench::open().expect("it was there"), &cases);
}
