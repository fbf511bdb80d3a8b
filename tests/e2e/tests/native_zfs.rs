//! kiln with the feature `native-zfs` beside real ZFS: images of datasets in use, and nothing left of them in the pool.

use std::path::PathBuf;
use std::time::Duration;

use kiln_harness::guest::Guest;
use kiln_harness::tools;

/// What every script begins with: the kiln under test, a pool, and the snapshots in it.
const BEGIN: &str = r#"
set -euo pipefail
cp kiln /tmp/kiln
mkdir -m 777 /tmp/out
zpool create -O mountpoint=/tank tank /dev/disk/by-id/virtio-scratch
snapshots() { zfs list -H -t snapshot -o name -s name -r tank; }
"#;

/// Makes an image of a dataset that is written to all the time, then one of the changes in a clone of that image, and
/// compares what is received of them with the datasets.
const IMAGES: &str = r#"
zfs create tank/web
mkdir -p /tank/web/root/etc /tank/web/root/busy
head -c 3000000 /dev/urandom >/tank/web/root/data
truncate -s 5M /tank/web/root/hole
printf hello >/tank/web/root/etc/motd
chown 12:34 /tank/web/root/etc/motd
ln -s etc/motd /tank/web/root/link
zfs snapshot tank/web@final
final=$(zfs get -Hpo value guid tank/web@final)
while :; do head -c 100000 /dev/urandom >/tank/web/root/busy/churn; done & writer=$!

/tmp/kiln create-image web-1.0 --dataset tank/web --output /tmp/out
echo "after a full image: $(snapshots)"
[ "$(zfs get -Hpo value guid tank/web@final)" = "$final" ] && echo "it is the same"
kill $writer
gzip -dc /tmp/out/web-1.0.zfs.gz | zfs receive tank/image
listing() { (cd "$1" && find . -path ./root/busy -prune -o -printf '%p %y %m %U:%G %s %l\n' | sort); }
diff <(listing /tank/web) <(listing /tank/image) && diff -r --exclude busy /tank/web/root /tank/image/root && echo equal

zfs clone tank/image@final tank/child
printf there >>/tank/child/root/etc/motd
rm /tank/child/root/link
mkdir /tank/child/root/new
before=$(snapshots)
/tmp/kiln create-image child-1.0 --dataset tank/child --since tank/image@final --origin /tmp/out/web-1.0.zfs.gz \
    --output /tmp/out
[ "$(snapshots)" = "$before" ] && echo "after an increment: the same"
gzip -dc /tmp/out/child-1.0.zfs.gz | zfs receive tank/grown
zfs get -Ho value origin tank/grown
diff <(listing /tank/child) <(listing /tank/grown) && diff -r /tank/child/root /tank/grown/root && echo equal
[ "$(stat -c %s /tmp/out/child-1.0.zfs.gz)" -lt 100000 ] && echo small
"#;

/// Ends kiln in every way while the kernel sends, and prints how it ended, how many snapshots there are and how many files.
const ENDINGS: &str = r#"
zfs create tank/big
mkdir /tank/big/root
head -c 100000000 /dev/urandom >/tank/big/root/data
after() { echo "$1: status $2, $(snapshots | wc -l) snapshots, $(ls -A /tmp/out | wc -l) files"; }
for signal in INT TERM HUP KILL; do
    # Programs in the background of a script are started to ignore SIGINT.
    env --default-signal=INT /tmp/kiln create-image big-1.0 --dataset tank/big --output /tmp/out 2>/tmp/said & kiln=$!
    # Destroyed when released: that is the kernel's promise.
    until [ "$(zfs get -Ho value defer_destroy tank/big@kiln 2>/dev/null)" = on ]; do kill -0 $kiln; done
    kill -$signal $kiln
    status=0
    wait $kiln || status=$?
    after $signal $status
done
mount -t tmpfs -o size=8m small /tmp/out
status=0
/tmp/kiln create-image big-1.0 --dataset tank/big --output /tmp/out 2>/tmp/said || status=$?
grep -o 'No space left on device' /tmp/said
after full $status
"#;

/// Lets kiln fail in the ways that ZFS has words for. Each line is what kiln said, its status, and the snapshots.
const REFUSALS: &str = r#"
umount /tmp/out
snapshots() { zfs list -H -t snapshot -o name -s name -r tank | paste -s -d ' '; }
try() {
    status=0
    "$@" >/tmp/said 2>&1 </dev/null || status=$?
    echo "[$(paste -s -d '|' /tmp/said)] $status [$(snapshots)]"
}
image() { try /tmp/kiln create-image a-1.0 --dataset "$@" --output /tmp/out; }
user() { try setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/kiln create-image a-1.0 --dataset "$@" --output /tmp/out; }
allow() { zfs allow -u 1000 "$1" tank/a; }
zfs create tank/a
mkdir /tank/a/root
zfs create tank/b
zfs snapshot tank/b@one
cd /tmp

