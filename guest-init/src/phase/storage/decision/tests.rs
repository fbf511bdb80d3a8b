use super::*;
use crate::phase::storage::records::Record;

const GUID: u64 = 42;
const DISK: &str = "c1t0d0";
const BYTES: u64 = 10 << 30;

fn pool(name: &str, guid: u64, disk: &str) -> Importable {
    Importable {
        name: name.to_owned(),
        guid,
        state: "ONLINE".to_owned(),
        destroyed: false,
        remarks: "The pool was last accessed by another system.".to_owned(),
        devices: vec![disk.to_owned()],
    }
}

fn active(name: &str, guid: u64, health: &str) -> Active {
    Active { name: name.to_owned(), guid, health: health.to_owned(), read_only: false }
}

/// A disk and what is on it.
type OnDisk = (DataDisk, Result<Content, String>);

fn disk(name: &str, content: Content) -> OnDisk {
    (DataDisk { name: name.to_owned(), bytes: Ok(BYTES) }, Ok(content))
}

fn searched(pools: Vec<Importable>) -> Searched {
    Searched { pools, ..Searched::default() }
}

fn intent() -> Intent {
    Intent { disk: DISK.to_owned(), bytes: BYTES }
}

fn made() -> Pool {
    Pool { name: POOL.to_owned(), guid: GUID }
}

/// A machine that starts for the first time.
fn first_boot() -> (Known, Found) {
    let known = Known {
        boot: Boot::default(),
        key_trouble: None,
        recorded: Recorded::Nothing,
        intent: None,
        named_disk: Ok(None),
        active: Ok(Vec::new()),
    };
    let found = Found {
        importable: Ok(searched(Vec::new())),
        destroyed: Ok(searched(Vec::new())),
        disks: Ok(vec![disk(DISK, Content::Blank)]),
        host: None,
        later: Vec::new(),
        waits: 0,
    };
    (known, found)
}

fn recorded() -> Recorded {
    Recorded::Is(Record { guid: GUID, complete: true })
}

#[derive(Clone)]
struct Found {
    importable: Result<Searched, String>,
    destroyed: Result<Searched, String>,
    disks: Result<Vec<OnDisk>, String>,
    /// What the host says of the disk for a pool.
    host: Option<String>,
    /// What is found after each time that was waited; then patience is over.
    later: Vec<Found>,
    /// How often was waited.
    waits: usize,
}

impl Look for Found {
    fn importable(&mut self) -> Result<Searched, String> {
        self.importable.clone()
    }

    fn destroyed(&mut self) -> Result<Searched, String> {
        self.destroyed.clone()
    }

    fn disks(&mut self) -> Result<Vec<DataDisk>, String> {
        Ok(self.disks.clone()?.into_iter().map(|(disk, _)| disk).collect())
    }

    fn content(&mut self, name: &str) -> Result<Content, String> {
        let disks = self.disks.clone()?;
        disks.into_iter().find(|(disk, _)| disk.name == name).ok_or("it is gone")?.1
    }

    fn named_by_host(&mut self) -> Option<String> {
        self.host.clone()
    }

    fn wait(&mut self) -> bool {
        self.waits += 1;
        if self.later.is_empty() {
            return false;
        }
        let next = self.later.remove(0);
        *self = Self { later: std::mem::take(&mut self.later), waits: self.waits, ..next };
        true
    }
}

fn decided((known, found): &(Known, Found)) -> Decision {
    decide(known, &mut found.clone())
}

#[track_caller]
fn is_rescue(machine: &(Known, Found), word: &str) {
    match decided(machine) {
        Decision::Rescue(reason) => assert!(reason.contains(word), "{reason}"),
        decision => panic!("{decision:?}"),
    }
}

#[test]
fn a_blank_disk_alone_takes_the_pool() {
    assert_eq!(decided(&first_boot()), Decision::Make { intent: intent(), create: Create::IfEmpty });
}

