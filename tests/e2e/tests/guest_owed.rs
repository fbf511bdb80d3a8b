//! What a first boot could not make, a later one does; and what was there is not made anew.

use std::collections::BTreeMap;
use std::thread;

use kiln_e2e::first_boot::{Guest, Image, differences, logs};
use kiln_simulator::{Action, Boot, Era, Fault};
use serde_json::Value;

/// What a guest can do without.
const DISPENSABLE: [&str; 3] = ["swap", "dump", "cores/global"];

fn creating(dataset: &str, action: Action) -> Fault {
    let arguments = vec!["create".to_owned(), format!("zones/{dataset}")];
    Fault { command: "zfs".to_owned(), arguments, nth: 0, action }
}

/// A boot with a fault, at whose end `guest-init status --json` and `zfs get kiln:step zones` are typed.
fn boot(guest: &Guest<'_>, faults: &[Fault]) -> (Boot, Value, String) {
    guest.machine.set_faults(faults).unwrap();
    let mut options = guest.options();
    let status: &[&str] = &[kiln_e2e::first_boot::PROGRAM, "status", "--json"];
    let step: &[&str] = &["/usr/sbin/zfs", "get", "-H", "-o", "value", "kiln:step", "zones"];
    options.commands = [status, step].map(|words| words.iter().map(|&word| word.to_owned()).collect()).into();
    let boot = guest.boot(&options);
    let told = serde_json::from_str(&boot.outputs[0].stdout).unwrap();
    let step = boot.outputs[1].stdout.trim().to_owned();
    (boot, told, step)
}

/// What lasts and is the same on each machine, which the number of its pool is not.
fn lasting(guest: &Guest<'_>) -> BTreeMap<String, String> {
    let mut lasting = guest.lasting();
    lasting.remove("key/guest-init/pool.json");
    lasting
}

fn is_owed_and_made(image: &Image, dataset: &str, action: &Action, usual: &BTreeMap<String, String>) {
    let name =
        format!("{}-{action:?}", dataset.replace('/', "-")).replace(|c: char| !c.is_alphanumeric(), "-");
    let mut guest = image.usual_guest(&name);
    guest.start_host();
    for number in 1..=2 {
        let (boot, told, step) = boot(&guest, &[creating(dataset, action.clone())]);
        let context = || format!("{name}, boot {number}\n{}", logs(&boot));
        assert_eq!(boot.state("network/ssh"), "online", "{}", context());
        assert_eq!(boot.state("smartos/setup"), "online", "{}", context());
        assert!(boot.console.contains(&format!("ERROR: datasets: dataset {dataset}: ")), "{}", context());
        assert_eq!(told["result"], "failed", "{}", context());
        assert_eq!(told["first_boot"], "var", "{}", context());
        assert_eq!(step, "var", "{}", context());
        let goes_on = boot.console.contains("step 'var' was its last: it is gone on with");
        assert_eq!(goes_on, number == 2, "{}", context());
        assert!(guest.machine.dataset(&format!("zones/{dataset}")).is_err(), "{}", context());
    }
    let (boot, told, step) = boot(&guest, &[]);
    assert_eq!(told["result"], "ok", "{name}\n{}", logs(&boot));
    assert_eq!((&told["first_boot"], step.as_str()), (&Value::Null, "complete"), "{name}");
    assert_eq!(differences(usual, &lasting(&guest)), [""; 0], "{name}\n{}", logs(&boot));
}

#[test]
fn what_a_first_boot_could_not_make_a_later_one_does() {
    let Some(image) = Image::build(Era::ALL[0]) else { return };
    let mut guest = image.usual_guest("usual");
    guest.start_host();
    guest.boot(&guest.options());
    let usual = lasting(&guest);
    let fails = Action::Fail { status: 1, stderr: "it does not work today".to_owned() };
    for dataset in DISPENSABLE {
        is_owed_and_made(&image, dataset, &fails, &usual);
    }
    // They wait for most of the time.
    thread::scope(|scope| {
        for dataset in DISPENSABLE {
            scope.spawn(|| is_owed_and_made(&image, dataset, &Action::Hang, &usual));
        }
    });
}

#[test]
fn what_is_lost_while_something_is_owed_is_not_made_anew() {
    let Some(image) = Image::build(Era::ALL[0]) else { return };
    for lost in ["config", "opt", "var"] {
        let mut guest = image.usual_guest(lost);
        guest.start_host();
        let owing = creating("swap", Action::Fail { status: 1, stderr: "it does not work today".to_owned() });
        boot(&guest, std::slice::from_ref(&owing));
        let mut pool = guest.machine.pools().unwrap().remove(0);
        let dataset = pool.datasets.remove(lost).unwrap();
        pool.datasets.insert("renamed".to_owned(), dataset);
        pool.write(guest.machine.folder()).unwrap();
        let before = guest.lasting();
        let (boot, told, _) = boot(&guest, &[]);
        assert_eq!(told["result"], "rescue", "{lost}\n{}", logs(&boot));
        assert_eq!(told["rescue"], format!("dataset zones/{lost} is gone"));
        assert_eq!(boot.state("network/ssh"), "online", "{lost}\n{}", logs(&boot));
        assert_eq!(differences(&before, &guest.lasting()), [""; 0], "{lost}\n{}", logs(&boot));
    }
}