image tank/none
image tank/b@one
zfs snapshot tank/a@kiln
image tank/a
zfs destroy tank/a@kiln
image tank/a --since tank/b@one
image tank/a --since tank/a@none
user tank/a
allow snapshot
user tank/a
zfs destroy tank/a@kiln
allow destroy,mount,send
user tank/a
allow hold,release
user tank/a
echo password | zfs create -o encryption=on -o keyformat=passphrase tank/secret
zfs unmount tank/secret
zfs unload-key tank/secret
image tank/secret
mv /dev/zfs /dev/zfs.away
snapshots() { :; }
image tank/a
"#;

/// The kiln with the feature; the caller returns without it.
fn kiln() -> Option<PathBuf> {
    let kiln = tools::kiln()?;
    let said = std::process::Command::new(&kiln)
        .args(["create-image", "a-1.0", "--dataset", "tank/a", "--output", "/nonexistent"])
        .output()
        .expect("kiln starts");
    let words = String::from_utf8_lossy(&said.stderr);
    if words.contains("built without native-zfs") {
        tools::missing("a kiln with the feature native-zfs (`cargo xtask test 3` builds one)");
        return None;
    }
    Some(kiln)
}

fn run(script: &str) -> Option<Vec<String>> {
    let kiln = kiln()?;
    let guest = Guest::find()?;
    let done = guest.zfs().file("kiln", kiln).deadline(Duration::from_mins(15));
    let said = done.run(&format!("{BEGIN}{script}")).expect("the guest runs").succeeded();
    Some(said.lines().map(str::to_owned).collect())
}

#[test]
fn images_of_datasets_in_use_are_received_as_they_were() {
    let Some(said) = run(IMAGES) else { return };
    assert_eq!(
        said,
        [
            "after a full image: tank/web@final",
            "it is the same",
            "equal",
            "after an increment: the same",
            "tank/image@final",
            "equal",
            "small",
        ]
    );
}

#[test]
fn no_snapshot_stays_however_kiln_ends_and_refusals_are_explained() {
    let Some(said) = run(&format!("{ENDINGS}{REFUSALS}")) else { return };
    let endings = [
        "INT: status 130, 0 snapshots, 0 files",
        "TERM: status 143, 0 snapshots, 0 files",
        "HUP: status 129, 0 snapshots, 0 files",
        "KILL: status 137, 0 snapshots, 0 files",
        "No space left on device",
        "full: status 1, 0 snapshots, 0 files",
    ];
    assert_eq!(said[..endings.len()], endings);
    // Words of the error and of its hint, the exit status, and the snapshots afterwards.
    let refusals: [(&[&str], i32, &str); 11] = [
        (&["cannot create snapshot 'tank/none@kiln': dataset does not exist", "zfs list"], 1, "tank/b@one"),
        (&["'tank/b@one' is no dataset", "zfs send tank/b@one |"], 2, "tank/b@one"),
        (
            &["cannot create snapshot 'tank/a@kiln': dataset already exists", "zfs destroy tank/a@kiln"],
            1,
            "tank/a@kiln tank/b@one",
        ),
        (
            &[
                "increment on 'tank/b@one'",
                "not an earlier snapshot from the same fs",
                "zfs get origin tank/a",
            ],
            1,
            "tank/b@one",
        ),
        (&["increment on 'tank/a@none'", "dataset does not exist", "zfs list -t snapshot"], 1, "tank/b@one"),
        (&["cannot create snapshot 'tank/a@kiln': permission denied", "zfs allow -u USER"], 1, "tank/b@one"),
        // What may be made but not held and not destroyed: kiln says that it is there.
        (
            &["cannot destroy snapshot 'tank/a@kiln': permission denied", "zfs destroy tank/a@kiln"],
            1,
            "tank/a@kiln tank/b@one",
        ),
        (&["cannot hold snapshot 'tank/a@kiln': permission denied", "zfs allow -u USER"], 1, "tank/b@one"),
        (&[], 0, "tank/b@one"),
        (&["'tank/secret@kiln': dataset key must be loaded", "zfs load-key tank/secret"], 1, "tank/b@one"),
        (&["cannot open '/dev/zfs': the ZFS modules are not loaded", "modprobe zfs"], 1, ""),
    ];
    assert_eq!(said.len(), endings.len() + refusals.len(), "{said:#?}");
    for (line, (words, status, snapshots)) in said[endings.len()..].iter().zip(refusals) {
        assert!(words.iter().all(|words| line.contains(words)), "{line}\nlacks one of {words:?}");
        assert!(line.ends_with(&format!("] {status} [{snapshots}]")), "{line}");
    }
}