#[test]
fn the_recorded_pool_is_imported() {
    let mut machine = first_boot();
    machine.0.recorded = recorded();
    machine.1.importable = Ok(searched(vec![pool(POOL, GUID, DISK)]));
    assert_eq!(decided(&machine), Decision::Import(made()));
    // Whatever else is there.
    machine.1.importable =
        Ok(searched(vec![pool("data", 7, "c3t0d0"), pool(POOL, 8, "c2t0d0"), pool(POOL, GUID, DISK)]));
    assert_eq!(decided(&machine), Decision::Import(made()));
    let mut degraded = pool(POOL, GUID, DISK);
    degraded.state = "DEGRADED".to_owned();
    machine.1.importable = Ok(searched(vec![degraded]));
    assert_eq!(decided(&machine), Decision::Import(made()));
}

#[test]
fn a_pool_that_is_imported_stays() {
    let mut machine = first_boot();
    machine.0.active = Ok(vec![active(POOL, GUID, "ONLINE")]);
    assert_eq!(decided(&machine), Decision::Use(made()));
    machine.0.recorded = recorded();
    assert_eq!(decided(&machine), Decision::Use(made()));
    machine.0.active = Ok(vec![active(POOL, 7, "ONLINE")]);
    is_rescue(&machine, "another");
    machine.0.active = Ok(vec![active(POOL, GUID, "SUSPENDED")]);
    is_rescue(&machine, "SUSPENDED");
    machine.0.active = Ok(vec![Active { read_only: true, ..active(POOL, GUID, "ONLINE") }]);
    is_rescue(&machine, "read-only");
}

#[test]
fn hazard_01_a_failing_command_is_no_sign_that_there_is_no_pool() {
    let mut machine = first_boot();
    machine.0.active = Err("zpool list ended with status 1".to_owned());
    is_rescue(&machine, "zpool list");
    for fail in [
        |found: &mut Found| found.importable = Err("killed".to_owned()),
        |found: &mut Found| found.destroyed = Err("killed".to_owned()),
        |found: &mut Found| found.disks = Err("killed".to_owned()),
        |found: &mut Found| {
            found.disks = Ok(vec![(disk(DISK, Content::Blank).0, Err("killed".to_owned()))]);
        },
        |found: &mut Found| {
            let unknown = DataDisk { name: DISK.to_owned(), bytes: Err("killed".to_owned()) };
            found.disks = Ok(vec![(unknown, Ok(Content::Blank))]);
        },
        |found: &mut Found| {
            let complaint = Some("killed".to_owned());
            found.importable = Ok(Searched { complaint, ..Searched::default() });
        },
        |found: &mut Found| {
            let complaint = Some("killed".to_owned());
            found.destroyed = Ok(Searched { complaint, ..Searched::default() });
        },
    ] {
        let mut machine = first_boot();
        fail(&mut machine.1);
        is_rescue(&machine, "killed");
    }
}

#[test]
fn hazard_01_no_pool_is_made_where_one_is_recorded_or_was() {
    let mut machine = first_boot();
    machine.0.recorded = recorded();
    is_rescue(&machine, "none of the disks");
    machine.0.recorded = Recorded::Damaged;
    is_rescue(&machine, "damaged");
    let mut machine = first_boot();
    let destroyed = Importable { destroyed: true, ..pool("other", 7, DISK) };
    machine.1.destroyed = Ok(searched(vec![destroyed.clone()]));
    is_rescue(&machine, "belongs to pool other");
    machine.1.destroyed = Ok(searched(vec![Importable { name: POOL.to_owned(), ..pool(POOL, 7, "c9t0d0") }]));
    is_rescue(&machine, "destroyed");
    machine.1.destroyed = Ok(searched(Vec::new()));
    machine.1.importable =
        Ok(searched(vec![Importable { state: "UNAVAIL".to_owned(), ..pool("other", 7, DISK) }]));
    is_rescue(&machine, "belongs to pool other");
}

#[test]
fn hazard_02_a_disk_that_is_not_blank_is_left_alone() {
    let mut machine = first_boot();
    machine.1.disks = Ok(vec![disk(DISK, Content::Something("an ext file system".to_owned()))]);
    is_rescue(&machine, "an ext file system");
    machine.1.disks = Ok(vec![disk(DISK, Content::Unfinished)]);
    is_rescue(&machine, "not blank");
}

