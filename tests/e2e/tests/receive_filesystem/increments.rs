//! Random trees, random changes to them, and the streams that make the changes.

use std::collections::HashMap;
use std::time::Duration;

use kiln_e2e::trees::{self, Dice, System};
use kiln_harness::fixtures;
use kiln_zstream::fs::Version;

use crate::judge::{self, Bench, assert_same};
use crate::menagerie::{Extent, menagerie};
use crate::model::Model;

/// How many random trees there are, and with `KILN_LONG_TESTS`.
const CASES: u64 = 24;
const LONG_CASES: u64 = 300;

/// Streams that real ZFS sent, as origins.
const FIXTURES: [&str; 3] =
    ["zstream/fs5-full.zs.gz", "zstream/fuse-fs4-full.zs.gz", "zstream/fs5-tiny.zs.gz"];

/// An origin and what follows on it.
pub struct Case {
    pub name: String,
    /// The guest's pool that is to receive it.
    pool: &'static str,
    /// The full stream and then increments, each with what is listed after it.
    pub steps: Vec<(Vec<u8>, String)>,
}

impl Case {
    /// An origin, an increment and another on top of it.
    pub fn new(name: String, pool: &'static str, origin: Vec<u8>, dice: &mut Dice, system: System) -> Self {
        let mut model = Model::of(&judge::read(&[&origin]).tree);
        let listed = |model: &Model| trees::of_tree(&model.tree(), system).lines;
        let mut steps = vec![(origin, listed(&model))];
        for _ in 0..2 {
            let changes = 1 + dice.below(40) as usize;
            model.edit(dice, changes);
            let before: Vec<&[u8]> = steps.iter().map(|(stream, _)| &stream[..]).collect();
            let origin = judge::read(&before);
            let stream = judge::increment(&model.tree(), &origin, dice.number() | 1);
            let listed = listed(&model);
            // Before anybody else is asked: what is read of it here.
            let read = judge::read(&[&before[..], &[&stream]].concat());
            assert_same(&trees::of_tree(&read.tree, system).lines, &listed, &format!("{name}, read here"));
            steps.push((stream, listed));
        }
        Self { name, pool, steps }
    }
}

/// Random trees of a version, or of both by turns.
pub fn random(count: u64, version: Option<Version>, system: System) -> impl Iterator<Item = Case> {
    (0..count).map(move |number| {
        let mut dice = Dice::new(number);
        let version = version.unwrap_or(if number % 3 == 0 { Version::Four } else { Version::Five });
        let model = if number % 8 == 7 {
            Model::of(&menagerie(Extent::SMALL))
        } else {
            let names = dice.below(90) as usize;
            Model::random(&mut dice, names)
        };
        let stream = judge::full(&model.tree(), version, dice.number() | 1);
        let pool = if number % 2 == 0 { "old" } else { "full" };
        Case::new(format!("case-{number:03}"), pool, stream, &mut dice, system)
    })
}

/// What others sent, with changes on top.
pub fn of_fixtures(system: System) -> impl Iterator<Item = Case> {
    (0..FIXTURES.len()).map(move |number| {
        let (name, mut dice) = (format!("fixture-{number}"), Dice::new(1000 + number as u64));
        Case::new(name, "old", fixtures::read(FIXTURES[number]), &mut dice, system)
    })
}

pub fn is_long() -> bool {
    std::env::var_os("KILN_LONG_TESTS").is_some()
}

/// The origin has another name in the pool than it had, and is found by its GUID.
const SCRIPT: &str = r#"
pools
number=0
for stream in *-[0-9].zs; do
    pool=${stream%%.*}
    name=${stream#*.}
    name=${name%.zs}
    receive "$stream" "$pool/$name"
    /tmp/witness list "/$pool/$name" "$OUT/$name.list" /dev/null
    number=$((number + 1))
done
step "$number streams are received"
zfs list -Hpr -o name,origin old full >"$OUT/origins"
sound old full
"#;

/// Fails unless the guest makes of each origin what the increments on it say.
pub fn follow(mut bench: Bench, cases: &[Case]) {
    for Case { name, pool, steps } in cases {
        for (number, (stream, _)) in steps.iter().enumerate() {
            bench.file(&format!("{pool}.{name}-{number}.zs"), stream);
        }
    }
    let results = bench.run(SCRIPT);
    let origins = results.text("origins");
    let origins: HashMap<&str, &str> = origins.lines().filter_map(|line| line.split_once('\t')).collect();
    for Case { name, pool, steps } in cases {
        for (number, (_, wanted)) in steps.iter().enumerate() {
            let before = number.checked_sub(1);
            let wanted_origin = before.map_or("-".to_owned(), |before| format!("{pool}/{name}-{before}@"));
            let name = format!("{name}-{number}");
            let origin = origins[&*format!("{pool}/{name}")];
            assert!(origin.starts_with(&wanted_origin), "{name} is a clone of {origin}");
            assert_same(&results.text(&format!("{name}.list")), wanted, &name);
        }
    }
}

#[test]
fn openzfs_makes_of_an_origin_what_the_increments_say() {
    let Some(mut bench) = Bench::open() else { return };
    let count = if is_long() { LONG_CASES } else { CASES };
    bench.deadline(Duration::from_mins(if is_long() { 120 } else { 30 }));
    let cases: Vec<Case> = random(count, None, System::OpenZfs).chain(of_fixtures(System::OpenZfs)).collect();
    follow(bench, &cases);
}
