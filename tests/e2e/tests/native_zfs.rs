//! kiln with the feature `native-zfs` beside real ZFS: images of datasets in use, and nothing left of them in the pool.

use std::path::PathBuf;

use kiln_harness::guest::Guest;
use kiln_harness::tools;

/// What the script begins with: the kiln under test, a pool, and the snapshots in it. Failing commands say where they are.
const BEGIN: &str = r#"
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
cp kiln /tmp/kiln
chmod 755 /tmp/kiln
mkdir -m 777 /tmp/out
zpool create -O mountpoint=/tank -O atime=off tank /dev/disk/by-id/virtio-scratch
snapshots() { zfs list -H -t snapshot -o name -s name -r tank | paste -s -d ' '; }
image() {
    local name=$1
    shift
    /tmp/kiln create-image "$name-1.0" description= --output "${output:-/tmp/out}" --dataset "$@"
}
"#;

/// Makes an image of a dataset that is written to all the time, then one of a clone of that image on top of it, and compares
/// what is received of them with the datasets.
const IMAGES: &str = r#"
zfs create tank/web
mkdir -p /tank/web/root/etc /tank/web/root/busy /tank/web/config
head -c 3000000 /dev/urandom >/tank/web/root/data
truncate -s 5M /tank/web/root/hole
printf hello >/tank/web/root/etc/motd
ln /tank/web/root/etc/motd /tank/web/root/motd
chown 12:34 /tank/web/root/etc/motd
chmod 4711 /tank/web/root/data
mkfifo /tank/web/root/fifo
ln -s etc/motd /tank/web/root/link
touch -d 2014-10-30T08:17:01 /tank/web/root/link /tank/web/root/etc
zfs snapshot tank/web@final
final=$(zfs get -Hpo value guid tank/web@final)
while :; do head -c 100000 /dev/urandom >/tank/web/root/busy/churn; done & writer=$!

image web tank/web >&2
kill $writer
echo "after a full image: $(snapshots)"
[ "$(zfs get -Hpo value guid tank/web@final)" = "$final" ]
gzip -dc /tmp/out/web-1.0.zfs.gz | zfs receive tank/image
listing() { (cd "$1/root" && find . -path ./busy -prune -o -printf '%p %y %m %U:%G %n %s %t %l\n' | sort); }
same() {
    listing "$1" >/tmp/one
    listing "$2" >/tmp/two
    diff /tmp/one /tmp/two >&2 && diff -r --no-dereference --exclude busy --exclude fifo "$1/root" "$2/root" >&2
}
same /tank/web /tank/image && echo equal
ls -A /tank/image