#[test]
fn hazard_04_of_several_disks_none_is_taken_unless_it_is_named() {
    let mut machine = first_boot();
    machine.1.disks = Ok(vec![disk("c2t0d0", Content::Blank), disk(DISK, Content::Blank)]);
    is_rescue(&machine, "several disks");
    let make = Decision::Make { intent: intent(), create: Create::IfEmpty };
    machine.1.host = Some(DISK.to_owned());
    assert_eq!(decided(&machine), make);
    // The configuration counts first, and a name that no disk has is no reason to take another.
    machine.1.host = Some("c2t0d0".to_owned());
    machine.0.named_disk = Ok(Some(DISK.to_owned()));
    assert_eq!(decided(&machine), make);
    machine.0.named_disk = Ok(Some("c7t0d0".to_owned()));
    is_rescue(&machine, "no disk c7t0d0");
    machine.1.disks = Ok(vec![disk(DISK, Content::Blank)]);
    is_rescue(&machine, "no disk c7t0d0");
    machine.0.named_disk = Err("I/O error".to_owned());
    is_rescue(&machine, "I/O error");
    machine.0.named_disk = Ok(None);
    machine.1.host = None;
    machine.1.disks = Ok(Vec::new());
    is_rescue(&machine, "no disk for data");
}

#[test]
fn hazard_10_no_other_disk_takes_the_place_of_the_intended_one() {
    let mut machine = first_boot();
    machine.0.intent = Some(intent());
    machine.1.disks = Ok(vec![disk("c2t0d0", Content::Blank), disk(DISK, Content::Blank)]);
    assert_eq!(decided(&machine), Decision::Make { intent: intent(), create: Create::IfEmpty });
    // A pool may be on it, whole.
    machine.1.disks = Ok(vec![disk("c2t0d0", Content::Blank)]);
    is_rescue(&machine, "disk c1t0d0 of 10240 MiB is not there");
    let larger = DataDisk { name: DISK.to_owned(), bytes: Ok(BYTES + 512) };
    machine.1.disks = Ok(vec![(larger, Ok(Content::Blank))]);
    is_rescue(&machine, "disk c1t0d0 of 10240 MiB is not there");
    // Unless the owner says so.
    machine.1.host = Some(DISK.to_owned());
    let intent = Intent { bytes: BYTES + 512, ..intent() };
    assert_eq!(decided(&machine), Decision::Make { intent, create: Create::IfEmpty });
}

/// What is decided, and how often was waited for it.
fn after_waiting((known, found): &(Known, Found)) -> (Decision, usize) {
    let mut found = found.clone();
    let decision = decide(known, &mut found);
    (decision, found.waits)
}

#[test]
fn hazard_01_what_the_key_tells_of_is_waited_for() {
    // The disk of the pool that is recorded.
    let mut machine = first_boot();
    machine.0.recorded = recorded();
    let without = machine.1.clone();
    let with = Found { importable: Ok(searched(vec![pool(POOL, GUID, DISK)])), ..without.clone() };
    machine.1.later = vec![without.clone(), with.clone()];
    assert_eq!(after_waiting(&machine), (Decision::Import(made()), 2));
    let remarks = "One or more devices are missing from the system.".to_owned();
    let half = Importable { state: "UNAVAIL".to_owned(), remarks, ..pool(POOL, GUID, DISK) };
    machine.1.later[0].importable = Ok(searched(vec![half]));
    assert_eq!(after_waiting(&machine), (Decision::Import(made()), 2));
    machine.0.recorded = Recorded::Damaged;
    machine.1.later[0].importable = Ok(searched(Vec::new()));
    assert_eq!(after_waiting(&machine), (Decision::Adopt { pool: made(), unfinished: false }, 2));
    // The disk on which one was about to be made.
    machine.0.recorded = Recorded::Nothing;
    machine.0.intent = Some(intent());
    machine.1.disks = Ok(vec![disk("c2t0d0", Content::Blank)]);
    assert_eq!(after_waiting(&machine), (Decision::Make { intent: intent(), create: Create::IfEmpty }, 1));
    machine.1.later = vec![with];
    assert_eq!(after_waiting(&machine), (Decision::Adopt { pool: made(), unfinished: true }, 1));
    machine.1.later.clear();
    assert!(matches!(after_waiting(&machine), (Decision::Rescue(_), 1)));
}

