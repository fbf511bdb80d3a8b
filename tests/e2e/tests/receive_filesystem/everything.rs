//! One of everything is received, changed, and sent again.

use kiln_e2e::trees::{self, System};
use kiln_zstream::fs::Version;

use crate::judge::{self, Bench, assert_same, assert_sparse};
use crate::menagerie::{Extent, menagerie};

/// Which pool receives which of the streams, and whether that goes on to be altered and sent. `five` and `four` are the versions of
/// the file systems.
const RECEIVED: [(&str, &str, bool); 6] = [
    ("old", "five", true),
    ("old", "four-small", true),
    ("bare", "five-small", true),
    ("bare", "four-small", false),
    ("full", "four", false),
    ("full", "five-small", true),
];

const SCRIPT: &str = r#"
examine() {
    local from=$1/$2 to=$OUT/$1-$2
    receive "$2.zs" "$from"
    zfs get -Hpo value version "$from" >"$to.version"
    step "$from is received"
    /tmp/witness list "/$from" "$to.received" "$to.allocated"
    step "$from is listed"
}
go_on() {
    local from=$1/$2
    /tmp/witness alter "/$from" 1
    zfs snapshot "$from@altered"
    step "$from is altered"
    zfs send "$from@altered" | keep "$1-$2-full.zs"
    zfs send -i @final "$from@altered" | keep "$1-$2-increment.zs"
    step "$from is sent"
}
"#;

#[test]
fn openzfs_takes_everything_and_goes_on_with_it() {
    let Some(mut bench) = Bench::open() else { return };
    let (whole, small) = (menagerie(Extent::WHOLE), menagerie(Extent::SMALL));
    let mut streams = Vec::new();
    for (guid, (name, tree, version)) in [
        ("five", &whole, Version::Five),
        ("four", &whole, Version::Four),
        ("five-small", &small, Version::Five),
        ("four-small", &small, Version::Four),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = judge::full(tree, version, guid as u64 + 1);
        bench.file(&format!("{name}.zs"), &stream);
        streams.push((name, tree, version, stream));
    }
    let mut script = vec![SCRIPT.to_owned(), "pools".to_owned()];
    for (pool, stream, goes_on) in RECEIVED {
        script.push(format!("examine {pool} {stream}"));
        if goes_on {
            script.push(format!("go_on {pool} {stream}"));
        }
    }
    script.push("sound old bare full".to_owned());
    for (pool, stream, _) in RECEIVED.iter().filter(|(.., goes_on)| *goes_on) {
        // After export and import.
        script.push(format!("/tmp/witness list /{pool}/{stream} $OUT/{pool}-{stream}.altered /dev/null"));
    }
    let results = bench.run(&script.join("\n"));

    for (pool, stream, goes_on) in RECEIVED {
        let what = format!("{stream} in {pool}");
        let (_, tree, version, sent) =
            streams.iter().find(|(name, ..)| *name == stream).expect("it is one of them");
        let number = if *version == Version::Four { "4\n" } else { "5\n" };
        assert_eq!(results.text(&format!("{pool}-{stream}.version")), number, "{what}");
        let wanted = trees::of_tree(tree, System::OpenZfs);
        assert_same(&results.text(&format!("{pool}-{stream}.received")), &wanted.lines, &what);
        assert_sparse(&results.text(&format!("{pool}-{stream}.allocated")), &wanted, &what);
        if !goes_on {
            continue;
        }
        let altered = results.text(&format!("{pool}-{stream}.altered"));
        assert_ne!(altered, wanted.lines, "{what}");
        let (full, increment) = (
            results.bytes(&format!("{pool}-{stream}-full.zs")),
            results.bytes(&format!("{pool}-{stream}-increment.zs")),
        );
        for (streams, how) in
            [(&[&full[..]][..], "in full"), (&[&sent[..], &increment], "on top of what was received")]
        {
            let read = trees::of_tree(&judge::read(streams).tree, System::OpenZfs);
            assert_same(&read.lines, &altered, &format!("{what}, altered and sent {how}"));
        }
    }
}