zfs clone tank/image@final tank/child
printf there >>/tank/child/root/etc/motd
rm /tank/child/root/link
mkdir /tank/child/root/new
before=$(snapshots)
image child tank/child --origin /tmp/out/web-1.0.zfs.gz >&2
[ "$(snapshots)" = "$before" ] && echo "after an increment: the same"
gzip -dc /tmp/out/child-1.0.zfs.gz | zfs receive tank/grown
zfs get -Ho value origin tank/grown
same /tank/child /tank/grown && echo equal
[ "$(stat -c %s /tmp/out/child-1.0.zfs.gz)" -lt 100000 ] && echo small
rm /tmp/out/*
zfs destroy -R tank/image
zfs destroy -r tank/web
"#;

/// Ends kiln in every way while the kernel sends, and prints how it ended, what snapshots there are and how many files.
const ENDINGS: &str = r#"
zfs create -o compression=off tank/big
mkdir /tank/big/root
head -c 200000000 /dev/zero >/tank/big/root/data
after() { echo "$1: status $2, snapshots [$(snapshots)], $(ls -A /tmp/out | wc -l) files"; }
for signal in INT TERM HUP KILL KILL INT TERM HUP; do
    # Programs in the background of a script are started to ignore SIGINT.
    env --default-signal=INT /tmp/kiln create-image big-1.0 description= --dataset tank/big --output /tmp/out 2>/tmp/said & kiln=$!
    # Destroyed when released: that is the kernel's promise.
    until [ "$(zfs get -Ho value defer_destroy tank/big@kiln 2>/dev/null)" = on ]; do
        kill -0 $kiln || { cat /tmp/said >&2; exit 1; }
    done
    kill -$signal $kiln
    status=0
    wait $kiln || status=$?
    after $signal $status
done
zfs create tank/noise
mkdir /tank/noise/root /tmp/small
head -c 1000000 /dev/urandom >/tank/noise/root/data
mount -t tmpfs -o size=64k small /tmp/small
failing() {
    local what=$1 status=0
    shift
    "$@" >/dev/null 2>/tmp/said || status=$?
    grep -o 'No space left on device' /tmp/said
    after "$what" $status
}
scratch() { TMPDIR=/tmp/small image noise tank/noise; }
into_small() { output=/tmp/small image noise tank/noise; }
failing "no room for contents" scratch
failing "no room for the image" into_small
ls -A /tmp/small
zfs destroy tank/noise
zfs destroy tank/big
"#;

/// Lets kiln fail in the ways that ZFS has words for. Each line is what kiln said, its status, and the snapshots.
const REFUSALS: &str = r#"
try() {
    status=0
    "$@" >/tmp/said 2>&1 </dev/null || status=$?
    echo "[$(paste -s -d '|' /tmp/said)] $status [$(snapshots)]"
}
user() { try setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/kiln create-image a-1.0 description= --dataset tank/a --output /tmp/out; }
allow() { zfs allow -u 1000 "$1" tank/a; }
chmod 666 /dev/zfs
zfs create tank/a
mkdir /tank/a/root
zfs create tank/b
zfs snapshot tank/b@one
zfs create -V 16M tank/volume
cd /tmp

try image a tank/none
try image a nothing
try image a tank/b@one
try image a tank/volume
try image a tank/a word
output=/proc/none try image a tank/a
zfs snapshot tank/a@kiln
try image a tank/a
zfs destroy tank/a@kiln
user
allow snapshot
user
zfs destroy tank/a@kiln
allow destroy,mount,send
user
allow hold,release
user
rm /tmp/out/*
echo password | zfs create -o encryption=on -o keyformat=passphrase tank/secret
mkdir /tank/secret/root
try image secret tank/secret
rm /tmp/out/*
zfs unmount tank/secret
zfs unload-key tank/secret
try image secret tank/secret
mv /dev/zfs /dev/zfs.away
snapshots() { :; }
try image a tank/a
ls -A /tmp/out
"#;

/// The kiln with the feature; the caller returns without it.
fn kiln() -> Option<PathBuf> {
    let kiln = tools::kiln()?;
    let said = std::process::Command::new(&kiln)
        .args(["create-image", "a-1.0", "description=", "--dataset", "tank/a", "--output", "/nonexistent/a"])
        .output()
        .expect("kiln starts");
    let words = String::from_utf8_lossy(&said.stderr);
    if words.contains("built without native-zfs") {
        tools::missing("a kiln with the feature native-zfs (`cargo xtask test 3` builds one)");
        return None;
    }
    Some(kiln)
}

#[test]
fn live_datasets_become_images_and_nothing_stays_in_the_pool() {
    let Some(kiln) = kiln() else { return };
    let Some(guest) = Guest::find() else { return };
    let done = guest.zfs().file("kiln", kiln).run(&[BEGIN, IMAGES, ENDINGS, REFUSALS].concat());
    let said = done.expect("the guest runs").succeeded();
    let mut lines = said.lines();
    for expected in [
        "after a full image: tank/web@final",
        "equal",
        "root",
        "after an increment: the same",
        "tank/image@final",
        "equal",
        "small",
        "INT: status 130, snapshots [], 0 files",
        "TERM: status 143, snapshots [], 0 files",
        "HUP: status 129, snapshots [], 0 files",
        "KILL: status 137, snapshots [], 0 files",
        // Once more: whether a kernel that waits for a reader lets go of a process that ends is a matter of the moment.
        "KILL: status 137, snapshots [], 0 files",
        "INT: status 130, snapshots [], 0 files",
        "TERM: status 143, snapshots [], 0 files",
        "HUP: status 129, snapshots [], 0 files",
        "No space left on device",
        "no room for contents: status 1, snapshots [], 0 files",
        "No space left on device",
        "no room for the image: status 1, snapshots [], 0 files",
    ] {
        assert_eq!(lines.next(), Some(expected), "{said}");
    }
    // Words of the error and of its hint, the exit status, and the snapshots afterwards.
    let refusals: &[(&[&str], i32, &str)] = &[
        (&["cannot create snapshot 'tank/none@kiln': dataset does not exist", "zfs list"], 1, "tank/b@one"),
        (&["cannot create snapshot 'nothing@kiln': dataset does not exist", "zfs list"], 1, "tank/b@one"),
        (&["'tank/b@one' is no dataset", "zfs send tank/b@one |"], 2, "tank/b@one"),
        (&["tank/volume", "the stream of a volume, not of a file system"], 1, "tank/b@one"),
        (&["'word' is no KEY=VALUE"], 2, "tank/b@one"),
        (&["/proc/none"], 1, "tank/b@one"),
        (
            &["cannot create snapshot 'tank/a@kiln': dataset already exists", "zfs destroy tank/a@kiln"],
            1,
            "tank/a@kiln tank/b@one",
        ),
        (&["cannot create snapshot 'tank/a@kiln': permission denied", "zfs allow -u USER"], 1, "tank/b@one"),
        // What may be made but not held and not destroyed: kiln says that it is there.
        (
            &["cannot destroy snapshot 'tank/a@kiln': permission denied", "zfs destroy tank/a@kiln"],
            1,
            "tank/a@kiln tank/b@one",
        ),
        (&["cannot hold snapshot 'tank/a@kiln': permission denied", "zfs allow -u USER"], 1, "tank/b@one"),
        (&[], 0, "tank/b@one"),
        (&[], 0, "tank/b@one"),
        (&["'tank/secret@kiln': dataset key must be loaded", "zfs load-key tank/secret"], 1, "tank/b@one"),
        (&["cannot open '/dev/zfs': the ZFS modules are not loaded", "modprobe zfs"], 1, ""),
    ];
    for (words, status, snapshots) in refusals {
        let line = lines.next().unwrap_or_default();
        assert!(words.iter().all(|words| line.contains(words)), "{line}\nlacks one of {words:?}\n{said}");
        assert!(line.ends_with(&format!("] {status} [{snapshots}]")), "{line}\n{said}");
    }
    assert_eq!(lines.next(), None, "no image or part of one is left");
}