#[test]
fn what_nobody_told_of_is_not_waited_for() {
    let mut machine = first_boot();
    machine.1.disks = Ok(Vec::new());
    machine.1.later = vec![machine.1.clone()];
    assert!(matches!(after_waiting(&machine), (Decision::Rescue(_), 0)));
    machine.1.importable =
        Ok(searched(vec![Importable { state: "UNAVAIL".to_owned(), ..pool(POOL, 7, DISK) }]));
    assert!(matches!(after_waiting(&machine), (Decision::Rescue(_), 0)));
    // Nor what is there, and no better later.
    machine.0.recorded = recorded();
    machine.1.importable =
        Ok(searched(vec![Importable { state: "FAULTED".to_owned(), ..pool(POOL, GUID, DISK) }]));
    assert!(matches!(after_waiting(&machine), (Decision::Rescue(_), 0)));
    machine.0.boot.noimport = true;
    machine.1.importable = Ok(searched(Vec::new()));
    assert!(matches!(after_waiting(&machine), (Decision::Rescue(_), 0)));
}

#[test]
fn hazard_05_a_foreign_pool_is_not_imported() {
    let mut machine = first_boot();
    machine.1.importable = Ok(searched(vec![pool("data", 7, "c3t0d0")]));
    assert!(matches!(decided(&machine), Decision::Make { .. }), "it is on another disk");
    // Of the right name: it is looked at first.
    machine.1.importable = Ok(searched(vec![pool(POOL, 7, DISK)]));
    let foreign = Pool { name: POOL.to_owned(), guid: 7 };
    assert_eq!(decided(&machine), Decision::Adopt { pool: foreign, unfinished: false });
    for remarks in ["The pool is currently imported by another system.", "incompatible version"] {
        machine.1.importable =
            Ok(searched(vec![Importable { remarks: remarks.to_owned(), ..pool(POOL, 7, DISK) }]));
        is_rescue(&machine, "cannot be imported");
    }
    machine.1.importable =
        Ok(searched(vec![Importable { state: "DEGRADED".to_owned(), ..pool(POOL, 7, DISK) }]));
    is_rescue(&machine, "DEGRADED");
    // One that is recorded, and in use elsewhere.
    machine.0.recorded = recorded();
    let remarks = "The pool is currently imported by another system.".to_owned();
    machine.1.importable = Ok(searched(vec![Importable { remarks, ..pool(POOL, GUID, DISK) }]));
    is_rescue(&machine, "another machine");
}

#[test]
fn hazard_05_a_pool_without_record_is_ours_by_its_datasets() {
    let complete = ["zones", "zones/var", "zones/opt", "zones/config", "zones/tank", "zones/tank/var"];
    assert!(is_ours("zones", &complete, false));
    for missing in 1..4 {
        let mut rest = complete.to_vec();
        rest.remove(missing);
        assert!(!is_ours("zones", &rest, false) && !is_ours("zones", &rest, true));
    }
    let unfinished = ["zones", "zones/config", "zones/var.new"];
    assert!(is_ours("zones", &unfinished, true) && !is_ours("zones", &unfinished, false));
    assert!(is_ours("zones", &["zones"], true) && !is_ours("zones", &["zones"], false));
}

#[test]
fn hazard_06_pools_of_one_name_are_ambiguous() {
    let mut machine = first_boot();
    machine.1.importable = Ok(searched(vec![pool(POOL, 7, DISK), pool(POOL, 8, "c2t0d0")]));
    is_rescue(&machine, "several pools");
    machine.0.recorded = recorded();
    machine.1.importable = Ok(searched(vec![pool(POOL, GUID, DISK), pool(POOL, GUID, "c2t0d0")]));
    is_rescue(&machine, "more than once");
}

#[test]
fn hazard_09_a_pool_that_was_being_made_is_gone_on_with() {
    let mut machine = first_boot();
    machine.0.intent = Some(intent());
    machine.1.importable = Ok(searched(vec![pool(POOL, GUID, "c1t0d0s0")]));
    assert_eq!(decided(&machine), Decision::Adopt { pool: made(), unfinished: true });
    // On another disk of that name, it is any pool.
    machine.0.intent = Some(Intent { bytes: BYTES + 512, ..intent() });
    assert_eq!(decided(&machine), Decision::Adopt { pool: made(), unfinished: false });
}

#[test]
fn hazard_10_an_interrupted_creation_is_repeated_on_its_disk_alone() {
    let mut machine = first_boot();
    machine.0.intent = Some(intent());
    machine.1.disks = Ok(vec![disk(DISK, Content::Unfinished)]);
    assert_eq!(decided(&machine), Decision::Make { intent: intent(), create: Create::Again });
    machine.0.recorded = recorded();
    is_rescue(&machine, "none of the disks");
    machine.0.recorded = Recorded::Nothing;
    for other in [Intent { bytes: BYTES + 512, ..intent() }, Intent { disk: "c2t0d0".to_owned(), ..intent() }]
    {
        machine.0.intent = Some(other);
        is_rescue(&machine, "is not there");
        machine.0.named_disk = Ok(Some(DISK.to_owned()));
        is_rescue(&machine, "not blank");
        machine.0.named_disk = Ok(None);
    }
}

fn boot_with(text: &str) -> Boot {
    let properties = crate::command::bootparams::properties(text);
    Boot::read(|name| Ok::<_, ()>(properties.get(name).cloned())).expect("read")
}

#[test]
fn hazard_08_destroy_zpools_is_nothing_we_know() {
    assert_eq!(boot_with("console=ttya\ndestroy_zpools=true\nsmartos=true\n"), Boot::default());
    // And what is decided, with a pool that is there or not, is what would be decided without.
    let mut machine = first_boot();
    machine.0.boot = boot_with("destroy_zpools=true\n");
    machine.0.recorded = recorded();
    machine.1.importable = Ok(searched(vec![pool(POOL, GUID, DISK)]));
    assert_eq!(decided(&machine), Decision::Import(made()));
}

#[test]
fn boot_properties_are_read() {
    let boot = boot_with("smartos=true\nnoimport=true\nzpools=zones, data,\n");
    assert_eq!(boot, Boot { noimport: true, pools: vec!["zones".to_owned(), "data".to_owned()] });
    assert_eq!(boot_with("zpool=zones\nnoimport=false\n").pools, ["zones"]);
    assert!(!boot_with("noimport=false").noimport && !boot_with("noimport").noimport);
}

#[test]
fn boot_properties_are_followed() {
    let mut machine = first_boot();
    machine.0.boot.noimport = true;
    is_rescue(&machine, "noimport");
    machine.0.boot.noimport = false;
    machine.0.boot.pools = vec!["data".to_owned()];
    is_rescue(&machine, "none of them");
    machine.0.boot.pools.push(POOL.to_owned());
    assert!(matches!(decided(&machine), Decision::Make { .. }));
}

#[test]
fn a_key_that_is_missing_and_a_disk_that_is_small_are_told() {
    let mut machine = first_boot();
    let small = DataDisk { name: DISK.to_owned(), bytes: Ok(SMALLEST - 1) };
    machine.1.disks = Ok(vec![(small, Ok(Content::Blank))]);
    is_rescue(&machine, "smaller than 512 MiB");
    machine.0.key_trouble = Some("there is no key".to_owned());
    is_rescue(&machine, "no key");
}

/// Every combination of facts, against the rules said once more from the other end.
#[test]
fn no_combination_of_facts_breaks_a_rule() {
    let (known, _) = first_boot();
    let records = [Recorded::Nothing, Recorded::Damaged, recorded()];
    let intents = [None, Some(intent()), Some(Intent { bytes: 1 << 30, ..intent() })];
    let actives = [
        Ok(Vec::new()),
        Ok(vec![active(POOL, GUID, "ONLINE")]),
        Ok(vec![active(POOL, 7, "ONLINE")]),
        Ok(vec![active("data", 7, "ONLINE")]),
        Ok(vec![active(POOL, GUID, "FAULTED")]),
        Err("failed".to_owned()),
    ];
    let of_disk = [
        vec![],
        vec![pool(POOL, GUID, DISK)],
        vec![pool(POOL, 7, DISK)],
        vec![pool("data", 7, DISK)],
        vec![pool("data", 7, "c2t0d0")],
        vec![pool(POOL, GUID, DISK), pool(POOL, 7, "c2t0d0")],
        vec![pool(POOL, GUID, DISK), pool(POOL, GUID, "c2t0d0")],
        vec![Importable { state: "FAULTED".to_owned(), ..pool(POOL, GUID, DISK) }],
        vec![Importable {
            remarks: "currently imported by another system".to_owned(),
            ..pool(POOL, GUID, DISK)
        }],
    ];
    let something = || Content::Something("data".to_owned());
    let disks = [
        vec![],
        vec![disk(DISK, Content::Blank)],
        vec![disk(DISK, Content::Unfinished)],
        vec![disk(DISK, something())],
        vec![disk(DISK, Content::Blank), disk("c2t0d0", Content::Blank)],
        vec![disk(DISK, Content::Unfinished), disk("c2t0d0", Content::Blank)],
        vec![disk(DISK, something()), disk("c2t0d0", Content::Blank)],
        vec![(disk(DISK, Content::Blank).0, Err("failed".to_owned()))],
    ];
    let mut counts = [0_u32; 5];
    for recorded in &records {
        for intent in &intents {
            for active in &actives {
                for importable in &of_disk {
                    for destroyed in &of_disk {
                        for disks in &disks {
                            for named in [None, Some("c2t0d0".to_owned())] {
                                let known = Known {
                                    recorded: recorded.clone(),
                                    intent: intent.clone(),
                                    active: active.clone(),
                                    named_disk: Ok(named),
                                    ..known.clone()
                                };
                                let mut found = Found {
                                    importable: Ok(searched(importable.clone())),
                                    destroyed: Ok(searched(destroyed.clone())),
                                    disks: Ok(disks.clone()),
                                    ..first_boot().1
                                };
                                let decision = decide(&known, &mut found);
                                counts[kind(&decision)] += 1;
                                follows_the_rules(&known, &found, &decision);
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(counts.iter().all(|&count| count > 0), "each decision is made somewhere: {counts:?}");
}

fn kind(decision: &Decision) -> usize {
    match decision {
        Decision::Use(_) => 0,
        Decision::Import(_) => 1,
        Decision::Adopt { .. } => 2,
        Decision::Make { .. } => 3,
        Decision::Rescue(_) => 4,
    }
}

fn follows_the_rules(known: &Known, found: &Found, decision: &Decision) {
    let importable = &found.importable.as_ref().expect("known").pools;
    let destroyed = &found.destroyed.as_ref().expect("known").pools;
    let recorded = match &known.recorded {
        Recorded::Is(record) => Some(record.guid),
        _ => None,
    };
    let context = || format!("{decision:?} of {known:?} and {:?}", found.disks);
    match decision {
        Decision::Use(pool) => {
            let active = known.active.as_ref().expect("known");
            assert!(
                active.iter().any(|other| other.guid == pool.guid && other.health == "ONLINE"),
                "{}",
                context()
            );
            assert!(recorded.is_none_or(|guid| guid == pool.guid), "{}", context());
        }
        Decision::Import(pool) => assert_eq!(recorded, Some(pool.guid), "{}", context()),
        Decision::Adopt { pool, .. } => {
            assert_eq!((recorded, pool.name.as_str()), (None, POOL), "{}", context());
        }
        Decision::Make { intent, create } => {
            assert_eq!(known.recorded, Recorded::Nothing, "{}", context());
            let all = || importable.iter().chain(destroyed);
            assert!(!all().any(|pool| pool.name == POOL || pool.is_on(&intent.disk)), "{}", context());
            let disks = found.disks.as_ref().expect("known");
            let mut chosen = disks.iter().filter(|(disk, _)| disk.name == intent.disk);
            let (_, content) = chosen.next().expect("it is one of the disks");
            let is_intended = known.intent.as_ref() == Some(intent);
            let is_named = known.named_disk == Ok(Some(intent.disk.clone()));
            assert!(is_named || is_intended || known.intent.is_none(), "{}", context());
            assert!(disks.len() == 1 || is_named || is_intended, "{}", context());
            match create {
                Create::IfEmpty => assert_eq!(*content, Ok(Content::Blank), "{}", context()),
                Create::Again => {
                    assert_eq!(*content, Ok(Content::Unfinished), "{}", context());
                    assert!(is_intended, "{}", context());
                }
            }
        }
        Decision::Rescue(reason) => assert!(!reason.is_empty()),
    }
    // And no pool that another machine uses, or that cannot be whole, is ever touched.
    if let Decision::Import(pool) | Decision::Adopt { pool, .. } = decision {
        let candidates: Vec<_> = importable.iter().filter(|other| other.guid == pool.guid).collect();
        assert!(candidates.len() == 1 && candidates[0].obstacle().is_none(), "{}", context());
    }
}
